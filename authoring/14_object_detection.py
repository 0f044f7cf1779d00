# %% [markdown]
# # 14. Object detection
#
# How many bees are on this photo, and where? A label cannot say, and a mask melts two bees that
# touch into one. Detection gives each animal a **box** and a class. The backbone is the one you
# know. New is the kind of answer: a photo may have two boxes, or twelve, or none.
#
# **What you will be able to do**
#
# - compute the overlap of two boxes (IoU), and say when a box counts as right;
# - explain how a network with a fixed number of outputs finds any number of objects, and write
#   non-maximum suppression;
# - flip a photo together with its boxes, and find the bug in a version that does it wrong;
# - fine-tune one of torchvision's detectors with the same loop;
# - read a precision-recall curve and mean average precision, and choose a threshold.

# %%
import importlib.util

import matplotlib.pyplot as plt
import numpy as np
import torch
from torchvision import ops

import ftcourse as ft
from ftcourse import plots, results
from ftcourse.exercises import lesson14 as check
from ftcourse.exercises import opening, progress
from ftcourse.tasks.detection import Detection, detection_transforms, fcos

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"
_ = torch.manual_seed(0)

opening.show(lesson="14", seconds=25, minutes=35)
if importlib.util.find_spec("pycocotools") is None:
    print("run first: %pip install -q pycocotools")

# %% [markdown]
# ## Boxes
#
# With `scene=True`, Pocket Insects draws two to four animals a photo. The target is a dict: the
# boxes as left, top, right, bottom in pixels, and one label a box. Labels begin at 1, because
# torchvision's detectors keep 0 for "nothing here".

# %%
data = ft.load_data(
    "pocket-insects", classes=("ants", "bees"), scene=True,
    per_class=50, val_per_class=10, test_per_class=30, progress=False,
)  # fmt: skip
names = ["background", *data.classes]
plain = data.test.with_transform(None)

photo, target = plain[0]
print("photo:", tuple(photo.shape), photo.dtype)
print("boxes:", target["boxes"].int().tolist())
print("labels:", target["labels"].tolist(), "=", [names[k] for k in target["labels"].tolist()])
counts = [len(plain[i][1]["labels"]) for i in range(len(plain))]
print("animals on the first ten photos:", counts[:10])

# %%
# alt: Four rendered photos, each with two to four ants and bees, and a labelled box around each.
shown = [plain[i] for i in range(4)]
_ = plots.plot_boxes([p for p, _ in shown], [t for _, t in shown], names)
plt.show()

# %% [markdown]
# ## When is a box right?
#
# No predicted box is exactly the true one. The field measures overlap as for masks, by
# intersection over union:
#
# $$\text{IoU}(A, B) = \frac{\text{area of } A \cap B}{\text{area of } A + \text{area of } B -
# \text{area of } A \cap B}$$
#
# and calls a box right if its class is right and its IoU with a true box is above some limit, often 0.5.
#
# ### ✏️ Your turn · Exercise 14.1: the IoU of two boxes
#
# Fill in `box_iou`. `a` and `b` are float tensors (4,): left, top, right, bottom. Mind boxes that
# do not meet.


# %% tags=["exercise"]
def box_iou(a, b):
    """Intersection over union of two boxes; one number."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def box_iou(a, b):
    """Intersection over union of two boxes; one number."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    return shared / (area_a + area_b - shared)


# %%
box_iou = check.box_iou(box_iou)
# check.box_iou.hint()       # remove the first "#" for a hint; run it again for a second one
# check.box_iou.solution()   # ... and for a worked answer

# %% [markdown]
# How strict is it? A box of 40 x 30 pixels, shifted along the diagonal:

# %%
box = torch.tensor([20.0, 20.0, 60.0, 50.0])
for shift in (0, 2, 5, 8, 12):
    print(f"shifted by {shift:>2} pixels: IoU {float(box_iou(box, box + shift)):.2f}")

# %% [markdown]
# ## Any number of boxes from a fixed number of outputs
#
# The trick of modern detectors: **every place of the map makes an offer.** A place says, for each
# class, how sure it is that an object of that class is here, and how far it is to the object's left,
# top, right and bottom edge. That detector is called FCOS (2019), and torchvision has it. It looks
# at several maps at once, fine ones for small objects and coarse ones for large objects; a *feature
# pyramid* mixes them as the U-Net of lesson 13 does.
#
# `fcos` puts torchvision's FCOS on the backbone. Its layer groups have the names you know.

# %%
torch.manual_seed(0)
model = fcos(ft.load_backbone("resnet18"), num_classes=len(names), size=96)

with torch.no_grad():
    maps = model.backbone(torch.zeros(1, 3, 96, 96))
print("maps:", {name: tuple(x.shape[1:]) for name, x in maps.items()})
print("offers a photo:", sum(x.shape[2] * x.shape[3] for x in maps.values()))
print("groups:", list(ft.layer_groups(model)))

# %% [markdown]
# 193 offers, for two to four animals. Most say "nothing here" and are dropped. But a bee covers several places,
# and each of them offers a box, nearly the same one. Somebody has to clear up.
#
# ### Non-maximum suppression
#
# The rule, called NMS: take the boxes by falling score. Keep a box, unless it overlaps one that is
# **already kept** by more than a threshold.
#
# ### ✏️ Your turn · Exercise 14.2: who survives?
#
# Four boxes of one class, the threshold is 0.5. Work it out by hand. Which boxes are kept? Give **all**
# letters, such as `"a, b"`.
#
# | box | left, top, right, bottom | score |
# | --- | --- | --- |
# | **a** | 0, 0, 10, 10 | 0.9 |
# | **b** | 1, 0, 11, 10 | 0.8 |
# | **c** | 4, 0, 14, 10 | 0.7 |
# | **d** | 20, 20, 30, 30 | 0.6 |

# %% tags=["exercise"]
answer = None  # one or more letters in quotes

# %% tags=["solution"]
answer = "a, c, d"

# %%
answer = check.survivors(answer)
# check.survivors.hint()

# %% [markdown]
# ### ✏️ Your turn · Exercise 14.3: write it
#
# Fill in `nms`. `boxes` is (n, 4), `scores` (n,). Return the positions of the boxes that are kept, best
# first; for no boxes, an empty list. You have `box_iou`.


# %% tags=["exercise"]
def nms(boxes, scores, threshold):
    """Positions of the boxes that are kept, best first."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def nms(boxes, scores, threshold):
    """Positions of the boxes that are kept, best first."""
    kept = []
    for i in scores.argsort(descending=True).tolist():
        if all(box_iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


# %%
nms = check.nms(nms)
# check.nms.hint()

# %%
g = torch.Generator().manual_seed(1)
corner, side = (
    torch.randint(0, 60, (40, 2), generator=g),
    torch.randint(20, 40, (40, 2), generator=g),
)
many, scores = torch.cat([corner, corner + side], 1).float(), torch.rand(40, generator=g)

kept = set(torch.as_tensor(nms(many, scores, 0.4)).tolist())
print("of 40 boxes", len(kept), "are kept")
print("as torchvision.ops.nms:", kept == set(ops.nms(many, scores, 0.4).tolist()))

# %% [markdown]
# NMS has a price: two bees that truly overlap by more than the threshold become one. With masks
# you could not count touching animals; with boxes you cannot count heaps.
#
# ## Photo and boxes move together
#
# ### ✏️ Your turn · Exercise 14.4: find the bug
#
# A colleague's function mirrors a photo and its boxes. It raises no error. What is wrong with the
# boxes that it returns?


# %%
def colleagues_flip(image, boxes):
    """Mirror image (3, H, W) left to right, and its boxes (n, 4) with it."""
    boxes = boxes.clone()
    boxes[:, 0] = image.shape[-1] - boxes[:, 0]
    boxes[:, 2] = image.shape[-1] - boxes[:, 2]
    return image.flip(-1), boxes


mirrored, moved = colleagues_flip(photo, torch.as_tensor(target["boxes"]))
print("before:", target["boxes"][0].int().tolist(), " after:", moved[0].int().tolist())

# %% [markdown]
# Write `flip`, which does it right, and leaves what came in as it was.


# %% tags=["exercise"]
def flip(image, boxes):
    """Mirror image (3, H, W) left to right, and its boxes (n, 4) with it."""
    raise NotImplementedError  # copy the colleague's lines and repair them


# %% tags=["solution"]
def flip(image, boxes):
    """Mirror image (3, H, W) left to right, and its boxes (n, 4) with it."""
    width = image.shape[-1]
    left, top, right, bottom = boxes.unbind(1)
    return image.flip(-1), torch.stack([width - right, top, width - left, bottom], 1)


# %%
flip = check.flip(flip)
# check.flip.hint()

# %%
# alt: A photo and its mirror image, with boxes around the same animals in both.
mirrored, moved = flip(photo, torch.as_tensor(target["boxes"]))
_ = plots.plot_boxes([photo, mirrored], [target, {**target, "boxes": moved}], names)
plt.show()

# %% [markdown]
# Always draw a few boxes *after* the augmentation, as here. `torchvision.transforms.v2` moves
# boxes that are wrapped as `tv_tensors.BoundingBoxes`; the built-in data does so.
#
# ## The same loop
#
# The task says what differs: a batch is a *list* of photos and a list of targets; the detector returns
# its own losses in training (class, box, and how central the place is) and finished boxes
# otherwise. The epoch with the best mAP is kept; what that is, you will see below.

# %%
scenes = data.with_transforms(detection_transforms(train=True), detection_transforms())
task = Detection()

stage = ft.Stage(train="all", epochs=6, lr=1e-3, head_lr=3e-3)
history = ft.finetune(
    model, scenes, stage, task=task, batch_size=8, progress=False, preflight=False
)

# %%
# alt: Three panels: the training loss falls over six epochs, mean average precision on validation
#   rises, and the learning rates fall to zero.
_ = history.plot()
plt.show()
loss = history.column("train_loss")
print("the training loss has fallen:", loss[-1] < loss[0])
print("the backbone has moved as well:", ft.freeze_report(model).rows[0]["moved"] > 0)

# %%
# alt: Four test photos with predicted boxes, their classes and scores; the true boxes are dashed.
found, truth = ft.predict(model, scenes.test, task=task)
_ = plots.plot_boxes(
    [plain[i][0] for i in range(4)], found[:4], names, truth=truth[:4], threshold=0.4
)
plt.show()

# %% [markdown]
# The dashed boxes are the truth. Look for each kind of mistake: a missed animal, a box too many,
# a wrong class, a box that is too small. After so short a training *where* is answered much better
# than *what*: with 25 pixels an animal, ants and bees are hard to tell apart. And since NMS works
# class by class, one animal may get a box of each.
#
# ## Precision and recall
#
# Two questions, two numbers. **Precision**: of the boxes that are shown, how many are right?
# **Recall**: of the animals, how many were found? The score threshold trades one for the other:
# show only sure boxes, and precision is high; show every guess, and recall is high.


# %%
def right_boxes(found, truth, label, limit=0.5):
    """Scores of all boxes of a class, and whether each is right: it takes a true box that is still free."""
    scores, right = [], []
    for f, t in zip(found, truth, strict=True):
        free = t["boxes"][t["labels"] == label]
        mine = f["labels"] == label
        for box, score in zip(f["boxes"][mine], f["scores"][mine], strict=True):
            overlaps = ops.box_iou(box[None], free)[0] if len(free) else torch.zeros(1)
            hit = bool(overlaps.max() > limit)
            if hit:
                free = free[torch.arange(len(free)) != overlaps.argmax()]
            scores.append(float(score))
            right.append(hit)
    order = np.argsort(scores)[::-1]
    return np.array(scores)[order], np.array(right)[order]


# %%
# alt: Precision against recall for ants and for bees, falling from the upper left; dots mark the
#   threshold 0.4.
fig, ax = plt.subplots(figsize=(6.4, 4.2))
by_hand = {}
for label, colour in ((1, BLUE), (2, ORANGE)):
    scores, right = right_boxes(found, truth, label)
    animals = sum(int((t["labels"] == label).sum()) for t in truth)
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    recall = right.cumsum() / animals
    best = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or more
    by_hand[label] = float((np.diff(recall, prepend=0) * best).sum())
    ax.plot(recall, precision, color=colour, lw=2.2, label=names[label])
    at = int((scores >= 0.4).sum()) - 1
    if at >= 0:
        ax.plot(recall[at], precision[at], "o", ms=11, mec="white", color=colour)
ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.03))
ax.set_title("one network, all thresholds; dots: 0.4", loc="left")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Both curves stay near one half, then fall steeply: that is what boxes in the right place with a
# guessed class look like. Follow a curve from the left: the threshold falls, more boxes are shown,
# more animals found, and more of the boxes are wrong. The area below the curve is the **average
# precision** (AP), and its mean over the classes is **mAP**. `map_50` counts a box as right above an
# IoU of 0.5. COCO's `map` is stricter: the mean over the limits 0.5, 0.55, ... 0.95.

# %%
test = ft.evaluate(model, scenes.test, task=task)
print(
    "map_50 by hand is that of torchmetrics:",
    abs(np.mean(list(by_hand.values())) - test["map_50"]) < 0.03,
)
print("map_50 above 0.25:", test["map_50"] > 0.25)
print("map is lower than map_50:", test["map"] < test["map_50"])

# %% [markdown]
# ### ✏️ Your turn · Exercise 14.5: choose a threshold
#
# A laboratory uses your detector to find white blood cells. A missed cell is a serious mistake; a
# wrong box costs a technician two seconds. The detector misses too many. What do you do first?
#
# - **a** Raise the score threshold, so that only good boxes are left.
# - **b** Choose the network with the higher mAP and keep its threshold.
# - **c** Lower the score threshold, and accept a lower precision.
# - **d** Lower the threshold of non-maximum suppression.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "c"

# %%
answer = check.threshold(answer)
# check.threshold.hint()

# %% [markdown]
# ## On real photos
#
# BCCD: blood under the microscope, with red cells, white cells and platelets. The same FCOS, once with
# pocket weights in its backbone and once with random ones, over three seeds. That takes a while, so it was
# measured once (`benchmarks/detection.py`); this cell reads the results.

# %%
cells = results.load("detection")
photos = cells["setting"]["photos"]
print(f"{photos['train']} photos to train on, {photos['test']} to test; seeds {cells['seeds']}\n")
print(f"{'map_50, mean (min to max)':>56}    RBC   WBC   platelets")
for row in cells["summary"].values():
    half = 100 * np.array(row["map_50"])
    span = f"{half.mean():.1f} % ({half.min():.1f} to {half.max():.1f})"
    red, white, small = (100 * v for v in row["map_50_class"].values())
    print(f"{row['what']:<28}{span:>28}   {red:3.0f} %  {white:3.0f} %  {small:3.0f} %")

# %%
# alt: Three panels of precision against recall, for red cells, white cells and platelets; the
#   pre-trained curve in orange, from scratch in grey.
fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
for ax, name in zip(axes, cells["summary"]["scratch"]["precision"], strict=True):
    for arm, colour in (("scratch", GREY), ("fine-tuned", ORANGE)):
        curve = cells["summary"][arm]["precision"][name]
        ax.plot(np.linspace(0, 1, len(curve)), curve, color=colour, lw=2.2, label=arm)
    ax.set(xlabel="recall", xlim=(0, 1), ylim=(0, 1.03))
    ax.set_title({"RBC": "red cells", "WBC": "white cells"}.get(name, name.lower()), loc="left")
axes[0].set_ylabel("precision")
axes[0].legend(frameon=False, loc="lower left")
plt.show()

# %% [markdown]
# In the same eight epochs the detector with pocket weights gets far ahead, most of all on red cells, which lie in
# heaps and have to be told apart. (From scratch it was still rising when it stopped.) White cells are large and
# have a colour of their own; both find them. Platelets are found by neither: the photos were shrunk to 128 x 96,
# where a platelet is 8 pixels wide, no more than one place of the finest map that the detector looks at. A larger
# `size` is what to try then, before longer training.
#
# ## Now with ImageNet weights
#
# Torchvision's `fasterrcnn_resnet50_fpn_v2`, trained on the 80 kinds of things in COCO. It
# downloads 167 MB, so it runs only with `FTCOURSE_PROFILE=full`. For your own classes its box
# predictor is replaced; `layer_groups`, stages and `Detection` work on it as they are.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    from torchvision.models.detection import (
        FasterRCNN_ResNet50_FPN_V2_Weights,
        fasterrcnn_resnet50_fpn_v2,
    )
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

    from ftcourse.exercises import samples

    weights = FasterRCNN_ResNet50_FPN_V2_Weights.DEFAULT
    large = fasterrcnn_resnet50_fpn_v2(weights=weights).eval()
    hopper = samples.sample_photos()["Grace Hopper"]
    with torch.no_grad():
        answers = large([weights.transforms()(hopper)])
    _ = plots.plot_boxes([hopper], answers, weights.meta["categories"], threshold=0.6, columns=1)
    plt.show()
    inputs = large.roi_heads.box_predictor.cls_score.in_features
    large.roi_heads.box_predictor = FastRCNNPredictor(inputs, len(names))
    print(list(ft.layer_groups(large)))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You compute the IoU of boxes, and know which limit a score was made with.
# - You can say where a detector's boxes come from, and what NMS removes.
# - You draw boxes after each augmentation that you write.
# - You fine-tune one of torchvision's detectors with the stages you know.
# - You read a precision-recall curve, and choose the threshold for the task at hand.

# %%
print(progress.summary("14"))

# %% [markdown]
# ## Common questions
#
# **FCOS, RetinaNet or Faster R-CNN?** FCOS needs no anchors, so there is nothing to fit to the size of your
# objects. RetinaNet starts from anchors, boxes of fixed sizes. Faster R-CNN looks twice: it proposes, then
# classifies each proposal; often the best, and the slowest. `Detection` takes all three.
#
# **My photos have 4,000 pixels.** The detector shrinks them (`size`). Small objects vanish then:
# cut the photos into tiles, or raise `size` as far as memory goes.
#
# **Can a photo without any object be used?** Yes, and it should: boxes (0, 4) and labels (0,). It teaches
# what is *not* an object.
#
# **Why is there no validation loss?** Torchvision's detectors return losses in train mode only.
# The score is what you want anyway.
#
# ## One step further
#
# - Freeze the backbone (`train="head"`). How much mAP does it cost, and how much time does it save?
# - Raise `size` to 128 and to 160. Which animals are found that were missed?
# - Score the predictions with `limit=0.75` in `right_boxes`. Which class loses more?
#
# **Next:** [15. Text](15_text.ipynb), where the same stages fine-tune a transformer.
