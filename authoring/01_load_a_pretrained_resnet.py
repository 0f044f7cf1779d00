# %% [markdown]
# # 1. Load a pre-trained ResNet
#
# A network that has seen 100,000 photos already knows edges, textures, fur and wheels. In this
# lesson you load one, send real photos through it, look inside, and meet the mistake that costs
# people the most accuracy without a single error message.
#
# **What you will be able to do**
#
# - say what fine-tuning is, and what θ and φ stand for;
# - load a ResNet with its weights *and the transforms that belong to them*, the PyTorch way and in
#   one line;
# - follow a photo through stem, four stages and head, and predict every shape on the way;
# - read a top-5 prediction, and know what it cannot tell you;
# - recognise a wrong normalisation by its evidence, and repair it;
# - choose a pre-trained model: where to look, and what it costs in licence, size and time.
#
# You need some Python, and an idea of what a tensor and a layer are. No GPU, no network, no
# download.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.exercises import lesson01 as check
from ftcourse.exercises import opening, progress

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"  # distinct for colour-blind readers, too

opening.show(lesson="01", seconds=15, minutes=30)

# %% [markdown]
# ## What fine-tuning is
#
# Learning to see takes many photos. Learning to tell *your* two kinds of moth apart takes few, if
# you can see already. So: take a network that somebody trained on a large set of photos, keep what
# it learnt about seeing, and continue training on your own, few photos. To reuse what was learnt
# on one task for another is **transfer learning**. To do so by training the reused weights further
# is **fine-tuning**.
#
# The network has two parts:

# %% jupyter={"source_hidden": true}
# alt: A photo goes into five blue blocks, stem and layer1 to layer4, the backbone with weights
#   theta; 512 features come out and go into an orange block, the head with weights phi, which
#   gives one score per class.
fig, ax = plt.subplots(figsize=(12, 2.2))
blocks = [("photo", GREY), ("stem", BLUE), *((f"layer{i}", BLUE) for i in range(1, 5))]
blocks += [("512\nfeatures", GREY), ("head", ORANGE), ("scores", GREY)]
for i, (name, colour) in enumerate(blocks):
    box = {"boxstyle": "round,pad=0.55", "facecolor": colour, "edgecolor": "none"}
    if colour == GREY:
        box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": GREY}
    ax.text(
        i * 1.25,
        0,
        name,
        ha="center",
        va="center",
        bbox=box,
        color="white" if colour != GREY else "black",
    )
    if i:
        arrow = {"arrowstyle": "->", "color": GREY, "lw": 1.5}
        ax.annotate("", (i * 1.25 - 0.52, 0), (i * 1.25 - 0.72, 0), arrowprops=arrow)
ax.text(3.75, 0.75, "backbone: pre-trained weights θ", ha="center", color=BLUE, fontsize=15)
ax.text(8.75, 0.75, "new weights φ", ha="center", color=ORANGE, fontsize=15)
ax.set(xlim=(-0.6, 10.7), ylim=(-0.6, 1.1))
ax.axis("off")
plt.show()

# %% [markdown]
# - **θ** (theta), the weights of the *backbone*: somebody else's training has found good values
#   for them.
# - **φ** (phi), the weights of the *head*: one score for each class. Your classes are new, so
#   these weights are new as well and start from random numbers.
#
# Training looks for weights with a small loss $L$ on your photos $x_i$ with labels $y_i$:
#
# $$\min_{\theta,\,\varphi}\; L(\theta, \varphi) \qquad\text{with}\qquad
# L(\theta, \varphi) = \frac{1}{n} \sum_{i=1}^{n}
# \mathrm{loss}\big(\mathrm{head}_\varphi(\mathrm{backbone}_\theta(x_i)),\; y_i\big)$$
#
# Every method in this course is an answer to one question: **which of these weights may move,
# when, and how fast?**
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
# torchvision describes pre-trained weights by an object that knows more than numbers. This course
# ships one that follows the same convention, the *pocket weights*: torchvision's own `resnet18`,
# trained on Tiny ImageNet (100,000 photos, 200 classes) by a recipe in this repository. Here is
# the plain PyTorch way.

# %%
weights = ft.ResNet18_Pocket_Weights.DEFAULT

plain = torchvision.models.resnet18(num_classes=len(weights.meta["categories"]))
plain.load_state_dict(weights.get_state_dict())
plain.eval()  # for predictions: BatchNorm uses its stored statistics; lesson 03 tells why that matters

print(weights)
print("classes   ", len(weights.meta["categories"]), "such as", weights.meta["categories"][:4])
print("parameters", f"{sum(p.numel() for p in plain.parameters()):,}")

# %% [markdown]
# And in one line with the course's package. What you get is no wrapper, but the same torchvision
# class with the same numbers in it, as the cell proves.

# %%
model = ft.load_backbone("resnet18")  # weights="pocket" is the default

same = [torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True)]
print("type:", type(model).__module__, type(model).__name__)
print("all", len(same), "weight tensors are equal:", all(same))
print("ready for predictions (eval mode):", not model.training)

# %% [markdown]
# The object's `transforms()` is the recipe that turns a photo into what *these* weights were
# trained on. Lose it, and the weights lose much of their worth. You will measure that below.

# %%
preprocess = weights.transforms()
preprocess

# %% [markdown]
# Read it from the top: resize the short side, cut out the middle, scale the bytes 0 to 255 down to
# 0 to 1, then for each colour subtract `mean` and divide by `std`. Now some real photos. These
# three come with scikit-learn and matplotlib, so they are on your disk already.

# %%
from matplotlib import cbook
from sklearn.datasets import load_sample_image

photos = {
    "Grace Hopper": Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)),
    "temple": Image.fromarray(load_sample_image("china.jpg")),
    "dahlia": Image.fromarray(load_sample_image("flower.jpg")),
}
for name, photo in photos.items():
    print(f"{name:<13} {photo.mode}, {photo.width} x {photo.height} pixels")

# %% [markdown]
# Look at them before and after. The lower row is what reaches the network, with the normalisation
# undone for your eyes.

# %%
# alt: Three photos, a naval officer, a Chinese temple and an orange dahlia, above the small
#   square crops of them that the network sees.
mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocess.mean, preprocess.std))

fig, axes = plt.subplots(2, 3, figsize=(9, 6), gridspec_kw={"height_ratios": [1.3, 1]})
for column, (name, photo) in zip(axes.T, photos.items(), strict=True):
    seen = preprocess(photo)
    column[0].imshow(photo)
    column[0].set_title(f"{name}\n{photo.width} x {photo.height}")
    column[1].imshow((seen * std + mean).clamp(0, 1).permute(1, 2, 0))
    column[1].set_title(f"{seen.shape[2]} x {seen.shape[1]}")
for ax in axes.flat:
    ax.axis("off")
fig.tight_layout()
plt.show()

# %% [markdown]
# *Photos: US Navy, public domain; Daniel Büchele and vultilion on Flickr, CC BY 2.0.*
#
# ### ✏️ Your turn · Exercise 1.1: prepare a photo
#
# Networks take **batches**, with shape `(photos, channels, height, width)`. Fill in `prepare`: it
# takes a photo and any weights object, and returns a batch that holds this one photo, ready for a
# network with these weights.
#
# Write your code in place of `raise NotImplementedError`, run the cell, then run the next one. It
# tells you how you did. If you skip an exercise, the lesson goes on with a reference answer.


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
# A ResNet reads a photo in stages. Each looks at a coarser grid with more channels: fewer places,
# more that can be said about each. To see it, hang a **forward hook** on each part. PyTorch calls
# it with the output whenever that part has run.

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
fig, axes = plt.subplots(1, 6, figsize=(12, 2.7))
axes[0].imshow((batch[0] * std + mean).clamp(0, 1).permute(1, 2, 0))
axes[0].set_title("photo")
for ax, name in zip(axes[1:], ["maxpool", "layer1", "layer2", "layer3", "layer4"], strict=True):
    ax.imshow(outputs[name][0].mean(0), cmap="cividis")
    channels, height, width = outputs[name].shape[1:]
    ax.set_title(f"{'stem' if name == 'maxpool' else name}\n{channels} x {height} x {width}")
for ax in axes:
    ax.axis("off")
fig.tight_layout()
plt.show()

# %% [markdown]
# Each stage is two *residual blocks*. A block computes a correction $F(x)$ and **adds** it to its
# input: $y = x + F(x)$ (then a ReLU). Gradients flow back through the `+` untouched, which is why
# such networks can be deep. Here is one, and the addition done by hand:

# %%
block = model.layer1[0]
x = outputs["maxpool"]
with torch.inference_mode():
    correction = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    by_hand = torch.relu(x + correction)
    print("x + F(x) by hand equals the block:", torch.allclose(by_hand, block(x), atol=1e-5))
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
# Now let the network tell. It does not mind a size it was not trained on: convolutions slide over
# any grid, and `avgpool` leaves 512 features in any case.

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
    print("features:", tuple(features.shape))
    print("head(features) is the model's output:", torch.equal(model.fc(features), model(batch)))

# %% [markdown]
# Are these features any good for photos that the network never saw? A small test without any
# labels: cut 12 random pieces out of each of our three photos. Then ask for each piece which
# *other* piece is most like it. If that is one from the same photo, the description has caught
# something of what is in there.
#
# We compare three descriptions of a piece: its raw pixels, the features of a network with
# **random** weights, and those of the **pre-trained** one.


# %%
def pieces_of(photos, count, seed=0):
    """`count` random square pieces of each photo, and the number of the photo each is from."""
    rng, pieces, labels = np.random.default_rng(seed), [], []
    for label, photo in enumerate(photos.values()):
        for _ in range(count):
            side = int(rng.integers(90, 220))
            left = int(rng.integers(0, photo.width - side))
            top = int(rng.integers(0, photo.height - side))
            pieces.append(photo.crop((left, top, left + side, top + side)))
            labels.append(label)
    return pieces, torch.tensor(labels)


pieces, labels = pieces_of(photos, count=12)
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

likeness, hits = {}, {}
for name, d in descriptions.items():
    d = torch.nn.functional.normalize(d - d.mean(0), dim=1)
    likeness[name] = d @ d.T  # cosine similarity of each piece with each other
    nearest = likeness[name].clone().fill_diagonal_(-2).argmax(1)
    hits[name] = (labels[nearest] == labels).sum().item()

# %%
# alt: Three 36 by 36 grids of similarity. For raw pixels and the random network the same-photo
#   blocks on the diagonal are faint; for the pre-trained network they stand out.
fig, axes = plt.subplots(1, 3, figsize=(12, 4.6))
for ax, (name, s) in zip(axes, likeness.items(), strict=True):
    ax.imshow(s, vmin=-1, vmax=1, cmap="PuOr_r")
    ax.set_title(f"{name}: {hits[name]} of {len(labels)}")
    ax.set_xticks([5.5, 17.5, 29.5], list(photos), fontsize=11)
    ax.set_yticks([5.5, 17.5, 29.5], list(photos), fontsize=11, rotation=90, va="center")
fig.tight_layout()
plt.show()

# %%
print("pieces:", len(labels))
print("pre-trained beats raw pixels:", hits["pre-trained network"] > hits["raw pixels"])
print(
    "pre-trained is at least as good as random:",
    hits["pre-trained network"] >= hits["random network"],
)

# %% [markdown]
# Above each grid stands how many pieces have their nearest neighbour in the same photo. In the
# grids, orange is alike and violet unlike. Pieces of one photo form a block on the diagonal when
# the features see that they belong together. Even random convolutions describe colour and texture
# to a degree, so a good baseline is never zero; pre-training adds the rest. **These features are
# what you buy with a pre-trained network**, and lesson 02 puts a head of your own on top.

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
# One of our photos shows a dahlia. The 200 classes of the pocket weights contain a goldfish, an
# orange and a mushroom, but **no flower at all** (a cauliflower does not count):

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
#
# Choose, and say to yourself (or to your neighbour) why.

# %% tags=["exercise"]
answer = None  # a letter in quotes, such as "a"

# %% tags=["solution"]
answer = "c"

# %%
answer = check.dahlia(answer)
# check.dahlia.hint()

# %%
# alt: The three photos, each beside five horizontal bars with the five most probable classes and
#   their probabilities.
fig, axes = plt.subplots(3, 2, figsize=(10, 8.5), gridspec_kw={"width_ratios": [1, 1.5]})
for (left, right), (name, photo) in zip(axes, photos.items(), strict=True):
    with torch.inference_mode():
        best = top5(model(prepare(photo, weights))[0], weights.meta["categories"])
    left.imshow(photo)
    left.set_title(name)
    left.axis("off")
    names, values = zip(*best[::-1], strict=True)
    right.barh(names, values, color=BLUE)
    right.set(xlim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0", "50 %", "100 %"])
fig.tight_layout()
plt.show()

# %%
with torch.inference_mode():
    probabilities = model(prepare(photos["dahlia"], weights)).softmax(dim=1)
print("classes:", probabilities.shape[1])
print("the probabilities sum to one:", abs(probabilities.sum().item() - 1) < 1e-4)

# %% [markdown]
# Be fair to this small network: 200 classes, trained on photos of 64 x 64 pixels. How often its
# first answer is right on photos it never saw was measured and is part of the weights object. That
# number speaks of photos *like those in the test*; your photos are different. And top-5 bars are
# not a certificate: the network must spread 100 % over what it knows.

# %% tags=["nbval-ignore-output"]
weights.meta["_metrics"]

# %% [markdown]
# ## The wrong-normalisation trap
#
# A colleague has written the preprocessing by hand: resize, crop, channels first, subtract the
# mean, divide by the standard deviation. It runs. It returns a float tensor of exactly the right
# shape. No warning comes.


# %%
def colleagues(photo):
    photo = v2.functional.resize(photo, preprocess.resize_size)
    photo = v2.functional.center_crop(photo, preprocess.crop_size)
    x = torch.from_numpy(np.array(photo)).permute(2, 0, 1).float()  # (3, height, width)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocess.mean, preprocess.std))
    return (x - mean) / std


x = colleagues(photos["temple"])
print(x.dtype, tuple(x.shape) == tuple(preprocess(photos["temple"]).shape))
with torch.inference_mode():
    print("the network takes it:", tuple(model(x.unsqueeze(0)).shape))

# %% [markdown]
# How much does it matter? We take 20 pieces of each photo and count how many keep the answer that
# the right transforms give. And we look at four more mistakes of this kind, all of which somebody
# has made in earnest.

# %%
pieces, _ = pieces_of(photos, count=20, seed=1)
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
fig, ax = plt.subplots(figsize=(9, 3.8))
names = list(kept)[::-1]
colours = [BLUE if name == "as the weights expect" else ORANGE for name in names]
ax.barh(names, [kept[name] for name in names], color=colours)
for y, name in enumerate(names):
    ax.text(kept[name] + 0.01, y, f"{kept[name]:.0%}", va="center")
ax.set(xlim=(0, 1.1), xticks=[0, 0.5, 1], xticklabels=["0", "50 %", "100 %"])
ax.set_title("pieces whose answer stays the same")
plt.show()

# %%
print("pieces:", len(pieces))
print("each mistake changes answers:", all(v < 1 for k, v in kept.items() if k != names[-1]))
print("the colleague's changes more than half:", kept["the colleague's"] < 0.5)

# %% [markdown]
# A changed answer need not be a worse one, so the same was measured where the truth is known: on
# validation photos of Tiny ImageNet, which the network never trained on. This table was made by
# the command that it names.

# %% tags=["nbval-ignore-output"]
import json
from pathlib import Path

measured = json.loads(
    (Path(ft.__file__).parent / "models" / "pocket" / "normalisation.json").read_text()
)
print(measured["command"])
print(f"\n{measured['photos']:,} photos, 200 classes   accuracy  (95 % interval)")
for row in measured["rows"]:
    print(f"{row['input']:<26} {row['accuracy']:>8.1%}  (± {row['interval95']:.1%})")

# %% [markdown]
# Look at the evidence, not at the code: **print the range of what goes in**. Normalised photos
# have values of about -2 to 2.6, a mean near 0 and a standard deviation near 1. That one line
# finds every row of the table except the swapped colours.

# %%
for name in ("as the weights expect", "the colleague's"):
    x = inputs[name]
    print(f"{name:<22} min {x.min():7.1f}   max {x.max():7.1f}   std {x.std():6.1f}")

# %% [markdown]
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
    agreement = (model(repaired).argmax(1) == expected).float().mean().item()
print("repaired: at least 95 % of the answers are back:", agreement >= 0.95)

# %% [markdown]
# The habit to take home: **never type a mean and a standard deviation. Ask the weights.**

# %% [markdown]
# ## The same path with a ResNet-50
#
# What you did with the pocket weights carries over letter by letter. With torchvision's own
# weights for ImageNet it reads:
#
# ```python
# from torchvision.models import ResNet50_Weights, resnet50
#
# weights = ResNet50_Weights.IMAGENET1K_V2      # or ResNet50_Weights.DEFAULT, the best there is
# model = resnet50(weights=weights).eval()      # downloads 98 MB, once
# preprocess = weights.transforms()
# ```
#
# In older tutorials you will meet `resnet50(pretrained=True)`. It meant `IMAGENET1K_V1`, without
# saying so, and left you to find the right transforms yourself. Since torchvision 0.13 it is
# deprecated. Naming the weights says *which* ones: there are two sets for ResNet-50, and **even
# their transforms differ**. You can ask all this without a download:

# %%
from torchvision.models import ResNet50_Weights, resnet50

for w in (ResNet50_Weights.IMAGENET1K_V1, ResNet50_Weights.IMAGENET1K_V2):
    t, top1 = w.transforms(), w.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    print(f"{w.name}: top-1 {top1:.1f} %, resize {t.resize_size[0]}, crop {t.crop_size[0]}")

# %% [markdown]
# The architecture needs no download, either. Same stem, four stages, head; more and wider blocks,
# so **2,048 features** in place of 512.

# %%
print_shapes(resnet50(weights=None).eval(), torch.zeros(1, 3, 224, 224))

# %% [markdown]
# ## Choosing a pre-trained model
#
# Bigger networks know more and cost more, in time, memory and download. Here is what torchvision
# itself reports for the first published weights of each. *Work* is the arithmetic for one photo
# against that of a `resnet18`, and so, roughly, the factor on every hour you train. The minutes of
# download are for a line of 10 Mbit/s.

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
# 2. **What has it seen?** Photos of things help with photos of things. For X-rays, satellites or
#    drawings look for weights from nearer by.
# 3. **Can I afford it?** Size on disk, work for a photo, memory while training.
# 4. **Does it help here?** Train a head on its features: a minute's work (lesson 02), and a better
#    guide than any table.
#
# | where | what is there | licence | size |
# | --- | --- | --- | --- |
# | [torchvision][tv] | the classics for photos, detection, segmentation | code BSD-3; weights: below | 10 MB up |
# | [timm][timm] | the largest choice of networks for images | code Apache-2.0; weights: each its own | 10 MB up |
# | [Hugging Face Hub][hub] | anyone's models: images, text, speech | on each model's card | MB to 100s of GB |
# | this package | one small `resnet18` | Apache-2.0; photos: ImageNet's terms | see below |
#
# [tv]: https://docs.pytorch.org/vision/stable/models.html
# [timm]: https://github.com/huggingface/pytorch-image-models
# [hub]: https://huggingface.co/models
#
# A card that names no licence gives you no permission. And the **hours**? You are spared those of
# pre-training; what is left is the download, an evening of reading cards, and your own training.
# For the pocket weights the hours are on record; and torchvision tells which of its weights come
# with terms of their own:

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
# Those are the SWAG weights, licensed for non-commercial use only. A good default: the pocket
# `resnet18` to learn and to try things out, `resnet18` or `resnet50` with ImageNet weights for your
# own photos. Start with the small one. You will know within minutes whether your data is any good.

# %% [markdown]
# ## Now with ImageNet weights
#
# This section runs only on request, since it downloads 98 MB: start JupyterLab with
# `FTCOURSE_PROFILE=full` in the environment. The calls are those from above.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.load_backbone("resnet50", weights="DEFAULT")
    large_weights = ft.weights_of(large)
    for name, photo in photos.items():
        with torch.inference_mode():
            logits = large(prepare(photo, large_weights))[0]
        best = top5(logits, large_weights.meta["categories"])
        print(f"{name:<13}", ", ".join(f"{label} {p:.0%}" for label, p in best))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You can say that fine-tuning solves $\min_{\theta,\varphi} L(\theta, \varphi)$, starting from
#   somebody else's θ and a new φ.
# - You can load a ResNet, with its weights and with the transforms that belong to them.
# - You know its parts, stem, `layer1` to `layer4`, head, and can predict the shape after each.
# - You can turn logits into a top-5 list, and you know that "none of these" is not on it.
# - You check the range of the inputs before you trust an output.

# %%
print(progress.summary("01"))

# %% [markdown]
# ## Common questions
#
# **Must my photos look like those of the pre-training?** No. The nearer, the better, but edges,
# textures and shapes are useful almost anywhere. What your photos *must* share is the
# preprocessing.
#
# **My photos are larger than the crop. Is detail lost?** Yes, by resizing. The network takes
# larger inputs as well (you sent 160 x 160 through it), at the price of time: twice the side, four
# times the work.
#
# **Why `eval()` and `inference_mode()`?** `eval()` changes what BatchNorm and dropout *compute*.
# `inference_mode()` only saves memory and time, by keeping no notes for gradients. Forgetting the
# first changes your numbers; lesson 03 shows how much.
#
# **May I use the weights for anything?** The code is free. The photos behind ImageNet and Tiny
# ImageNet are not: they were collected for research and teaching. Ask before you build a product
# on them, and read the model card.
#
# **Can I use a network from timm or the Hub here?** Yes, if it is a PyTorch module with a linear
# layer at the end: `ft.replace_head`, `ft.Stage` and `ft.finetune` take it. Ask it for *its* mean and
# std: `timm.data.resolve_model_data_config(model)`, or the file `preprocessor_config.json` on the Hub.
#
# ## One step further
#
# - Send a photo of your own through the network: `Image.open("my.jpg").convert("RGB")`.
# - Which pieces of the temple does the network take for what? Print `top5` for a few of `pieces`.
# - Draw single channels instead of the mean: `outputs["layer1"][0][k]`. Can you find one that
#   reacts to vertical edges?
#
# **Next:** [2. Replace the head](02_replace_the_head.ipynb), where φ becomes yours.
