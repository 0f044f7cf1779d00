# %% [markdown]
# # 4. The training loop
#
# You know what moves, and that it moves against its gradient. What is left is to do it a few hundred
# times, in the right order, and to measure honestly what has become of it. You write that loop
# yourself, in plain PyTorch, and prove that `ft.finetune` does the same.
#
# **What you will be able to do**
#
# - read a folder of photos, and turn it into batches;
# - write a training step, an epoch, an honest measurement, and the whole loop;
# - choose on validation, keep the best weights, touch the test split once;
# - save weights, load them safely, and fine-tune a folder without `ft`.

# %%
import copy
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse import widgets
from ftcourse.data.class_folders import write_class_folders
from ftcourse.exercises import lesson04 as check
from ftcourse.exercises import opening, progress

_ = torch.manual_seed(0)

opening.show(lesson="04", seconds=30, minutes=40)

# %% [markdown]
# ## A folder of photos
#
# Photos to learn from often come as a folder that holds one folder for each class. Ours are Pocket
# Insects: ants and bees, drawn by code in this package, so that nothing has to be downloaded. Here
# they become files. (The first time takes a few seconds.)

# %%
drawn = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
place = tempfile.TemporaryDirectory()  # goes when the kernel stops
folder = write_class_folders(drawn, place.name)

for split in ("train", "val", "test"):
    for kind in ("ants", "bees"):
        files = sorted((folder / split / kind).iterdir())
        print(f"{split}/{kind}: {len(files)} files, {files[0].name} to {files[-1].name}")

# %% [markdown]
# torchvision's `ImageFolder` reads such a folder. A transform makes of each photo what the network
# takes: 64 x 64 pixels as in lesson 03, so that many small experiments stay short.

# %%
to_tensor = [
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
]
plain = v2.Compose([v2.Resize(73), v2.CenterCrop(64), *to_tensor])

train, val, test = (ImageFolder(folder / split, plain) for split in ("train", "val", "test"))
image, label = train[0]
print("photos:", len(train), len(val), len(test), "| classes:", train.class_to_idx)
print("item 0:", tuple(image.shape), image.dtype, "| label:", label)

# %% [markdown]
# For training you usually add chance: whenever a photo is read, another crop of it, and in half of
# the cases its mirror image. The network then hardly ever sees the same pixels twice.

# %%
# alt: A drawn bee, whole, and five random crops of it, some of them mirrored.
chance = [v2.RandomResizedCrop(64, scale=(0.5, 1.0)), v2.RandomHorizontalFlip()]
augmented = ImageFolder(folder / "train", v2.Compose([*chance, *to_tensor]))
crops = [augmented[60][0] for _ in range(5)]
_ = ft.show_images([train[60][0], *crops], ["plain", *["by chance"] * 5])

# %% [markdown]
# Today the loop gets the plain photos, to be compared with another loop, number by number.
#
# ## From photos to batches
#
# Anything that has a length and gives item `i` is a `Dataset`. A `DataLoader` draws items from it and
# stacks them into **batches**. One gradient for a whole batch is less noisy than one for a single
# photo, and a network computes 32 photos at once far faster than 32 times one.

# %%
for shuffle in (False, True):
    loader = DataLoader(train, batch_size=32, shuffle=shuffle)
    sizes = [len(targets) for _, targets in loader]
    images, targets = next(iter(loader))
    print(f"shuffle={shuffle!s:<5} sizes {sizes}", end=", ")
    print("classes in the first batch:", len(targets.unique()))
print("a batch:", tuple(images.shape), images.dtype, "and", tuple(targets.shape), targets.dtype)

# %% [markdown]
# - `ImageFolder` is sorted by class. Without `shuffle=True` the first batch holds ants only: the
#   network learns "always ant", and a little later "always bee".
# - 120 is not a multiple of 32. **The last batch is smaller.** That will matter soon.
#
# Two things are drawn by chance here: the order, and the crops. Seed both, and a run can be repeated:


# %%
def first_batch(seed, workers=0):
    torch.manual_seed(seed)  # the crops
    order = torch.Generator().manual_seed(seed)  # the order; workers get their seeds from it
    loader = DataLoader(
        augmented, batch_size=32, shuffle=True, generator=order, num_workers=workers
    )
    return next(iter(loader))[0]


print("largest difference between two first batches")
print(f"seed 0 and seed 0 again: {(first_batch(0) - first_batch(0)).abs().max():.1f}")
print(f"seed 0 and seed 1:       {(first_batch(0) - first_batch(1)).abs().max():.1f}")

# %% [markdown]
# `num_workers=2` lets two more processes read photos while the network computes; for small files the
# default, 0, is enough. On Windows and macOS (with Python 3.14 on Linux, too) a worker is a fresh
# Python that cannot see a dataset or transform *defined in a notebook*: put those into a `.py` file.
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
# step of the rule. The change itself must not be recorded as a part of the network, so make it under
# `with torch.no_grad():`.


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
by_hand = ft.replace_head(ft.load_backbone("resnet18"), len(train.classes))
by_torch = copy.deepcopy(by_hand)
before = copy.deepcopy(by_hand)

F.cross_entropy(by_hand(images), targets).backward()
sgd_step(by_hand, lr=0.01)

optimizer = torch.optim.SGD(by_torch.parameters(), lr=0.01)
F.cross_entropy(by_torch(images), targets).backward()
optimizer.step()


def apart(a, b):
    """The largest difference between the weights of two models, tensor by tensor."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return [(x - y).abs().max().item() for x, y in pairs]


moved = apart(by_hand, before)
print(f"{sum(m > 0 for m in moved)} of {len(moved)} weight tensors have moved")
print(f"largest difference to SGD: {max(apart(by_hand, by_torch)):.5f}")

# %% [markdown]
# So an optimizer holds a list of tensors, reads `p.grad` and changes `p`. Others (momentum, Adam) also
# remember earlier gradients.
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
model = ft.replace_head(ft.load_backbone("resnet18"), len(train.classes))
norms = []
for _ in range(3):
    F.cross_entropy(model(images[:8]), targets[:8]).backward()
    norms.append(model.fc.weight.grad.norm().item())
print("size of the gradient, against the first:", [round(n / norms[0], 2) for n in norms])

# %% [markdown]
# The same batch three times gives three times the gradient. Where you forget it, each step pulls in
# the direction of *all* batches so far. Watch a head learn both ways. θ rests, so its features are
# computed once, and 60 steps take no time.

# %%
backbone = nn.Sequential(*list(model.children())[:-1], nn.Flatten()).eval()
with torch.no_grad():  # in inference_mode() they could not be part of a later backward()
    features = torch.cat([backbone(x) for x, _ in DataLoader(train, batch_size=60)])
labels = torch.tensor(train.targets)


def losses_of_a_head(zero_grad, epochs=15):
    torch.manual_seed(0)
    head = nn.Linear(512, 2)
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

# %% tags=["nbval-ignore-output"]
# alt: Training loss over 60 steps: with zero_grad it falls to almost nothing; without it, it swings
#   higher and higher.
print("largest loss in the last 30 of 60 steps")
print(f"with zero_grad: {max(right[30:]):.2f}, without it: {max(forgetful[30:]):.2f}")
assert max(right[30:]) < 0.5 and max(forgetful[30:]) > 3, "have you changed the head or its lr?"
_ = ft.plot_lines(
    {"zero_grad forgotten": forgetful, "with zero_grad": right},
    xlabel="step",
    ylabel="training loss",
    title="One line forgotten, and no error",
)

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
# Evidence: three steps of each, from the same start, on a head.


# %%
def three_steps(order):
    torch.manual_seed(0)
    head = nn.Linear(512, 2)
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


orders = {
    "A": "zero_grad forward backward step",
    "B": "forward backward step zero_grad",
    "C": "forward backward zero_grad step",
    "D": "forward zero_grad backward step",
    "E": "forward backward step",
}
ways = {name: three_steps(order) for name, order in orders.items()}
print("   way of the weights   distance from A's")
for name, way in ways.items():
    print(f"{name}  {way.norm():18.2f}  {(way - ways['A']).norm():18.2f}")

# %% [markdown]
# ## An epoch, and its loss
#
# One pass over all training photos is an **epoch**. Batches give one number each. How do they become
# one?
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
# Many loops compute `sum(batch_accuracies) / len(batches)`. Here that gives 0.72 where 0.85 is true. It
# is not noise that averages out, either: the last 8 photos of a sorted folder are all of *one class*, and
# these 8 get half of the say, as much as the other 32. So weight each batch with its size.
#
# ### ✏️ Your turn · Exercise 4.4: one epoch
#
# Fill in `train_one_epoch`: put the model into train mode with `ft.train_mode(model)` (lesson 03:
# BatchNorm of frozen layers rests), make one step of the optimizer for each batch, and return the
# mean loss over the *photos*, as a plain number.


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
# ## Three splits
#
# | split | photos | who looks at it | how often |
# | --- | --- | --- | --- |
# | **train** | 120 | the gradient | in each step |
# | **validation** | 40 | *you*, to choose: how long, how fast, which layers | after each epoch |
# | **test** | 120 | nobody, until everything is chosen | **once** |
#
# Whatever a choice was made on looks better than it is, because you chose what looked good there.
# Weights are chosen on train, settings on validation. One split must stay out of all choices, to tell
# what *new* photos will see.
#
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
# Nobody cheated, and still a tenth of it is made of nothing but choice.
#
# ## Measure
#
# ### ✏️ Your turn · Exercise 4.6: an honest measurement
#
# Fill in `evaluate`. No graph is needed, so work under `with torch.no_grad():` (less memory, less
# time). In eval mode BatchNorm uses its stored statistics, and dropout rests. Loss and accuracy are
# means over photos.


# %% tags=["exercise"]
def evaluate(model, loader):
    """Returns (loss, accuracy), both averaged over photos, in eval mode and without gradients."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def evaluate(model, loader):
    """Returns (loss, accuracy), both averaged over photos, in eval mode and without gradients."""
    model.eval()
    loss, hits, samples = 0.0, 0, 0
    with torch.no_grad():
        for images, targets in loader:
            logits = model(images)
            loss += F.cross_entropy(logits, targets).item() * len(targets)
            hits += (logits.argmax(1) == targets).sum().item()
            samples += len(targets)
    return loss / samples, hits / samples


# %%
evaluate = check.evaluate(evaluate)
# check.evaluate.hint()

# %% [markdown]
# What does `eval()` protect you from? In train mode BatchNorm normalises each photo by the *other
# photos in its batch*, so what the network says of a photo depends on its company. And it learns from
# what it sees, although nobody asked for training:

# %%
val_loader = DataLoader(val, batch_size=32)
photo = val[0][0][None]
ants = torch.stack([val[i][0] for i in range(1, 8)])
bees = torch.stack([val[i][0] for i in range(33, 40)])


@torch.no_grad()
def says(network, company):
    """What the network says of the same photo, in a batch with others."""
    return network(torch.cat([photo, company]))[0]


print("       logits: among ants, among bees, apart   BatchNorm's means moved by")
for mode in (False, True):
    trial = copy.deepcopy(model).train(mode)
    mean = trial.bn1.running_mean.clone()
    a, b = says(trial, ants)[0].item(), says(trial, bees)[0].item()
    shift = (trial.bn1.running_mean - mean).abs().max().item()
    name = "train" if mode else "eval"
    print(f"{name:<5} {a:19.2f} {b:12.2f} {abs(a - b):7.2f} {shift:16.3f}")

# %% [markdown]
# ## The whole loop
#
# The last epoch is not always the best one, so we keep the weights that did best on validation.
# `model.state_dict()` looks like a copy of them. It is not:

# %%
trial, old = copy.deepcopy(model), copy.deepcopy(model.state_dict())
kept = trial.state_dict()
cloned = {name: value.clone() for name, value in trial.state_dict().items()}

optimizer = torch.optim.SGD(trial.parameters(), lr=0.01)
few = DataLoader(TensorDataset(images[:8], targets[:8]), batch_size=8)
_ = train_one_epoch(trial, few, optimizer)

for name, weights in {"state_dict()": kept, "its clones": cloned}.items():
    same = sum(torch.equal(weights[key], old[key]) for key in old)
    print(f"{name:<13} {same} of {len(old)} tensors are as before the step")

# %% [markdown]
# The dictionary holds the *living* tensors. Keep it, train on, load it back, and you load what is
# there already. Clone.
#
# Two more pieces, given. A stage begins with an optimizer that holds only what trains (lesson 03);
# AdamW is gradient descent that scales each step by the size of recent gradients. And `score` says
# what "best" means here: more of the 40 photos right; with as many right, the smaller loss.


# %%
def begin_stage(model, groups, lr):
    """Let these layer groups train, and no others; returns their optimizer."""
    ft.freeze(model)
    ft.unfreeze(model, *groups)
    trains = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trains, lr=lr, weight_decay=0.0)


def score(row):
    """To compare epochs by: the larger, the better."""
    return row["accuracy"], -row["val_loss"]


# %% [markdown]
# ### ✏️ Your turn · Exercise 4.7: the loop
#
# Write `fit`, about a dozen lines. `stages` is a list of `(groups, epochs, lr)`. Whenever an epoch is
# the best so far, keep a clone of all tensors of `state_dict()`; after the last stage load it.


# %% tags=["exercise"]
def fit(model, train_loader, val_loader, stages):
    """Train one stage after the other; the model ends with its best weights. Returns the rows.

    A row is {"train_loss": ..., "val_loss": ..., "accuracy": ...}, one for each epoch of all stages.
    """
    # for each stage: begin_stage, once
    #     for each of its epochs:
    #         train_loader.generator.manual_seed(number of epochs so far), so that it can be repeated
    #         train_one_epoch, evaluate, append a row
    #         the best so far, by `score`? keep a clone
    # load the best, return the rows
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def fit(model, train_loader, val_loader, stages):
    """Train one stage after the other; the model ends with its best weights. Returns the rows.

    A row is {"train_loss": ..., "val_loss": ..., "accuracy": ...}, one for each epoch of all stages.
    """
    rows, best = [], None
    for groups, epochs, lr in stages:
        optimizer = begin_stage(model, groups, lr)
        for _ in range(epochs):
            train_loader.generator.manual_seed(len(rows))
            train_loss = train_one_epoch(model, train_loader, optimizer)
            val_loss, accuracy = evaluate(model, val_loader)
            rows.append({"train_loss": train_loss, "val_loss": val_loss, "accuracy": accuracy})
            if max(rows, key=score) is rows[-1]:
                best = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(best)
    return rows


# %%
fit = check.fit(fit)
# check.fit.hint()

# %% [markdown]
# Two stages, as in lesson 03: first the head alone, then `layer4` with it.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
model = ft.replace_head(ft.load_backbone("resnet18"), len(train.classes))
start = copy.deepcopy(model)  # for later: the same start for the package

train_loader = DataLoader(train, batch_size=32, shuffle=True, generator=torch.Generator())
rows = fit(model, train_loader, val_loader, [(["head"], 4, 1e-2), (["layer4", "head"], 4, 1e-3)])
best_epoch = rows.index(max(rows, key=score)) + 1

print("epoch  training loss  validation loss  validation accuracy")
for epoch, row in enumerate(rows, 1):
    numbers = f"{row['train_loss']:13.3f}  {row['val_loss']:15.3f}  {row['accuracy']:19.3f}"
    print(f"{epoch:5}  {numbers}{'  kept' if epoch == best_epoch else ''}")
assert max(rows, key=score)["accuracy"] > 0.75, "the loop should reach 0.75; look at your stages"
assert rows[-1]["train_loss"] < 0.05 < 0.1 < rows[-1]["val_loss"] and (
    rows[4]["val_loss"] > rows[3]["val_loss"]
), "the curves below should part, and validation jump up where layer4 begins"

# %%
# alt: Training and validation loss over eight epochs: both fall, then training goes to zero while
#   validation jumps up where layer4 begins to train, and stays above.
epochs = range(1, len(rows) + 1)
losses = {
    name: [row[key] for row in rows]
    for name, key in {"training": "train_loss", "validation": "val_loss"}.items()
}
_ = ft.plot_lines(
    {name: (epochs, values) for name, values in losses.items()},
    xlabel="epoch",
    ylabel="loss",
    title="What the loop has recorded",
    moments={"layer4 begins": 4.5},
)

# %%
# alt: Validation accuracy over the same eight epochs, with a star at the epoch that was kept, the
#   highest one.
_ = ft.plot_lines(
    {"validation": (epochs, [row["accuracy"] for row in rows])},
    xlabel="epoch",
    ylabel="accuracy",
    title="The star: the weights that were kept",
    percent="y",
    ylim=(0.5, 1),
    stars={"validation": best_epoch},
    moments={"layer4 begins": 4.5},
)

# %% [markdown]
# How to read it: as long as *both* losses fall, the network learns what ants and bees have in common
# with other ants and bees. When training goes on falling and validation does not, it learns *these 120
# photos*: `layer4` has eight million numbers to write them down in. Where the second stage begins,
# validation jumps up: 8 million weights got the full learning rate at once, and the BatchNorm layers
# of `layer4` woke up. From there it falls again, but only back to about where the head alone had left it, while
# the training loss goes to nothing: that gap is what was learnt by heart. Lesson 08 thaws more gently, lesson 09
# is about the gap.
#
# The star need not stand where the loss is smallest: it marks the accuracy on 40 photos, and the loss
# decides only between equals. And the training loss of an epoch is a mean over steps in which the
# weights still moved; in a first epoch validation may well look better.
#
# All is chosen. Now, and only now, the test split, once:

# %% tags=["nbval-ignore-output"]
test_loss, test_accuracy = evaluate(model, DataLoader(test, batch_size=64))
print(f"{len(test)} test photos: accuracy {test_accuracy:.3f}, loss {test_loss:.3f}")
assert test_accuracy > 0.7, "below what this loop reaches; have you changed stages or photos?"

# %% [markdown]
# **Save it.** A file of weights, and what they mean; `weights_only=True` refuses files that hold more
# than tensors and plain values, because loading those could run somebody's code.

# %%
file = Path(place.name) / "ants_and_bees.pt"
torch.save({"weights": model.state_dict(), "classes": train.classes}, file)

loaded = torch.load(file, weights_only=True)
again = ft.replace_head(ft.load_backbone("resnet18"), len(loaded["classes"])).eval()
again.load_state_dict(loaded["weights"])
with torch.no_grad():
    difference = (again(images) - model(images)).abs().max().item()
print(f"{loaded['classes']}, largest difference between the logits: {difference:.5f}")

# %% [markdown]
# ## The same with the package
#
# A `Stage` says in one line what `stages` said, and `ft.finetune` is the loop. It takes your own
# datasets. Same start, same photos, and the same order: it seeds epoch after epoch with
# `seed * 1_000_003 + epoch`, for `seed=0` that is 0, 1, 2, ... as in `fit`. Does it end with the same
# weights?

# %% tags=["nbval-ignore-output"]
data = ft.Data(train.classes, train, val, test)
steady = {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0}
stages = [
    ft.Stage(train="head", epochs=4, lr=1e-2, **steady),
    ft.Stage(train="layer4", epochs=4, lr=1e-3, **steady),
]
untrained = copy.deepcopy(start)
history = ft.finetune(start, data, stages, seed=0, device="cpu", progress=False)


def distance(a, b):
    """The largest difference between two models' tensors, each against its own size."""
    a, b = a.state_dict(), b.state_dict()
    sizes = {k: a[k].float().norm().clamp(min=1e-9) for k in a}
    return max(((a[k] - b[k]).float().norm() / sizes[k]).item() for k in a)


ours = torch.tensor([[r["train_loss"], r["val_loss"], r["accuracy"]] for r in rows])
columns = [history.column(name) for name in ("train_loss", "val_loss", "val_accuracy")]
in_rows = (ours - torch.tensor(columns).T).abs().max().item()

print(f"largest difference in {ours.numel()} numbers of {len(rows)} epochs: {in_rows:.1e}")
print(f"in {len(model.state_dict())} tensors, yours and its:    {distance(model, start):.1e}")
print(f"to the untrained network, for comparison: {distance(model, untrained):.1e}")
assert in_rows < 1e-3 and distance(model, start) < 1e-3 < distance(model, untrained), (
    "yours and the package's differ; have you changed the stages of one of them?"
)

# %% [markdown]
# All 122 tensors, BatchNorm's statistics included, agree up to rounding. (Not to the last bit: the
# package lays weights out for speed, so it adds up in another order, and AdamW magnifies that a
# little.) At its heart is what you have written: [`train_one_epoch`](../ftcourse/training/loop.py) can
# be read aloud. It adds what a long run needs: a search for silent mistakes, warm-up and cosine (lesson
# 07), frozen parts computed only once (lesson 11), the GPU (lesson 05), and going on after an
# interruption.
#
# In a notebook you can watch it, and stop it: the cell returns at once, and the run goes on behind it.

# %% tags=["nbval-ignore-output"]
# alt: The live run: loss, accuracy and learning rate over its three epochs.
watched = copy.deepcopy(untrained)
run = widgets.live_run(watched, data, ft.Stage(train="head", epochs=3, lr=1e-2, **steady))
run

# %% tags=["nbval-ignore-output"]
print(f"{len(run.result().epochs)} epochs, best accuracy {run.history.best['val_accuracy']:.3f}")

# %% [markdown]
# ## Without `ft`
#
# ### ✏️ Your turn · Exercise 4.8: a folder, an empty cell
#
# `folder` holds `train` and `val` with a folder for each class; `model` is a torchvision ResNet-18 with
# pre-trained weights and its old head, `transform` what it wants of a photo. Leave a model that works:
# one output for each class, in eval mode, its `state_dict()` saved in `file`. What trains, how long and
# how fast is up to you. Use `torch`, `torchvision`, and what you have written above if you like.
#
# The check gives it a folder of three classes that you have not seen, and wants 70 % of new photos
# right. Change your function until it passes.


# %% tags=["exercise"]
def fine_tune_folder(folder, model, transform, file):
    """Fine-tune `model` on the photos in `folder`, save its weights in `file`; returns the model."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def fine_tune_folder(folder, model, transform, file):
    """Fine-tune `model` on the photos in `folder`, save its weights in `file`; returns the model."""
    train = ImageFolder(folder / "train", transform)
    model.requires_grad_(False)
    model.fc = nn.Linear(model.fc.in_features, len(train.classes))
    optimizer = torch.optim.AdamW(model.fc.parameters(), lr=0.01)
    model.eval()  # what is frozen rests, BatchNorm included
    for _ in range(6):
        for images, targets in DataLoader(train, batch_size=16, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
    torch.save(model.state_dict(), file)
    return model


# %%
fine_tune_folder = check.fine_tune_folder(fine_tune_folder)
# check.fine_tune_folder.hint()

# %% [markdown]
# The same function, on ants and bees:

# %% tags=["nbval-ignore-output"]
mine = fine_tune_folder(folder, ft.load_backbone("resnet18"), plain, Path(place.name) / "mine.pt")
print(f"validation accuracy {evaluate(mine, val_loader)[1]:.3f}; guessing has 0.500")

# %% [markdown]
# ## Now with ImageNet weights
#
# The same loop, with a ResNet-18 that has seen 1.28 million photos. It wants 224 x 224 pixels; ours
# have 96 and are enlarged, which adds pixels and no detail. It downloads 45 MB, so it runs only with
# `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.load_backbone("resnet18", weights="DEFAULT")
    transform = ft.weights_of(large).transforms()
    ft.replace_head(large, len(train.classes))
    loaders = [
        DataLoader(
            ImageFolder(folder / split, transform), 32, shuffle=True, generator=torch.Generator()
        )
        for split in ("train", "val")
    ]
    for row in fit(large, *loaders, [(["head"], 3, 1e-3)]):
        print(f"loss {row['train_loss']:.3f}, validation {row['accuracy']:.3f}")
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You read a folder, add chance, make batches, and seed what is drawn.
# - You write a step by hand, and the five lines of the loop in an order that works.
# - You average over photos, in eval mode, without gradients.
# - You keep a *clone* of the best weights, choose on validation, and look at the test split once.
# - You have proved that `ft.finetune` is your loop, and can do without it.

# %%
print(progress.summary("04"))

# %% [markdown]
# ## Appendix: mistakes that raise no error
#
# | mistake | what you see | how to find it |
# | --- | --- | --- |
# | `zero_grad` forgotten | a loss that swings | print `p.grad.norm()`: it grows |
# | `zero_grad` between `backward` and `step` | a loss that stays | compare weights before and after a step |
# | `eval()` forgotten | validation depends on the batch size | evaluate twice, with batches of 8 and of 64 |
# | mean over batches | numbers that are a little off, forever | evaluate with another batch size |
# | `state_dict()` without a clone | "best" is always the last epoch | evaluate after loading it |
# | no `shuffle` | a loss that jumps in a rhythm | look at the labels of a batch |
# | chosen on test | a paper that nobody can repeat | count how often you have looked |
#
# Some of these `ft.preflight` finds in your own loop; here with two mistakes planted:


# %%
def careless_evaluate(model):
    model.train()  # left over from training
    with torch.inference_mode():
        return [model(images) for images, _ in val_loader]


optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0)
for finding in ft.preflight(model, optimizer=optimizer, evaluate=careless_evaluate):
    print("-", finding.what)

# %% [markdown]
# ## Common questions
#
# **Which batch size?** 16 to 64 is a good start for fine-tuning. Larger ones give fewer steps per
# epoch, and with 120 photos steps are what you lack. Lesson 06 says what the GPU thinks about it.
#
# **How many epochs?** Until validation has stopped getting better for a while. Because the best
# weights are kept, a few too many cost little but time.
#
# **Can I train on the validation photos in the end?** Yes, when all is chosen: again with both, for as
# many epochs as you had found. Nothing is then left to notice that it went wrong.
#
# **I have 60 photos in all. Three splits?** Use cross-validation on them instead: five times, each
# fifth once as validation. And distrust any number that comes from a dozen photos.
#
# **`model.eval()` or `torch.inference_mode()`?** Both. The first changes what the layers compute,
# the second (a stricter `no_grad`) what is remembered for gradients. Neither does the other's work.
#
# ## One step further
#
# - Fit on `augmented` in place of `train`. What becomes of the gap between the two losses?
# - Evaluate in train mode with batches of 2, 8 and 32. Which accuracy would you have reported?
#
# **Next:** [5. Train on a GPU](05_train_on_a_gpu.ipynb), where the same loop runs on another device, and
# sometimes faster.
