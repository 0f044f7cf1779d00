# %% [markdown]
# # 17. Ship it
#
# A network in a notebook helps nobody. Here you go from a folder of photos to a file that runs somewhere else, and
# ask the questions that people will ask *you*: where does it look, how sure is it, what does it do with a photo of
# something else, how large and how fast is it?
#
# **What you will be able to do**
#
# - take a folder from audit to report, with one call or one command;
# - measure where a network looks, and whether its probabilities can be believed;
# - export it, check the export, and shrink it to a quarter;
# - write a model card that a stranger can rely on, and try your own photos.

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

import numpy as np
import onnxruntime
import torch
from PIL import Image
from torch.nn import functional as F

import ftcourse as ft
from ftcourse import widgets
from ftcourse.exercises import lesson17 as check
from ftcourse.exercises import progress, samples

opening.show(lesson="17", seconds=45, minutes=45)

# %% [markdown]
# ## From a folder to a report
#
# A folder for each class, in `train/`, `val/` and `test/`: rendered ants and bees, into which somebody has put a
# few faults. (Your own photos come at the end.)

# %%
work = Path(tempfile.mkdtemp())
insects = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
photos = work / "photos"
for name in ("train", "val", "test"):
    split = getattr(insects, name)
    for i, label in enumerate(split.targets):
        file = photos / name / split.classes[label] / f"{i:03}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        split.load(i).save(file, quality=95)
shutil.copy(photos / "train/bees/001.jpg", photos / "test/bees/bee.jpg")  # in two splits
half = (photos / "train/ants/000.jpg").read_bytes()[:1500]
(photos / "train/ants/broken.jpg").write_bytes(half)  # a download that broke off
_ = (photos / "train/ants/notes.txt").write_text("found on the terrace")

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
for name in ("test/bees/bee.jpg", "train/ants/broken.jpg", "train/ants/notes.txt"):
    (photos / name).unlink(missing_ok=True)
found = ft.audit(photos)
print(f"{len(found.findings)} findings are left")
assert found.ok

# %% [markdown]
# **Then the training.** One call splits, trains in stages, looks at the test split once, and writes
# a report. In a terminal: `ftcourse train photos/ --out run --strategy layer4 --epochs 7`.

# %% tags=["nbval-ignore-output"]
from ftcourse.reporting.report import Settings, train_and_report

run = work / "run"
report = train_and_report(photos, run, Settings(strategy="layer4", epochs=7), progress=False)
print("\n".join((run / "report.md").read_text().splitlines()[:8]))

# %%
print(*sorted(file.name for file in run.iterdir()), sep="\n")
assert report["test"]["accuracy"] > max(0.75, report["baselines"]["majority"])

# %% [markdown]
# Read the report in that order: the number with its interval, the two baselines, the worst photos.
# If fine-tuning does not beat the linear probe, or if that may be chance, the report says so in its first lines,
# and you would ship the probe. We go on with the fine-tuned network in any case: there is more in it to look at.
#
# The run is a folder. `ft.load_run` gives back the network with its classes and its transform, here
# or on another machine.

# %%
classifier = ft.load_run(run)
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

# %% [markdown]
# And where on the photo is that? The network has not seen all of it: the transform makes the short side 146
# pixels and cuts out the middle 128 x 128. So the heat belongs into the middle, and `transform=` puts it there.

# %%
# alt: Four photos of ants and bees, and below each the same photo with a frame around what the network saw, and in
#   it the places that it looked at in warm colours.
ft.plot_grad_cam(
    [insects.test.image(i) for i in chosen],
    heat,
    [insects.classes[insects.test.targets[i]] for i in chosen],
    transform=classifier.transform,
)

# %% [markdown]
# Pictures persuade too easily. These photos come with a mask of the animal, so you can *count*: which share of
# the heat lies on the animal, and which share would, if it were spread evenly over what the network saw?

# %% tags=["nbval-ignore-output"]
from ftcourse.data.transforms import seen_region
from ftcourse.models.features import heat_on_photo

masks = insects.test.with_target("mask").with_transform(None)
on_animal, evenly = [], []
for i in range(40):
    mask = masks[i][1].float()
    size = (mask.shape[-1], mask.shape[-2])
    seen = seen_region(classifier.transform, size)
    for shares, cells in ((on_animal, heat_of(test[i][0])), (evenly, torch.ones(4, 4))):
        spread = heat_on_photo(cells, size, seen)
        shares.append((spread * mask).sum().item() / max(spread.sum().item(), 1e-9))
on_animal, evenly = np.mean(on_animal), np.mean(evenly)
print(f"a photo has {size} pixels; it sees {[round(v) for v in seen]} (left, top, right, bottom)")
print(f"share of the heat on the animal: {on_animal:.2f}; spread evenly it were {evenly:.2f}")
assert on_animal > 1.1 * evenly

# %% [markdown]
# More than chance, and far from all: 4 x 4 maps are coarse, and a network that sees shadows and
# leaves uses them. With your own photos you have no masks; look at twenty pictures, the mistakes
# first. `ft.grad_cam` does the same with the package
# [grad-cam](https://github.com/jacobgil/pytorch-grad-cam), which knows a dozen variants.
#
# ## How sure is it, and is it right to be?
#
# A network that says "0.9" should be right in nine of ten such cases. Sort the test photos into bins by
# confidence, and compare the mean confidence of each bin with its accuracy:

# %% tags=["nbval-ignore-output"]
from ftcourse.evaluation.calibration import fit_temperature, reliability
from ftcourse.evaluation.measures import calibration_error

day_logits, day_targets = ft.predict(model, test)
p, ece = day_logits.softmax(1), 0.0
print("bin          photos  confidence  accuracy   gap")
for row in reliability(p, day_targets, bins=5):
    n, confidence, accuracy = row["samples"], row["confidence"], row["accuracy"]
    gap = abs(confidence - accuracy)
    ece += gap * n / len(p)
    where = f"{row['low']:.1f} to {row['high']:.1f}"
    print(f"{where}{n:>9}{confidence:>12.2f}{accuracy:>10.2f}{gap:>6.2f}")
print(f"mean gap, each counted by its photos: {ece:.3f}")
assert abs(ece - calibration_error(p.numpy(), day_targets.numpy(), bins=5)) < 1e-5

# %% [markdown]
# The last line is the **expected calibration error** (ECE): the mean gap, in which a bin counts by its photos, so
# that an almost empty bin hardly matters. Usual are 10 or 15 bins, and other bins give another number; for so few
# photos we stay with five.
#
# These photos are like those that it was trained on. And at night?

# %% tags=["nbval-ignore-output"]
night = ft.load_data(
    "pocket-insects",
    classes=("ants", "bees"),
    per_class=1,
    val_per_class=1,
    test_per_class=80,
    test_domain="night",
    progress=False,
).test.with_transform(classifier.transform)
night_logits, night_targets = ft.predict(model, night)


def told(logits, targets):
    """Accuracy, mean confidence and ECE."""
    p = logits.softmax(1)
    accuracy = (p.argmax(1) == targets).float().mean().item()
    error = calibration_error(p.numpy(), targets.numpy(), bins=5)
    return accuracy, p.max(1).values.mean().item(), error


day, dark = told(day_logits, day_targets), told(night_logits, night_targets)
print("        accuracy  confidence    ECE")
for name, (accuracy, confidence, error) in (("day", day), ("night", dark)):
    print(f"{name:<8}{accuracy:>8.2f}{confidence:>12.2f}{error:>7.2f}")
assert day[0] - dark[0] > 0.05 and day[1] - dark[1] < day[0] - dark[0]

# %%
# alt: Accuracy and mean confidence as bars, by day and at night. At night accuracy falls far more than confidence.
ft.plot_bars(
    {
        "by day, as in training": {"accuracy": day[0], "mean confidence": day[1]},
        "at night": {"accuracy": dark[0], "mean confidence": dark[1]},
    },
    percent=True,
    xlim=(0, 1.1),
    title="It does not notice that it is dark",
)

# %% [markdown]
# Accuracy falls far more than confidence. The cure for over-confidence is **temperature scaling**
# (https://arxiv.org/abs/1706.04599), as far as one number can cure it: divide the logits by a
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

# %% tags=["nbval-ignore-output"]
candidates = [round(0.25 * k, 2) for k in range(1, 41)]
mine, rest = slice(0, 80), slice(80, 160)
T = best_temperature(night_logits[mine], night_targets[mine], candidates)
exact = fit_temperature(night_logits[mine], night_targets[mine])
print(f"temperature {T}; by ft's fit_temperature, without candidates: {exact:.2f}")
print("on the other half  accuracy   ECE  cross-entropy")
before, after = (told(night_logits[rest] / t, night_targets[rest]) for t in (1, T))
losses = [F.cross_entropy(night_logits[rest] / t, night_targets[rest]).item() for t in (1, T)]
for t, (accuracy, _, error), loss in zip((1, T), (before, after), losses, strict=True):
    print(f"T = {t:<15}{accuracy:>8.2f}{error:>6.2f}{loss:>15.2f}")
assert T > 1 and abs(exact - T) < 0.26 and losses[1] < losses[0] and after[0] == before[0]

# %%
# alt: Reliability diagram of night photos after temperature scaling: accuracy in bins of confidence,
#   around the diagonal.
ft.plot_reliability(night_logits[rest] / T, night_targets[rest], bins=5)

# %% [markdown]
# Accuracy stays what it was: an honest "0.6" is still wrong in four of ten cases. And what does the
# temperature of the night do by day?

# %% tags=["nbval-ignore-output"]
by_day = told(day_logits / T, day_targets)
print(
    f"by day: accuracy {day[0]:.2f}, confidence {day[1]:.2f}, with the night's temperature {by_day[1]:.2f}"
)
assert by_day[1] < day[1] < day[0]

# %% [markdown]
# By day it was not sure enough to begin with, and now it is less so. **Calibrate on photos like those that will
# come.** (`ftcourse train` fits a temperature on the validation photos, if there are 50 and five of them are
# wrong, and `predict` divides by it.)
#
# ## Photos of something else
#
# A softmax has no "none of these". Here are beetles, butterflies, ladybirds and spiders, and the
# three photos of lesson 01, for a network that has two words:

# %% tags=["nbval-ignore-output"]
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
share = (surest.values > 0.8).float().mean().item()
print(f"{len(others)} photos without an ant or a bee; {share:.0%} of them get more than 0.8")
assert share > 0.33

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
ft.show_images([others.image(i) for i in worst], titles, columns=4)

# %% [markdown]
# Can you at least refuse photos with a low confidence? The area under the ROC curve (AUROC) says how
# often a photo of an ant or a bee gets a higher confidence than a photo of something else: 1 is
# perfect, 0.5 is a coin.

# %% tags=["nbval-ignore-output"]
from sklearn.metrics import roc_auc_score

known = day_logits.softmax(1).max(1).values
score = torch.cat([known, surest.values])
auroc = roc_auc_score(torch.cat([torch.ones(len(known)), torch.zeros(len(others))]), score)
print(f"AUROC {auroc:.2f}; a coin 0.50, perfect 1.00")
assert 0.5 < auroc < 0.9

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
    print(f"{file.path.name:<19} largest difference to PyTorch {file.difference:.3f}")
    assert file.difference < 1e-3

# %% [markdown]
# The first needs torchvision and safetensors, not this package. The second needs no PyTorch at all:
# [ONNX](https://onnx.ai) runs in a phone, in a browser, in a C++ program. But whoever uses it must
# **prepare the photos as you did**, so the recipe travels in the file, and lies beside it as
# `preprocessor_config.json`. `use_model.py`, there as well, follows it to the last step with PIL and NumPy
# alone. The main ones:

# %%
session = onnxruntime.InferenceSession(str(onnx.path), providers=["CPUExecutionProvider"])
recipe = session.get_modelmeta().custom_metadata_map
for key in ("architecture", "classes", "size", "resize_size", "working_size", "mean", "std"):
    print(f"{key:<13} {recipe[key]}")

# %% [markdown]
# ### ✏️ Your turn · Exercise 17.4: find the bug
#
# A colleague without PyTorch has written this. It runs, and the answers are no good.
#
# ```python
# short = min(photo.size)
# photo = photo.resize([round(side * 146 / short) for side in photo.size], Image.BILINEAR)  # a
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


# %% tags=["nbval-ignore-output"]
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

mean, std = (np.float32(json.loads(recipe[k])).reshape(3, 1, 1) for k in ("mean", "std"))
wrong = [((x * std + mean) * 255 - mean) / std for x in inputs]  # line c as it was
wrong_logits = np.concatenate([session.run(None, {"images": np.float32(x)})[0] for x in wrong])
same_wrong = (wrong_logits.argmax(1) == day_logits.argmax(1).numpy()).mean()
print(f"same answer as PyTorch: {same:.0%} of {len(inputs)} photos")
print(f"with line c as it was:  {same_wrong:.0%}")
assert same > 0.95 and same_wrong < 0.8

# %% [markdown]
# Not exactly the same numbers: this has three of the recipe's nine steps, and PIL and torchvision round
# differently when they resize. `export` compares `use_model.py` with `ftcourse predict`, and keeps no file for
# which they differ by more than rounding.
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


# %% tags=["nbval-ignore-output"]
def rounded(to_few_bits):
    """Rounds every weight: which share of their squares is lost, and of the photos gets the same answer."""
    small, lost, total = ft.load_run(run).model.cpu(), 0.0, 0.0
    with torch.no_grad():
        for w in small.parameters():
            if w.ndim > 1:  # biases and BatchNorm stay as they are
                q, scale = to_few_bits(w)
                new = q.float() * scale
                lost, total = lost + (new - w).square().sum(), total + w.square().sum()
                w.copy_(new)
    logits, _ = ft.predict(small, test)
    return lost / total, (logits.argmax(1) == day_logits.argmax(1)).float().mean()


lost, same = rounded(to_int8)
print(
    f"8 bits: {lost:.2%} of the squared weights lost, the same answer for {same:.0%} of the photos"
)
assert same > 0.9

# %% [markdown]
# That rounds the weights alone. To compute with bytes, the *activations* must be rounded, too, and
# for those one needs to know how large they get: a few dozen training photos are sent through to
# find out (calibration). onnxruntime does it; the package's command measures the cost on the
# validation photos: `ftcourse export run --format onnx-int8`.

# %% tags=["nbval-ignore-output"]
from ftcourse.shipping.quantize import quantize_file

sample = torch.stack([insects.train.with_transform(classifier.transform)[i][0] for i in range(32)])
int8 = quantize_file(onnx.path, sample, run / "model-int8.onnx")
eight = onnxruntime.InferenceSession(str(int8), providers=["CPUExecutionProvider"])
images = torch.stack([test[i][0] for i in range(len(test))]).numpy()
eight_logits = eight.run(None, {"images": images})[0]
right = (eight_logits.argmax(1) == day_targets.numpy()).mean()
print(f"{onnx.path.stat().st_size / 1e6:.0f} MB -> {int8.stat().st_size / 1e6:.0f} MB")
print(f"accuracy {day[0]:.2f} -> {right:.2f}")
assert abs(right - day[0]) <= 0.05

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
# Whether eight bits are faster depends on the processor. Smaller they are everywhere.
#
# ## Four bits
#
# ### ✏️ Your turn · Exercise 17.6: change it until four bits are enough
#
# Large language models are often kept in 4 bits a weight: whole numbers from -7 to 7. With one scale for a whole
# tensor that loses a lot. Write `to_int4`: return `q` (int8, the shape of `w`) and scales that multiply with it,
# **at most one for each row `w[i]`**. Change it until the squared error of `q * scales` is less than half of that
# with one scale.


# %% tags=["exercise"]
def to_int4(w):
    """(q, scales): q int8 from -7 to 7; q * scales is about w, with at most one scale for each w[i]."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def to_int4(w):
    """(q, scales): q int8 from -7 to 7; q * scales is about w, with at most one scale for each w[i]."""
    scales = w.abs().amax(tuple(range(1, w.ndim)), keepdim=True) / 7
    return (w / scales).round().to(torch.int8), scales


# %%
to_int4 = check.to_int4(to_int4)
# check.to_int4.hint()


# %% tags=["nbval-ignore-output"]
def one_scale(w):
    """The same with a single scale for the whole tensor."""
    scale = w.abs().max() / 7
    return (w / scale).round().to(torch.int8), scale


found = {"one scale": rounded(one_scale), "one a row": rounded(to_int4)}
for name, (lost, same) in found.items():
    print(
        f"4 bits, {name}: {lost:>5.1%} of the squared weights lost, the same answer for {same:.0%}"
    )
assert found["one a row"][0] < 0.5 * found["one scale"][0]

# %% [markdown]
# A row is what one channel of the output is made of, and channels differ in size: a scale for each loses far less
# of the weights. Whether it also keeps more of the *answers* is another question, and the last column has it.
# Count what you need, not what is easy to count.
#
# ## Say what it is
#
# A **model card** tells a stranger what the network is for, how it was made and measured, and where
# it fails. Half of it is in your run already; `ftcourse card run` writes it. The other half only
# you know, and it is marked.

# %%
from ftcourse.reporting.model_card import write_card

card = write_card(run).read_text(encoding="utf-8")
print(*[line for line in card.splitlines() if line.startswith("## ")], sep="\n")
print(card.count("TO FILL IN"), "places for you to fill in")

# %% tags=["nbval-ignore-output"]
print(card[:900])

# %% [markdown]
# To publish it, make an account on the [Hugging Face Hub](https://huggingface.co/docs/hub) and log in with
# `hf auth login`. `ftcourse push run YOUR_NAME/ants-and-bees` uploads the card as the page's text, the model and
# its recipe. It uploads no photos, for they may not be yours to give away: `worst.png` in the run's folder, a
# sheet of test photos, stays where it is.
#
# ## Your own photos
#
# Choose a test photo, or drop in one of your own: classes, where the network looked, and the training photos that
# are most like it. (On a page without a kernel you see a picture.)
#
# To train on a folder of your own, with a folder for each class in it, write its path into the cell: it goes
# through the audit, the training and the report, and the explorer then asks *your* network.

# %% tags=["nbval-ignore-output"]
PHOTOS = None  # or Path("C:/my/photos"), Path("/home/me/photos")

shown = insects
if PHOTOS is not None:
    print(*[finding.message for finding in ft.audit(PHOTOS).findings], sep="\n")
    train_and_report(PHOTOS, work / "own", Settings(strategy="layer4", epochs=7), progress=False)
    print((work / "own/report.md").read_text(encoding="utf-8")[:700])
    classifier = ft.load_run(work / "own")
    model, shown = classifier.model.cpu(), ft.load_data(PHOTOS, progress=False)
widgets.prediction_explorer(model, shown)

# %% [markdown]
# For people without Python, `ftcourse serve run` makes a page to drop a photo on, with
# [gradio](https://www.gradio.app) (`pip install "ftcourse[demo]"`). It serves on your own machine, and nothing
# leaves it.
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
# - Take a few photos at night of what your own network knows, and compare its confidence with its accuracy.
# - Train with `shortcut=True` in `ft.load_data` and count the heat on the animal again.
# - Add a third class "something else" made of the four other insects. What happens to the AUROC?
#
# **This was the last lesson.** You have fine-tuned networks for photos, masks, boxes and text, you
# know what they cost, and you can tell when they are wrong. Now take a question of your own.
