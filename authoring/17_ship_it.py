# %% [markdown]
# # 17. Ship it
#
# A network in a notebook helps nobody. In this last lesson you go from a folder of photos to a file
# that runs somewhere else, and on the way you ask the questions that people will ask *you*: where
# does it look, how sure is it, what does it do with a photo of something else, how large and how
# fast is it?
#
# **What you will be able to do**
#
# - take a folder from audit to report, with one call or one command;
# - see where a network looks, and measure whether it looks at the animal;
# - find out whether its probabilities can be believed, and repair them where they cannot;
# - say what it does with photos of something it has never seen;
# - export it, check the export, shrink it to a quarter, and know what that costs;
# - write a model card that a stranger can rely on.

# %%
from ftcourse.exercises import opening

opening.need("onnx", "onnxruntime", "onnxscript", extra="onnx")

# %%
import contextlib
import io
import json
import shutil
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import torch
from PIL import Image
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import lesson17 as check
from ftcourse.exercises import progress, samples

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"

opening.show(lesson="17", seconds=35, minutes=40)

# %% [markdown]
# ## From a folder to a report
#
# **This is where your own photos come in.** Put the photos of each class into a folder of its own,
# or bring `train/`, `val/` and `test/` with such folders in them, and write the path into the next
# cell. As long as it says `None`, the lesson works with a folder of rendered ants and bees, into
# which somebody has put a few faults.

# %%
PHOTOS = None  # or Path("C:/my/photos"), Path("/home/me/photos")

work = Path(tempfile.mkdtemp())
insects = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
photos = PHOTOS or work / "photos"
if PHOTOS is None:
    for name in ("train", "val", "test"):
        split = getattr(insects, name)
        for i, label in enumerate(split.targets):
            file = photos / name / split.classes[label] / f"{i:03}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            split.load(i).save(file, quality=95)
    shutil.copy(photos / "train/bees/001.jpg", photos / "test/bees/bee.jpg")  # in two splits
    half = (photos / "train/ants/000.jpg").read_bytes()[:1500]
    (photos / "train/ants/broken.jpg").write_bytes(half)  # a download that broke off
    (photos / "train/ants/notes.txt").write_text("found on the terrace")

# %% [markdown]
# **First the audit.** It changes nothing; it reads every file and says what could spoil the work.
# In a terminal it is `ftcourse audit photos/`.

# %%
found = ft.audit(photos)
for finding in found.findings:
    print(f"{finding.severity:<8} {finding.kind:<28} {finding.message[:80]}")

# %% [markdown]
# ### ✏️ Your turn · Exercise 17.1: what must be cured first?
#
# You have an hour, and four faults. Which of them makes your *test score* a lie, without anybody
# noticing?
#
# - **a** A file that cannot be decoded.
# - **b** A photo that is in train and in test.
# - **c** Twice as many ants as bees in train.
# - **d** A few photos of 60 x 60 pixels.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "b"

# %%
answer = check.first_cure(answer)
# check.first_cure.hint()

# %%
if PHOTOS is None:
    for name in ("test/bees/bee.jpg", "train/ants/broken.jpg", "train/ants/notes.txt"):
        (photos / name).unlink()
print("audit without errors now:", ft.audit(photos).ok)

# %% [markdown]
# **Then the training.** One call splits, trains in stages, looks at the test split once, and writes
# a report. In a terminal: `ftcourse train photos/ --out run --strategy layer4 --epochs 7`.

# %% tags=["nbval-ignore-output"]
from ftcourse.reporting.report import Settings, train_and_report

run = work / "run"
report = train_and_report(photos, run, Settings(strategy="layer4", epochs=7), progress=False)
print("\n".join((run / "report.md").read_text().splitlines()[:8]))

# %%
print(sorted(file.name for file in run.iterdir()))
print("test photos:", report["test"]["samples"])
print("accuracy above 0.75:", report["test"]["accuracy"] > 0.75)
print("above always saying the same:", report["test"]["accuracy"] > report["baselines"]["majority"])

# %% [markdown]
# Read the report in that order: the number with its interval, the two baselines, the worst photos.
# If fine-tuning does not beat the linear probe, the report says so in its first lines, and you
# ship the probe.
#
# The run is a folder. `load_run` gives back the network with its classes and its transform, here
# or on another machine.

# %%
from ftcourse.shipping.inference import load_run

classifier = load_run(run)
model = classifier.model.cpu()
test = insects.test.with_transform(classifier.transform)
print(type(model).__name__, classifier.classes, classifier.size)

# %% [markdown]
# ## Where does it look?
#
# A network may be right for a wrong reason: the leaf, the label in the corner, the photographer's
# table. **Grad-CAM** (https://arxiv.org/abs/1610.02391) asks which places of the last feature maps
# the score depends on. `layer4` gives 512 maps of 4 x 4. For one photo and the winning class, each
# map $A_k$ has a gradient, and the mean of the gradient says how much that map counts:
#
# $$w_k = \operatorname{mean}\frac{\partial\,\text{score}}{\partial A_k} \qquad
# \text{heat} = \max\Big(0,\; \sum_k w_k A_k\Big)$$
#
# ### ✏️ Your turn · Exercise 17.2: Grad-CAM in three lines
#
# Fill in `cam`. `maps` and `gradients` have shape (channels, height, width). Return the heat,
# (height, width), divided by its largest value.


# %% tags=["exercise"]
def cam(maps, gradients):
    """Where the score comes from: (height, width), 0 to 1."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def cam(maps, gradients):
    """Where the score comes from: (height, width), 0 to 1."""
    weights = gradients.mean((1, 2))
    heat = (weights[:, None, None] * maps).sum(0).relu()
    return heat / heat.max()


# %%
cam = check.cam(cam)
# check.cam.hint()


# %%
def heat_of(image):
    """Maps and gradients of layer4 for one prepared photo, (3, H, W), put together by `cam`."""
    kept = []
    hook = model.layer4.register_forward_hook(lambda module, args, out: kept.append(out))
    scores = model(image[None].requires_grad_())
    hook.remove()
    (gradients,) = torch.autograd.grad(scores.max(), kept[0])
    return cam(kept[0][0].detach(), gradients[0])


chosen = [0, 1, 4, 5]
heat = torch.stack([heat_of(test[i][0]) for i in chosen])
print("heat of one photo:", tuple(heat[0].shape))

# %%
# alt: Four photos of ants and bees, and below each the same photo with the places that the network
#   looked at in warm colours; they lie mostly on the animals.
figure = ft.plot_grad_cam(
    [insects.test.image(i) for i in chosen],
    heat,
    [insects.classes[insects.test.targets[i]] for i in chosen],
)
plt.show()

# %% [markdown]
# Pictures persuade too easily. These photos come with a mask of the animal, so you can *count*:
# which share of the heat lies on the animal, and which share would, if the network looked anywhere?

# %%
masks = insects.test.with_target("mask").with_transform(None)
on_animal, anywhere = [], []
for i in range(40):
    mask = masks[i][1].float()[None, None]
    spread = F.interpolate(heat_of(test[i][0])[None, None], size=mask.shape[-2:], mode="bilinear")
    on_animal.append((spread * mask).sum().item() / max(spread.sum().item(), 1e-9))
    anywhere.append(mask.mean().item())
ratio = np.mean(on_animal) / np.mean(anywhere)
print("more heat on the animal than chance would put there:", ratio > 1.1)

# %% [markdown]
# More than chance, and far from all: 4 x 4 maps are coarse, and a network that sees shadows and
# leaves uses them. With your own photos you have no masks; look at twenty pictures, the mistakes
# first. `ft.grad_cam` does the same with the package
# [grad-cam](https://github.com/jacobgil/pytorch-grad-cam), which knows a dozen variants.
#
# ## How sure is it, and is it right to be?
#
# A network that says "0.9" should be right in nine of ten such cases. Sort the test photos into
# bins by confidence, and compare with the accuracy in each bin. The **expected calibration error**
# (ECE) is the mean distance between the two. We look twice: at test photos like those it was
# trained on, and at photos taken at night.

# %%
from ftcourse.evaluation.measures import calibration_error

night = ft.load_data(
    "pocket-insects",
    classes=("ants", "bees"),
    per_class=1,
    val_per_class=1,
    test_per_class=80,
    test_domain="night",
    progress=False,
).test.with_transform(classifier.transform)

day_logits, day_targets = ft.predict(model, test)
night_logits, night_targets = ft.predict(model, night)


def told(logits, targets):
    """Accuracy, mean confidence and ECE."""
    p = logits.softmax(1)
    accuracy = (p.argmax(1) == targets).float().mean().item()
    return accuracy, p.max(1).values.mean().item(), calibration_error(p.numpy(), targets.numpy())


day, dark = told(day_logits, day_targets), told(night_logits, night_targets)
print("accuracy falls by more than 5 points at night:", day[0] - dark[0] > 0.05)
print("and confidence falls by less than accuracy:", day[1] - dark[1] < day[0] - dark[0])

# %%
# alt: Accuracy and mean confidence as bars, by day and at night. At night accuracy falls far more
#   than confidence.
fig, ax = plt.subplots(figsize=(7, 3.4))
for k, (name, colour) in enumerate((("accuracy", BLUE), ("mean confidence", ORANGE))):
    ax.bar(np.arange(2) + 0.36 * k, [day[k], dark[k]], 0.34, color=colour, label=name)
ax.set_xticks([0.18, 1.18], ["by day, as in training", "at night"])
ax.set(ylim=(0, 1.15), title="it does not notice that it is dark")
ax.legend(frameon=False, ncols=2, loc="upper center")
plt.show()

# %% [markdown]
# The network does not know that it knows less. **Temperature scaling**
# (https://arxiv.org/abs/1706.04599) repairs what one number can: divide the logits by a
# temperature $T$ before the softmax. Above 1 it makes the network less sure, below 1 surer. $T$ is
# chosen by the cross-entropy on photos that were *not* trained on and that are like those to come.
#
# ### ✏️ Your turn · Exercise 17.3: choose the temperature
#
# Fill in `best_temperature`: return that one of `candidates` for which `logits / t` has the
# smallest cross-entropy.


# %% tags=["exercise"]
def best_temperature(logits, targets, candidates):
    """The candidate with the smallest cross-entropy of logits / t."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def best_temperature(logits, targets, candidates):
    """The candidate with the smallest cross-entropy of logits / t."""
    return min(candidates, key=lambda t: F.cross_entropy(logits / t, targets).item())


# %%
best_temperature = check.best_temperature(best_temperature)
# check.best_temperature.hint()

# %% [markdown]
# Half of the night photos choose the temperature, the other half tells what it is worth.

# %%
candidates = [round(0.25 * k, 2) for k in range(1, 41)]
mine, rest = slice(0, 80), slice(80, 160)
T = best_temperature(night_logits[mine], night_targets[mine], candidates)
before = told(night_logits[rest], night_targets[rest])
after = told(night_logits[rest] / T, night_targets[rest])
print("temperature for the night above 1:", T > 1)
losses = [F.cross_entropy(night_logits[rest] / t, night_targets[rest]).item() for t in (1, T)]
print("cross-entropy on the other half is smaller:", losses[1] < losses[0])
print("accuracy as before:", after[0] == before[0])

# %%
from ftcourse.evaluation.calibration import fit_temperature

exact = fit_temperature(night_logits[mine], night_targets[mine])
print("ft's fit_temperature finds the same, up to the candidates' step:", abs(exact - T) < 0.26)

# %%
# alt: Reliability diagram of night photos after temperature scaling: accuracy in bins of confidence,
#   around the diagonal.
figure = ft.plot_reliability(night_logits[rest] / T, night_targets[rest], bins=5)
plt.show()

# %% [markdown]
# Accuracy stays what it was: an honest "0.6" is still wrong in four of ten cases. And what does the
# temperature of the night do by day?

# %%
by_day = told(day_logits / T, day_targets)
print("by day the night's temperature makes the calibration error larger:", by_day[2] > day[2])

# %% [markdown]
# **Calibrate on photos like those that will come.**
#
# ## Photos of something else
#
# A softmax has no "none of these". Here are beetles, butterflies, ladybirds and spiders, and the
# three photos of lesson 01, for a network that has two words:

# %%
others = ft.load_data(
    "pocket-insects",
    classes=("beetles", "butterflies", "ladybirds", "spiders"),
    per_class=1,
    val_per_class=1,
    test_per_class=15,
    progress=False,
).test.with_transform(classifier.transform)
other_logits, _ = ft.predict(model, others)
surest = other_logits.softmax(1).max(1)
print(f"{len(others)} photos without an ant or a bee")
share = (surest.values > 0.8).float().mean().item()
print("more than a third of them get more than 0.8:", share > 0.33)

# %% tags=["nbval-ignore-output"]
for name, photo in samples.sample_photos().items():
    with torch.inference_mode():
        p = model(classifier.transform(photo)[None]).softmax(1)[0]
    print(f"{name:<13} {classifier.classes[int(p.argmax())]} {p.max().item():.0%}")

# %%
# alt: Four photos of a beetle, butterfly, ladybird or spider that the network is surest about, each
#   with the wrong word ant or bee and its probability.
worst = surest.values.argsort(descending=True)[:4].tolist()
titles = [f"{classifier.classes[int(surest.indices[i])]}, {surest.values[i]:.0%}" for i in worst]
figure = ft.show_images([others.image(i) for i in worst], titles, columns=4)
plt.show()

# %% [markdown]
# Can you at least refuse photos with a low confidence? The area under the ROC curve (AUROC) says how
# often a photo of an ant or a bee gets a higher confidence than a photo of something else: 1 is
# perfect, 0.5 is a coin.

# %%
from sklearn.metrics import roc_auc_score

known = day_logits.softmax(1).max(1).values
score = torch.cat([known, surest.values])
auroc = roc_auc_score(torch.cat([torch.ones(len(known)), torch.zeros(len(others))]), score)
print("better than a coin:", auroc > 0.5)
print("good enough to rely on (above 0.9):", auroc > 0.9)

# %% [markdown]
# So a threshold on the confidence is no protection here. What helps, in this order: say in the
# model card what the network was made for; check the input before it gets there (is there an insect
# at all?); or train with a class "something else", made of photos like those that will really come.
#
# ## A file that loads anywhere
#
# Your network is now a run of this package. Others want a file. `export` writes one and **checks it
# against PyTorch before you get it**, on photos and on random inputs. In a terminal:
# `ftcourse export run --format onnx`.

# %%
from ftcourse.shipping.export import export

with contextlib.redirect_stdout(io.StringIO()):  # the exporter likes to talk
    plain = export(run, "safetensors")
    onnx = export(run, "onnx")
for file in (plain, onnx):
    print(f"{file.path.name:<19} differs by less than 0.001: {file.difference < 1e-3}")

# %% [markdown]
# The first needs torchvision and safetensors, not this package. The second needs no PyTorch at all:
# [ONNX](https://onnx.ai) runs in a phone, in a browser, in a C++ program. But whoever uses it must
# **prepare the photos as you did**, so the recipe travels in the file:

# %%
session = onnxruntime.InferenceSession(str(onnx.path), providers=["CPUExecutionProvider"])
recipe = {k: v for k, v in session.get_modelmeta().custom_metadata_map.items() if k != "format"}
for key, value in sorted(recipe.items()):
    print(f"{key:<13} {value}")

# %% [markdown]
# ### ✏️ Your turn · Exercise 17.4: find the bug
#
# A colleague without PyTorch has written this. It runs, and the answers are no good.
#
# ```python
# short = min(photo.size)
# photo = photo.resize([round(side * 146 / short) for side in photo.size])   # a
# left, top = (photo.width - 128) // 2, (photo.height - 128) // 2
# photo = photo.crop((left, top, left + 128, top + 128))                     # b
# pixels = (np.asarray(photo, np.float32) - mean) / std                      # c
# images = pixels.transpose(2, 0, 1)[None]                                   # d
# ```
#
# Which line is wrong?

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "c"

# %%
answer = check.wrong_line(answer)
# check.wrong_line.hint()


# %%
def prepare(photo):
    """The recipe without PyTorch: PIL image -> float32 (1, 3, 128, 128)."""
    size, resize = json.loads(recipe["size"]), json.loads(recipe["resize_size"])
    resize = resize if isinstance(resize, int) else resize[0]
    mean, std = np.float32(json.loads(recipe["mean"])), np.float32(json.loads(recipe["std"]))
    short = min(photo.size)
    photo = photo.resize([round(side * resize / short) for side in photo.size], Image.BILINEAR)
    left, top = (photo.width - size) // 2, (photo.height - size) // 2
    photo = photo.crop((left, top, left + size, top + size))
    pixels = (np.asarray(photo, np.float32) / 255 - mean) / std
    return pixels.transpose(2, 0, 1)[None]


inputs = [prepare(insects.test.load(i)) for i in range(len(test))]
onnx_logits = np.concatenate([session.run(None, {"images": x})[0] for x in inputs])
same = (onnx_logits.argmax(1) == day_logits.argmax(1).numpy()).mean()
print("photos with the same answer as in PyTorch, above 95 %:", same > 0.95)

mean, std = (np.float32(json.loads(recipe[k])).reshape(3, 1, 1) for k in ("mean", "std"))
wrong = [((x * std + mean) * 255 - mean) / std for x in inputs]  # line c as it was
wrong_logits = np.concatenate([session.run(None, {"images": np.float32(x)})[0] for x in wrong])
same = (wrong_logits.argmax(1) == day_logits.argmax(1).numpy()).mean()
print("with line c as it was, above 80 %:", same > 0.8)

# %% [markdown]
# Not exactly the same numbers: PIL and torchvision round differently when they resize. Where a few
# hundredths of a logit matter, ship the resizing along with the network.
#
# ## Eight bits
#
# The file has 45 MB: 11 million weights of 32 bits. Do they need them? **Quantisation** stores a
# weight as one of 255 whole numbers, and the size of a step beside them.
#
# ### ✏️ Your turn · Exercise 17.5: to eight bits and back
#
# Fill in `to_int8`: return the weights as an `int8` tensor from -127 to 127, and the scale, such
# that `q * scale` is `w` again, as nearly as can be.


# %% tags=["exercise"]
def to_int8(w):
    """(q, scale): q int8 with the shape of w, scale a float; q * scale is about w."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def to_int8(w):
    """(q, scale): q int8 with the shape of w, scale a float; q * scale is about w."""
    scale = w.abs().max().item() / 127
    return (w / scale).round().to(torch.int8), scale


# %%
to_int8 = check.to_int8(to_int8)
# check.to_int8.hint()

# %%
small = load_run(run).model.cpu()
with torch.no_grad():
    for parameter in small.parameters():
        if parameter.ndim > 1:  # biases and BatchNorm stay as they are
            q, scale = to_int8(parameter)
            parameter.copy_(q.float() * scale)
small_logits, _ = ft.predict(small, test)
agree = (small_logits.argmax(1) == day_logits.argmax(1)).float().mean().item()
print("photos with the same answer after rounding every weight, above 90 %:", agree > 0.9)

# %% [markdown]
# That rounds the weights alone. To compute with bytes, the *activations* must be rounded, too, and
# for those one needs to know how large they get: a few dozen training photos are sent through to
# find out (calibration). onnxruntime does it; the package's command measures the cost on the
# validation photos: `ftcourse export run --format onnx-int8`.

# %%
from ftcourse.shipping.quantize import quantize_file

sample = torch.stack([insects.train.with_transform(classifier.transform)[i][0] for i in range(32)])
int8 = quantize_file(onnx.path, sample, run / "model-int8.onnx")
eight = onnxruntime.InferenceSession(str(int8), providers=["CPUExecutionProvider"])
images = torch.stack([test[i][0] for i in range(len(test))]).numpy()
eight_logits = eight.run(None, {"images": images})[0]
right = (eight_logits.argmax(1) == day_targets.numpy()).mean()
print(f"{onnx.path.stat().st_size / 1e6:.0f} MB -> {int8.stat().st_size / 1e6:.0f} MB")
print("accuracy within 5 points of PyTorch's:", abs(right - day[0]) <= 0.05)

# %% [markdown]
# And how long does one photo take? Latency is measured on the machine that will do the work, after a
# warm-up, many times, and told as a median.


# %% tags=["nbval-ignore-output"]
def latency(answer, repeats=30):
    """Milliseconds for one photo, median."""
    times = []
    for _ in range(repeats + 5):
        start = time.perf_counter()
        answer()
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times[5:]))


one = images[:1]
with torch.inference_mode():
    rows = [
        ("PyTorch", latency(lambda: model(torch.from_numpy(one)))),
        ("ONNX, 32 bits", latency(lambda: session.run(None, {"images": one}))),
        ("ONNX, 8 bits", latency(lambda: eight.run(None, {"images": one}))),
    ]
for name, milliseconds in rows:
    print(f"{name:<14} {milliseconds:6.1f} ms a photo, here")

# %% [markdown]
# Eight bits are faster only where the processor has instructions for them. Smaller they are
# everywhere.
#
# ## Say what it is
#
# A **model card** tells a stranger what the network is for, how it was made and measured, and where
# it fails. Half of it is in your run already; `ftcourse card run` writes it. The other half only
# you know, and it is marked.

# %%
from ftcourse.reporting.model_card import write_card

card = write_card(run).read_text(encoding="utf-8")
print([line for line in card.splitlines() if line.startswith("## ")])
print("places for you to fill in:", card.count("TO FILL IN"))

# %% tags=["nbval-ignore-output"]
print(card[:900])

# %% [markdown]
# To publish it, make an account on the [Hugging Face Hub](https://huggingface.co/docs/hub), log in
# with `hf auth login`, and upload the folder. The card becomes the page's text; its header makes
# the model findable. Upload no photos that are not yours to give away.
#
# ```python
# from huggingface_hub import HfApi           # pip install huggingface_hub
#
# api = HfApi()
# api.create_repo("YOUR_NAME/ants-and-bees", exist_ok=True)
# shutil.copy(run / "model_card.md", run / "README.md")
# api.upload_folder(folder_path=run, repo_id="YOUR_NAME/ants-and-bees",
#                   allow_patterns=["README.md", "*.safetensors", "*.onnx", "*.png"])
# ```
#
# ## Let others try it
#
# In this notebook, a button is enough. Run the cell, choose a photo from your disk, and read the
# answer. (On a page without a kernel the button does nothing.)

# %% tags=["nbval-ignore-output"]
import ipywidgets as widgets
from IPython.display import display

upload = widgets.FileUpload(accept="image/*", multiple=False)
said = widgets.HTML("Choose a photo.")


def classify(change):
    value = upload.value
    file = next(iter(value.values())) if isinstance(value, dict) else value[0]  # ipywidgets 7 or 8
    try:
        photo = Image.open(io.BytesIO(bytes(file["content"]))).convert("RGB")
    except OSError:
        said.value = "That is no photo I can read."
        return
    with torch.inference_mode():
        p = model(classifier.transform(photo)[None]).softmax(1)[0]
    ranked = sorted(zip(p.tolist(), classifier.classes, strict=True), reverse=True)
    said.value = "<br>".join(f"{name}: {share:.0%}" for share, name in ranked)


upload.observe(classify, names="value")
display(widgets.VBox([upload, said]))

# %% [markdown]
# For people without Python, [gradio](https://www.gradio.app) makes a page of the same function in a
# few lines (`pip install gradio`). It serves on your own machine, and nothing leaves it:
#
# ```python
# import gradio
#
#
# def answer(photo):
#     with torch.inference_mode():
#         p = model(classifier.transform(photo.convert("RGB"))[None]).softmax(1)[0]
#     return dict(zip(classifier.classes, p.tolist()))
#
#
# gradio.Interface(answer, gradio.Image(type="pil"), gradio.Label()).launch()
# ```
#
# ## Now with ImageNet weights
#
# The same folder with a network that has seen 1.28 million photos. It downloads 45 MB, so it runs
# only with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    better = Settings(strategy="layer4", epochs=7, weights="DEFAULT", size=224)
    full = train_and_report(photos, work / "full", better, progress=False)
    print(f"pocket {report['test']['accuracy']:.1%}, ImageNet {full['test']['accuracy']:.1%}")
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You audit a folder before you train on it, and cure leaks first.
# - You look where the network looks, and count instead of believing the picture.
# - You compare confidence with accuracy, on photos like those that will come.
# - You know that a softmax has no word for "something else".
# - You ship a file that was checked, with the recipe for its inputs, and a card.

# %%
print(progress.summary("17"))

# %% [markdown]
# ## Common questions
#
# **Which format should I give away?** safetensors for people with PyTorch: it holds numbers only
# and cannot run code. ONNX for everything else. Never a pickled model: loading it runs whatever its
# author wrote.
#
# **My network is well calibrated on the test photos. Am I done?** For photos like these. Measure
# again when the camera, the season or the place changes.
#
# **Is a heat map an explanation?** It shows what the score depends on at one layer. It does not say
# what would happen if that were changed. Cover the place, and see.
#
# **How do I keep the network up to date?** Keep the test photos apart for good, collect the photos
# on which it was wrong, train again with `ftcourse train`, and compare on the same test photos.
#
# ## One step further
#
# - Set `PHOTOS` to a folder of your own and run the whole lesson again. Which of the answers change?
# - Train with `shortcut=True` in `ft.load_data` and count the heat on the animal again.
# - Add a third class "something else" made of the four other insects. What happens to the AUROC?
#
# **This was the last lesson.** You have fine-tuned networks for photos, masks, boxes and text, you
# know what they cost, and you can tell when they are wrong. Now take a question of your own.
