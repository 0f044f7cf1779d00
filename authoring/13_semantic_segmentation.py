# %% [markdown]
# # 13. Semantic segmentation
#
# So far a photo had one label. Many questions need more: *which pixels* are road, tumour, insect?
# Semantic segmentation gives each pixel a class. Backbone and `finetune` are the ones you know; the
# head is new, and so is how you measure.
#
# **What you will be able to do**
#
# - judge masks by intersection over union (IoU), and say what pixel accuracy hides;
# - turn a classifier into a segmentation network;
# - move photo and mask together without spoiling the mask;
# - fine-tune it, and read the result class by class.

# %%
from dataclasses import replace

import numpy as np
import torch
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
from ftcourse.plots.images import overlay
from ftcourse.tasks.segmentation import Segmentation, segmentation_transforms, unet

_ = torch.manual_seed(0)

opening.show(lesson="13", seconds=30, minutes=35)

# %% [markdown]
# ## See it work
#
# First, what you are going to build. The network of this lesson has learnt from 400 drawn photos for
# ten epochs (minutes, not seconds, so the run was stored with its answers). These are the first four
# test photos, the true masks, and what the network found.

# %%
# alt: Four rendered photos of ants and bees in the top row, the true masks in the middle, each insect tinted
#   in the colour of its class, and below the masks that the stored network predicted: the right class and
#   outline each time, without the thinnest legs.
data = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
names = ["background", *data.classes]
plain = data.test.with_target("semantic").with_transform(None)

longer = results.load("insects_longer")["tasks"]["masks"]


def unpacked(runs):
    """A stored mask: runs of equal pixels, row by row."""
    values, lengths = torch.tensor(runs["values"]), torch.tensor(runs["lengths"])
    return values.repeat_interleave(lengths).reshape(96, 96)


stored = torch.stack([unpacked(runs) for runs in longer["shown"]["found"]])
first = [plain[i] for i in range(len(stored))]
plots.plot_masks([p for p, _ in first], [m for _, m in first], names, predicted=stored)

# %% [markdown]
# Made by `python benchmarks/insects_longer.py`; how good it is, you will measure below.
#
# ## A class for each pixel
#
# The target `"semantic"` is an integer image of the size of the photo: 0 where there is background,
# 1 on an ant, 2 on a bee.

# %%
photo, mask = plain[0]
print("photo:", tuple(photo.shape), photo.dtype)
print("mask: ", tuple(mask.shape), mask.dtype, "values:", mask.unique().tolist())

# %% [markdown]
# ## How good is a mask?
#
# The obvious score is **pixel accuracy**: the share of pixels with the right class. First, then: what
# are the pixels of the test split?

# %%
test_masks = torch.stack([mask for _, mask in plain])
pixels = test_masks.flatten().bincount(minlength=3)
for name, count in zip(names, pixels.tolist(), strict=True):
    print(f"{name:<11} {count:>8,} pixels  {count / pixels.sum().item():6.1%}")

# %% [markdown]
# Most pixels are background, as they are in many tasks: a tumour, a pole, an insect is a small part of
# its photo. A score that copes with it is **intersection over union**, one number a class:
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
# Compared with torchmetrics (`jaccard_index` is another name of IoU), on true masks that are shifted by
# four pixels:

# %%
shifted = test_masks.roll(4, dims=2)
by_hand = torch.as_tensor(iou(shifted, test_masks, 3))
by_library = multiclass_jaccard_index(shifted, test_masks, 3, average="none")
print("            by hand  torchmetrics")
for name, mine, theirs in zip(names, by_hand.tolist(), by_library.tolist(), strict=True):
    print(f"{name:<11} {mine:7.2f} {theirs:13.2f}")
print(f"pixel accuracy {(shifted == test_masks).float().mean():.2f}")
assert torch.allclose(by_hand.float(), by_library, atol=1e-4), "iou and torchmetrics differ"

# %% [markdown]
# Four pixels beside the animal, and accuracy still says 0.89. IoU is strict: thin ants keep half, and
# broad bees three quarters. One more decision hides in the formula: IoU is computed **over the whole
# split**, pixels of all photos together, not averaged photo by photo. A photo without a bee has no IoU
# for bees.
#
# Now the stored network, beside the model that finds nothing:

# %%
nothing = torch.zeros_like(test_masks)
four = test_masks[: len(stored)]


def line(what, accuracy, values):
    values = [float(v) for v in values]
    each = "".join(f"{v:12.2f}" for v in values)
    print(f"{what:<32}{accuracy:9.2f}{sum(values) / 3:10.2f}{each}")


heads = "".join(f"{n:>12}" for n in names)
print(f"{'':<32} accuracy  mean IoU{heads}")
line("finds nothing", float((nothing == test_masks).float().mean()), iou(nothing, test_masks, 3))
line("stored: the four photos above", float((stored == four).float().mean()), iou(stored, four, 3))
for run in longer["runs"]:
    line(f"stored: {len(plain)} test photos, seed {run['seed']}", run["accuracy"], run["iou"])

# %% [markdown]
# The pixel accuracy of a model without any use is 0.74, its mean IoU 0.25. From here on the score is IoU.
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
apart = (everywhere.mean((2, 3)) - logits).abs().max()
print(f"largest difference between their mean and the classifier's logits: {apart:.3f}")

# %% [markdown]
# Enlarge these opinions to the size of the photo, and you have a **fully convolutional network**
# ([FCN](https://arxiv.org/abs/1411.4038), 2015). One thing stands against it here: nine opinions for 9,216
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
# alt: The true mask of an ant through grids of 3, 6, 12, 24 and 48 places a side, on its photo: nothing is left
#   at 3, a few blocks at 6, the outline of the body at 24, nearly all of the legs at 48.
ant, truth = plain[2]
grids = [through_grid(test_masks[2:3], side)[0] for side in best]
ft.show_images([overlay(ant, m) for m in (*grids, truth)], [*(f"{n} x {n}" for n in best), "truth"])

# %% [markdown]
# `layer4` knows *what* is there, but hardly *where*. `layer1`, with 24 x 24 places, knows where, and
# less of what. A [U-Net](https://arxiv.org/abs/1505.04597) (2015) takes both: start with the coarse map,
# enlarge it, join it with the next finer one, mix by a convolution, and so on up to the stem. The
# original *concatenates* the two maps. Ours *adds* them, as a
# [feature pyramid network](https://arxiv.org/abs/1612.03144) (FPN, 2017) does: fewer weights, the same
# idea. All of its decoder fits on a screen: `ftcourse/tasks/segmentation.py`.

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
# Half-way between 0 and 2 lies 1: each bee gets a rim of ant, and that is what the network would be
# taught. `torchvision.transforms.v2` knows the difference, if you say what is a mask: wrap it as
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
print(f"largest gradient at these pixels: {logits.grad[void].abs().max():.1e}")

# %%
# alt: A photo of a bee turned by 15 degrees with black corners, and below it its mask, with the corners in
#   grey as pixels without a truth.
plots.plot_masks([turned], [turned_mask], names)

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
# frozen; pocket weights, and all of it trains. 64 photos and five epochs: seconds, where the stored
# run took minutes.

# %%
runs = {
    "from scratch": train(None, "all"),
    "frozen backbone": train("pocket", "head"),
    "all layers": train("pocket", "all"),
}

# %% tags=["nbval-ignore-output"]
print(f"{'':<32} accuracy  mean IoU{heads}")
line("finds nothing", float((nothing == test_masks).float().mean()), iou(nothing, test_masks, 3))
for name, (_, _, test) in runs.items():
    line(name, test["accuracy"], [test[f"iou_{k}"] for k in range(3)])
line("stored, 400 photos", longer["runs"][0]["accuracy"], longer["runs"][0]["iou"])

scores = {name: test for name, (_, _, test) in runs.items()}
for name in ("frozen backbone", "all layers"):
    assert scores[name]["miou"] > scores["from scratch"]["miou"] + 0.05, (
        f"{name} should be ahead of random weights by mean IoU; have you changed `train` or the stage?"
    )
assert longer["runs"][0]["miou"] > scores["all layers"]["miou"] + 0.1

# %% [markdown]
# By pixel accuracy the short runs hardly differ from a model that finds nothing. By IoU you see what
# they found: the two with pre-trained weights are ahead of random ones, and both are far behind the
# stored run, which had six times as many photos and twice as many epochs. Between frozen and fine-tuned
# one seed decides nothing.

# %%
# alt: Three test photos, their true masks and the masks predicted by the network that was fine-tuned for five
#   epochs: blobs at the right place, some of them in two colours.
predicted, truth = ft.predict(runs["all layers"][0], masks.test, task=task)
plots.plot_masks([p for p, _ in first[1:]], truth[1:4], names, predicted=predicted[1:4])

# %% [markdown]
# Where does it fail? Look at legs and antennae, which drown in a blob, and at animals that get two
# colours: the animal is found, but one part says ant and the other bee. No rule tells the network
# that one animal has one class; it answers for each pixel on its own. (You will tell it in 13.6.)
#
# ## On real photos
#
# CamVid: photos from a moving car, and 11 classes that every driver knows. Three seeds of three
# networks take a quarter of an hour, so they were measured once, with the functions of this lesson
# (`benchmarks/segmentation.py`); this cell reads the results.

# %%
streets = results.load("segmentation")
photos = streets["setting"]["photos"]
print(f"{photos['train']} photos to train on, {photos['test']} to test; seeds {streets['seeds']}\n")
print(f"{'mean IoU, mean (min to max)':>60}   pixel accuracy")
for row in streets["summary"].values():
    percent = 100 * np.array(row["miou"])
    span = f"{percent.mean():.1f} % ({percent.min():.1f} to {percent.max():.1f})"
    print(f"{row['what']:<31} {span:>28} {100 * np.mean(row['accuracy']):>14.1f} %")

# %% [markdown]
# Pre-training pays, although the weights have never seen a street: the worst of the pre-trained runs is ahead of
# the best one from scratch. Whether fine-tuning beats the frozen backbone is less sure: its mean is higher, and
# the ranges of three seeds overlap. Class by class, mean of the seeds:

# %%
# alt: Bars of IoU for each of eleven street classes, from scratch in black, frozen in blue and with all layers
#   trained in orange; sky, road, tree and building are high, and five classes have no bar at all.
rows = streets["summary"]
arms = {"from scratch": "scratch", "frozen backbone": "frozen", "all layers": "fine-tuned"}
overall = 100 * np.mean(rows["fine-tuned"]["accuracy"]), 100 * np.mean(rows["fine-tuned"]["miou"])
plots.plot_class_scores(
    {name: rows[arm]["iou"] for name, arm in arms.items()},
    ylabel="IoU on test",
    title="all layers: pixel accuracy {:.0f} %, mean IoU {:.0f} %".format(*overall),
)

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
# Sky, road, trees and buildings work. Poles, signs, fences, pedestrians and cyclists are found by none of the
# three. The photos were shrunk to 128 x 96, where most poles are one pixel wide, and the loss is a mean over
# pixels: poles are 0.6 % of them, so giving them up costs next to nothing. Larger photos, weights for the rare
# classes (`Segmentation(class_weights=...)`) and longer training are what one tries next. Only the bars told you
# that you need it.
#
# ## An animal has one class
#
# ### ✏️ Your turn · Exercise 13.6: tidy the masks
#
# An open task. The network answers pixel by pixel; you know more: **each of these photos holds one
# animal**. Write `tidy`, which takes a predicted mask, int64 (H, W), and returns a better one. Any way
# is right. The check draws masks of animals in two colours, with specks beside them, and prints their
# mean IoU before and after; change your function until it is at least 0.9.


# %% tags=["exercise"]
def tidy(mask):
    """A predicted mask of one animal, int64 (H, W), mended."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def tidy(mask):
    """A predicted mask of one animal, int64 (H, W), mended."""
    animal = mask > 0
    if not animal.any():
        return mask
    return torch.where(animal, mask[animal].mode().values, mask)


# %%
tidy = check.tidy(tidy)
# check.tidy.hint()

# %% [markdown]
# And with the masks that your network predicted for the test photos?

# %% tags=["nbval-ignore-output"]
tidied = torch.stack([torch.as_tensor(tidy(m)) for m in predicted])
print(f"{'':<32} accuracy  mean IoU{heads}")
for what, m in (("as predicted", predicted), ("tidied", tidied)):
    line(what, float((m == truth).float().mean()), iou(m, truth, 3))

winners, animals = (m.flatten(1).amax(1) for m in (tidied, truth))
right = int((winners == animals).sum())
print(f"the vote names the right class on {right} of {len(animals)} photos")
assert right < 0.95 * len(animals), "it is nearly always right: have you trained longer?"

# %% [markdown]
# On the masks of the check most pixels of an animal were right, so a vote mended them. Here one vote in five or
# so is lost, and a lost vote makes the whole animal wrong: what it costs is about what the others gain. The four
# stored masks above would not change either: each has one class already. A rule that is true of your photos need
# not help your network. Measure it before you keep it.
#
# ## Now with ImageNet weights
#
# DeepLabV3 on a ResNet-50, trained by torchvision on 21 classes: it finds the person in a photo
# without any fine-tuning. It downloads 161 MB, so it runs only with `FTCOURSE_PROFILE=full`. For
# your own classes, replace the last convolution, `large.classifier[4]`, and call `finetune` as
# above: `Segmentation` takes what torchvision's models return.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    import matplotlib.pyplot as plt
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
# - You look at each class before you believe the mean, and put in what you know of your photos.

# %%
print(progress.summary("13"))

# %% [markdown]
# ## Common questions
#
# **Should the loss weigh rare classes more?** You can: `Segmentation(3, class_weights=...)`. Expect more
# pixels of the rare class to be found, and more false alarms; compare the IoU of each class with and without.
# Many add the Dice loss, which is a smooth form of 2|A ∩ B| / (|A| + |B|), a close relative of IoU.
#
# **My masks are colours, not class numbers.** Build the number image once, and store it as PNG
# with one channel. JPEG changes values, and so spoils masks.
#
# **How many masks do I need?** Count photos, not pixels: pixels of one photo are alike. Lesson 10 shows how
# to find out.
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
