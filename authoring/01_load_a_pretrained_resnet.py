# %% [markdown]
# # 1. Load a pre-trained ResNet
#
# Here you load a network that has learnt from 100,000 photos, see it be right and be wrong, look inside, and
# meet the mistake that ruins its answers without an error message.
#
# **What you will be able to do**
#
# - load a ResNet with its weights *and the transforms that belong to them*;
# - follow a photo through stem, four stages and head, and predict every shape on the way;
# - read a top-5 prediction, and know what it cannot tell you;
# - recognise a wrong normalisation by its evidence, and repair it.
#
# You need some Python, and an idea of what a tensor and a layer are. No GPU, no download.

# %%
import numpy as np
import pywt
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.exercises import lesson01 as check
from ftcourse.exercises import opening, progress, samples

opening.show(lesson="01", seconds=15, minutes=30)

# %% [markdown]
# ## See it work
#
# This photo of a stairway is on your disk already: it comes with PyWavelets, which the course needs. The network
# knows 200 classes; guessing would be right once in 200 times.

# %%
# alt: A grey photo of an outdoor stairway with railings, beside five bars with the most probable classes;
#   the longest by far, in green, is bannister.
from ftcourse.widgets.predict import explain

stairs = Image.fromarray(pywt.data.ascent().astype("uint8")).convert("RGB")

model = ft.load_backbone("resnet18")
weights = ft.weights_of(model)
found = explain(model, stairs, weights.transforms(), weights.meta["categories"])
ft.plot_answers({"stairs": stairs}, {"stairs": found.probabilities}, right={"stairs": "bannister"})
assert found.probabilities[0][0] == "bannister", "is this still the photo of the stairway?"

# %% [markdown]
# Right. And what does it make of **a photo of yours**? Press the button and choose a file; it stays on this
# machine. Take something that is among the classes, a banana, a backpack, a teapot, a golden retriever, and
# then something that is not. (On GitHub, where nothing runs, you see a picture.)

# %% tags=["nbval-ignore-output"]
from ftcourse import widgets

names = weights.meta["categories"]
photo = [v2.functional.pil_to_tensor(stairs)]
one = ft.Split(photo, [names.index("bannister")], names, transform=weights.transforms())
widgets.prediction_explorer(model, ft.Data(names, train=one, val=one, test=one), memory=False)

# %% [markdown]
# ## What fine-tuning is
#
# Learning to see takes many photos. Learning to tell *your* two kinds of moth apart takes few, if
# you can see already. To reuse what was learnt on another task is **transfer learning**; to train the reused
# weights further, on your own few photos, is **fine-tuning**. The network has two parts:

# %%
# alt: A photo goes into five blue blocks, stem and layer1 to layer4, the backbone with weights
#   theta; 512 features come out and go into an orange block, the head with weights phi, which
#   gives one score per class.
ft.plot_parts()

# %% [markdown]
# - **θ** (theta), the weights of the *backbone*: somebody else's training has found good values.
# - **φ** (phi), the weights of the *head*: one score for each class. Your classes are new, so these
#   weights start from random numbers.
#
# Training looks for weights with a small loss $L$ on your photos $x_i$ with labels $y_i$:
#
# $$\min_{\theta,\,\varphi}\; L(\theta, \varphi) \qquad\text{with}\qquad
# L(\theta, \varphi) = \frac{1}{n} \sum_{i=1}^{n}
# \mathrm{loss}\big(\mathrm{head}_\varphi(\mathrm{backbone}_\theta(x_i)),\; y_i\big)$$
#
# Every method in this course answers one question: **which of these weights may move, when, and how
# fast?**
#
# | method | θ starts from | θ moves | φ moves |
# | --- | --- | --- | --- |
# | from scratch | random numbers | yes | yes |
# | linear probe (train the head only) | pre-trained | no | yes |
# | fine-tune the last block | pre-trained | `layer4` only | yes |
# | fine-tune everything | pre-trained | yes, slowly | yes |
#
# In this lesson nothing moves yet. First you get to know θ.

# %% [markdown]
# ## Weights come with their transforms
#
# torchvision describes pre-trained weights by an object that knows more than numbers. So do the *pocket
# weights* of this course, for torchvision's own `resnet18`, trained on Tiny ImageNet (100,000 photos, 200
# classes) by a recipe in this repository. The plain PyTorch way:

# %%
weights = ft.ResNet18_Pocket_Weights.DEFAULT

plain = torchvision.models.resnet18(num_classes=len(weights.meta["categories"]))
plain.load_state_dict(weights.get_state_dict())
plain.eval()  # for predictions: BatchNorm uses its stored statistics; lesson 03 tells why that matters

print(weights)
print("classes   ", len(weights.meta["categories"]), "such as", weights.meta["categories"][:4])
print("parameters", f"{sum(p.numel() for p in plain.parameters()):,}")

# %% [markdown]
# `ft.load_backbone("resnet18")` does that in one line, and wraps nothing around it:

# %%
pairs = list(zip(plain.parameters(), model.parameters(), strict=True))
equal = sum(torch.equal(a, b) for a, b in pairs)
print("type:", type(model).__module__, type(model).__name__)
print(f"weight tensors that are equal: {equal} of {len(pairs)}")

# %% [markdown]
# The object's `transforms()` is the recipe that turns a photo into what *these* weights expect. Read it
# from the top: resize the short side, cut out the middle, scale the bytes 0 to 255 down to 0 to 1, then
# for each colour subtract `mean` and divide by `std`.

# %%
preprocess = weights.transforms()
preprocess

# %% [markdown]
# Three more photos, which come with matplotlib and scikit-learn, before and after. The lower row is what reaches
# the network, with the normalisation undone for your eyes.

# %%
# alt: Three photos, a naval officer, a Chinese temple and an orange dahlia, above the small
#   square crops of them that the network sees.
photos = samples.sample_photos()
mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocess.mean, preprocess.std))
seen = [(preprocess(photo) * std + mean).clamp(0, 1) for photo in photos.values()]
sizes = [f"{name}\n{photo.width} x {photo.height}" for name, photo in photos.items()]
ft.show_images([*photos.values(), *seen], [*sizes, *["128 x 128"] * 3], columns=3)

# %% [markdown]
# ### ✏️ Your turn · Exercise 1.1: prepare a photo
#
# Networks take **batches**, with shape `(photos, channels, height, width)`. Fill in `prepare`: it
# takes a photo and any weights object, and returns a batch that holds this one photo, ready for a
# network with these weights.


# %% tags=["exercise"]
def prepare(photo, weights):
    """A batch of one: float32 tensor of shape (1, 3, size, size)."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def prepare(photo, weights):
    """A batch of one: float32 tensor of shape (1, 3, size, size)."""
    preprocess = weights.transforms()
    return preprocess(photo).unsqueeze(0)


# %%
prepare = check.prepare(prepare)
# check.prepare.hint()       # remove the first "#" for a hint; run it again for a second one
# check.prepare.solution()   # ... and for a worked answer

# %% [markdown]
# ## Inside: stem, four stages, head
#
# A ResNet reads a photo in stages, each on a coarser grid with more channels: fewer places, more that can be
# said about each. To see it, hang a **forward hook** on each part: PyTorch calls it with the output whenever
# that part has run.

# %%
parts = ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]


@torch.inference_mode()
def outputs_of_parts(model, batch):
    """Run the batch through the model; return what came out of each part."""
    outputs = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda part, args, output, name=name: outputs.update({name: output})
        )
        for name in parts
    ]
    model(batch)
    for hook in hooks:
        hook.remove()
    return outputs


def print_shapes(model, batch):
    role = {"conv1": "stem", "maxpool": "stem", "avgpool": "features", "fc": "head"}
    print(f"{'part':<9} {'role':<10} {'output shape':<18} parameters")
    print(f"{'(photo)':<9} {'':<10} {tuple(batch.shape[1:])!s:<18}")
    for name, output in outputs_of_parts(model, batch).items():
        count = sum(p.numel() for p in model.get_submodule(name).parameters())
        shape = tuple(output.shape[1:])
        print(f"{name:<9} {role.get(name, 'stage'):<10} {shape!s:<18} {count:>10,}")


batch = prepare(photos["Grace Hopper"], weights)
print_shapes(model, batch)

# %% [markdown]
# Three things to notice:
#
# - **Height and width shrink by 32 in total**: the stem halves twice, `layer2`, `layer3` and
#   `layer4` once each.
# - **Most weights sit at the end**: `layer4` alone holds about three quarters of them.
# - `avgpool` averages each of the 512 channels over all places. What remains are **512 numbers a
#   photo, the features**. The head, `fc`, is a single matrix that turns them into scores.
#
# Here is what the stages make of the photo: each picture is the mean over that stage's channels.

# %%
# alt: The photo of Grace Hopper, then the mean activation of stem and layer1 to layer4: first
#   her outline is visible in detail, then ever coarser grids.
outputs = outputs_of_parts(model, batch)
maps = {name: outputs[name][0] for name in ["maxpool", "layer1", "layer2", "layer3", "layer4"]}
sizes = [f"{name}\n{' x '.join(map(str, x.shape))}" for name, x in maps.items()]
ft.show_images([seen[0], *(x.mean(0) for x in maps.values())], ["photo\n3 x 128 x 128", *sizes])

# %% [markdown]
# Each stage is two *residual blocks*. A block computes a correction $F(x)$ and **adds** it to its
# input: $y = x + F(x)$ (then a ReLU). Through the `+` a gradient flows back to $x$ unchanged, which is
# what lets such networks be deep ([He et al. 2015](https://arxiv.org/abs/1512.03385),
# [2016](https://arxiv.org/abs/1603.05027)). (Where a stage halves the grid, in the first block of `layer2` to
# `layer4`, a 1 x 1 convolution brings $x$ to the new shape first.) One of them, and the addition done by hand:

# %%
block = model.layer1[0]
x = outputs["maxpool"]
with torch.inference_mode():
    correction = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    by_hand = torch.relu(x + correction)
    apart = (by_hand - block(x)).abs().max().item()
print(f"largest difference between x + F(x) by hand and the block: {apart:.4f}")
block

# %% [markdown]
# ### ✏️ Your turn · Exercise 1.2: predict a shape
#
# Before you run anything: a photo of **160 x 160** pixels goes in. What shape comes out of
# `layer3`? Give (channels, height, width), without the batch.

# %% tags=["exercise"]
guess = None  # for example (64, 20, 20)

# %% tags=["solution"]
guess = (256, 10, 10)  # 160 / 2 / 2 (stem) / 1 (layer1) / 2 (layer2) / 2 (layer3)

# %%
shape = check.layer3_shape(guess)
# check.layer3_shape.hint()

# %% [markdown]
# Now let the network tell. Any size will do: convolutions slide over any grid, and `avgpool` leaves 512
# features in any case.

# %%
print_shapes(model, torch.zeros(1, 3, 160, 160))

# %% [markdown]
# ## Features: what the backbone is worth
#
# Everything up to `avgpool` is the backbone, θ. The head, φ, only ever sees its 512 features. So
# the model is exactly *head of features*:

# %%
backbone = torch.nn.Sequential(*list(model.children())[:-1], torch.nn.Flatten())

with torch.inference_mode():
    features = backbone(batch)
    apart = (model.fc(features) - model(batch)).abs().max().item()
print("features:", tuple(features.shape))
print(f"largest difference between head(features) and the model: {apart:.4f}")

# %% [markdown]
# Are these features any good for photos that the network never saw? A small test without labels: cut 12
# random pieces out of each of the three photos, and ask for each piece which *other* piece is most like it
# (cosine similarity). How often is that one of the same photo? We compare three descriptions of a piece: its raw
# pixels, the features of a network with **random** weights, and those of the **pre-trained** one.

# %%
pieces, labels = samples.pieces(photos, count=12)
inputs = torch.stack([preprocess(piece) for piece in pieces])
torch.manual_seed(0)
random_model = ft.load_backbone("resnet18", weights=None)
random_backbone = torch.nn.Sequential(*list(random_model.children())[:-1], torch.nn.Flatten())

with torch.inference_mode():
    descriptions = {
        "raw pixels": inputs.flatten(1),
        "random network": random_backbone(inputs),
        "pre-trained network": backbone(inputs),
    }

hits = {}
for name, d in descriptions.items():
    d = torch.nn.functional.normalize(d - d.mean(0), dim=1)
    nearest = (d @ d.T).fill_diagonal_(-2).argmax(1)  # of each piece: the other most like it
    hits[name] = (labels[nearest] == labels).sum().item()

# %%
# alt: Three bars: of 36 pieces, how many have their nearest neighbour in the same photo. Fewest for
#   raw pixels, more for the random network, most for the pre-trained one; chance would give 11.
ft.plot_bars(
    hits,
    title="Pieces whose nearest neighbour is of the same photo",
    xlabel=f"of {len(labels)} pieces",
    xlim=(0, 36),
    label="d",
    levels={"chance": 11 / 35 * 36},
)
assert hits["pre-trained network"] > hits["raw pixels"], "are these still the three photos?"

# %% [markdown]
# Even random convolutions describe colour and texture to a degree: compare with a baseline, not with zero.
# (Three photos are an illustration, no proof; lesson 10 measures it.)

# %% [markdown]
# ## Predictions on real photos
#
# The head gives 200 *logits*, scores of any size. **Softmax** makes probabilities of them: all
# positive, and they sum to one.
#
# ### ✏️ Your turn · Exercise 1.3: the top five
#
# Fill in `top5`. It takes the logits of **one** photo (shape `(classes,)`) and the list of
# category names, and returns five pairs `(name, probability)`, the most probable first. It should
# work for any number of classes.


# %% tags=["exercise"]
def top5(logits, categories):
    """The five most probable classes: [(name, probability), ...], best first."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def top5(logits, categories):
    """The five most probable classes: [(name, probability), ...], best first."""
    values, indices = logits.softmax(dim=0).topk(5)
    return [(categories[i], p.item()) for i, p in zip(indices, values, strict=True)]


# %%
top5 = check.top5(top5)
# check.top5.hint()

# %% [markdown]
# ### ✏️ Your turn · Exercise 1.4: think before you run
#
# One of the photos shows a dahlia. The 200 classes contain an orange and a mushroom, but **no flower at all** (a
# cauliflower does not count):

# %%
flowers = ("flower", "dahlia", "rose", "tulip", "daisy", "sunflower")
print(
    [name for name in weights.meta["categories"] if any(word in name.lower() for word in flowers)]
)

# %% [markdown]
# What will the network say about the dahlia?
#
# - **a** It raises an error, since there is no such class.
# - **b** It answers "none of these", or "unknown".
# - **c** It names some of its 200 classes, and the probabilities still sum to 100 %.
# - **d** It gives a probability near zero to each of its classes.

# %% tags=["exercise"]
answer = None  # a letter in quotes, such as "a"

# %% tags=["solution"]
answer = "c"

# %%
answer = check.dahlia(answer)
# check.dahlia.hint()

# %%
# alt: The three photos, each beside five horizontal bars with the five most probable classes and
#   their probabilities; on one axis that ends at the longest bar.
with torch.inference_mode():
    logits = {name: model(prepare(photo, weights))[0] for name, photo in photos.items()}
said = {name: top5(z, weights.meta["categories"]) for name, z in logits.items()}
ft.plot_answers(photos, said, right={"Grace Hopper": "military uniform"})

# %%
probabilities = logits["dahlia"].softmax(dim=0)
print("classes:", len(probabilities))
print(f"their probabilities sum to {probabilities.sum().item():.3f}")

# %% [markdown]
# No class fits a dahlia or a temple, and nothing on the screen says so. For Grace Hopper there is one,
# `military uniform`. Where does it stand?

# %% tags=["nbval-ignore-output"]
right = weights.meta["categories"].index("military uniform")
p = logits["Grace Hopper"].softmax(dim=0)
rank = int((p > p[right]).sum()) + 1
print(f"military uniform: place {rank} of {len(p)}, probability {p[right].item():.3f}")
assert 1 < rank <= 20, "is this still the whole photo of Grace Hopper?"

# %% [markdown]
# So for her even the top five are wrong. How often is the first answer right on photos that the network never
# saw? That was measured, and is part of the weights object:

# %% tags=["nbval-ignore-output"]
weights.meta["_metrics"]

# %% [markdown]
# Half of the time (`acc@1`, in percent), on photos *like those in the test*; yours are different.

# %% [markdown]
# ## The wrong-normalisation trap
#
# A colleague has written the preprocessing by hand: resize, crop, channels first, subtract the
# mean, divide by the standard deviation. It runs. The tensor has the right shape. No warning comes.


# %%
def colleagues(photo):
    photo = v2.functional.resize(photo, preprocess.resize_size)
    photo = v2.functional.center_crop(photo, preprocess.crop_size)
    x = torch.from_numpy(np.array(photo)).permute(2, 0, 1).float()  # (3, height, width)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocess.mean, preprocess.std))
    return (x - mean) / std


x = colleagues(photos["temple"])
with torch.inference_mode():
    scores = model(x.unsqueeze(0))
for name, tensor in {
    "right": preprocess(photos["temple"]),
    "colleague's": x,
    "scores": scores[0],
}.items():
    print(f"{name:<12} {tensor.dtype} {tuple(tensor.shape)}")

# %% [markdown]
# How much does it matter? Of 20 pieces of each photo, how many keep the answer that the right transforms
# give? With it, four more mistakes of this kind.

# %%
pieces, _ = samples.pieces(photos, count=20, seed=1)
right_inputs = torch.stack([preprocess(piece) for piece in pieces])
zero_to_one = right_inputs * std + mean  # undo the normalisation: values from 0 to 1

inputs = {
    "as the weights expect": right_inputs,
    "mean 0.5, std 0.5": (zero_to_one - 0.5) / 0.5,
    "red and blue swapped": (zero_to_one.flip(1) - mean) / std,
    "0 to 1, no mean and std": zero_to_one,
    "normalised twice": (right_inputs - mean) / std,
    "the colleague's": torch.stack([colleagues(piece) for piece in pieces]),
}
with torch.inference_mode():
    answers = {name: model(x).argmax(1) for name, x in inputs.items()}
expected = answers["as the weights expect"]
kept = {name: (a == expected).float().mean().item() for name, a in answers.items()}

# %%
# alt: Horizontal bars: the share of 60 pieces that keep their answer; 100 percent for the right
#   input, far less for each of five wrong normalisations.
ft.plot_bars(
    kept, title=f"Of {len(pieces)} pieces, those whose answer stays the same", percent=True
)
assert kept["the colleague's"] < 0.5, "did you change the colleague's code?"

# %% [markdown]
# A changed answer need not be a worse one. So the same was measured where the truth is known, on
# validation photos of Tiny ImageNet, by the command that the table names:

# %% tags=["nbval-ignore-output"]
import json
from pathlib import Path

measured = json.loads(
    (Path(ft.__file__).parent / "models" / "pocket" / "normalisation.json").read_text()
)
print(measured["command"])
print(f"\n{measured['photos']:,} photos, 200 classes   accuracy  (95 % interval)")
for row in measured["rows"]:
    name = row["input"].replace("not divided by 255", "the colleague's")
    print(f"{name:<26} {row['accuracy']:>8.1%}  (± {row['interval95']:.1%})")

# %% [markdown]
# 42 % here, and 49 % above? Both were measured. The 49 % are of 10,000 photos at their own 64 x 64 pixels, the
# size at which training ended. Here 2,000 of them went through `transforms()`, which enlarges them to 128 x 128,
# and that costs the network seven points. (In torchvision `_metrics` are those of `transforms()`; in these
# weights they are not.) Why 128, then? Because your photos have more than 64 pixels: on photos of ants and bees
# a linear probe of the features got 83.7 % at 128 and 81.1 % at 64 (`ftcourse/results/input_size.json`).
#
# Look at the evidence, not at the code: **print the range of what goes in**. Normalised photos
# have values of about -2 to 2.6 and a standard deviation near 1.

# %%
for name, x in inputs.items():
    print(f"{name:<24} min {x.min():7.1f}   max {x.max():7.1f}   std {x.std():6.1f}")

# %% [markdown]
# All mistakes show in this table but one: swapped colours have the right range.
#
# ### ✏️ Your turn · Exercise 1.5: find the bug
#
# What did the colleague forget? Write `repair`, which takes a photo and returns what the network
# should get, a tensor of shape (3, size, size). Any way that gives the right numbers is fine.


# %% tags=["exercise"]
def repair(photo):
    """What these weights expect: float32 tensor of shape (3, size, size)."""
    raise NotImplementedError  # copy the colleague's lines and repair them, or find a shorter way


# %% tags=["solution"]
def repair(photo):
    """What these weights expect: float32 tensor of shape (3, size, size)."""
    photo = v2.functional.resize(photo, preprocess.resize_size)
    photo = v2.functional.center_crop(photo, preprocess.crop_size)
    x = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255  # the missing step
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocess.mean, preprocess.std))
    return (x - mean) / std


# %%
repair = check.repair(repair)
# check.repair.hint()

# %%
repaired = torch.stack([repair(piece) for piece in pieces])
with torch.inference_mode():
    back = (model(repaired).argmax(1) == expected).sum().item()
print(f"repaired: {back} of {len(pieces)} answers are back")

# %% [markdown]
# The habit to take home: **never type a mean and a standard deviation. Ask the weights.**

# %% [markdown]
# ## Change the crop until it is right
#
# The whole photo of the temple gets `beacon` for an answer. For a temple there is no class; but the photo also
# shows the side of a lake, and `lakeside` is one.
#
# ### ✏️ Your turn · Exercise 1.6: choose a square
#
# Choose a square of that photo (640 x 427 pixels) with a side of at least 200 pixels, for which the first answer
# is `lakeside`. Give its left edge, its top edge and its side. Many squares do it.

# %% tags=["exercise"]
box = None  # (left, top, side), for example (0, 0, 400)

# %% tags=["solution"]
box = (340, 120, 280)

# %%
box = check.crop(box)
# check.crop.hint()

# %%
# alt: The whole photo of the temple and a square of it with water and trees, each beside its five most
#   probable classes; for the square the first is lakeside, in green.
left, top, side = box
square = photos["temple"].crop((left, top, left + side, top + side))
views = {"whole photo": photos["temple"], "your square": square}
with torch.inference_mode():
    scores = {name: model(prepare(view, weights))[0] for name, view in views.items()}
said = {name: top5(z, weights.meta["categories"]) for name, z in scores.items()}
ft.plot_answers(views, said, right=dict.fromkeys(views, "lakeside"))

# %% [markdown]
# A first place with so few percent is anything but sure. And you looked for the square that gives the answer you
# wanted: that shows what the network *can* see, not how often it is right. For that, fix the crop before you
# look, and count over many photos.

# %% [markdown]
# ## Now with ImageNet weights
#
# The same calls with a larger network. It runs only on request, since it downloads 98 MB: start
# JupyterLab with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.load_backbone("resnet50", weights="DEFAULT")
    large_weights = ft.weights_of(large)
    for name, photo in photos.items():
        with torch.inference_mode():
            scores = large(prepare(photo, large_weights))[0]
        best = top5(scores, large_weights.meta["categories"])
        print(f"{name:<13}", ", ".join(f"{label} {p:.0%}" for label, p in best))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You know what fine-tuning minimises, and from where: somebody else's θ and a new φ.
# - You can load a ResNet, with its weights and with the transforms that belong to them.
# - You can predict the shape after stem, `layer1` to `layer4` and head.
# - You can turn logits into a top-5 list, and you know that "none of these" is not on it.
# - You check the range of the inputs before you trust an output.

# %%
print(progress.summary("01"))

# %% [markdown]
# ## Common questions
#
# **My photos are larger than the crop. Is detail lost?** Yes. The network takes larger inputs as well (you
# sent 160 x 160 through it), at the price of time: twice the side, about four times the work.
#
# **Why `eval()` and `inference_mode()`?** `eval()` changes what BatchNorm and dropout *compute*: forgetting it
# changes your numbers (lesson 03). `inference_mode()` only saves memory and time: it keeps nothing for gradients.
#
# ## One step further
#
# - Draw single channels instead of the mean: `outputs["layer1"][0][k]`. Can you find one that
#   reacts to vertical edges?
#
# **Next:** [2. Replace the head](02_replace_the_head.ipynb), where φ becomes yours. Below is an
# appendix, for the day when you choose a network for photos of your own.

# %% [markdown]
# ## Appendix: choosing a pre-trained model
#
# ### The same path with a ResNet-50
#
# What you did with the pocket weights carries over letter by letter. With torchvision's own
# weights for ImageNet it reads:
#
# ```python
# from torchvision.models import ResNet50_Weights, resnet50
#
# weights = ResNet50_Weights.IMAGENET1K_V2      # ResNet50_Weights.DEFAULT is the same today
# model = resnet50(weights=weights).eval()      # downloads 98 MB, once
# preprocess = weights.transforms()
# ```
#
# In older tutorials you will meet `resnet50(pretrained=True)`. It meant `IMAGENET1K_V1`, without
# saying so; since torchvision 0.13 it is deprecated. Naming the weights says *which* ones: there are
# two sets for ResNet-50, and **even their transforms differ**. You can ask without a download:

# %%
from torchvision.models import ResNet50_Weights, resnet50

for w in (ResNet50_Weights.IMAGENET1K_V1, ResNet50_Weights.IMAGENET1K_V2):
    t, top1 = w.transforms(), w.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    print(f"{w.name}: top-1 {top1:.1f} %, resize {t.resize_size[0]}, crop {t.crop_size[0]}")

# %% [markdown]
# Same stem, four stages, head; more and wider blocks, so **2,048 features** in place of 512:

# %%
print_shapes(resnet50(weights=None).eval(), torch.zeros(1, 3, 224, 224))

# %% [markdown]
# ### Size, work, accuracy
#
# What torchvision reports for the first published weights of each. *Work* is the arithmetic for one
# photo against that of a `resnet18`. The minutes of download are for a line of 10 Mbit/s.

# %%
print(f"{'':<19} {'parameters':>11} {'work':>6} {'download':>17} {'top-1':>7}")
small = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
for name in ("mobilenet_v3_large", "resnet18", "resnet34", "resnet50", "resnet101", "vit_b_16"):
    w = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    size, top1 = w.meta["_file_size"], w.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    print(
        f"{name:<19} {w.meta['num_params']:>11,} {w.meta['_ops'] / small.meta['_ops']:>5.1f}x"
        f" {size:>6.0f} MB {size * 8 / 10 / 60:>4.1f} min {top1:>6.1f}%"
    )

# %% [markdown]
# The last column is accuracy *on ImageNet*. What you want to know is accuracy on **your** photos, and
# the order may be another there. So ask, in this order:
#
# 1. **May I?** The licence of the weights, and the terms of the data behind them.
# 2. **What has it seen?** For X-rays, satellites or drawings look for weights from nearer by.
# 3. **Can I afford it?** Size on disk, work for a photo, memory while training.
# 4. **Does it help here?** Train a head on its features (lesson 02): a better guide than any table.
#
# | where | what is there | licence | size |
# | --- | --- | --- | --- |
# | [torchvision][tv] | the classics for photos, detection, segmentation | code BSD-3; weights: below | 10 MB up |
# | [timm][timm] | hundreds of networks for images | code Apache-2.0; weights: each its own | 10 MB up |
# | [Hugging Face Hub][hub] | anyone's models: images, text, speech | on each model's card | MB to 100s of GB |
# | this package | one small `resnet18` | Apache-2.0; photos: ImageNet's terms | see below |
#
# [tv]: https://docs.pytorch.org/vision/stable/models.html
# [timm]: https://github.com/huggingface/pytorch-image-models
# [hub]: https://huggingface.co/models
#
# `ft.replace_head` and `ft.finetune` take any of them that is a PyTorch module with a linear layer at the end. Ask
# it for *its* mean and std: `timm.data.resolve_model_data_config(model)`, or `preprocessor_config.json` on the
# Hub.
#
# A card that names no licence gives you no permission. The photos behind ImageNet and Tiny ImageNet were
# collected for research and teaching: ask before you build a product on weights from them. You are
# spared the **hours** of pre-training; for the pocket weights they are on record. And torchvision tells
# which of its weights come with terms of their own:

# %%
from ftcourse.models.pocket import FILE

hours = sum(epoch["seconds"] for epoch in weights.meta["log"]) / 3600
print("pocket:", weights.meta["license"])
print(
    f"        {FILE.stat().st_size / 1e6:.0f} MB, {hours:.1f} hours of pre-training on two CPU cores"
)

enums = [torchvision.models.get_model_weights(name) for name in torchvision.models.list_models()]
own = sorted({str(w).split(".")[0] for enum in enums for w in enum if w.meta.get("license")})
print("torchvision, weights with a licence of their own:", ", ".join(own[:3]), "...")

# %% [markdown]
# Those are the SWAG weights, licensed for non-commercial use only
# ([CC BY-NC 4.0](https://github.com/facebookresearch/SWAG/blob/main/LICENSE)). To begin with: the pocket
# `resnet18` to learn and to try things out, `resnet18` or `resnet50` with ImageNet weights for your own
# photos, the smaller one first.
