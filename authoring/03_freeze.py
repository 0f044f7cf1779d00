# %% [markdown]
# # 3. Freeze
#
# To freeze θ means: these weights do not move. It sounds like one line of code, and it is; but
# that line has a twin that does nothing, and a network has three more ways to move while you
# believe it stands still. Most raise no error, and where one comes, the popular remedy silences it. You run into
# each on purpose, and learn to *prove* what moves.
#
# **What you will be able to do**
#
# - freeze none, some or all of a network, in the right order with the new head;
# - explain why `model.fc.requires_grad = True` trains nothing, and prove it;
# - keep BatchNorm inside frozen layers from drifting, and the optimizer's list honest;
# - read a freeze report, and say what freezing buys and what it does not.

# %%
import torch
from torch import nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse import results
from ftcourse.exercises import lesson03 as check
from ftcourse.exercises import opening, progress

_ = torch.manual_seed(0)

opening.show(lesson="03", seconds=25, minutes=35)

# %% [markdown]
# The photos are those of lesson 02: ants and bees, 32 to train on. They are 64 x 64 pixels this time,
# so that many small experiments take little time.

# %%
preprocess = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=64, resize_size=73)
data = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
photos = data.train.with_transform(preprocess).subset(range(32))
images, targets = torch.stack([x for x, _ in photos]), torch.tensor(photos.targets)
print("images:", len(images), "labels:", targets.bincount().tolist())

# %% [markdown]
# ## Why freeze?
#
# - **Time and memory.** Where nothing trains, no gradient needs to be computed.
# - **Features are kept** as pre-training made them, and few photos can hardly improve on them.
# - **A quiet start.** A new head is random. θ waits until it is not.
#
# | freeze | trains | try it with |
# | --- | --- | --- |
# | all of θ | the head | few photos, like those of the pre-training; the first stage of any recipe |
# | stem to `layer3` | `layer4` and head | some hundred photos |
# | nothing | everything | many photos, or photos of another kind |
#
# What of this can be measured, you will see at the end. First: how it is done, and how it goes wrong.

# %% [markdown]
# ## The switch is on the parameters
#
# Each weight tensor is a `Parameter`, and has a switch, `requires_grad`. Off means: `backward()`
# computes no gradient for it, and without a gradient an optimizer leaves it alone.

# %%
model = ft.load_backbone("resnet18")
model.fc = nn.Linear(model.fc.in_features, 2)

for p in model.parameters():
    p.requires_grad = False  # freeze everything

trains = [p.requires_grad for p in model.parameters()]
print(f"tensors that train: {sum(trains)} of {len(trains)}")

# %% [markdown]
# ### The classic trap
#
# All is frozen. Now thaw the head. Many people write, and many tutorials have written:

# %%
model.fc.requires_grad = True  # thaw the head ... or so it seems

# %% [markdown]
# No error. Now train. Here PyTorch does complain:

# %%
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss = F.cross_entropy(model(images), targets)
try:
    loss.backward()
except RuntimeError as err:
    print("RuntimeError:", err)

# %% [markdown]
# Search for this message, and the first remedy that you find is `loss.requires_grad_(True)`. It
# silences the error. Watch the loss.

# %%
head_before = model.fc.weight.detach().clone()
trapped = []
for _ in range(15):
    loss = F.cross_entropy(model(images), targets)
    loss.requires_grad_(True)  # the popular remedy
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    trapped.append(loss.item())

# %% tags=["nbval-ignore-output"]
print(
    f"15 steps without an error; the loss was {trapped[0]:.4f} at first, {trapped[-1]:.4f} at the end"
)
assert max(trapped) - min(trapped) < 1e-6, "the loss has moved: is model.fc frozen above?"

# %% [markdown]
# Fifteen steps, no error, and nothing has happened. Here is the proof, in three pieces of evidence:

# %%
head_moved = (model.fc.weight - head_before).abs().max().item()
thawed = sum(p.requires_grad for p in model.fc.parameters())
own = [name for name in vars(model.fc) if not name.startswith("_")]
print(f"1. tensors of the head that train: {thawed} of {len(list(model.fc.parameters()))}")
print(f"2. largest change of the head's weights: {head_moved}")
print("3. plain attributes of the module:", ", ".join(own))

# %% [markdown]
# The third line says why. `model.fc` is a *module*. Modules have no such switch; only tensors have
# one. Python lets you put any attribute on any object, so the line made a new attribute,
# `requires_grad`, beside the module's own, and nobody reads it. (`model.fc.requires_grad_(True)`, with
# an underscore, is a method that goes through the parameters. One character decides.)
#
# ### ✏️ Your turn · Exercise 3.1: thaw the head
#
# Fill in `thaw_head`: the model comes entirely frozen. Let the head train, and nothing else;
# return the model. The check makes one step and compares weights.


# %% tags=["exercise"]
def thaw_head(model):
    """Let model.fc train, and nothing else; return the model."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def thaw_head(model):
    """Let model.fc train, and nothing else; return the model."""
    for p in model.fc.parameters():
        p.requires_grad = True
    return model


# %%
thaw_head = check.thaw_head(thaw_head)
# check.thaw_head.hint()       # remove the first "#" for a hint; run it again for a second one
# check.thaw_head.solution()   # ... and for a worked answer

# %% [markdown]
# 15 steps again, without the remedy. (The rate is smaller; in the trap nothing moved at any rate.)

# %%
model = thaw_head(model)
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.02)
repaired = []
for _ in range(15):
    loss = F.cross_entropy(model(images), targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    repaired.append(loss.item())

# %%
# alt: Loss over 15 steps: a flat line for the trapped model, a falling one for the repaired one.
ft.plot_lines(
    {"model.fc.requires_grad = True": trapped, "its parameters thawed": repaired},
    xlabel="step",
    ylabel="loss",
)

# %% tags=["nbval-ignore-output"]
print(f"loss of the repaired one: {repaired[0]:.3f} at first, {repaired[-1]:.3f} at the end")
assert repaired[-1] < repaired[0], "the loss should fall; does the head train?"

# %% [markdown]
# **A habit that saves days:** hand the optimizer only what trains, as above. In the trap this list
# is empty, and PyTorch says so at once:

# %%
try:
    torch.optim.SGD(
        [p for p in nn.Linear(2, 2).requires_grad_(False).parameters() if p.requires_grad]
    )
except ValueError as err:
    print("ValueError:", err)

# %% [markdown]
# ## The report
#
# You should not have to remember any of this. `ft.freeze_report` looks at what is: per layer
# group, how many numbers there are, how many train, how many the optimizer holds, and how far they
# have moved since they were loaded.

# %%
print(ft.freeze_report(model, optimizer))

# %% [markdown]
# Read the last but one row: all 1,026 numbers of the head train and are in the optimizer. `new`
# means that the head was replaced. All others stand at 0, *measured*, not believed.
#
# ### ✏️ Your turn · Exercise 3.2: how many train?
#
# Fill in `count_trained`: how many **numbers** of a model train? Next we freeze everything and thaw two
# groups, `layer4` and the head. Before you run it, add up from the table above what should come out.


# %% tags=["exercise"]
def count_trained(model):
    """How many numbers of the model require gradients; one number."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def count_trained(model):
    """How many numbers of the model require gradients; one number."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


# %%
count_trained = check.count_trained(count_trained)
# check.count_trained.hint()

# %% [markdown]
# Freezing with the package is one line, by the names in the first column, and so is thawing:

# %%
ft.freeze(model)  # everything
ft.unfreeze(model, "layer4", "head")
print(f"numbers that train: {int(count_trained(model)):,}")
print(ft.freeze_report(model))

# %% [markdown]
# ## Order matters
#
# ### ✏️ Your turn · Exercise 3.3: which of these programs train the head?
#
# Each starts with a fresh `model = ft.load_backbone("resnet18")`. Give **all** letters that apply,
# such as `"a, b"`.
#
# ```python
# # A                                          # B
# for p in model.parameters():                 model.fc = nn.Linear(512, 2)
#     p.requires_grad = False                  for p in model.parameters():
# model.fc = nn.Linear(512, 2)                     p.requires_grad = False
#
# # C                                          # D
# model.fc = nn.Linear(512, 2)                 for p in model.parameters():
# for name, p in model.named_parameters():         p.requires_grad = False
#     if not name.startswith("fc."):           model.fc = nn.Linear(512, 2)
#         p.requires_grad = False              model.fc.requires_grad = False
# ```

# %% tags=["exercise"]
answer = None  # one or more letters in quotes

# %% tags=["solution"]
answer = "a, c, d"

# %%
answer = check.which_train(answer)
# check.which_train.hint()

# %% [markdown]
# Again, evidence. Two of the four, run:

# %%
for name, replace_first in (("A", False), ("B", True)):
    net = ft.load_backbone("resnet18")
    if replace_first:
        ft.replace_head(net, 2)
    for p in net.parameters():
        p.requires_grad = False
    if not replace_first:
        ft.replace_head(net, 2)
    print(f"{name}: numbers that train {int(count_trained(net)):,}")

# %% [markdown]
# **Freeze first, replace afterwards**, and the new head is born thawed. Or say what should train
# at the end, in one place; that is what a `Stage` does.
#
# ## BatchNorm moves without gradients
#
# BatchNorm layers hold two kinds of numbers: weights, which gradients move, and **running
# statistics**, the mean and variance of what came through. The statistics are no parameters. In
# train mode each *forward pass* updates them, and `requires_grad` has no say.
#
# Let us freeze everything, use no optimizer at all, and send the photos through 20 times in train
# mode.

# %%
net = ft.load_backbone("resnet18")
ft.freeze(net)
before = {name: value.clone() for name, value in net.state_dict().items()}
with torch.no_grad():
    logits_before = net(images)
    net.train()
    for _ in range(20):
        net(images[torch.randperm(len(images))[:16]])
    net.eval()
    logits_after = net(images)

moved = [name for name, value in net.state_dict().items() if not torch.equal(value, before[name])]
norms = [name for name in moved if "running" in name or "num_batches" in name]
print(f"state tensors that moved: {len(moved)} of {len(before)}")
print(f"of these, BatchNorm's statistics: {len(norms)}")

# %% tags=["nbval-ignore-output"]
shift = (logits_after - logits_before).abs().mean().item()
agree = (logits_after.argmax(1) == logits_before.argmax(1)).sum().item()
print(f"a score has shifted by {shift:.2f} on average")
print(f"photos that get the same class as before: {agree} of {len(images)}")
assert shift > 0.1, "in train mode the statistics follow the batches"

# %%
# alt: A scatter of scores before against scores after twenty passes; the points lie far from the
#   diagonal.
ft.plot_points(
    {"a score": (logits_before[::4].flatten(), logits_after[::4].flatten())},
    diagonal=True,
    xlabel="scores before",
    ylabel="scores after 20 passes",
    title="a network with every weight frozen",
)

# %% [markdown]
# Not one weight has moved, and it is another network. On the grey line nothing would have changed.
# The new statistics come from a few photos of two kinds of insects; the weights were made for those of
# the pre-training.
#
# The cure: BatchNorm inside frozen layers stays in **eval mode**, where it uses its stored
# statistics and leaves them alone. What trains is in train mode.
#
# ### ✏️ Your turn · Exercise 3.4: a train mode that respects what is frozen
#
# Fill in `train_mode`. It puts the whole model into train mode, but leaves each BatchNorm layer
# whose weight does not require gradients in eval mode. The check sends photos through and looks at
# what moved.


# %% tags=["exercise"]
def train_mode(model):
    """As model.train(), but BatchNorm of frozen layers is in eval mode; return the model."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def train_mode(model):
    """As model.train(), but BatchNorm of frozen layers is in eval mode; return the model."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()
    return model


# %%
train_mode = check.train_mode(train_mode)
# check.train_mode.hint()

# %%
net = ft.load_backbone("resnet18")
ft.freeze(net)
with torch.no_grad():
    train_mode(net)
    for _ in range(20):
        net(images[torch.randperm(len(images))[:16]])
moved = [name for name, value in net.state_dict().items() if not torch.equal(value, before[name])]
print(f"state tensors that moved: {len(moved)} of {len(before)}")

# %% [markdown]
# The package's `ft.train_mode` does the same, and `ft.finetune` uses it in each epoch. Note the
# trap next door: **call `model.train()` at the start of an epoch, and all BatchNorm layers are
# awake again.**
#
# ## The optimizer has a memory
#
# ### ✏️ Your turn · Exercise 3.5: frozen too late
#
# You train the whole network for a while with Adam, in eval mode. Then you decide to freeze
# `layer1` and go on with the same optimizer:
#
# ```python
# for p in model.layer1.parameters():
#     p.requires_grad = False
#
# optimizer.zero_grad(set_to_none=False)
# loss = F.cross_entropy(model(images), targets)
# loss.backward()
# optimizer.step()
# ```
#
# What do the weights of `layer1` do in this step?
#
# - **a** Nothing, they are frozen.
# - **b** They move.
# - **c** Nothing, an error comes: the optimizer holds tensors that do not train.
# - **d** Only BatchNorm's statistics move.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "b"

# %%
answer = check.frozen_too_late(answer)
# check.frozen_too_late.hint()


# %% [markdown]
# The same step three times, after one step of the whole network:


# %%
def layer1_moves(set_to_none, new_optimizer):
    net = ft.replace_head(ft.load_backbone("resnet18"), 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for step in range(2):
        if step == 1:
            ft.freeze(net, "layer1")
            if new_optimizer:
                trains = [p for p in net.parameters() if p.requires_grad]
                optimizer = torch.optim.Adam(trains, lr=1e-3)
            before = net.layer1[0].conv1.weight.detach().clone()
        optimizer.zero_grad(set_to_none=set_to_none)
        F.cross_entropy(net(images[::4]), targets[::4]).backward()
        optimizer.step()
    return (before - net.layer1[0].conv1.weight).abs().max().item()


print("largest step of a weight in frozen layer1")
print(f"  old optimizer, gradients set to zero: {layer1_moves(False, new_optimizer=False):.4f}")
print(f"  old optimizer, gradients set to None: {layer1_moves(True, new_optimizer=False):.4f}")
print(f"  new optimizer for what trains:        {layer1_moves(False, new_optimizer=True):.4f}")

# %% [markdown]
# A gradient of zero is still a gradient: Adam mixes it with its memory of earlier ones and makes a
# step, two thirds of a full one (its rate is 0.001). `None` means "no gradient", and the tensor is skipped;
# that is PyTorch's default since version 2.0. Weight decay pulls at frozen weights in the same way. **Make a new
# optimizer whenever you change what trains**, and hand it only that.
#
# ## Nothing but what you chose
#
# A colleague wants `layer4` and a new head to train, and nothing else. Her function raises no error:


# %%
def colleagues_prepare(model, num_classes):
    """layer4 and a new head train; the model, and an optimizer."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    model.requires_grad = False
    model.layer4.requires_grad = True
    return model.train(), optimizer


def five_steps(prepare):
    """What has moved after five steps, in the modes in which the model comes back."""
    model, optimizer = prepare(ft.load_backbone("resnet18"), 2)
    for k in range(5):
        loss = F.cross_entropy(model(images[k::5]), targets[k::5])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ft.freeze_report(model, optimizer)


# %% tags=["nbval-ignore-output"]
report = five_steps(colleagues_prepare)
print(report)

# %% [markdown]
# All of it moves, statistics as well, and only the head cannot: the optimizer holds none of its numbers.
# (The last two columns are distances relative to the size of what has moved.)
#
# ### ✏️ Your turn · Exercise 3.6: nothing but what you chose
#
# An open task. Write `prepare`: from a ResNet as somebody left it, frozen or not, in whatever mode, it makes
# one of which `layer4` and a new head train, and nothing else moves. Return the model, in the modes in which
# it should train, and the optimizer. Any way is right. The check makes five steps, without a `train()` of its
# own, and tells what moved; change your function until it has nothing left to tell.


# %% tags=["exercise"]
def prepare(model, num_classes):
    """layer4 and a new head train, nothing else moves; the model, and an optimizer."""
    raise NotImplementedError  # your code here; you have train_mode


# %% tags=["solution"]
def prepare(model, num_classes):
    """layer4 and a new head train, nothing else moves; the model, and an optimizer."""
    model.requires_grad_(False)
    model.layer4.requires_grad_(True)
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    train_mode(model)
    trains = [p for p in model.parameters() if p.requires_grad]
    return model, torch.optim.SGD(trains, lr=0.01)


# %%
prepare = check.prepare(prepare)
# check.prepare.hint()

# %% tags=["nbval-ignore-output"]
report = five_steps(prepare)
print(report)
still = [row for row in report.rows if row["group"] not in ("layer4", "head")]
assert all(row["moved"] == 0 for row in still), "a frozen group has moved"

# %% [markdown]
# ## All of it as one object
#
# What trains, for how long and how fast: in this course that is a `Stage`. `apply_stage` freezes and
# thaws, and `make_optimizer` takes only what trains. `ft.finetune`, from lesson 04 on, does both for each
# stage and makes a new optimizer every time. (BatchNorm of `layer4` still says `eval` here:
# `ft.train_mode` wakes it at the start of each epoch.)

# %%
model = ft.replace_head(ft.load_backbone("resnet18"), 2)
stage = ft.Stage(train="layer4", epochs=5, lr=1e-3, head_lr=1e-2)
ft.apply_stage(model, stage)
print(ft.freeze_report(model, ft.make_optimizer(model, stage)))

# %% [markdown]
# ## What freezing buys
#
# $$\min_{\theta,\,\varphi} L(\theta, \varphi) \qquad\text{becomes}\qquad \min_{\varphi} L(\theta_0, \varphi)$$
#
# with θ₀ what pre-training has found. First, **time**. One forward and backward pass for 32 photos, measured
# here and now. Times differ from machine to machine; look at the ratio.

# %% tags=["nbval-ignore-output"]
import time


def seconds_per_pass(train):
    ft.apply_stage(model, ft.Stage(train=train))
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        F.cross_entropy(model(images), targets).backward()
        best = min(best, time.perf_counter() - start)
    return best


for train in ("all", "layer4", "head"):
    print(f"{train:<7} {1000 * seconds_per_pass(train):6.0f} ms")

# %% [markdown]
# Going forward costs the same for all three. What freezing saves is the way back, and lesson 11
# shows how to save most of the way forward, too.
#
# Second, **memory**. **Click layer groups** to freeze or thaw them, and watch time and memory. Thaw everything,
# then freeze the stem, then `layer1`: which colour of the memory bar shrinks most? (Where no kernel runs, you see
# a table of three choices instead.)

# %% tags=["nbval-ignore-output"]
from ftcourse import widgets

widgets.freeze_explorer(model, size=64)

# %% [markdown]
# The numbers are counted, not estimated, except for the time, which is measured here. Activations,
# in green, are what the way back needs to remember of the way forward: only layers that train, and
# those after them, leave any.
#
# ### A better classifier?
#
# Not by itself. Both can learn few photos by heart, and few weights are no protection: 1,026 numbers learn any
# labels of up to 513 photos (lesson 02). With 5, 10, 20 or 50 photos a class, training all layers was not surely
# better or worse than the head alone in this repository's runs, neither on insects nor on real photos; with 100
# and 200 it was better on insects, by 5 and 6 points (`benchmarks/results/methods.md`, 64 pixels, five seeds).
# So with few photos freezing costs nothing that we could measure.
#
# ### Features that are not distorted
#
# What freezing keeps is the **features**. A head chooses among them and cannot bend them. Training all layers
# bends them, and more so under a random head, which asks for what *it* happens to need. Thirty steps on 48
# ants and bees, once under a random head, once under one that was fitted on frozen features before
# (`python benchmarks/distortion.py`, five seeds; lesson 08 tells more of SGD and AdamW):

# %%
# alt: Two panels, SGD and AdamW: distance of the features from those before, against steps, means of five seeds.
#   With SGD the random head's curve rises to 0.7, the fitted head's to 0.1; with AdamW to 0.7 and 0.5.
found = results.load("distortion")
rows = {(row["optimizer"], row["head"]): row for row in found["summary"]}
ft.plot_lines(
    {
        optimizer: {
            f"{head} head": (found["after"], rows[optimizer, head]["moved"])
            for head in ("random", "fitted")
        }
        for optimizer in ("SGD", "AdamW")
    },
    xlabel="steps",
    ylabel="features moved, ‖f - f₀‖ / ‖f₀‖",
)

# %%
print("accuracy, mean (lowest to highest)    ants and bees        four other kinds")


def span(row, name, k):
    low, high = row[f"{name}_range"][k]
    return f"{row[name][k]:.2f} ({low:.2f} to {high:.2f})"


row = rows["SGD", "fitted"]
print(f"{'fitted head, features as they were':<36}{span(row, 'test', 0)}  {span(row, 'others', 0)}")
for (optimizer, head), row in rows.items():
    what = f"30 steps, {optimizer}, {head} head"
    print(f"{what:<36}{span(row, 'test', -1)}  {span(row, 'others', -1)}")
for optimizer in ("SGD", "AdamW"):
    random, fitted = (rows[optimizer, head]["others_range"][-1] for head in ("random", "fitted"))
    assert max(random) < min(fitted), "the stored results have changed"

# %% [markdown]
# The first column is the task, on test photos: all alike. The second is what the features still tell of
# beetles, butterflies, ladybirds and spiders, which no step has seen, read by a head that was fitted on the
# old features. The random head has cost nine and eleven points there, with less left in every seed than under
# the fitted head, which has cost next to nothing.
# [Kumar et al., 2022](https://arxiv.org/abs/2202.10054) call it **feature distortion**, and found that it
# costs accuracy on photos unlike the training photos. So: **first the head, then the rest.**
#
# ## Now with ImageNet weights
#
# The same report for a ResNet-50. It downloads 98 MB, so it runs only with `FTCOURSE_PROFILE=full`
# in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.replace_head(ft.load_backbone("resnet50", weights="DEFAULT"), 2)
    ft.apply_stage(large, ft.Stage(train="head"))
    print(ft.freeze_report(large))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You freeze and thaw *parameters*, and can prove that `model.fc.requires_grad = True` does
#   neither.
# - You freeze first and replace the head afterwards, or name what trains in one place.
# - You keep BatchNorm of frozen layers in eval mode.
# - You make a new optimizer when you change what trains, with only that in it.
# - You look at `ft.freeze_report` before you believe anything.

# %%
print(progress.summary("03"))

# %% [markdown]
# ## Common questions
#
# **Is freezing the same as a learning rate of zero?** For the weights, yes. For the time it takes,
# no: gradients are computed all the same. For BatchNorm's statistics, neither of the two helps.
#
# **Should BatchNorm's own weights train, when the rest is frozen?** It is a method of its own with
# few weights, and sometimes a good one. But do it on purpose.
#
# **Why does `torch.no_grad()` around the backbone not do the same?** It does, for gradients: the
# frozen part needs none. Statistics move under `no_grad` as well, as you have seen above.
#
# **How many layers should I freeze?** Start with all but the head; it takes a minute and gives you
# a baseline. Then thaw `layer4`, and compare on the validation split. Lessons 08 and 10 measure
# it.
#
# ## One step further
#
# - Put `model.fc.requires_grad_(True)`, with the underscore, into the trap. Does it thaw?
# - In the 20 passes, use batches of 2 photos in place of 16. How far do the scores shift?
# - Give the optimizer `weight_decay=0.1`, freeze `layer1` with gradients set to zero, and look at
#   `ft.freeze_report`: which column tells?
#
# **Next:** [4. The training loop](04_the_training_loop.ipynb), where all this is put to work on real splits.
