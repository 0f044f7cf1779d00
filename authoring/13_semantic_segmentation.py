# %% [markdown]
# # 13. Semantic segmentation
#
# So far a photo had one label. Many questions need more: *which pixels* are road, tumour, insect?
# Semantic segmentation gives each pixel a class. The network is the same ResNet, the loop is the
# same `finetune`, and the head is new. What changes most is how you measure, and what goes wrong
# in silence.
#
# **What you will be able to do**
#
# - read masks, and tell why pixel accuracy is not to be trusted;
# - compute intersection over union (IoU) by hand, and leave out pixels without a truth;
# - turn a classifier into a segmentation network, and say why it needs its finer maps;
# - move photo and mask together without spoiling the mask;
# - fine-tune it frozen, unfrozen and from scratch, and read the result class by class.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import ListedColormap
from torch import nn
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_jaccard_index
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as V

import ftcourse as ft
from ftcourse import plots, results
from ftcourse.exercises import lesson13 as check
from ftcourse.exercises import opening, progress
from ftcourse.tasks.segmentation import Segmentation, segmentation_transforms, unet

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"
COLOURS = ListedColormap(["#20262B", BLUE, ORANGE])  # background, ants, bees
_ = torch.manual_seed(0)

opening.show(lesson="13", seconds=30, minutes=35)

# %% [markdown]
# ## A class for each pixel
#
# Pocket Insects comes with masks. The target `"semantic"` is an integer image of the size of the
# photo: 0 where there is background, 1 on an ant, 2 on a bee.

# %%
data = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
names = ["background", *data.classes]
plain = data.test.with_target("semantic").with_transform(None)

photo, mask = plain[0]
print("photo:", tuple(photo.shape), photo.dtype)
print("mask: ", tuple(mask.shape), mask.dtype, "values:", mask.unique().tolist())

# %%
# alt: Four rendered photos of ants and bees; below each the same photo with the insect's pixels
#   tinted in the colour of its class.
shown = [plain[i] for i in (0, 1, 2, 7)]
_ = plots.plot_masks([p for p, _ in shown], [m for _, m in shown], names)
plt.show()

# %% [markdown]
# ## How good is a mask?
#
# The obvious score is **pixel accuracy**: the share of pixels with the right class. Let us look at
# what the pixels of the test split are.

# %%
test_masks = torch.stack([mask for _, mask in plain])
pixels = test_masks.flatten().bincount(minlength=3)
for name, count in zip(names, pixels.tolist(), strict=True):
    print(f"{name:<11} {count:>8,} pixels  {count / pixels.sum().item():6.1%}")

# %% [markdown]
# Most pixels are background. That is the rule, not the exception: a tumour, a pole, an insect is a
# small part of its photo. The score that copes with it is **intersection over union**, one number
# a class:
#
# $$\text{IoU}_k = \frac{|\,\text{predicted as } k \;\cap\; \text{truly } k\,|}
# {|\,\text{predicted as } k \;\cup\; \text{truly } k\,|}$$
#
# It is 1 if the two sets of pixels are the same, and 0 if they share none. Missed pixels lower it,
# and so do pixels too many. **Mean IoU** is the mean over the classes, each with the same weight.
#
# ### ✏️ Your turn · Exercise 13.1: the model that finds nothing
#
# A model calls *every* pixel background. With the counts above: what is its pixel accuracy, and
# what its mean IoU over the three classes? Work both out before you go on, as a pair of fractions.
# Two digits are enough.

# %% tags=["exercise"]
answer = None  # (pixel accuracy, mean IoU)

# %% tags=["solution"]
accuracy = 813_265 / (813_265 + 101_489 + 191_166)
answer = (accuracy, accuracy / 3)  # background: accuracy, ants: 0, bees: 0

# %%
answer = check.nothing_found(answer)
# check.nothing_found.hint()       # remove the first "#" for a hint; run it again for a second one
# check.nothing_found.solution()   # ... and for a worked answer

# %% [markdown]
# Whoever reports pixel accuracy alone may be reporting this model.
#
# ### ✏️ Your turn · Exercise 13.2: IoU by hand
#
# Fill in `iou`. Two masks come in, `predicted` and `truth`, int64 of the same shape. Return a
# tensor with one IoU a class. Pixels whose truth is `ignore_index` have no truth and do not count
# at all; you will soon see where such pixels come from. (A class with no pixel in either mask may
# get any value, and must not stop the function.)


# %% tags=["exercise"]
def iou(predicted, truth, num_classes, ignore_index=255):
    """One intersection over union a class: float (num_classes,)."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def iou(predicted, truth, num_classes, ignore_index=255):
    """One intersection over union a class: float (num_classes,)."""
    known = truth != ignore_index
    values = []
    for k in range(num_classes):
        found, there = (predicted == k) & known, (truth == k) & known
        values.append((found & there).sum() / (found | there).sum())
    return torch.stack(values)


# %%
iou = check.iou(iou)
# check.iou.hint()

# %% [markdown]
# Compared with torchmetrics, on masks that are shifted by four pixels. (`jaccard_index` is IoU
# under the name of the botanist who used it first.)

# %%
shifted = test_masks.roll(4, dims=2)
by_hand = iou(shifted, test_masks, 3)
by_library = multiclass_jaccard_index(shifted, test_masks, 3, average="none")
print("the same as torchmetrics:", torch.allclose(torch.as_tensor(by_hand), by_library, atol=1e-4))
print("pixel accuracy:", round((shifted == test_masks).float().mean().item(), 2))
print("IoU:", {n: round(v, 2) for n, v in zip(names, by_library.tolist(), strict=True)})

# %% [markdown]
# Four pixels beside the animal, and accuracy still says 0.89. IoU is strict: thin ants keep half,
# and broad bees three quarters. One more decision hides in the formula: IoU is computed **over the
# whole split**, pixels of all photos together, not averaged photo by photo. A photo without a bee has
# no IoU for bees.
#
# ## A classifier is nearly a segmenter
#
# What does a ResNet do before its head? It makes a *map*, a small grid with 512 numbers at each
# place, then averages over all places.
#
# ### ✏️ Your turn · Exercise 13.3: the size of the map
#
# Our photos are 96 x 96 pixels. How many rows and columns has the map that comes out of `layer4`?
# (Lesson 01 went through the stem and the four stages.)

# %% tags=["exercise"]
size = None  # (rows, columns)

# %% tags=["solution"]
size = (96 // 32, 96 // 32)

# %%
size = check.map_size(size)
# check.map_size.hint()

# %% [markdown]
# Averaging and a linear head can change places: first the head at *every place*, then the average.
# A linear layer at every place is a convolution with a 1 x 1 kernel. So the classifier of lesson
# 01 gives an opinion for each place, and nobody ever asked for it:

# %%
still = segmentation_transforms(96)
classifier = ft.load_backbone("resnet18")
trunk = nn.Sequential(*list(classifier.children())[:-2])  # without the average and the head
image, _ = data.test.with_target("semantic").with_transform(still)[0]

with torch.no_grad():
    places = trunk(image[None])
    everywhere = F.conv2d(places, classifier.fc.weight[:, :, None, None], classifier.fc.bias)
    logits = classifier(image[None])

print("map:", tuple(places.shape), " opinions:", tuple(everywhere.shape))
print(
    "their mean is the classifier's answer:",
    torch.allclose(everywhere.mean((2, 3)), logits, atol=1e-3),
)

# %% [markdown]
# Enlarge these opinions to the size of the photo, and you have the **fully convolutional network**
# (FCN, 2015), the first of its kind. One thing stands against it here: nine opinions for 9,216
# pixels. How good could a *perfect* network get with so coarse a map? We can measure that, without
# any network: shrink the true masks to the grid, enlarge them again, and score them.


# %%
def through_grid(masks, side):
    """The best that a map of side x side places can say: the commonest class of each place."""
    shares = F.one_hot(masks, 3).permute(0, 3, 1, 2).float()
    commonest = F.adaptive_avg_pool2d(shares, side).argmax(1)
    return F.interpolate(commonest[:, None].float(), masks.shape[-2:], mode="nearest")[:, 0].long()


best = {
    side: torch.as_tensor(iou(through_grid(test_masks, side), test_masks, 3))
    for side in (3, 6, 12, 24, 48)
}
for side, values in best.items():
    print(f"{side:>2} x {side:<2} places: best mean IoU {values.mean():.2f}")

# %%
# alt: The true mask of an ant through grids of 3, 6, 12, 24 and 48 places a side: from a few blocks to the
#   full outline with its legs.
fig, axes = plt.subplots(1, 6, figsize=(12, 2.4))
for ax, side in zip(axes, (*best, 96), strict=True):
    one = plain[2][1] if side == 96 else through_grid(test_masks[2:3], side)[0]
    ax.imshow(one, cmap=COLOURS, vmin=0, vmax=2)
    ax.set_title("truth" if side == 96 else f"{side} x {side}", fontsize=13)
    ax.axis("off")
plt.show()

# %% [markdown]
# `layer4` knows *what* is there, but hardly *where*. `layer1`, with 24 x 24 places, knows where,
# and less of what. A **U-Net** (also 2015) takes both: start with the coarse map, enlarge it, add the next finer
# one, mix with a convolution, and so on up to the stem. All of its decoder fits on a screen:
# `ftcourse/tasks/segmentation.py`.

# %%
model = unet(ft.load_backbone("resnet18"), num_classes=3)
ft.apply_stage(model, ft.Stage(train="head"))

with torch.no_grad():
    maps = model.backbone(image[None])
    print({name: tuple(x.shape[1:]) for name, x in maps.items()})
    print("logits:", tuple(model(image[None]).shape))
print(ft.freeze_report(model))

# %% [markdown]
# The groups have the names that you know. The head is now the whole decoder, all of it new, and
# the stages of lessons 03 and 08 work on it as before.
#
# ## Photo and mask move together
#
# Augmentation has a new duty: flip the photo, and the mask must flip too. That is easily checked,
# and mistakes are seen at once. There is a mistake that is not seen.
#
# ### ✏️ Your turn · Exercise 13.4: find the bug
#
# A colleague's function enlarges photo and mask. It raises no error, and overlays look fine. Yet
# something is wrong with the masks that it returns. Find out what (look at their *values*).


# %%
def colleagues_enlarge(image, mask, size):
    """image float (3, H, W) and mask int64 (H, W), both enlarged to size x size."""
    image = V.resize(image, [size, size], interpolation=InterpolationMode.BILINEAR)
    mask = V.resize(mask[None], [size, size], interpolation=InterpolationMode.BILINEAR)
    return image, mask[0]


image, mask = plain[1][0] / 255, torch.as_tensor(plain[1][1])
image, mask = colleagues_enlarge(image, mask, 160)
print("enlarged to", tuple(image.shape), "and", tuple(mask.shape))

# %% [markdown]
# Write `enlarge`, which does it right for any size. The photo's interpolation stays bilinear.


# %% tags=["exercise"]
def enlarge(image, mask, size):
    """image float (3, H, W) and mask int64 (H, W), both enlarged to size x size."""
    raise NotImplementedError  # copy the colleague's lines and repair them


# %% tags=["solution"]
def enlarge(image, mask, size):
    """image float (3, H, W) and mask int64 (H, W), both enlarged to size x size."""
    image = V.resize(image, [size, size], interpolation=InterpolationMode.BILINEAR)
    mask = V.resize(mask[None], [size, size], interpolation=InterpolationMode.NEAREST)
    return image, mask[0]


# %%
enlarge = check.enlarge(enlarge)
# check.enlarge.hint()

# %% [markdown]
# Here is what the bug does to a photo that holds one bee and no ant:

# %%
bee = torch.as_tensor(plain[1][1])
blurred = V.resize(bee[None], [160, 160], interpolation=InterpolationMode.BILINEAR)[0]
nearest = V.resize(bee[None], [160, 160], interpolation=InterpolationMode.NEAREST)[0]
print("classes in the mask:   ", bee.unique().tolist())
print(
    "after bilinear resize: ", blurred.unique().tolist(), f"- {(blurred == 1).sum()} pixels of ant"
)
print("after nearest resize:  ", nearest.unique().tolist())

# %% [markdown]
# Half-way between 0 and 2 lies 1: each bee gets a rim of ant, and the network learns that bees
# have one. `torchvision.transforms.v2` knows the difference, if you say what is a mask: wrap it as
# `tv_tensors.Mask` (the built-in data does).
#
# ### Pixels without a truth
#
# Turn a photo by 15 degrees, and its corners come from nowhere. What is the truth there? There is
# none. Such pixels get a reserved number, 255 by custom, and are left out of the loss
# (`nn.CrossEntropyLoss(ignore_index=255)`) and of the score (your `iou`). Real data sets have them
# too: the rim of an object, or what the annotators could not tell.

# %%
empty = {tv_tensors.Image: 0, tv_tensors.Mask: 255}
turned, turned_mask = v2.RandomRotation((15, 15), fill=empty)(*plain[1])
print("values in the mask:", turned_mask.unique().tolist())
print("without a truth:", f"{(turned_mask == 255).float().mean():.0%} of the pixels")

logits = torch.zeros(1, 3, 96, 96, requires_grad=True)
F.cross_entropy(logits, turned_mask[None], ignore_index=255).backward()
void = (turned_mask == 255)[None, None].expand_as(logits)
print("gradient at these pixels is zero:", bool((logits.grad[void] == 0).all()))

# %%
# alt: Left, a photo of a bee turned by 15 degrees with black corners; right, its mask, with the
#   corners in grey as pixels without a truth.
fig, axes = plt.subplots(1, 2, figsize=(6, 3))
axes[0].imshow(turned.permute(1, 2, 0))
axes[1].imshow(np.ma.masked_equal(turned_mask, 255), cmap=COLOURS, vmin=0, vmax=2)
axes[1].set_facecolor("#C8C8C8")
for ax, title in zip(axes, ("photo", "mask; grey: no truth"), strict=True):
    ax.set_title(title, fontsize=13)
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## The same loop
#
# `finetune` is told what a batch, the loss and the score are: that is a **task**. `Segmentation`
# is cross-entropy at each pixel, and keeps the epoch with the best mean IoU on the validation
# split.


# %%
def with_masks(split, transform):
    return split.with_target("semantic").with_transform(transform)


moved = segmentation_transforms(96, train=True)
masks = replace(
    data,
    train=with_masks(data.train.subset(range(64)), moved),
    val=with_masks(data.val.subset(range(20)), still),
    test=with_masks(data.test, still),
)
task = Segmentation(num_classes=3)


def train(weights, groups):
    torch.manual_seed(0)
    model = unet(ft.load_backbone("resnet18", weights=weights), num_classes=3)
    stage = ft.Stage(train=groups, epochs=5, lr=1e-3, head_lr=3e-3)
    history = ft.finetune(
        model, masks, stage, task=task, batch_size=16, progress=False, preflight=False
    )
    return model, history, ft.evaluate(model, masks.test, task=task)


# %% [markdown]
# Three networks, the same in everything else: random weights; pocket weights with the backbone
# frozen; pocket weights, and all of it trains. 64 photos to learn from.

# %%
runs = {
    "from scratch": train(None, "all"),
    "frozen backbone": train("pocket", "head"),
    "fine-tuned": train("pocket", "all"),
}

# %% tags=["nbval-ignore-output"]
print("                 pixel accuracy   mean IoU   background  ants  bees")
for name, (_, _, test) in runs.items():
    per_class = "  ".join(f"{test[f'iou_{k}']:.2f}" for k in range(3))
    print(f"{name:<17} {test['accuracy']:12.2f} {test['miou']:10.2f}   {per_class:>21}")

# %%
miou = {name: test["miou"] for name, (_, _, test) in runs.items()}
accuracy = {name: test["accuracy"] for name, (_, _, test) in runs.items()}
print("fine-tuned is better than from scratch:", miou["fine-tuned"] > miou["from scratch"])
print("frozen is better than from scratch:", miou["frozen backbone"] > miou["from scratch"])
spread = {k: max(v.values()) - min(v.values()) for k, v in {"IoU": miou, "acc": accuracy}.items()}
print("mean IoU tells the three further apart than accuracy:", spread["IoU"] > spread["acc"])

# %%
# alt: Three test photos, their true masks and the masks predicted by the fine-tuned network.
chosen = range(3)
predicted, truth = ft.predict(runs["fine-tuned"][0], masks.test.subset(chosen), task=task)
_ = plots.plot_masks([plain[i][0] for i in chosen], truth, names, predicted=predicted)
plt.show()
print("class maps:", tuple(predicted.shape), predicted.dtype)

# %% [markdown]
# Where does it fail? Look at legs and antennae, which drown in a blob, and at animals that get two
# colours: the animal is found, but one part says ant and the other bee. No rule tells the network
# that one animal has one class; it answers for each pixel on its own.
#
# The frozen and the fine-tuned network lie close together here; 64 photos of a drawn world ask for
# little new. The gap to random weights is what the pre-training is worth.
#
# ## On real photos
#
# CamVid: photos from a moving car, and 11 classes that every driver knows. Three seeds of three
# networks take half an hour, so they were measured once, with the functions of this lesson
# (`benchmarks/segmentation.py`); this cell reads the results.

# %%
streets = results.load("segmentation")
photos = streets["setting"]["photos"]
print(f"{photos['train']} photos to train on, {photos['test']} to test; seeds {streets['seeds']}\n")
print(f"{'mean IoU, mean (min to max)':>60}   pixel accuracy")
for row in streets["summary"].values():
    scores = 100 * np.array(row["miou"])
    span = f"{scores.mean():.1f} % ({scores.min():.1f} to {scores.max():.1f})"
    print(f"{row['what']:<31} {span:>28} {100 * np.mean(row['accuracy']):>14.1f} %")

# %% [markdown]
# Pre-training pays, although the weights have never seen a street: the worst of the pre-trained runs is ahead of
# the best one from scratch. Whether fine-tuning beats the frozen backbone is less sure: its mean is higher, and
# the ranges of three seeds overlap. Class by class, mean of the seeds:

# %%
# alt: Bars of IoU for each of eleven street classes, from scratch in grey, frozen in blue and fine-tuned
#   in orange; sky, road, tree and building are high, and five classes have no bar at all.
rows = streets["summary"]
order = sorted(rows["fine-tuned"]["iou"], key=rows["fine-tuned"]["iou"].get, reverse=True)
fig, ax = plt.subplots(figsize=(10, 3.8))
for k, (arm, colour) in enumerate(zip(rows, (GREY, BLUE, ORANGE), strict=True)):
    bars = [rows[arm]["iou"][c] for c in order]
    ax.bar(np.arange(len(order)) + 0.27 * (k - 1), bars, 0.25, color=colour, label=arm)
ax.set_xticks(range(len(order)), order, rotation=35, ha="right")
ax.set(ylabel="IoU on test", ylim=(0, 1))
accuracy, miou_mean = (np.mean(rows["fine-tuned"][k]) for k in ("accuracy", "miou"))
ax.set_title(
    f"fine-tuned: pixel accuracy {100 * accuracy:.0f} %, mean IoU {100 * miou_mean:.0f} %",
    loc="left",
)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ### ✏️ Your turn · Exercise 13.5: read the bars
#
# Which of these does the plot show? Give **all** letters that apply.
#
# - **a** Pixel accuracy and mean IoU say the same.
# - **b** Pixel accuracy is carried by the large classes: a network that never finds five of the classes
#   can still have a good one.
# - **c** Pre-trained weights do not help, because streets were not in their data.
# - **d** The small and thin classes are the hard ones, whatever the start.

# %% tags=["exercise"]
answer = None  # one or more letters in quotes

# %% tags=["solution"]
answer = "b, d"

# %%
answer = check.read_bars(answer)
# check.read_bars.hint()

# %% [markdown]
# Poles, signs, fences, pedestrians and cyclists are found by none of the three. The photos were shrunk to
# 128 x 96, where a pole is about a pixel wide, and the loss is a mean over pixels: giving up a class with few
# pixels costs next to nothing. Larger photos, weights for the rare classes (`Segmentation(class_weights=...)`) and
# longer training are what one tries next. Only the bars told you that you need it.
#
# ## Now with ImageNet weights
#
# DeepLabV3 on a ResNet-50, trained by torchvision on 21 classes: it finds the person in a photo
# without any fine-tuning. It downloads 161 MB, so it runs only with `FTCOURSE_PROFILE=full`. For
# your own classes, replace the last convolution, `large.classifier[4]`, and call `finetune` as
# above: `Segmentation` takes what torchvision's models return.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    from torchvision.models.segmentation import DeepLabV3_ResNet50_Weights, deeplabv3_resnet50

    from ftcourse.exercises import samples

    weights = DeepLabV3_ResNet50_Weights.DEFAULT
    large = deeplabv3_resnet50(weights=weights).eval()
    hopper = samples.sample_photos()["Grace Hopper"]
    inputs = weights.transforms()(hopper)[None]
    with torch.no_grad():
        found = large(inputs)["out"].argmax(1)[0]
    categories = weights.meta["categories"]
    shares = {categories[k]: (found == k).float().mean().item() for k in found.unique().tolist()}
    print({name: f"{share:.0%}" for name, share in shares.items()})
    _ = plots.plot_masks([V.resize(hopper, list(found.shape))], [found], categories)
    plt.show()
    large.classifier[4] = nn.Conv2d(256, 3, 1)  # for our three classes
    print(list(ft.layer_groups(large)))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You ask for IoU by class when somebody shows you pixel accuracy.
# - You compute it over the whole split, without the pixels that have no truth.
# - You build a segmentation network from a classifier, and know what the finer maps are for.
# - You resize masks by the nearest pixel, or wrap them as `tv_tensors.Mask`.
# - You fine-tune it with the same stages, and look at each class before you believe the mean.

# %%
print(progress.summary("13"))

# %% [markdown]
# ## Common questions
#
# **Should the loss weigh rare classes more?** You can: `Segmentation(3, class_weights=...)`. It
# buys recall of the rare class with false alarms. Measure IoU of each class with and without; a
# gain in one is often a loss in another. Many use the Dice loss in addition, which is close to
# IoU itself.
#
# **My masks are colours, not class numbers.** Build the number image once, and store it as PNG
# with one channel. JPEG changes values, and so spoils masks.
#
# **How many masks do I need?** Fewer than you would need labels, since each photo has thousands of
# pixels; but pixels of one photo are alike. Count photos.
#
# **I need to count the animals.** Semantic segmentation melts two touching bees into one region. That is
# instance segmentation, or detection: the next lesson.
#
# ## One step further
#
# - Use `fcn(backbone, 3)` from `ftcourse.tasks.segmentation`, torchvision's network with one
#   coarse map. Does it stay below the bound that you computed?
# - Train with the target `"parts"`: `ftcourse.data.insects.PARTS` has their names.
# - Give the background less weight in the loss. Which IoU rises, which falls?
#
# **Next:** [14. Object detection](14_object_detection.ipynb), where each animal gets a box of its own.
