# %% [markdown]
# # 9. Overfitting
#
# Eleven million weights, and twenty photos. The network can learn all of them by heart, and will.
# In this lesson you make it happen, learn to see it in the curves, and meet every usual treatment:
# where none of them can be told from nothing, where some help, and what beats them all.
#
# **What you will be able to do**
#
# - read four kinds of curves, and tell a network that is wrong from one that is too sure;
# - use augmentation, weight decay, label smoothing, MixUp and early stopping, and know what to
#   expect of each;
# - correct for having looked at many treatments;
# - find wrong labels by their loss, and recognise what looks like overfitting and is not.

# %%
import math
from dataclasses import replace

import numpy as np
import torch
from scipy import stats
from torch.nn import functional as F
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse import results, widgets
from ftcourse.exercises import lesson09 as check
from ftcourse.exercises import opening, progress

_ = torch.manual_seed(0)

opening.show(lesson="09", seconds=25, minutes=35)

# %% [markdown]
# ## Provoke it
#
# Ten photos of ants, ten of bees, every layer may move, and each photo looks the same in each
# epoch (`augment=False`). The validation split has forty other photos.

# %%
data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64, progress=False)
tiny = replace(data, train=data.train.subset(range(20)))
print("train:", tiny.train.counts(), "validation:", tiny.val.counts())

# %%
careless = ft.Stage("all", epochs=16, lr=1e-3, schedule="constant", weight_decay=0.0, augment=False)
model = ft.replace_head(ft.load_backbone("resnet18"), 2)
last = {}  # what the last epoch's network answers: needed further below


def look(history):
    last["val"], last["test"] = ft.predict(model, tiny.val), ft.predict(model, tiny.test)


history = ft.finetune(
    model, tiny, careless, batch_size=10, progress=False, preflight=False, on_epoch=look
)

# %%
# alt: Loss and accuracy over 16 epochs. Training loss falls to zero and training accuracy to 1
#   within a few epochs; validation accuracy stays far below, and validation loss rises again.
history.plot()

# %% tags=["nbval-ignore-output"]
end = history.epochs[-1]
print("after the last epoch     accuracy   loss")
print(f"  20 training photos     {end['train_accuracy']:8.2f}{end['train_loss']:7.2f}")
print(f"  40 validation photos   {end['val_accuracy']:8.2f}{end['val_loss']:7.2f}")

why = "the text below is about the careless stage above: no augmentation, 16 epochs, 20 photos"
assert end["train_accuracy"] == 1.0 and end["train_loss"] < 0.05, why
assert end["val_accuracy"] < 0.9 and end["val_loss"] > 0.3, why

# %% [markdown]
# **Overfitting** is this gap: what was learnt holds for the training photos and not for others.
# The training curve alone looks like a triumph. Three things to read in the first two plots:
#
# 1. **The gap** between the curves, and whether it still opens.
# 2. **The validation accuracy**: does it fall, or only stop to rise?
# 3. **The validation loss.** It can rise while the accuracy stays.
#
# The third needs a closer look. Loss counts *how sure* the network was: $-\log p$ of the right
# class. Three answers of a network, of which the last two are wrong:

# %%
for p in (0.9, 0.4, 0.01):
    print(f"probability {p} for the right class: loss {-math.log(p):.2f}")

# %% [markdown]
# From the second to the third the number of right answers stays, and the loss is five times as high.
#
# ### ✏️ Your turn · Exercise 9.1: read the curves
#
# Four runs, drawn as they typically look (by formula, not measured). Give each diagnosis its panel:
#
# - **stop earlier**: later epochs make it worse at its task;
# - **train on**: it is not at its end;
# - **over-confident**: no worse at its task, but too sure of itself;
# - **do not believe it**: something is wrong with the splits.

# %%
# alt: Four columns, A to D, with loss above and accuracy below. A: validation accuracy flat, loss
#   rises. B: validation accuracy falls, loss rises. C: both improve side by side. D: validation is
#   better than training and perfect.
ft.plot_runs(check.typical_curves())

# %% tags=["exercise"]
answer = {
    "stop earlier": None,  # a letter in quotes
    "train on": None,
    "over-confident": None,
    "do not believe it": None,
}

# %% tags=["solution"]
answer = {
    "stop earlier": "B",
    "train on": "C",
    "over-confident": "A",
    "do not believe it": "D",
}

# %%
answer = check.read_curves(answer)
# check.read_curves.hint()

# %% [markdown]
# ## Treatments, one at a time
#
# ### Augmentation: look at it
#
# A photo of a bee is still one when it is mirrored, cut a little differently, or a bit darker.
# Augmentation draws such a variant anew for each epoch, so that no photo is seen twice. The one rule:
# **the label must stay true.** So look at what it makes, before you train:


# %%
# alt: One photo of an ant, and eleven random variants of it: other crops, mirrored, other colours.
position = 2
variants = [data.train[position][0] for _ in range(11)]
ft.show_images([data.train.image(position), *variants], ["photo"] + [""] * 11)

# %% [markdown]
# The animal is in each of them, and it is still an ant. A crop that loses it, or a flip that turns
# a 6 into a 9, would teach nonsense. (`data.val` never has any of this: the judge sees each photo
# as it is.) Move the sliders: from which crop on is the ant no longer there? Exercise 9.6 will ask.

# %% tags=["nbval-ignore-output"]
widgets.augmentation_viewer(data, size=64)

# %% [markdown]
# ### Weight decay
#
# It pulls each weight towards zero by rate × decay in each step. How strong is that over a whole
# run? Twenty photos, batches of 10, 16 epochs:

# %%
steps = 16 * 2
for decay in (0.01, 0.3):
    left = (1 - careless.lr * decay) ** steps
    print(f"decay {decay}: after {steps} steps a weight has kept {100 * left:.1f} % of its size")

# %% [markdown]
# On a run this short it can hardly do anything. Keep it, and expect nothing from it here; where the
# training goes on to its very end it is another matter, as you will see.
#
# ### Label smoothing
#
# Cross-entropy is never content: it wants $p = 1$, which needs infinite logits. Label smoothing
# asks for a little less. With `label_smoothing=0.1`, a share of 0.1 of the target is spread evenly
# over **all** classes:

# %%
logits = torch.linspace(-2, 8, 101)
both = torch.stack([logits, torch.zeros(101)], dim=1)
ant = torch.zeros(101, dtype=torch.int64)
hard = F.cross_entropy(both, ant, reduction="none")
smooth = F.cross_entropy(both, ant, reduction="none", label_smoothing=0.1)

# %%
# alt: Loss against the score difference: without smoothing it falls to zero for ever; with smoothing
#   it has its lowest point near 3 and rises again.
ft.plot_lines(
    {"label_smoothing=0": (logits, hard), "label_smoothing=0.1": (logits, smooth)},
    xlabel="score of the right class minus that of the other",
    ylabel="loss",
    ylim=(0, 1.5),
)

# %% [markdown]
# ### ✏️ Your turn · Exercise 9.2: the floor
#
# The curve with smoothing has a lowest point, above zero. For two classes and `label_smoothing=0.1`: how
# low can the training loss get at best? Two digits are enough.

# %% tags=["exercise"]
guess = None  # a number

# %% tags=["solution"]
guess = -0.95 * math.log(0.95) - 0.05 * math.log(0.05)

# %%
floor = check.smoothed_loss(guess)
# check.smoothed_loss.hint()

# %%
print("the lowest point of the curve with smoothing:", round(smooth.min().item(), 2))

# %% [markdown]
# So a loss with smoothing must never be compared with one without it. (`ft.finetune` reports the
# smoothed loss for training and the plain one for validation.)
#
# ### MixUp and CutMix
#
# [MixUp](https://arxiv.org/abs/1710.09412) goes further and mixes *two* photos, and their targets
# in the same way. [CutMix](https://arxiv.org/abs/1905.04899) pastes a rectangle of one into the
# other; the target is mixed by area.
#
# ### ✏️ Your turn · Exercise 9.3: mix
#
# Fill in `mixup`. Each photo is mixed with the one *before* it in the batch (`images.roll(1, 0)`
# has them in place): `share` of itself, the rest of the other. Targets become rows of shares:
# 0.7 ant and 0.3 bee is `[0.7, 0.3]`. The check has photos of its own.


# %% tags=["exercise"]
def mixup(images, targets, share, classes):
    """Mixed images (N, 3, H, W) and mixed targets (N, classes), float32. targets: (N,), int64."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def mixup(images, targets, share, classes):
    """Mixed images (N, 3, H, W) and mixed targets (N, classes), float32. targets: (N,), int64."""
    goals = F.one_hot(targets, classes).float()
    mixed = share * images + (1 - share) * images.roll(1, 0)
    return mixed, share * goals + (1 - share) * goals.roll(1, 0)


# %%
mixup = check.mixup(mixup)
# check.mixup.hint()

# %% [markdown]
# torchvision's `v2.MixUp` does this with a new random share for each batch. From its targets one
# can read the share it drew, and then compare:

# %%
batch = torch.stack([tiny.val[i][0] for i in range(6)])
labels = torch.tensor(tiny.val.targets[:6])  # ant, bee, ant, bee, ...
mixed, goals = v2.MixUp(num_classes=2)(batch, labels)
share = goals[0, labels[0]].item()
by_hand, goals_by_hand = mixup(batch, labels, share, 2)
images_apart = (by_hand - mixed).abs().max().item()
targets_apart = (goals_by_hand - goals).abs().max().item()
print(f"largest difference to yours: images {images_apart:.4f}, targets {targets_apart:.4f}")
assert max(images_apart, targets_apart) < 1e-4, "is `mixup` still the one that the check accepted?"

# %%
# alt: Above three pairs of photos mixed by MixUp, transparent over each other; below three by CutMix,
#   with a rectangle of another photo.
cut, cut_goals = v2.CutMix(num_classes=2)(batch, labels)
half, half_goals = mixup(batch, labels, 0.6, 2)


def shares(goals):
    return [f"{row[0]:.2f} ant" for row in goals[:3]]


ft.show_images([*half[:3], *cut[:3]], shares(half_goals) + shares(cut_goals), columns=3)

# %% [markdown]
# ### Early stopping, and keeping the best
#
# Cheapest of all: look at validation after each epoch, keep the weights of the best one, stop when
# nothing gets better for a while. `ft.finetune` always keeps the best, the star in its plot, and
# `early_stopping=5` ends a stage after five epochs without a better one.
#
# ### ✏️ Your turn · Exercise 9.4: which lines are wrong?
#
# This runs, and reports a fine score on the test split. Give **all** letters of wrong lines.
#
# ```python
# train = data.train.with_transform(train_transforms(64))       # a
# val = data.val.with_transform(train_transforms(64))           # b
# optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01)     # c
# best, patience = 0.0, 0
# for epoch in range(50):
#     train_one_epoch(model, loader(train), optimizer, loss_fn)
#     score = evaluate(model, data.test)["accuracy"]            # d
#     patience = 0 if score > best else patience + 1
#     if score > best:
#         best = score
#         torch.save(model.state_dict(), "best.pt")             # e
#     if patience == 5:                                         # f
#         break
# print("test accuracy", best)
# ```

# %% tags=["exercise"]
answer = None  # one or more letters in quotes

# %% tags=["solution"]
answer = "b, d"

# %%
answer = check.find_bugs(answer)
# check.find_bugs.hint()

# %% [markdown]
# Both mistakes are common, and neither raises an error. The second is the worse one: whoever
# chooses by the test split has no test split any more.
#
# ## What helps, measured
#
# One run proves nothing with so few photos. So here is a file of many runs: 20 photos a class, all
# layers, the same number of steps in each run, five seeds. Each seed has its own photos, and each
# treatment is compared with *no treatment on the same photos*. "Last" are the weights of the last
# epoch, "best" those of the best validation accuracy, which `ft.finetune` keeps.

# %%
found = results.load("overfitting")
names = [row["treatment"] for row in found["summary"] if row["treatment"] != "none"]


def gains(treatment, key):
    """Points gained over no treatment on the same photos, one for each seed."""
    runs = {
        t: {r["seed"]: r[key] for r in found["runs"] if r["treatment"] == t}
        for t in (treatment, "none")
    }
    return [100 * (value - runs["none"][seed]) for seed, value in runs[treatment].items()]


def interval(values, level=0.95):
    """The interval of their mean, by Student's t: (low, high)."""
    half = (
        stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    )
    return np.mean(values) - half, np.mean(values) + half


print(
    f"made by {found['command']}, seeds {found['seeds']}, test photos a run: {found['test_photos']}"
)
print("points of test accuracy gained   last   95 % interval      best   95 % interval")
for name in names:
    line = f"{name:<30}"
    for key in ("last", "best"):
        low, high = interval(gains(name, key))
        line += f"{np.mean(gains(name, key)):>+7.1f}   {low:+5.1f} to {high:+5.1f}   "
    print(line)

# %% [markdown]
# Read the left half alone, and MixUp and CutMix "do harm": their intervals lie below zero. But two
# things speak against that sentence. Of the best weights, those that one keeps, it is not so: both
# intervals hold zero. And in each half we have looked **eight times**. Where nothing differs, one interval in
# twenty misses zero by chance; among eight looks, the chance that at least one does is
# $1 - 0.95^8 = 34\,\%$. The simplest correction is **Bonferroni's**: ask of each of the eight for
# 0.05 / 8, which makes the intervals wider.

# %%
# alt: For each treatment a small dot for each seed and a large one for the mean gain of the best weights
#   over no treatment, with intervals corrected for eight looks. Only that of three times the photos lies
#   to the right of zero; all others hold zero.
strict = {
    key: {name: interval(gains(name, key), 1 - 0.05 / len(names)) for name in names}
    for key in ("last", "best")
}
ft.plot_dots(
    {name: gains(name, "best") for name in names},
    intervals=strict["best"],
    by_sign=True,
    xlabel="points of test accuracy over no treatment, best weights",
    title="five seeds, intervals for eight looks",
)

# %%
for key in ("last", "best"):
    sure = [name for name, (low, high) in strict[key].items() if low > 0 or high < 0]
    print(f"{key}: surely different from no treatment, after eight looks: {', '.join(sure)}")
    assert sure == ["three times the photos"], key

# %% [markdown]
# One row is left, for the last weights and for the best: **more photos**. The same number of steps, each
# photo seen a third as often, and the gain is larger than that of everything else. (Lesson 10 says
# the same with other photos: from 20 to 100 a class all layers go from 82.9 to 91.3 %.) All others
# cannot be told from nothing *by these runs*: five seeds, a short training, 40 photos. That does not
# mean "useless", and it does mean that **one lucky run with a treatment is no evidence.**
#
# ## Where treatments do help
#
# Each treatment was made for a place that this table does not visit. Two such places
# (`benchmarks/overfitting_regimes.py`), each with and without one treatment:
#
# - **to the very end**: only the head, on frozen features of 20 photos a class, until its training
#   loss cannot fall further; **weight decay**;
# - **from scratch, and longer**: random weights, 60 photos a class at 32 pixels, 320 steps;
#   **augmentation**.
#
# We look at accuracy and loss in both, so four looks: the intervals are made for four.

# %%
places = results.load("overfitting_regimes")
inside = {"head": "weight decay", "scratch": "augmentation"}
intervals = {}
print("place     treatment       seeds   measure    without    with    gain, interval for 4 looks")
for place, treatment in inside.items():
    runs = {
        t: {r["seed"]: r for r in places["runs"] if (r["regime"], r["treatment"]) == (place, t)}
        for t in ("none", treatment)
    }
    for measure in ("accuracy", "loss"):
        plain, treated = ([r[measure] for r in runs[t].values()] for t in ("none", treatment))
        gain = [
            runs[treatment][seed][measure] - runs["none"][seed][measure] for seed in runs["none"]
        ]
        low, high = intervals[place, measure] = interval(gain, 1 - 0.05 / places["looks"])
        print(
            f"{place:<10}{treatment:<16}{len(gain):>5}   {measure:<9}{np.mean(plain):>9.3f}"
            f"{np.mean(treated):>8.3f}{np.mean(gain):>+8.3f}   {low:+.3f} to {high:+.3f}"
        )

sure = [pair for pair, (low, high) in intervals.items() if low > 0 or high < 0]
assert len(sure) == places["looks"], "the results file has changed"

# %% [markdown]
# **Weight decay** on a head that trains to its end: more right answers, and half the loss. A head on
# 512 features can always separate 40 photos, and its weights then grow for as long as one trains;
# decay is what stops them. **Augmentation** from scratch, where each photo comes forty times: eight points
# more, and again half the loss. After four looks all four intervals miss zero.
#
# So a treatment is not good or bad. It is for a place: many steps, many free weights, few photos.
#
# ## Too sure? Divide by a temperature
#
# Label smoothing is often named as the cure for a network that is too sure of itself. In this table's
# runs it made the test *loss* worse, not better, for every seed:

# %%
for name in ("label smoothing 0.1", "three times the photos"):
    worse = np.array(gains(name, "last_loss")) / 100
    print(f"{name:<24} test loss, last weights:", "  ".join(f"{w:+.2f}" for w in worse))
    assert (worse > 0).all() or name != "label smoothing 0.1"

# %% [markdown]
# (The [paper](https://arxiv.org/abs/1906.02629) that found it to help calibration had long runs with
# many photos.) The cure that needs no new training is a number: divide all scores by a **temperature**
# $T$ before the softmax. Above 1 it makes the network less sure, and it changes no answer. It is fitted
# to the validation photos, by the loss. Here for the last network of the careless run:

# %% tags=["nbval-ignore-output"]
from ftcourse.evaluation.calibration import fit_temperature

scores, targets = last["test"]
T = fit_temperature(*last["val"])
print("temperature   accuracy   confidence   loss, on 120 test photos")
measured = []
for t in (1.0, T):
    p = (scores / t).softmax(1)
    accuracy = (p.argmax(1) == targets).float().mean().item()
    measured.append(F.cross_entropy(scores / t, targets).item())
    print(f"{t:>11.2f}{accuracy:>11.3f}{p.max(1).values.mean():>13.3f}{measured[-1]:>7.3f}")

assert T > 1.1 and measured[1] < measured[0], "the careless run above has been changed"

# %% [markdown]
# Confidence is now nearer to the accuracy, and the loss is lower. Lesson 17 measures this with more
# care.
#
# ## Wrong labels, learnt by heart
#
# A network that can learn twenty photos by heart can also learn *wrong* labels by heart. Real
# labels are wrong now and then. Here, on purpose, one in five of 120 training photos has the label
# of the other class:

# %%
noisy = ft.load_data(
    "pocket-insects", classes=("ants", "bees"), size=64, label_noise=0.2, progress=False
)
plain = noisy.train.with_transform(noisy.val.transform)
wrong = plain.mislabelled
print("photos:", len(plain), "with a wrong label:", len(wrong))

# %% [markdown]
# Everything trains. After each epoch we ask about each training photo: does the network give the
# label that it was taught, and how large is the loss?

# %%
model = ft.replace_head(ft.load_backbone("resnet18"), 2)
losses, repeats, validation = [], [], []


def look_at_labels(history):
    logits, labels = ft.predict(model, plain)
    losses.append(F.cross_entropy(logits, labels, reduction="none"))
    agrees = logits.argmax(1) == labels
    repeats.append(agrees[wrong].float().mean().item())
    validation.append(history.epochs[-1]["val_accuracy"])


stage = ft.Stage("all", epochs=4, lr=3e-4, schedule="constant", weight_decay=0.0, augment=False)
_ = ft.finetune(
    model, noisy, stage, batch_size=16, progress=False, preflight=False, on_epoch=look_at_labels
)

# %%
# alt: Over four epochs: the share of wrong labels that the network repeats rises to 1, while the
#   validation accuracy stays far below.
epochs = [1, 2, 3, 4]
ft.plot_lines(
    {"wrong labels it repeats": (epochs, repeats), "validation": (epochs, validation)},
    xlabel="epoch",
    ylabel="share",
    xticks=epochs,
    ylim=(0, 1.05),
)

# %% tags=["nbval-ignore-output"]
print(
    f"after 4 epochs: wrong labels it repeats {repeats[-1]:.2f}, validation accuracy {validation[-1]:.2f}"
)
assert repeats[-1] > 0.8 and validation[-1] < 0.9, (
    "the stage above has been changed: 4 epochs at 3e-4"
)

# %% [markdown]
# In the end it says of the mislabelled photos what it was told, and its training accuracy is next
# to perfect. The training accuracy knows nothing of wrong labels. The *loss* does: what many photos
# share is learnt first and firmly, the exceptions later and less surely. So take each photo's loss,
# averaged over the epochs, and look at the largest: the network's most confident mistakes
# ([Pleiss et al., 2020](https://arxiv.org/abs/2001.10528) make a method of it).

# %%
# alt: The twelve training photos with the largest loss over the epochs, with the label they
#   were given; most of them show the other animal.
suspects = torch.stack(losses).mean(0).argsort(descending=True)[:12].tolist()
given = [plain.classes[plain.targets[i]] for i in suspects]
names = [
    f"{name}: {'wrong' if i in wrong else 'right'}" for i, name in zip(suspects, given, strict=True)
]
ft.show_images([plain.image(i) for i in suspects], names)

# %% tags=["nbval-ignore-output"]
caught = sum(i in wrong for i in suspects)
print(
    f"wrong labels among these 12: {caught}; among 12 at random: {12 * len(wrong) / len(plain):.1f}"
)
assert caught >= 5, "run the cells of this section in order, from the one that loads `noisy`"

# %% [markdown]
# To look at those photos costs minutes, and a label that is repaired stays repaired. Do it before
# you reach for a regulariser.
#
# ## What looks like overfitting, and is not
#
# Good in validation, poor in use: is that overfitting? Here is a set in which 95 of 100 ants sit on
# soil and 95 of 100 bees on petals, in training *and* in validation. In the test split the
# background is drawn by chance, as it is out in the field.

# %%
shortcut = ft.load_data(
    "pocket-insects", classes=("ants", "bees"), size=64, per_class=40, shortcut=True, progress=False
)
print(shortcut.notes[1])

# %%
# alt: Two rows of photos. Above, from training, ants on brown soil and bees on bright petals; below,
#   from test, both on any ground.
chosen = [split.image(i) for split in (shortcut.train, shortcut.test) for i in range(4)]
names = [f"{split}: {shortcut.classes[i % 2]}" for split in ("train", "test") for i in range(4)]
ft.show_images(chosen, names, columns=4)

# %% [markdown]
# Now with several regularisers at once: augmentation, label smoothing, weight decay, the best epoch kept.

# %% tags=["nbval-ignore-output"]
model = ft.replace_head(ft.load_backbone("resnet18"), 2)
stage = ft.Stage("all", epochs=5, lr=5e-4, weight_decay=0.1)
history = ft.finetune(
    model, shortcut, stage, batch_size=16, label_smoothing=0.1, progress=False, preflight=False
)
val, test = history.best["val_accuracy"], ft.evaluate(model, shortcut.test)["accuracy"]
train = history.best["train_accuracy"]
print(f"accuracy: training {train:.2f}, validation {val:.2f}, test {test:.2f}")
assert val > 0.8 and test < val - 0.15, "is `shortcut` still the set in which soil means ant?"

# %% [markdown]
# A small gap between training and validation, a huge one to the test: it fails in the field. The network
# has learnt the background: a **shortcut**. Nothing in the training set says that this is wrong, so no
# regulariser can know. What helps is other data (ants on petals), or seeing where the network looks, or
# at least a test split from where it will be used. It is the splits that are to blame, and only a person
# can see that.
#
# ### ✏️ Your turn · Exercise 9.5: choose a treatment
#
# Four cases and four treatments. Give each case one letter, and **write down your reason in a
# sentence before you run the check**.
#
# - **gap**: 20 photos a class; training accuracy 1.0, validation 0.78. A colleague has an afternoon.
# - **confidence**: validation accuracy is good and stands still, validation loss rises. The
#   probabilities will be shown to users.
# - **no gap**: training accuracy 0.71, validation 0.70, only the head has been trained.
# - **customers**: training 0.99, validation 0.97, and on the customers' photos 0.65.
#
# Treatments:
#
# - **a** Thaw more layers, or train longer.
# - **b** Collect three times as many photos of the same kind.
# - **c** Divide the scores by a temperature, fitted to validation photos, and check the probabilities.
# - **d** Collect and label photos where it is used; split by place, not at random.

# %% tags=["exercise"]
answer = {"gap": None, "confidence": None, "no gap": None, "customers": None}  # letters in quotes

# %% tags=["solution"]
answer = {"gap": "b", "confidence": "c", "no gap": "a", "customers": "d"}

# %%
answer = check.treatment(answer)
# check.treatment.hint()

# %% [markdown]
# ## An open task: vary much, lose nothing
#
# ### ✏️ Your turn · Exercise 9.6: an augmentation of your own
#
# The course's `train_transforms(64)` loses a part of the animal in about one draw of eight, on the
# drawn photos of this check. **Change it until no more than one draw in fifty does, and two draws
# still differ at least as much.** Any steps of `torchvision.transforms.v2` will do, or a function
# of your own that takes a photo and returns float32, (3, 64, 64). Where it falls short, the check
# says by how much. A start:
#
# ```python
# my_augmentation = v2.Compose([
#     v2.ToImage(),
#     v2.RandomResizedCrop(64, scale=(0.5, 1.0)),
#     v2.RandomHorizontalFlip(),
#     v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
#     v2.ToDtype(torch.float32, scale=True),
#     v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
# ])
# ```

# %% tags=["exercise"]
my_augmentation = None  # v2.Compose([...])

# %% tags=["solution"]
my_augmentation = v2.Compose(
    [
        v2.ToImage(),
        v2.RandomResizedCrop(64, scale=(0.85, 1.0)),
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)

# %%
my_augmentation = check.augmentation(my_augmentation)
# check.augmentation.hint()

# %% tags=["nbval-ignore-output"]
# alt: A photo of an ant and five variants of it by the augmentation that passed the check.
photo = data.train.image(position)
ft.show_images([photo, *(my_augmentation(photo) for _ in range(5))])

# %% [markdown]
# ## Now with ImageNet weights
#
# The careless run once more, from torchvision's ImageNet weights. It downloads 45 MB, so it runs
# only with `FTCOURSE_PROFILE=full` in the environment. Better features do not protect from learning
# by heart; look how far the validation accuracy gets all the same.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.replace_head(ft.load_backbone("resnet18", weights="DEFAULT"), 2)
    full = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
    full = replace(full, train=full.train.subset(range(20)))
    print(ft.finetune(large, full, replace(careless, epochs=10), batch_size=10, progress=False))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You read the gap, the validation accuracy and the validation loss, each for what it says.
# - You look at augmented photos before you train on them, and build an augmentation that loses nothing.
# - You count your looks before you call a treatment better, and know where treatments do help.
# - You can compute the floor of a smoothed loss, and mix photos by hand.
# - You stop on validation, never on test, and augment training photos only.
# - You look at the photos with the largest loss, for they are often labelled wrong.
# - You know when no regulariser will help: when the data are the problem.

# %%
print(progress.summary("09"))

# %% [markdown]
# ## Common questions
#
# **Is a gap between training and validation always bad?** No. Training accuracy 1.0 is normal for a
# large network. What counts is the validation accuracy; the gap only says where to look for more.
#
# **Which augmentations should I take?** Those that leave the label true *and* occur in use: other
# crops, light, mirrored. What never occurs in use teaches little.
#
# **My best epoch is epoch 2. Is that a good sign?** With 40 validation photos, it is mostly chance.
# Without treatment, the weights kept as "best" are about as good as the last ones in the table's runs:
# 81.6 and 82.3 %.
#
# ## One step further
#
# - Set `mix="cutmix"` in the careless run, and more epochs. When does the validation accuracy reach
#   what it had without?
# - Run one row of the table yourself: `python benchmarks/overfitting.py --treatments none
#   augmentation --seeds 5 --out mine.json` (seed 5 is not in the table).
# - Give the shortcut set `shortcut=0.5`. From which share on does the network see the animal?
#
# **Next:** [10. How much data](10_how_much_data.ipynb), where the row that stood out above becomes a
# whole curve.
