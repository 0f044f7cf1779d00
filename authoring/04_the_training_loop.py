# %% [markdown]
# # 4. The training loop
#
# You know what moves, and you know that it moves against its gradient. What is left is to do it a
# few hundred times, in the right order, and to measure honestly what has become of it. That is a
# loop of eleven lines. In this lesson you write them yourself, break them in the ways in which
# everybody breaks them, and end by proving that `ft.finetune` does the same, number for number.
#
# **What you will be able to do**
#
# - turn photos into batches, and say what each of three splits is for;
# - make a step of gradient descent on θ and φ by hand, and with an optimizer;
# - write a loop with its five lines in the right order, and tell what happens in a wrong one;
# - measure over photos instead of batches, in eval mode, without gradients;
# - keep the best weights, read a curve, and touch the test split once.

# %%
import copy

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

import ftcourse as ft
from ftcourse.exercises import lesson04 as check
from ftcourse.exercises import opening, progress

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
_ = torch.manual_seed(0)

opening.show(lesson="04", seconds=20, minutes=40)

# %% [markdown]
# ## Three splits
#
# From here on we work with Pocket Insects: ants and bees, drawn by code in this package, so that
# they need no download. (The first time takes a few seconds; after that they are read from disk.)
# The network gets to see 64 x 64 pixels, as in lesson 03, to keep many small experiments short.

# %%
data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64, progress=False)
print(data.classes, data.counts)

# %%
# alt: Twelve small drawn photos in two rows, six ants and six bees, on leaves, bark and stones.
fig, axes = plt.subplots(2, 6, figsize=(9, 3.2))
for label, row in enumerate(axes):
    chosen = [i for i in range(len(data.train)) if data.train.targets[i] == label]
    for ax, i in zip(row, chosen, strict=False):
        ax.imshow(data.train.load(i))
        ax.axis("off")
    row[0].set_title(data.classes[label], loc="left")
fig.tight_layout()
plt.show()

# %% [markdown]
# Why three splits, when two would leave more photos to learn from?
#
# | split | photos | who looks at it | how often |
# | --- | --- | --- | --- |
# | **train** | 120 | the gradient | in each step |
# | **validation** | 40 | *you*, to choose: how long, how fast, which layers | after each epoch |
# | **test** | 120 | nobody, until everything is chosen | **once** |
#
# Whatever a choice was made on looks better than it is, because you chose what looked good there.
# The weights were chosen on train, so the loss on train is too good. The settings are chosen on
# validation, so validation is a little too good. One split must stay out of all choices, to tell
# what *new* photos will see.
#
# ## From photos to batches
#
# A `Dataset` is any object that knows its length and can give you item `i`. Here is one by hand:


# %%
class Photos(Dataset):
    def __init__(self, pixels, labels, transform):
        self.pixels, self.labels, self.transform = pixels, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.transform(self.pixels[i]), self.labels[i]


preprocess = data.val.transform  # resize, crop the centre, normalise: no chance in it
train = Photos(
    [data.train.image(i) for i in range(len(data.train))], data.train.targets, preprocess
)
image, label = train[0]
print("photos:", len(train), "| item 0:", tuple(image.shape), image.dtype, "| label:", label)

# %% [markdown]
# `data.train` is such an object, with more comfort. One difference matters today: its transform
# crops and flips at random, which is good for training and bad for comparing two loops. So we give
# it the plain transform. (Lesson 09 brings chance back.)

# %%
train = data.train.with_transform(preprocess)
print("the same item:", torch.equal(train[0][0], image) and train[0][1] == label)

# %% [markdown]
# A `DataLoader` draws items, and stacks them into **batches**. One gradient for a whole batch is
# less noisy than one for a single photo, and a network computes 32 photos at once far faster than
# 32 times one. Photos in folders come sorted by class; for a moment, let us sort ours in this way.

# %%
by_class = train.subset(sorted(range(len(train)), key=lambda i: train.targets[i]))
for shuffle in (False, True):
    loader = DataLoader(by_class, batch_size=32, shuffle=shuffle)
    sizes = [len(targets) for _, targets in loader]
    images, targets = next(iter(loader))
    print(f"shuffle={shuffle!s:<5} sizes {sizes}", end=", ")
    print("classes in the first batch:", len(targets.unique()))
print("a batch:", tuple(images.shape), images.dtype, "and", tuple(targets.shape), targets.dtype)

# %% [markdown]
# Two things to remember from these lines:
#
# - Without `shuffle=True` the first batch holds ants only: the network learns "always ant", and a
#   little later "always bee".
# - 120 is not a multiple of 32. **The last batch is smaller.** That will matter soon.
#
# ## One step, by hand
#
# Lesson 02 gave you both gradients, and the rule:
#
# $$\theta \leftarrow \theta - \eta\,\frac{\partial L}{\partial \theta} \qquad\qquad
# \varphi \leftarrow \varphi - \eta\,\frac{\partial L}{\partial \varphi}$$
#
# After `loss.backward()` each weight tensor `p` that trains has its gradient in `p.grad`. Frozen
# ones have `None` there.
#
# ### ✏️ Your turn · Exercise 4.1: a step of gradient descent
#
# Fill in `sgd_step`: move every parameter of the model that has a gradient, θ and φ alike, by one
# step of the rule. One more thing to know: the change itself must not be recorded as a part of the
# network, so make it under `with torch.no_grad():`.


# %% tags=["exercise"]
def sgd_step(model, lr):
    """Move each parameter that has a gradient: p <- p - lr * p.grad."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def sgd_step(model, lr):
    """Move each parameter that has a gradient: p <- p - lr * p.grad."""
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p -= lr * p.grad


# %%
sgd_step = check.sgd_step(sgd_step)
# check.sgd_step.hint()       # remove the first "#" for a hint; run it again for a second one
# check.sgd_step.solution()   # ... and for a worked answer

# %% [markdown]
# `torch.optim.SGD` does the very same. Two copies of one network, one batch, one step each:

# %%
by_hand = ft.replace_head(ft.load_backbone("resnet18"), len(data.classes))
by_torch = copy.deepcopy(by_hand)
before = copy.deepcopy(by_hand.state_dict())

F.cross_entropy(by_hand(images), targets).backward()
sgd_step(by_hand, lr=0.01)

optimizer = torch.optim.SGD(by_torch.parameters(), lr=0.01)
F.cross_entropy(by_torch(images), targets).backward()
optimizer.step()

theirs = dict(by_torch.named_parameters())
mine = dict(by_hand.named_parameters())
print("tensors:", len(mine))
print("all have moved:     ", all(not torch.equal(p, before[name]) for name, p in mine.items()))
print("all where SGD's are:", all(torch.allclose(p, theirs[name]) for name, p in mine.items()))

# %% [markdown]
# So an optimizer is no magic: it holds a list of tensors, reads `p.grad` and changes `p`. The
# better ones (momentum, Adam) also remember earlier gradients.
#
# ## Five lines, and their order
#
# | line | reads | changes |
# | --- | --- | --- |
# | `optimizer.zero_grad()` | | empties `p.grad` |
# | `logits = model(images)` | `p` | nothing (in train mode: BatchNorm's statistics) |
# | `loss = F.cross_entropy(logits, targets)` | logits | nothing |
# | `loss.backward()` | `p`, and what the forward pass has kept | **adds** to `p.grad` |
# | `optimizer.step()` | `p.grad` | `p` |
#
# The word in bold surprises everybody once. `backward()` does not *set* the gradient, it *adds* to
# what is there:

# %%
model = ft.replace_head(ft.load_backbone("resnet18"), len(data.classes))
norms = []
for _ in range(3):
    F.cross_entropy(model(images[:8]), targets[:8]).backward()
    norms.append(model.fc.weight.grad.norm().item())
print("size of the gradient, against the first:", [round(n / norms[0], 2) for n in norms])

# %% [markdown]
# The same batch three times gives three times the gradient. That is sometimes useful (lesson 05
# saves memory with it). Where you forget it, each step pulls in the direction of *all* batches so
# far. Let us watch a head learn both ways, with AdamW, the optimizer that most people take. θ
# rests, so its features are computed once, and 60 steps take no time.

# %%
backbone = torch.nn.Sequential(*list(model.children())[:-1], torch.nn.Flatten()).eval()
with torch.inference_mode():
    features = torch.cat([backbone(x) for x, _ in DataLoader(train, batch_size=60)])
features, labels = features.clone(), torch.tensor(train.targets)


def losses_of_a_head(zero_grad, epochs=15):
    torch.manual_seed(0)
    head = torch.nn.Linear(512, 2)
    optimizer, losses = torch.optim.AdamW(head.parameters(), lr=0.03), []
    for _ in range(epochs):
        for rows in torch.randperm(len(features)).split(32):
            loss = F.cross_entropy(head(features[rows]), labels[rows])
            if zero_grad:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


right, forgetful = losses_of_a_head(zero_grad=True), losses_of_a_head(zero_grad=False)
print("largest loss in the last 30 of 60 steps")
print("with zero_grad below 0.5:", max(right[30:]) < 0.5)
print("without it above 3:      ", max(forgetful[30:]) > 3)

# %%
# alt: Training loss over 60 steps: with zero_grad, in blue, it falls to almost nothing; without it,
#   in orange, it swings higher and higher.
fig, ax = plt.subplots(figsize=(8, 3.4))
ax.plot(forgetful, color=ORANGE, lw=2.5, label="zero_grad forgotten")
ax.plot(right, color=BLUE, lw=2.5, label="with zero_grad")
ax.set(xlabel="step", ylabel="training loss", ylim=(0, None))
ax.set_title("One line forgotten, and no error", loc="left")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ### ✏️ Your turn · Exercise 4.2: which of these loops train as they should?
#
# Each stands inside `for images, targets in loader:`. Give **all** letters that apply, such as
# `"a, b"`.
#
# ```python
# # A                                # B                               # C
# optimizer.zero_grad()              logits = model(images)            logits = model(images)
# logits = model(images)             loss = loss_fn(logits, targets)   loss = loss_fn(logits, targets)
# loss = loss_fn(logits, targets)    loss.backward()                   loss.backward()
# loss.backward()                    optimizer.step()                  optimizer.zero_grad()
# optimizer.step()                   optimizer.zero_grad()             optimizer.step()
#
# # D                                # E
# logits = model(images)             logits = model(images)
# loss = loss_fn(logits, targets)    loss = loss_fn(logits, targets)
# optimizer.zero_grad()              loss.backward()
# loss.backward()                    optimizer.step()
# optimizer.step()
# ```

# %% tags=["exercise"]
answer = None  # one or more letters in quotes

# %% tags=["solution"]
answer = "a, b, d"

# %%
answer = check.order(answer)
# check.order.hint()

# %% [markdown]
# Evidence again: three steps of each, from the same start, on a head.


# %%
def three_steps(order):
    torch.manual_seed(0)
    head = torch.nn.Linear(512, 2)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.02)
    start = head.weight.detach().clone()
    for rows in torch.arange(96).chunk(3):
        for line in order.split():
            if line == "forward":
                loss = F.cross_entropy(head(features[rows]), labels[rows])
            elif line == "backward":
                loss.backward()
            elif line == "zero_grad":
                optimizer.zero_grad()
            else:
                optimizer.step()
    return head.weight.detach() - start


expected = three_steps("zero_grad forward backward step")
for name, order in {
    "A": "zero_grad forward backward step",
    "B": "forward backward step zero_grad",
    "C": "forward backward zero_grad step",
    "D": "forward zero_grad backward step",
    "E": "forward backward step",
}.items():
    way = three_steps(order)
    print(f"{name}: moves: {way.any().item()!s:<5}  as it should: {torch.allclose(way, expected)}")

# %% [markdown]
# ## What is the loss of an epoch?
#
# One pass over all training photos is an **epoch**, and you want to know its loss, and after it the
# accuracy on validation. Batches give one number each. How do they become one?
#
# ### ✏️ Your turn · Exercise 4.3: two batches
#
# A validation split has 40 photos, and comes in batches of 32 and 8. A network has 30 of the first
# 32 photos right, and 4 of the last 8. What is its accuracy?

# %% tags=["exercise"]
accuracy = None  # a fraction

# %% tags=["solution"]
accuracy = (30 + 4) / (32 + 8)

# %%
accuracy = check.true_accuracy(accuracy)
# check.true_accuracy.hint()

# %% [markdown]
# Many loops on the web compute `sum(batch_accuracies) / len(batches)`. Here that gives 0.72 where
# 0.85 is true. It is not noise that averages out, either: the last 8 photos of a sorted folder are
# all of *one class*, and this class gets half of the say. The cure is to weight each batch with its
# size, or to count.
#
# So here is an honest `evaluate`. Besides the counting, two lines in it matter:


# %%
@torch.inference_mode()  # no graph is kept: less memory, less time
def evaluate(model, loader):
    model.eval()  # BatchNorm uses its stored statistics, dropout rests
    loss, hits, samples = 0.0, 0, 0
    for images, targets in loader:
        logits = model(images)
        loss += F.cross_entropy(logits, targets).item() * len(targets)
        hits += (logits.argmax(1) == targets).sum().item()
        samples += len(targets)
    return loss / samples, hits / samples


val_loader = DataLoader(data.val, batch_size=32)
print("validation photos:", [len(targets) for _, targets in val_loader])
loss, accuracy = evaluate(model, val_loader)
package = ft.evaluate(model, data.val)
print("as ft.evaluate measures it:", abs(loss - package["loss"]) < 1e-4)
print("accuracy as well:          ", abs(accuracy - package["accuracy"]) < 1e-4)

# %% [markdown]
# ### What `eval()` protects you from
#
# Forget it, and two things go wrong, without a word. In train mode BatchNorm normalises each photo
# by the *other photos in its batch*, so what the network says of a photo depends on its company.
# And it learns from what it sees, although nobody asked for training:

# %%
photo = data.val[0][0][None]
ants, bees = (
    torch.stack([data.val[i][0] for i in range(1, 40) if data.val.targets[i] == label][:7])
    for label in (0, 1)
)


def says(network, company):
    """What the network says of the same photo, in a batch with others."""
    with torch.inference_mode():
        return network(torch.cat([photo, company]))[0]


for mode in ("eval", "train"):
    trial = copy.deepcopy(model)
    _ = trial.eval() if mode == "eval" else trial.train()
    mean = trial.bn1.running_mean.clone()
    among_ants, among_bees = says(trial, ants), says(trial, bees)
    shift = (among_ants - among_bees).abs().max().item()
    print(f"{mode:<5}  the same answer in any company: {shift < 1e-3!s:<5}", end="  ")
    print("statistics untouched:", torch.equal(mean, trial.bn1.running_mean))

# %% [markdown]
# ## The loop
#
# ### ✏️ Your turn · Exercise 4.4: one epoch
#
# Everything is there. Fill in `train_one_epoch`: put the model into train mode with
# `ft.train_mode(model)` (lesson 03: BatchNorm of frozen layers rests), make one step of the
# optimizer for each batch, and return the mean loss over the *photos*, as a plain number.


# %% tags=["exercise"]
def train_one_epoch(model, loader, optimizer):
    """One step for each batch of (images, targets); returns the loss, averaged over photos."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def train_one_epoch(model, loader, optimizer):
    """One step for each batch of (images, targets); returns the loss, averaged over photos."""
    ft.train_mode(model)
    total, samples = 0.0, 0
    for images, targets in loader:
        loss = F.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(targets)
        samples += len(targets)
    return total / samples


# %%
train_one_epoch = check.train_one_epoch(train_one_epoch)
# check.train_one_epoch.hint()

# %% [markdown]
# ### A trap: the best weights that are not kept
#
# The last epoch is not always the best one, so we keep the weights that did best on validation.
# `model.state_dict()` looks like a copy of them. It is not:

# %%
trial, old = copy.deepcopy(model), model.state_dict()
kept = trial.state_dict()
cloned = {name: value.clone() for name, value in trial.state_dict().items()}

optimizer = torch.optim.SGD(trial.parameters(), lr=0.01)
few = DataLoader(TensorDataset(images[:8], targets[:8]), batch_size=8)
_ = train_one_epoch(trial, few, optimizer)

print("state_dict() has the old weights:", torch.equal(kept["fc.weight"], old["fc.weight"]))
print("the clones have the old weights: ", torch.equal(cloned["fc.weight"], old["fc.weight"]))

# %% [markdown]
# The dictionary holds the *living* tensors. Keep it, train on, load it back, and you load what is
# there already. Clone.
#
# ### All of it
#
# Two stages, as lesson 03 has prepared them: first the head alone, then `layer4` with it. Read it
# from top to bottom; there is no line in it that you do not know. (AdamW is
# gradient descent that scales each step by the size of the recent gradients. The seed gives each
# epoch an order of photos that we can repeat.)

# %%
torch.manual_seed(0)
model = ft.replace_head(ft.load_backbone("resnet18"), len(data.classes))
start = copy.deepcopy(model)  # for later: the same start for the package

train_loader = DataLoader(train, batch_size=32, shuffle=True, generator=torch.Generator())
rows, best, best_score = [], None, (-1.0, 0.0)

for groups, epochs, lr in ((["head"], 4, 1e-2), (["layer4", "head"], 4, 1e-3)):
    ft.freeze(model)
    ft.unfreeze(model, *groups)
    trains = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trains, lr=lr, weight_decay=0.0)
    for _ in range(epochs):
        train_loader.generator.manual_seed(len(rows))  # epoch 0, 1, 2, ...: each its own order
        train_loss = train_one_epoch(model, train_loader, optimizer)
        val_loss, val_accuracy = evaluate(model, val_loader)
        rows.append({"train_loss": train_loss, "val_loss": val_loss, "accuracy": val_accuracy})
        if (val_accuracy, -val_loss) > best_score:
            best_score, best_epoch = (val_accuracy, -val_loss), len(rows)
            best = {name: value.clone() for name, value in model.state_dict().items()}

last = {name: value.clone() for name, value in model.state_dict().items()}
model.load_state_dict(best)
print("epochs:", len(rows))
print("best validation accuracy above 0.75:", best_score[0] > 0.75)
print("training loss in the end below 0.05: ", rows[-1]["train_loss"] < 0.05)
print("validation loss in the end above 0.1:", rows[-1]["val_loss"] > 0.1)

# %%
# alt: Training and validation loss over eight epochs, with a line where the second stage begins
#   and a star at the epoch that was kept.
fig, ax = plt.subplots(figsize=(8, 3.8))
epochs = range(1, len(rows) + 1)
ax.plot(epochs, [r["train_loss"] for r in rows], "o-", color=BLUE, lw=2.5, label="training")
ax.plot(epochs, [r["val_loss"] for r in rows], "s-", color=ORANGE, lw=2.5, label="validation")
kept_loss = rows[best_epoch - 1]["val_loss"]
ax.plot(best_epoch, kept_loss, "*", color=ORANGE, mec="white", ms=20, zorder=3, label="kept")
ax.axvline(4.5, color=GREY, ls=":")
ax.text(1, 0.03, "head", color=GREY)
ax.text(4.6, 0.03, "layer4", color=GREY)
ax.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
ax.set_title("What the loop has recorded", loc="left")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# How to read it: as long as *both* fall, the network learns what ants and bees have in common with
# other ants and bees. When training goes on falling and validation does not, it learns *these 120
# photos*: `layer4` has eight million numbers to write them down in. And where the second stage
# begins, validation jumps up: 8 million weights got the full learning rate at once, and the
# BatchNorm layers of `layer4` woke up. Lesson 08 thaws more gently, lesson 09 is about the gap.
# Today it is enough that the loop has kept the best epoch, whichever it was.
#
# Notice also that the training loss of an epoch is a mean over its steps, while the weights were
# still moving; validation is measured after the last one. In a first epoch validation may well
# look better than training, and nothing is wrong.
#
# ### The test split, once
#
# All is chosen: two stages, eight epochs, the learning rates, the epoch that was kept. Now, and
# only now:

# %%
test_loss, test_accuracy = evaluate(model, DataLoader(data.test, batch_size=64))
print("test photos:", len(data.test))
print("test accuracy above 0.7:", test_accuracy > 0.7)

# %% [markdown]
# ### ✏️ Your turn · Exercise 4.5: which number is honest?
#
# Someone has trained with four learning rates, and written down:
#
# | run | learning rate | validation accuracy | test accuracy |
# | --- | --- | --- | --- |
# | A | 0.1 | 0.75 | 0.78 |
# | B | 0.01 | **0.93** | 0.84 |
# | C | 0.003 | 0.90 | **0.88** |
# | D | 0.001 | 0.85 | 0.83 |
#
# Which accuracy may be reported?
#
# - **a** 0.93, the best on validation.
# - **b** 0.88, the best on test.
# - **c** 0.84, the test accuracy of the run that is best on validation.
# - **d** The mean of 0.93 and 0.88, to be fair.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "c"

# %%
answer = check.honest_number(answer)
# check.honest_number.hint()

# %% [markdown]
# How lucky can luck be? Suppose that 20 networks all have a *true* accuracy of 0.80, and you
# measure each on 40 photos. The best of the 20 will look like this, on average over 1,000 tries:

# %%
hits = torch.rand(1000, 20, 40, generator=torch.Generator().manual_seed(0)) < 0.8
best_of_20 = hits.float().mean(2).max(1).values.mean().item()
print(f"the best of 20 looks like {best_of_20:.2f}, and each of them is 0.80")

# %% [markdown]
# Nobody cheated, and still a tenth of it is made of nothing but choice. That is what the
# untouched split is for.
#
# ## The same with the package
#
# A `Stage` says in one line what the two lists above said, and `ft.finetune` is the loop. Same
# start, same photos, same steps. And the same order: `ft.finetune` seeds each epoch with
# `seed * 1_000_003 + epoch`, so that an interrupted run can go on; for `seed=0` these are the seeds 0,
# 1, 2, ... of our loop. Does it end with the same weights?

# %%
plain = {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0, "augment": False}
stages = [
    ft.Stage(train="head", epochs=4, lr=1e-2, **plain),
    ft.Stage(train="layer4", epochs=4, lr=1e-3, **plain),
]
untrained, its_last = copy.deepcopy(start.state_dict()), {}


def look(history):
    """Called after each epoch: note the weights."""
    its_last.update({name: value.clone() for name, value in start.state_dict().items()})


history = ft.finetune(start, data, stages, seed=0, device="cpu", progress=False, on_epoch=look)


def same(mine, theirs):
    """Do all tensors agree, each to a thousandth of its size?"""
    pairs = [(mine[name].float(), theirs[name].float()) for name in mine]
    return all((a - b).norm() <= 1e-3 * a.norm() for a, b in pairs)


print("state tensors compared:", len(last))
print("the same weights after the last epoch:", same(last, its_last))
print("the same weights kept as the best:    ", same(best, start.state_dict()))
mine = torch.tensor([[r["train_loss"], r["val_loss"], r["accuracy"]] for r in rows])
theirs = [history.column(name) for name in ("train_loss", "val_loss", "val_accuracy")]
print(
    "the same numbers in every epoch:      ",
    torch.allclose(mine, torch.tensor(theirs).T, atol=1e-3),
)
print("and, as a control, as untrained:      ", same(last, untrained))

# %% [markdown]
# All 122 state tensors, BatchNorm's statistics included, agree up to rounding. (Not to the last bit:
# the package computes what is frozen only once, and lays the weights out for speed, so it adds up in
# another order. AdamW divides by the size of the gradient, which magnifies that a little.) There is
# nothing in `ft.finetune` that you have not written yourself, and its heart,
# [`train_one_epoch`](../ftcourse/training/loop.py), can be read aloud. What it adds is what a long run needs:
#
# | | by hand | `ft.finetune` |
# | --- | --- | --- |
# | step, mean over photos, eval mode, best weights | ✓ | ✓ |
# | looks for silent mistakes before it starts (`preflight`) | | ✓ |
# | computes what is frozen only once (lesson 11) | | ✓ |
# | warm-up and cosine, weight decay where it belongs (lesson 08) | | ✓ |
# | interrupted after three hours? goes on where it was (`out_dir=`, `resume=True`) | | ✓ |
# | moves to the GPU (lesson 05) | | ✓ |
#
# `history` is your `rows`, with more columns and its plot:

# %%
# alt: Plots of the run by ft.plot_history: loss, accuracy and learning rates over eight epochs,
#   training and validation in two colours, the kept epoch marked with a star.
_ = ft.plot_history(history)
plt.show()

# %% [markdown]
# ## Mistakes that raise no error
#
# | mistake | what you see | how to find it |
# | --- | --- | --- |
# | `zero_grad` forgotten | a loss that swings | print `p.grad.norm()`: it grows |
# | `zero_grad` between `backward` and `step` | a loss that stays | compare weights before and after a step |
# | `eval()` forgotten | validation depends on the batch size | evaluate twice, with batches of 8 and of 64 |
# | `train_mode` forgotten after it | training without dropout, BatchNorm asleep | print `model.training` |
# | mean over batches | numbers that are a little off, forever | evaluate with another batch size |
# | `state_dict()` without a clone | "best" is always the last epoch | evaluate after loading it |
# | no `shuffle` | a loss that jumps in a rhythm | look at the labels of a batch |
# | chosen on test | a paper that nobody can repeat | count how often you have looked |
#
# Some of these the package finds for you. Give `ft.preflight` the parts of your own loop; here with
# two mistakes planted, a learning rate of zero and a careless `evaluate`:


# %%
def careless_evaluate(model):
    model.train()  # left over from training
    with torch.inference_mode():
        return [model(images) for images, _ in val_loader]


optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0)
for finding in ft.preflight(model, optimizer=optimizer, evaluate=careless_evaluate):
    print("-", finding.what)

# %% [markdown]
# ## Now with ImageNet weights
#
# The same loop, with a ResNet-18 that has seen 1.28 million photos, at 224 x 224 pixels. It
# downloads 45 MB, so it runs only with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.load_backbone("resnet18", weights="DEFAULT")
    transform = ft.weights_of(large).transforms()
    ft.freeze(large)
    ft.replace_head(large, len(data.classes))
    optimizer = torch.optim.SGD(large.fc.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    large_train = DataLoader(data.train.with_transform(transform), batch_size=32, shuffle=True)
    large_val = DataLoader(data.val.with_transform(transform), batch_size=64)
    for epoch in range(3):
        loss = train_one_epoch(large, large_train, optimizer)
        print(f"epoch {epoch + 1}: loss {loss:.3f}, validation {evaluate(large, large_val)[1]:.3f}")
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You make batches, shuffle what trains, and know that the last batch is smaller.
# - You write a step by hand, and the five lines of the loop in an order that works.
# - You average over photos, in eval mode, without gradients.
# - You keep a *clone* of the best weights, and read both curves.
# - You choose on validation, and look at the test split once.
# - You have proved that `ft.finetune` is this loop.

# %%
print(progress.summary("04"))

# %% [markdown]
# ## Common questions
#
# **Which batch size?** 16 to 64 is a good start for fine-tuning. Larger ones give fewer steps per
# epoch, and with 120 photos steps are what you lack. Lesson 05 says what the GPU thinks about it.
#
# **How many epochs?** Until validation has stopped getting better for a while. Because the best
# weights are kept, a few too many cost time and nothing else.
#
# **Can I use the validation photos for training in the end?** Yes, when all is chosen: train again
# with both, for as many epochs as you had found. You then have nothing left to notice that it went
# wrong, so do it for the last percent only.
#
# **I have 60 photos in all. Three splits?** Use cross-validation on them instead: five times, each
# fifth once as validation. And distrust any number that comes from a dozen photos.
#
# **`model.eval()` or `torch.inference_mode()`?** Both. The first changes what the layers compute,
# the second what is remembered for gradients. Neither does the other's work.
#
# ## One step further
#
# - Set `shuffle=False` in the loop. What does the training loss do from batch to batch?
# - Give both loops the cosine schedule: `ft.make_optimizer(model, stage)`,
#   `ft.make_scheduler(optimizer, stage, len(train_loader))`, and `scheduler.step()` after each
#   batch. Are the weights still the same?
# - Evaluate in train mode with batches of 2, 8 and 32. Which accuracy would you have reported?
#
# **Next:** 5. Train on a GPU, where the same loop runs on another device, and sometimes faster.
