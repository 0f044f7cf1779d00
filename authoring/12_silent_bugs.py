# %% [markdown]
# # 12. Silent bugs
#
# Ordinary programs fail loudly. Fine-tuning fails like this: no error, no warning, a loss that
# falls, a number at the end that is a little too low, or a little too good. In this lesson you get
# nine such programs. All run. All are wrong. You find out why *from evidence*: not by staring at
# the code, but by asking the running program a question that it cannot dodge.
#
# **What you will be able to do**
#
# - name the five places where evidence is to be had, and the minute it takes at each;
# - tell apart causes whose curves look the same;
# - repair the two that cost people the most days;
# - write a checklist that looks before it trains, and use `ft.preflight` and `ft.freeze_report`.
#
# You need lessons 01 to 04: normalisation, heads, freezing, the loop.

# %%
import copy
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse import bugs
from ftcourse.data.transforms import MEAN, STD
from ftcourse.exercises import lesson12 as check
from ftcourse.exercises import opening, progress

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"

opening.show(lesson="12", seconds=60, minutes=40)

# %% [markdown]
# ## First, what health looks like
#
# You cannot see that something is odd before you know what is normal. Here is a sound program. It
# tells ants from bees on 80 rendered photos, 64 pixels wide so that nine experiments take little
# time; it trains the last block and a new head, three times through the photos. Read it once; you
# have written every line of it yourself by now.

# %%
bugs.show()

# %% [markdown]
# We run it, and note down what it looks like when all is well. `bugs.run` calls `setup`, then three
# times `train_one_epoch` and `validate`, and keeps what they return.

# %%
photos = bugs.photos()
print("photos:", photos.counts, "of", photos.classes)

sound = bugs.run(None, photos)
print("the training loss falls:", sound.curves[-1]["loss"] < 0.5 * sound.curves[0]["loss"])
print("validation accuracy above 0.75:", sound.curves[-1]["val"] > 0.75)

# %% [markdown]
# Now four questions, each answered by the running program and not by its text. Keep the answers;
# they are the yardstick for everything below.

# %%
batch = torch.stack([sound.data.train[i][0] for i in range(16)])
labels = torch.tensor(sound.data.train.targets[:16])
print("1. inputs: some below zero, none above 5:", batch.min().item() < 0 < batch.max().item() < 5)

fresh = bugs.start(None, photos)  # set up, not trained
with torch.no_grad():
    start = F.cross_entropy(fresh.model(batch), labels).item()
print(f"2. loss at step 0 is near log 2 = {math.log(2):.2f}:", abs(start - math.log(2)) < 0.4)

print("3. after training, layer4 has moved:", sound.moved("layer4."), "- head:", sound.moved("fc."))
print("   layer3 has moved, weights or statistics:", sound.moved("layer3."))

before = copy.deepcopy(sound.model.state_dict())
sound.validate(sound.model, sound.data.val)
same = all(torch.equal(v, before[k]) for k, v in sound.model.state_dict().items())
print("4. validation leaves the model as it was:", same)

# %% [markdown]
# ## The case board
#
# Nine programs, A to I, each the program above with a line or a few changed. Here they run, all
# with the same seed.

# %%
cases = {letter: bugs.run(letter, photos) for letter in bugs.CASES}
print("programs that ran without an error:", len(cases), "of", len(bugs.CASES))

# %%
# alt: Nine small plots of accuracy over three epochs. Training accuracy rises to one in most. The
#   validation accuracy falls to 0.1 in A, reaches one in B, stays low in C, G and I, and looks
#   like that of the sound program in D, E, F and H.
fig, axes = plt.subplots(3, 3, figsize=(11, 8), sharex=True, sharey=True)
epochs = [1, 2, 3]
for ax, (letter, case) in zip(axes.flat, cases.items(), strict=True):
    ax.plot(epochs, [row["val"] for row in sound.curves], color=GREY, ls="--", lw=1.5)
    ax.plot(epochs, [row["accuracy"] for row in case.curves], "o-", color=BLUE, lw=2)
    ax.plot(epochs, [row["val"] for row in case.curves], "s-", color=ORANGE, lw=2)
    ax.set_title(f"{letter}   last training loss {case.curves[-1]['loss']:.2f}", fontsize=13)
    ax.axhline(0.5, color=GREY, lw=0.6)
    ax.set(ylim=(0, 1.05), xticks=epochs, yticks=[0, 0.5, 1])
for ax in axes[2]:
    ax.set_xlabel("epoch")
names = ["validation of the sound program", "training", "validation"]
fig.legend(axes[0, 0].lines[:3], names, loc="upper center", ncol=3, frameon=False)
fig.tight_layout(rect=(0, 0, 1, 0.95))
plt.show()

# %% [markdown]
# Look long. Write down for each whether it looks ill, and what you suspect. In a project nobody
# hands you the grey line, and you see one panel.
#
# Some are plainly ill. **Some cannot be told from the sound one**: their curves are fine, and the
# program is wrong all the same. It will fail on the next data set, or in another hand. Curves are
# a symptom; they are not evidence.
#
# ### ✏️ Your turn · Exercise 12.1: state a suspicion
#
# Program A gets training right and is *wrong* on nine of ten validation photos. Guessing would get
# half of them. Which explanation fits?
#
# - **a** It overfits: it has learnt the training photos by heart.
# - **b** The validation photos are much harder than the training photos.
# - **c** In validation the labels mean something else than in training.
# - **d** Bad luck: 40 photos are few.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "c"

# %%
answer = check.below_guessing(answer)
# check.below_guessing.hint()       # remove the first "#" for a hint; again for a second one
# check.below_guessing.solution()   # ... and for a worked answer

# %% [markdown]
# ## First place: the data (A, B, C)
#
# The cheapest evidence there is: **look at what comes out of the data set, with its label**. Not
# at the files; at what the network gets, after every transform, with the number that the loss gets.

# %%
# alt: Two rows of four photos from program A. In training, label 0 is on ants and 1 on bees; in
#   validation, 0 is on bees and 1 on ants.
mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
fig, axes = plt.subplots(2, 4, figsize=(9, 5))
for row, name in zip(axes, ("train", "val"), strict=True):
    split = getattr(cases["A"].data, name)
    some = [
        i for label in (0, 1) for i in [k for k, t in enumerate(split.targets) if t == label][:2]
    ]
    for ax, i in zip(row, some, strict=True):
        image, label = split[i]
        ax.imshow((image * std + mean).clamp(0, 1).permute(1, 2, 0))
        ax.set_title(f"{name}: label {label}")
        ax.axis("off")
fig.tight_layout()
plt.show()

# %% [markdown]
# In training 0 means ant, in validation 0 means bee. Count it, and look at the lines that did it:

# %%
one = cases["A"].curves[-1]["val"]
print(
    "validation accuracy below 0.3:",
    one < 0.3,
    "- with the two labels swapped above 0.7:",
    1 - one > 0.7,
)
print()
bugs.show("A")

# %% [markdown]
# Each split numbers the classes *in the order in which they appear*, and the validation list
# happens to begin with a bee. `pandas.factorize` numbers this way, and `list(set(names))` in an
# order that may change from run to run. **Make one list of classes, sorted, and number all splits
# by it.**
#
# Program B is the opposite: its validation accuracy is too good. Two questions: does it hold on
# photos that nobody has touched? And has the network seen the validation photos before? The second
# is answered by fingerprints: equal bytes give equal hashes.

# %%
import hashlib


def fingerprints(split):
    """The hash of each photo's pixels."""
    return {hashlib.sha256(split.image(i).numpy().tobytes()).hexdigest() for i in range(len(split))}


for name, program in (("sound", sound), ("B", cases["B"])):
    train, val = fingerprints(program.data.train), fingerprints(program.data.val)
    print(
        f"{name:<6} validation photos that are in training as well: {len(train & val)} of {len(val)}"
    )

val_of_b = cases["B"].curves[-1]["val"]
new = cases["B"].data.test.with_transform(cases["B"].data.val.transform)
test_of_b = ft.evaluate(cases["B"].model, new)["accuracy"]
print("B is better on its validation photos than on new ones:", val_of_b > test_of_b + 0.03)
print()
bugs.show("B")

# %% [markdown]
# Few photos, so each was used twice, and *then* the list was split. The same happens with rare
# classes that are "oversampled" before the split, with frames of one film, with several photos of
# one patient. **Split first, copy afterwards**; what belongs together stays together.
#
# C learns, but badly. Question 1 of the yardstick, what goes in:

# %%
for name, program in (("sound", sound), ("C", cases["C"])):
    x = torch.stack([program.data.train[i][0] for i in range(16)])
    print(f"{name:<6} smallest value {x.min():6.1f}   largest {x.max():7.1f}")
print()
bugs.show("C")

# %% [markdown]
# `v2.ToDtype(torch.float32)` changes the *type* and leaves 0 to 255 as it is. `scale=True` makes 0
# to 1 of it. The default of a function is no proof that it does what you mean; the range is.
#
# ## Second place: before the first step (D)
#
# A new head knows nothing, so the loss starts near log 2 (lesson 02). It takes one forward pass to
# see whether it does.

# %%
for letter in cases:
    fresh = bugs.start(letter, photos)
    x = torch.stack([fresh.data.train[i][0] for i in range(16)])
    with torch.no_grad():
        start = F.cross_entropy(fresh.model(x), torch.tensor(fresh.data.train.targets[:16])).item()
    if abs(start - math.log(2)) > 0.6:
        print(f"{letter} starts far from log 2")

# %% [markdown]
# That points at C once more, and at no other: one piece of evidence never finds everything. Look at
# D on the case board instead: nearly all training photos right, and yet its training **loss** is
# three times that of the sound program. Look at what comes out of it:

# %%
for name, program in (("sound", sound), ("D", cases["D"])):
    with torch.no_grad():
        out = program.model.eval()(batch)
    ones = torch.allclose(out.sum(1), torch.ones(len(out)), atol=1e-4)
    print(f"{name:<6} every row of the outputs sums to one: {ones}")

# %% [markdown]
# Scores of any size should come out. These are probabilities: the model ends in a softmax, and
# `nn.CrossEntropyLoss` applies another one to them.
#
# ### ✏️ Your turn · Exercise 12.2: the floor
#
# How low can the loss of program D get, with two classes, if it is as sure of the right answer as
# it can be? Work it out before you look. Two digits are enough.

# %% tags=["exercise"]
guess = None  # a number

# %% tags=["solution"]
guess = -math.log(math.e / (math.e + 1))

# %%
floor = check.lowest_loss(guess)
# check.lowest_loss.hint()

# %%
best = torch.tensor([[1.0, 0.0]])
print(f"cross-entropy of a perfect (1, 0): {F.cross_entropy(best, torch.tensor([0])):.2f}")
print("D stays above it, the sound program goes below:",
      cases["D"].curves[-1]["loss"] > floor > sound.curves[-1]["loss"])  # fmt: skip
print()
bugs.show("D")

# %% [markdown]
# With two classes the damage is small. With 200 the floor is at 4.31, where guessing stands at
# 5.30; such a network hardly learns, and no message says why.

# %%
outputs = torch.zeros(1, 200)
outputs[0, 0] = 1
print(f"floor with 200 classes: {F.cross_entropy(outputs, torch.tensor([0])):.2f}",
      f"   guessing: {math.log(200):.2f}")  # fmt: skip

# %% [markdown]
# ## Third place: the weights, before and after (E, F, G)
#
# E and F look healthy. Compare the weights with those at the start:

# %%
for letter in ("E", "F"):
    case = cases[letter]
    print(
        f"{letter}: layer4 has moved: {case.moved('layer4.')}   head has moved: {case.moved('fc.')}"
    )

# %% [markdown]
# The head of neither program has moved in three epochs. It is still random. `layer4` was strong
# enough to bend its features until they fit a random head; train the head alone, as lesson 03 did,
# and nothing would have been learnt at all.
#
# Same curves, same evidence so far. One more question separates the two: after `backward()`, does
# the head *have* a gradient?

# %%
for letter in ("E", "F"):
    head = cases[letter].model.fc.weight
    held = {id(p) for group in cases[letter].optimizer.param_groups for p in group["params"]}
    print(f"{letter}: the head trains (requires_grad): {head.requires_grad!s:<6}"
          f" has a gradient: {head.grad is not None!s:<6} is in the optimizer: {id(head) in held}")  # fmt: skip

# %% [markdown]
# E has no gradient: the head is frozen. F has one, computed in every step, and nobody uses it: the
# optimizer holds other tensors. `ft.freeze_report` puts the same into one table. Look at the row
# `head`, columns *trainable* and *in optimizer*:

# %%
for letter in ("E", "F"):
    rows = ft.freeze_report(cases[letter].model, cases[letter].optimizer).rows
    head = rows[-1]
    print(f"{letter}: head   parameters {head['parameters']:,}   trainable {head['trainable']:,}"
          f"   in optimizer {head['in_optimizer']:,}")  # fmt: skip
print()
bugs.show("E")
print()
bugs.show("F")

# %% [markdown]
# ### ✏️ Your turn · Exercise 12.3: repair both
#
# Fill in `make_ready`: it gets a pre-trained ResNet, and returns `(model, optimizer)`, ready to
# train `layer4` and a new head for `num_classes` classes, and nothing else. Any optimizer will do,
# with a rate for fine-tuning. The check makes a few steps and looks at what has moved, and how far.


# %% tags=["exercise"]
def make_ready(model, num_classes):
    """Ready to train layer4 and a new head: returns (model, optimizer)."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def make_ready(model, num_classes):
    """Ready to train layer4 and a new head: returns (model, optimizer)."""
    for p in model.parameters():
        p.requires_grad = False
    for p in model.layer4.parameters():
        p.requires_grad = True
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    trained = [p for p in model.parameters() if p.requires_grad]
    return model, torch.optim.AdamW(trained, lr=5e-4)


# %%
make_ready = check.make_ready(make_ready)
# check.make_ready.hint()

# %% [markdown]
# In G everything moves. The question is **how far**. Fine-tuning starts from weights that are worth
# something; a step should be small against them. The report measures it as
# ‖w − w₀‖ / ‖w₀‖: 0.1 is "a tenth of their own size", 1 is "nothing of the old is left".

# %%
# alt: Bars of the relative distance that each layer group has moved, on a logarithmic axis. The
#   sound program moves layer4 by about a tenth; program G moves layer4 by twice its own size.
moved = {}
for name, program in (("sound", sound), ("G", cases["G"])):
    rows = ft.freeze_report(program.model).rows[:-1]  # the head is new
    moved[name] = {row["group"]: row["moved"] for row in rows}

fig, ax = plt.subplots(figsize=(9, 3.6))
for k, (name, colour) in enumerate((("sound", BLUE), ("G", ORANGE))):
    places = [i + 0.4 * k - 0.2 for i in range(len(moved[name]))]
    ax.bar(places, list(moved[name].values()), width=0.38, color=colour, label=name)
ax.axhline(1, color=GREY, ls="--", lw=1.5)
ax.text(-0.4, 1.1, "as far as the weights are long", color=GREY, va="bottom")
ax.set(yscale="log", ylim=(0.01, 6), ylabel="moved, relative")
ax.set_xticks(range(len(moved["G"])), list(moved["G"]))
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
plt.show()

# %%
print("sound: layer4 moved by less than 0.3:", moved["sound"]["layer4"] < 0.3)
print("G:     layer4 moved by more than its own size:", moved["G"]["layer4"] > 1)
print()
bugs.show("G")

# %% [markdown]
# 0.01 is a fine rate for a *head* with Adam, whose steps have about the size of the rate whatever
# the gradient. The weights of `layer4` are about that large themselves: a handful of steps, and
# what somebody trained for days is gone. What is left is a network trained from scratch on 80
# photos. (G trains all layers. So may you, at a rate of some 10⁻⁴: lesson 08.)
#
# ## Fourth place: what moves without a gradient (H)
#
# H looks healthy on the board. All that is frozen has stood still, or has it? Weights *and*
# statistics:

# %% tags=["nbval-ignore-output"]
print(ft.freeze_report(cases["H"].model, cases["H"].optimizer))

# %% [markdown]
# Look at the last column. The weights of stem to `layer3` stand at 0; their BatchNorm **statistics**
# have moved. Lesson 03 told how: `model.train()` wakes every BatchNorm, frozen or not. In the sound
# program the last column reads 0 down to `layer3`:

# %%
frozen = [row["stats_moved"] for row in ft.freeze_report(sound.model).rows[:4]]
print("sound: statistics of stem to layer3 moved by:", frozen)
print(
    "H:     all of them moved:",
    all(r["stats_moved"] > 0 for r in ft.freeze_report(cases["H"].model).rows[:4]),
)
print()
bugs.show("H")

# %% [markdown]
# Here it costs next to nothing, because the batches are large enough and look like each other. With
# batches of two photos, or one class after the other, the same line costs a good deal ("One step
# further" has the experiment). A bug that waits for its day is still a bug.
#
# ## Fifth place: the validation itself (I)
#
# I trains exactly like the sound program, step by step. Only its reported accuracy is lower. Then
# the thermometer is broken, not the patient. Question 4 of the yardstick:

# %%
case = cases["I"]
theirs = case.curves[-1]["val"]
before = copy.deepcopy(case.model.state_dict())
case.validate(case.model, case.data.val)
changed = [k for k, v in case.model.state_dict().items() if not torch.equal(v, before[k])]
owners = [case.model.get_submodule(name.rpartition(".")[0]) for name in changed]
print("tensors of the model that its validation changes:", len(changed))
print("all of them in BatchNorm:", all(isinstance(m, nn.BatchNorm2d) for m in owners))

case.model.load_state_dict(before)
honest = ft.evaluate(case.model, case.data.val)["accuracy"]
print("the same model, measured in eval mode, is better by more than 0.05:", honest - theirs > 0.05)
print()
bugs.show("I")

# %% [markdown]
# In train mode BatchNorm normalises each photo by *the other photos in its batch*. The validation
# photos come sorted, bees first: in a batch of bees, being a bee is nothing special, and half of
# them are taken for ants. Worse, each validation pass leaks its photos into the statistics.
#
# ### ✏️ Your turn · Exercise 12.4: a thermometer that does not change the patient
#
# Fill in `accuracy_on`: the share of right answers over all batches of a loader, measured in eval
# mode. Batches may differ in size. Afterwards the model is as before: its numbers, and **the mode
# of each module** (frozen BatchNorm was in eval mode and should be so again; the rest trains on).


# %% tags=["exercise"]
def accuracy_on(model, loader):
    """Accuracy, a fraction; leaves the model and the mode of each module as they were."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
@torch.no_grad()
def accuracy_on(model, loader):
    """Accuracy, a fraction; leaves the model and the mode of each module as they were."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    right = photos = 0
    for images, targets in loader:
        right += (model(images).argmax(1) == targets).sum().item()
        photos += len(targets)
    for m, mode in modes:
        m.training = mode
    return right / photos


# %%
accuracy_on = check.accuracy_on(accuracy_on)
# check.accuracy_on.hint()

# %%
loader = torch.utils.data.DataLoader(case.data.val, batch_size=16)
print(
    "your thermometer reads what ft.evaluate reads:",
    abs(accuracy_on(case.model, loader) - honest) < 1e-6,
)

# %% [markdown]
# ## A checklist of your own
#
# You will not run nine experiments before each training. But a few lines can look before you wait.
#
# ### ✏️ Your turn · Exercise 12.5: `looks_sound`
#
# Write a function that gets what you have *before the first step*: a ResNet, the optimizer, one
# batch of images and targets. It returns `True` if all is well and `False` if any of these is not:
#
# - the head trains, and the optimizer holds it;
# - the images are normalised: values below zero, none in the hundreds;
# - scores come out, not probabilities;
# - frozen BatchNorm layers are in eval mode.
#
# It must leave the model as it was. The check tries it on sound set-ups and planted faults, and tells you the
# first that you miss.


# %% tags=["exercise"]
def looks_sound(model, optimizer, images, targets):
    """True if no fault is seen before the first step, else False."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def looks_sound(model, optimizer, images, targets):
    """True if no fault is seen before the first step, else False."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(images)
    return (
        all(p.requires_grad and id(p) in held for p in model.fc.parameters())
        and bool(images.min() < 0 and images.max() < 10)
        and not torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-3)
        and all(m.weight.requires_grad or not m.training for m in norms)
    )


# %%
looks_sound = check.looks_sound(looks_sound)
# check.looks_sound.hint()

# %% [markdown]
# Now on the nine programs, freshly set up. Which of them does a look at the model and one training
# batch reveal?

# %%
seen = {}
for letter in [None, *bugs.CASES]:
    fresh = bugs.start(letter, photos)
    x = torch.stack([fresh.data.train[i][0] for i in range(16)])
    targets = torch.tensor(fresh.data.train.targets[:16])
    seen[letter or "sound"] = not looks_sound(fresh.model, fresh.optimizer, x, targets)
print("calls the sound program sound:", not seen.pop("sound"))
print("finds", " ".join(letter for letter, found in seen.items() if found))

# %% [markdown]
# Four of nine, in a second. The other five cannot be seen there: A and B need both splits, G needs
# a few steps, H needs *your* training loop and I *your* validation.
#
# ## What the tools see
#
# `ft.preflight` asks for exactly these things. Hand it the model, the data and the optimizer, and
# your two functions; it tries steps on a copy, watches your functions at work, and puts everything
# back. On the sound program it stays silent:


# %%
def findings(program):
    """What preflight says about a program that has been set up and not trained."""
    return ft.preflight(
        program.model,
        program.data,
        optimizer=program.optimizer,
        train=program.train,
        evaluate=lambda model: program.validate(model, program.data.val),
        batch_size=16,
    )


print("findings on the sound program:", len(findings(bugs.start(None, photos))))

# %%
caught = {}
for letter in bugs.CASES:
    caught[letter] = findings(bugs.start(letter, photos))
    print(letter, "|", "; ".join(dict.fromkeys(finding.name for finding in caught[letter])))
print("caught by preflight:", sum(map(bool, caught.values())), "of", len(caught))

# %% [markdown]
# A finding says what is wrong, how that was seen and what to do. The one on E, for example:

# %%
print(caught["E"][0])

# %% [markdown]
# `ft.finetune` calls `preflight` before it starts, with what it knows, and goes on watching while
# it trains. And `ft.freeze_report` is the proof *afterwards*: here is what it says of the nine
# trained models, in the words of its columns.


# %%
def from_report(program):
    """What the freeze report reveals about a trained program."""
    rows = {row["group"]: row for row in ft.freeze_report(program.model, program.optimizer).rows}
    head, theta = rows.pop("head"), list(rows.values())
    words = []
    if head["trainable"] == 0:
        words.append("head: trainable 0")
    if head["in_optimizer"] == 0:
        words.append("head: in optimizer 0")
    if any(row["moved"] > 1 for row in theta):
        words.append("weights moved > 1")
    if any(row["trainable"] == 0 and row["stats_moved"] > 0 for row in theta):
        words.append("frozen, but statistics moved")
    return words


print("sound |", "; ".join(from_report(sound)) or "nothing")
for letter, case in cases.items():
    if words := from_report(case):
        print(f"{letter}     | {'; '.join(words)}")
both = [letter for letter in cases if caught[letter] or from_report(cases[letter])]
print("caught by the two together:", len(both), "of", len(cases))

# %% [markdown]
# ## One page to keep
#
# | | what is wrong | symptom | evidence that takes a minute | tool |
# | --- | --- | --- | --- | --- |
# | A | classes numbered differently | *below* guessing | look at labelled photos of both splits | P |
# | B | validation photos in training | too good; new ones worse | hash both splits, count what is shared | P |
# | C | inputs not scaled | learns badly | smallest and largest value of a batch | P |
# | D | softmax before cross-entropy | loss stops high | do the outputs sum to one? | P |
# | E | head frozen | none, or nothing learns | head before and after; `p.grad is None` | P, F |
# | F | optimizer holds the old head | none, or nothing learns | head before and after; `id(p)` | P, F |
# | G | rate too high for θ | jumps, ends low | distance moved, relative to the weights | P, F |
# | H | frozen BatchNorm drifts | none, then trouble | statistics before and after an epoch | P, F |
# | I | validation in train mode | too low; changes with batches | does it change the model? | P |
#
# P is `ft.preflight`, F is `ft.freeze_report`. For folders of photos, `ftcourse audit` finds B as well.
#
# Two habits are behind all of it. **Know what must be true, and measure that**, rather than reading
# the code once more: you wrote it, so you will read what you meant. And **change one thing at a
# time**, or the evidence will be about two.

# %% [markdown]
# ## Now with ImageNet weights
#
# The same watch over torchvision's weights: right inputs, and inputs that were never scaled. It
# downloads 45 MB, so it runs only with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.load_backbone("resnet18", weights="DEFAULT", num_classes=2)
    preprocess = ft.weights_of(large).transforms()
    for name, transform in (("right", preprocess), ("C", cases["C"].data.train.transform)):
        found = ft.preflight(large, photos.with_transforms(transform, transform))
        print(f"{name:<6}", sorted({finding.name for finding in found}) or "no finding")
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You know the five places to look: the data, step 0, the weights, the statistics, the validation.
# - You take curves for symptoms, and ask for evidence.
# - You tell a frozen head from a forgotten one, and a broken thermometer from a sick patient.
# - You have a checklist of your own, and know what `ft.preflight` and `ft.freeze_report` add to it.

# %%
print(progress.summary("12"))

# %% [markdown]
# ## Common questions
#
# **Why not simply read the code?** You should. But the bugs that survive reading are those where
# the code says what you meant. `model.fc.requires_grad = True` reads perfectly well.
#
# **preflight found nothing. Is my program right?** It is free of the mistakes that preflight knows.
# Labels that are wrong in themselves, a test set that was looked at ten times, a shortcut in the
# background: no tool sees those. Look at your photos.
#
# **My accuracy is fine. Why bother?** E, F and H had fine curves here, on an easy set. The same
# three lines stop a linear probe dead, or spoil a network that is trained on small batches.
#
# **How do I look for a bug that is not on this page?** Make the problem so small that you know the
# answer. Can it learn four photos by heart? Does shuffling the labels bring it down to guessing?
# If either answer is no, you have found where to look.
#
# ## One step further
#
# - Delete `optimizer.zero_grad()` from the sound program (`bugs.source()` gives its text), or take
#   away `shuffle=True`. Which evidence tells? Does `ft.preflight` find it?
# - Run program H with batches of two. How far does its validation accuracy fall?
# - Run `ftcourse audit` on a folder of your own photos.
#
# **Next:** [13. Semantic segmentation](13_semantic_segmentation.ipynb): the same backbone answers
# *where* instead of *what*.
