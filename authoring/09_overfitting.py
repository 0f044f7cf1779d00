# %% [markdown]
# # 9. Overfitting
#
# Eleven million weights, and twenty photos. The network can learn all of them by heart, and will.
# In this lesson you make it happen, learn to see it in the curves, and try every usual treatment.
# Some help. Some do nothing. You will see which, with intervals, and one that beats them all.
#
# **What you will be able to do**
#
# - read four kinds of curves, and say what to do about each;
# - tell a network that is wrong from one that is too sure;
# - use augmentation, weight decay, label smoothing, MixUp and early stopping, and know what to
#   expect of each;
# - find wrong labels with the help of the loss;
# - recognise what looks like overfitting and is not.

# %%
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse import results
from ftcourse.exercises import lesson09 as check
from ftcourse.exercises import opening, progress

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
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
history = ft.finetune(model, tiny, careless, batch_size=10, progress=False, preflight=False)

# %%
# alt: Loss and accuracy over 16 epochs. Training loss falls to zero and training accuracy to 1
#   within a few epochs; validation accuracy stays far below, and validation loss rises again.
history.plot()
plt.show()

# %%
train_accuracy, val_accuracy = history.column("train_accuracy"), history.column("val_accuracy")
val_loss = history.column("val_loss")
print("training accuracy at the end is 1.0:", train_accuracy[-1] == 1.0)
print("validation accuracy at the end is below 0.9:", val_accuracy[-1] < 0.9)
print("the training loss at the end is below 0.05:", history.epochs[-1]["train_loss"] < 0.05)
print("the validation loss at the end is above 0.3:", val_loss[-1] > 0.3)

# %% [markdown]
# **Overfitting** is this gap: what was learnt holds for the training photos and not for others.
# The training curve alone looks like a triumph. Three things to read in the two plots:
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
# Four runs, drawn as they typically look (by formula, not measured). Blue is training, orange is
# validation. Give each diagnosis its panel:
#
# - **stop earlier**: later epochs make it worse at its task;
# - **train on**: it is not at its end;
# - **over-confident**: no worse at its task, but too sure of itself;
# - **do not believe it**: something is wrong with the splits.

# %%
# alt: Four columns, A to D, with loss above and accuracy below. A: validation accuracy flat, loss
#   rises. B: validation accuracy falls, loss rises. C: both improve side by side. D: validation is
#   better than training and perfect.
curves = check.typical_curves()
fig, axes = plt.subplots(2, 4, figsize=(13, 5), sharex=True, sharey="row", layout="constrained")
for (loss, accuracy), (letter, curve) in zip(axes.T, curves.items(), strict=True):
    loss.plot(curve["train_loss"], color=BLUE, lw=2.5)
    loss.plot(curve["val_loss"], color=ORANGE, lw=2.5)
    accuracy.plot(curve["train_accuracy"], color=BLUE, lw=2.5)
    accuracy.plot(curve["val_accuracy"], color=ORANGE, lw=2.5)
    loss.set_title(letter)
    accuracy.set_xlabel("epoch")
axes[0, 0].set(ylabel="loss", ylim=(0, 1))
axes[1, 0].set(ylabel="accuracy", ylim=(0.45, 1.03))
plt.show()

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
def show(pictures, names, columns=6):
    """A grid of photos, small enough to keep the notebook light."""
    figure = ft.show_images(pictures, names, columns)
    figure.set_dpi(60)
    for ax in figure.axes:
        ax.title.set_fontsize(14)
    plt.show()


position = 2
variants = [data.train[position][0] for _ in range(11)]
show([data.train.image(position), *variants], ["photo"] + [""] * 11)

# %% [markdown]
# The animal is in each of them, and it is still an ant. A crop that loses it, or a flip that turns
# a 6 into a 9, would teach nonsense. (`data.val` never has any of this: the judge sees each photo
# as it is.)
#
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
# On a run this short it can hardly do anything. Weight decay is made for hundreds of thousands of
# steps. Keep it, it does no harm, and expect nothing from it here.
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
fig, ax = plt.subplots(figsize=(8, 3.4))
ax.plot(logits, hard, color=BLUE, lw=2.5, label="label_smoothing=0")
ax.plot(logits, smooth, color=ORANGE, lw=2.5, label="label_smoothing=0.1")
ax.set(xlabel="score of the right class minus that of the other", ylabel="loss", ylim=(0, 1.5))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ### ✏️ Your turn · Exercise 9.2: the floor
#
# The orange curve has a lowest point, above zero. For two classes and `label_smoothing=0.1`: how
# low can the training loss get at best? Two digits are enough.

# %% tags=["exercise"]
guess = None  # a number

# %% tags=["solution"]
guess = -0.95 * math.log(0.95) - 0.05 * math.log(0.05)

# %%
floor = check.smoothed_loss(guess)
# check.smoothed_loss.hint()

# %%
print("the lowest point of the orange curve:", round(smooth.min().item(), 2))

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
print("images are the same: ", torch.allclose(by_hand, mixed, atol=1e-5))
print("targets are the same:", torch.allclose(goals_by_hand, goals, atol=1e-5))

# %%
# alt: Above three pairs of photos mixed by MixUp, transparent over each other; below three by CutMix,
#   with a rectangle of another photo.
cut, cut_goals = v2.CutMix(num_classes=2)(batch, labels)
half, half_goals = mixup(batch, labels, 0.6, 2)


def shares(goals):
    return [f"{row[0]:.2f} ant" for row in goals[:3]]


show([*half[:3], *cut[:3]], shares(half_goals) + shares(cut_goals), columns=3)

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
# layers, the same number of photos seen in each run, five seeds. Each seed has its own photos, and
# each treatment is compared with *no treatment on the same photos*. The file says which command
# made it.

# %%
found = results.load("overfitting")
rows, seeds = found["summary"], found["seeds"]
print(f"made by {found['command']}, seeds {seeds}, test photos a run: {found['test_photos']}\n")
print(
    f"{'treatment':<24}{'runs':>5}{'training':>9}{'test':>8}{'loss':>7}{'gain':>7}{'95 % interval':>16}"
)
for row in rows:
    (test, _), (loss, _), (gain, half) = row["last"], row["last_loss"], row["last_gain"]
    line = f"{row['treatment']:<24}{row['seeds']:>5}{row['train_accuracy']:>9.2f}"
    line += f"{100 * test:>7.1f}%{loss:>7.2f}"
    if row["treatment"] != "none":
        interval = f"{100 * (gain - half):+.1f} to {100 * (gain + half):+.1f}"
        line += f"{100 * gain:>+7.1f}{interval:>16}"
    print(line)

# %%
# alt: For each treatment a small dot for each seed and a large one for the mean gain in test accuracy
#   over no treatment. Only three times the photos lies to the right for every seed; MixUp and CutMix
#   lie to the left for every seed.
none = {run["seed"]: run["last"] for run in found["runs"] if run["treatment"] == "none"}
gains = {row["treatment"]: [] for row in rows if row["treatment"] != "none"}
for run in found["runs"]:
    if run["treatment"] in gains:
        gains[run["treatment"]].append(100 * (run["last"] - none[run["seed"]]))

fig, ax = plt.subplots(figsize=(9, 4.4))
for k, values in enumerate(reversed(gains.values())):
    mean = sum(values) / len(values)
    colour = GREEN if min(values) > 0 else ORANGE if max(values) < 0 else GREY
    ax.plot(values, [k] * len(values), "o", ms=6, color=colour, alpha=0.5)
    ax.plot(mean, k, "D", ms=11, color=colour)
ax.axvline(0, color="black", lw=1)
ax.set_yticks(range(len(gains)), list(reversed(gains)))
ax.set(xlabel="test accuracy minus that of no treatment, points")
ax.set_title("green: better for every seed; orange: worse for every seed", fontsize=13)
plt.show()

# %%
more = gains["three times the photos"]
print(f"three times the photos: better for {sum(g > 0 for g in more)} of {len(more)} seeds")
means = {name: sum(values) / len(values) for name, values in gains.items()}
print("the largest mean gain of all:", max(means, key=means.get))

# %% [markdown]
# Look at the spread first. Where the dots lie on both sides of zero, these runs cannot tell the
# treatment from no treatment at all: augmentation, label smoothing, fewer layers. Weight decay
# changed not one answer, as computed above. MixUp and CutMix made it *worse*, for every seed. And the
# one row that helps is the last: **more photos**. The same number of steps, each photo seen a third
# as often, and the gain is larger than that of everything else. Lesson 10's results say the same
# with other photos: from 20 to 100 photos a class all layers go from 82.9 to 91.3 %, the head alone
# from 80.2 to 86.4 % (`benchmarks/results/methods.md`).
#
# Two warnings. These are 40 photos, a short run and one network; CutMix and MixUp were made for long
# runs with many photos. And "cannot be told" does not mean "useless": an effect of one point would
# need many more seeds to show. It does mean that **one lucky run with a treatment is no evidence.**
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


def look(history):
    logits, labels = ft.predict(model, plain)
    losses.append(F.cross_entropy(logits, labels, reduction="none"))
    agrees = logits.argmax(1) == labels
    repeats.append(agrees[wrong].float().mean().item())
    validation.append(history.epochs[-1]["val_accuracy"])


stage = ft.Stage("all", epochs=4, lr=3e-4, schedule="constant", weight_decay=0.0, augment=False)
_ = ft.finetune(model, noisy, stage, batch_size=16, progress=False, preflight=False, on_epoch=look)

# %%
# alt: Over four epochs: the share of wrong labels that the network repeats rises to 1, while the
#   validation accuracy stays far below.
fig, ax = plt.subplots(figsize=(8, 3.4))
ax.plot(range(1, 5), repeats, "o-", color=ORANGE, lw=2.5, label="wrong labels it repeats")
ax.plot(range(1, 5), validation, "s-", color=BLUE, lw=2.5, label="validation accuracy")
ax.set(xlabel="epoch", ylim=(0, 1.05), xticks=range(1, 5))
ax.legend(frameon=False, loc="lower right")
plt.show()

# %%
print("wrong labels it repeats at the end: more than 0.8:", repeats[-1] > 0.8)
print("validation accuracy at the end is below 0.9:", validation[-1] < 0.9)

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
show([plain.image(i) for i in suspects], names)

# %%
caught = sum(i in wrong for i in suspects)
print(
    "wrong labels that 12 photos at random would have: about",
    round(12 * len(wrong) / len(plain), 1),
)
print("wrong labels among these 12: at least 5:", caught >= 5)

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
show(chosen, names, columns=4)

# %% [markdown]
# Now with every regulariser at once: augmentation, label smoothing, weight decay, the best epoch
# kept.

# %%
model = ft.replace_head(ft.load_backbone("resnet18"), 2)
stage = ft.Stage("all", epochs=5, lr=5e-4, weight_decay=0.1)
history = ft.finetune(
    model, shortcut, stage, batch_size=16, label_smoothing=0.1, progress=False, preflight=False
)
val, test = history.best["val_accuracy"], ft.evaluate(model, shortcut.test)["accuracy"]
print("validation accuracy above 0.8:", val > 0.8)
print("test accuracy at least 0.15 lower:", test < val - 0.15)

# %% [markdown]
# No gap between training and validation, and it fails in the field. The network has learnt the
# background: a **shortcut**. Nothing in the training set says that this is wrong, so no regulariser
# can know. What helps is other data (ants on petals), or seeing where the network looks, or at
# least a test split from where it will be used. It is the splits that are to blame, and only a
# person can see that.
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
# - **c** Stop at the lowest validation loss, or divide the scores by a temperature (lesson 17), and
#   check the probabilities.
# - **d** Collect and label photos where it is used; split by place, not at random.

# %% tags=["exercise"]
answer = {"gap": None, "confidence": None, "no gap": None, "customers": None}  # letters in quotes

# %% tags=["solution"]
answer = {"gap": "b", "confidence": "c", "no gap": "a", "customers": "d"}

# %%
answer = check.treatment(answer)
# check.treatment.hint()

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
# - You look at augmented photos before you train on them.
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
# **Does dropout help?** In a head on frozen features sometimes a little. It is one more treatment of
# the same kind as those above: measure it with several seeds before you believe it.
#
# **Which augmentations should I take?** Those that leave the label true *and* occur in use: other
# crops, light, mirrored. What never occurs in use teaches little.
#
# **My best epoch is epoch 2. Is that a good sign?** With 40 validation photos, it is mostly chance.
# In the table's runs, the weights kept as "best" are about as good as the last ones: compare
# `best` and `last` in the results file.
#
# ## One step further
#
# - Set `mix="cutmix"` in the careless run, and more epochs. When does the validation accuracy reach
#   what it had without?
# - Run one row of the table yourself: `python benchmarks/overfitting.py --seeds 5 --out mine.json`.
# - Give the shortcut set `shortcut=0.5`. From which share on does the network see the animal?
#
# **Next:** [10. How much data](10_how_much_data.ipynb), where the row that stood out above becomes a
# whole curve.
