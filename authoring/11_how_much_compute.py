# %% [markdown]
# # 11. How much compute?
#
# Lesson 10 asked what a method gains. Here comes the bill: seconds, memory, hours on a rented
# machine. You count by hand what a layer costs, find out what freezing saves and what it does not,
# and then save nearly all of the rest, by computing once what never changes.
#
# **What you will be able to do**
#
# - count the arithmetic of a convolution and of a network, forwards and backwards;
# - say what freezing saves, and when it saves nothing;
# - compute the frozen part once, with the same result, and predict the gain;
# - tell where memory goes;
# - turn your own images per second into hours and money, and choose where to train.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import ftcourse as ft
from ftcourse import results
from ftcourse.exercises import lesson11 as check
from ftcourse.exercises import opening, progress

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
_ = torch.manual_seed(0)

opening.show(lesson="11", seconds=20, minutes=35)

# %% [markdown]
# ## Count one layer
#
# Seconds differ from machine to machine. The *amount of arithmetic* does not, so we start with
# that. It is counted in FLOPs, floating-point operations: a multiplication is one, an addition is
# one. (Some authors count a multiplication with its addition as one, and call it a MAC. Their
# numbers are half of ours.)
#
# ### ✏️ Your turn · Exercise 11.1: the FLOPs of a convolution
#
# One number of the output is a sum over all input channels and all k × k places of the kernel,
# each a product that is added to the sum. Fill in `conv_flops`: the FLOPs for **one** photo, with
# an output of `height` × `width` places. There is no bias.


# %% tags=["exercise"]
def conv_flops(in_channels, out_channels, kernel, height, width):
    """FLOPs (an int) of a convolution for one photo; height and width are those of the output."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def conv_flops(in_channels, out_channels, kernel, height, width):
    """FLOPs (an int) of a convolution for one photo; height and width are those of the output."""
    for_one_number = 2 * in_channels * kernel**2
    return for_one_number * out_channels * height * width


# %%
conv_flops = check.conv_flops(conv_flops)
# check.conv_flops.hint()       # remove the first "#" for a hint; run it again for a second one
# check.conv_flops.solution()   # ... and for a worked answer

# %% [markdown]
# PyTorch can count, too: inside `FlopCounterMode` it notes each matrix product and convolution
# that runs. (All else, BatchNorm, ReLU, adding up, is small beside them.) The first layer of
# ResNet-18 on a photo of 128 pixels, 3 channels to 64, kernel 7 × 7, output 64 × 64:


# %%
def count(run):
    """The FLOPs of a function call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


model = ft.replace_head(ft.load_backbone("resnet18"), 2)
photo = torch.randn(1, 3, 128, 128)
with torch.no_grad():
    counted = count(lambda: model.conv1(photo))
print(f"by hand {conv_flops(3, 64, 7, 64, 64):,}   PyTorch {counted:,}")

# %% [markdown]
# And the whole network, your function layer by layer. A hook notes the size of each output as the
# photo passes:

# %%
with torch.no_grad():
    counted = count(lambda: model(photo))

per_group = {}
for group, modules in ft.layer_groups(model).items():
    per_group[group] = 0
    for conv in (m for part in modules for m in part.modules() if isinstance(m, nn.Conv2d)):

        def note(layer, inputs, output, group=group):
            k, (height, width) = layer.kernel_size[0], output.shape[2:]
            per_group[group] += conv_flops(layer.in_channels, layer.out_channels, k, height, width)

        conv.register_forward_hook(note)

with torch.no_grad():
    model(photo)  # the hooks count by hand, and PyTorch is not looking
model = ft.replace_head(ft.load_backbone("resnet18"), 2)  # a fresh one, without hooks
per_group["head"] = 2 * 512 * 2
print(f"by hand {sum(per_group.values()):,}   PyTorch {counted:,}")
print(f"that is {counted / 1e9:.2f} GFLOP for a photo of 128 pixels")

# %%
# alt: Bars of GFLOP for each layer group: layer1 to layer4 about equal, the stem less, the head
#   invisible; beside them the share of parameters, three quarters of which are in layer4.
fig, (left, right) = plt.subplots(1, 2, figsize=(12, 3.6), layout="constrained")
left.bar(list(per_group), [v / 1e9 for v in per_group.values()], color=BLUE)
left.set_title("GFLOP, one photo", loc="left")
numbers = {g: sum(p.numel() for m in ms for p in m.parameters())
           for g, ms in ft.layer_groups(model).items()}  # fmt: skip
right.bar(list(numbers), [v / 1e6 for v in numbers.values()], color=GREY)
right.set_title("million parameters", loc="left")
plt.show()

# %% [markdown]
# Two different pictures. Parameters sit at the end, where there are many channels; arithmetic is
# spread evenly, because in the early layers each of the few weights works at many places. **The
# number of parameters does not tell the cost.**
#
# ### ✏️ Your turn · Exercise 11.2: a larger photo
#
# At 128 pixels a photo costs 1.18 GFLOP. How many at 224, the size that ImageNet networks see?
# Two digits are enough.

# %% tags=["exercise"]
guess = None  # GFLOP

# %% tags=["solution"]
guess = 1.18 * (224 / 128) ** 2

# %%
gflop_at_224 = check.at_224(guess)
# check.at_224.hint()

# %%
with torch.no_grad():
    for pixels in (64, 96, 128, 160, 224):
        photo = torch.zeros(1, 3, pixels, pixels)
        flops = count(lambda photo=photo: model(photo))
        print(f"{pixels:>4} pixels: {flops / 1e9:5.2f} GFLOP")

# %% [markdown]
# The size of the photo is the first thing to turn, and it is often free. Is it worth it? A file
# has the answer for our weights on real ants and bees, with a linear probe, cross-validated on
# the training photos:

# %%
found = results.load("input_size")
print(found["command"])
for row in found["rows"]:
    if row["resize_size"] > row["crop_size"]:
        ends = f"{100 * row['lowest']:.1f} to {100 * row['highest']:.1f}"
        print(f"{row['crop_size']:>4} pixels: {100 * row['accuracy']:.1f} %   shuffles {ends}")

# %% [markdown]
# From 64 to 128 pixels the cost becomes fourfold, and the accuracy gains a few points, not much more
# than the luck of the shuffles. Beyond that nothing is gained with *these*
# weights, which were trained on 64 pixels. Weights that were trained on 224 want 224: as a rule, a
# network likes things to be as large as they were in its pre-training.
#
# ## The way back costs twice the way forward
#
# A layer computes $y = Wx$. On the way back it is handed $\partial L/\partial y$ and has to make
# **two** products, each as large as the one forward:
#
# $$\frac{\partial L}{\partial W} = \frac{\partial L}{\partial y}\,x^\top
# \qquad\qquad
# \frac{\partial L}{\partial x} = W^\top\,\frac{\partial L}{\partial y}$$
#
# the first to move its own weights, the second to tell the layer below. So a training step costs
# about 1 + 2 = 3 times the forward pass. Freezing makes some of the products unnecessary. Which?

# %%
four, four_targets = torch.randn(4, 3, 128, 128), torch.tensor([0, 1, 0, 1])


def step_cost(train):
    """FLOPs of one forward and backward pass, for one photo."""
    ft.apply_stage(model, ft.Stage(train=train))

    def step():
        F.cross_entropy(model(four), four_targets).backward()

    return count(step) / len(four)


forward = counted
for train in ("all", "layer4", "head"):
    print(f"{train:<7} {step_cost(train) / forward:.2f} times the forward pass")

# %% [markdown]
# - **all**: 3, less the very first layer, whose input is the photo and wants no gradient.
# - **layer4**: one forward for everything, the way back for `layer4` only. The gradient stops where
#   nothing below trains.
# - **head**: the way back is nearly free. What is left is the way *forward*.
#
# ### ✏️ Your turn · Exercise 11.3: only the stem
#
# Now the other way round: `Stage(train=("stem",))` lets the first layer move, and freezes all above
# it, 99.9 % of the parameters. (One does that for photos whose *look* is new, such as infrared.)
# What does a step cost?
#
# - **a** As much as training all: 3 times the forward pass.
# - **b** About 2 times.
# - **c** About as much as training the head: 1 time.
# - **d** Less than training the head, since hardly anything trains.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "b"

# %%
answer = check.stem_only(answer)
# check.stem_only.hint()

# %%
print(f"stem    {step_cost(('stem',)) / forward:.2f} times the forward pass")

# %% [markdown]
# So **freezing saves what lies below the lowest layer that trains**, and of what lies above it, a
# half of the way back.
#
# Arithmetic is not time. Here are both, one training step with 16 photos, here and now. Small
# layers keep a processor less busy than large ones, and memory has to be moved as well; look at
# the order of things.

# %% tags=["nbval-ignore-output"]
batch, labels = torch.randn(16, 3, 128, 128), torch.arange(16) % 2


def seconds(train, repeats=3):
    ft.train_mode(ft.apply_stage(model, ft.Stage(train=train)))
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        F.cross_entropy(model(batch), labels).backward()
        best = min(best, time.perf_counter() - start)
    return best


took = {train: seconds(train) for train in ("all", "layer4", "head")}
for train, value in took.items():
    relative = value / took["head"]
    print(f"{train:<7} {1000 * value / 16:5.1f} ms a photo: {relative:.1f} times the head alone")

# %%
print(
    "training all takes more than 1.5 times as long as the head:", took["all"] > 1.5 * took["head"]
)

# %% [markdown]
# ## What never changes is computed once
#
# Head only: θ stands still, so each photo has the *same* 512 features in epoch 1 and in epoch 20.
# The loop computes them 20 times. Let us not.
#
# Here are both ways, for 24 insects and 10 epochs: same photos, same head, same order. No
# augmentation yet; the network is in eval mode, as a frozen one should be.

# %%
data = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
look = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=64, resize_size=64)
split = data.train.with_transform(look).subset(range(24))
photos = torch.stack([image for image, _ in split])
targets = torch.tensor(split.targets)

backbone = ft.load_backbone("resnet18").eval()
backbone.fc = nn.Identity()  # what comes out is the features
ft.freeze(backbone, "stem", "layer1", "layer2", "layer3", "layer4")


def train_head(features_of, inputs, epochs=10):
    """Train a new head on `features_of(batch)`; return its weights."""
    torch.manual_seed(0)
    head = nn.Linear(512, 2)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.05)
    for _ in range(epochs):
        for chosen in torch.randperm(len(inputs)).split(8):
            with torch.no_grad():
                features = features_of(inputs[chosen])
            F.cross_entropy(head(features), targets[chosen]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return head.weight.detach()


slow = train_head(backbone, photos)  # the features in each step
with torch.no_grad():
    features = backbone(photos)  # the features once
once = train_head(lambda kept: kept, features)

print("photos", tuple(photos.shape), "-> features", tuple(features.shape))
print("same head, up to rounding:", torch.allclose(slow, once, atol=1e-4))

# %%
flops_slow = count(lambda: train_head(backbone, photos))
flops_once = count(lambda: backbone(photos)) + count(
    lambda: train_head(lambda kept: kept, features)
)
print(
    f"slow {flops_slow / 1e9:.1f} GFLOP, once {flops_once / 1e9:.1f}: {flops_slow / flops_once:.1f} times less"
)

# %% [markdown]
# Ten epochs, ten times less, and the same head. Not a trick that trades accuracy for speed: the
# same numbers, computed in another order.
#
# It works for `layer4`, too. Then the frozen part ends at `layer3`; its output, 256 × 4 × 4 numbers
# for each of these photos, is kept, and `layer4` and head train on that.
#
# ### ✏️ Your turn · Exercise 11.4: predict the gain
#
# Let $f$ be the FLOPs of the frozen part for one photo, and $t$ those of a forward *and* backward
# pass through what trains. Fill in `speedup(epochs, frozen, trains)`: the FLOPs of the slow way,
# divided by those of the way that computes the frozen part once.


# %% tags=["exercise"]
def speedup(epochs, frozen, trains):
    """FLOPs of the slow way / FLOPs when the frozen part is computed once: a float."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def speedup(epochs, frozen, trains):
    """FLOPs of the slow way / FLOPs when the frozen part is computed once: a float."""
    return epochs * (frozen + trains) / (frozen + epochs * trains)


# %%
speedup = check.speedup(speedup)
# check.speedup.hint()

# %%
# alt: Gain over epochs, both axes logarithmic: for the head it rises like the number of epochs, for
#   layer4 it flattens below 2.5.
f_head, t_head = forward - per_group["head"], 2 * per_group["head"]
f_layer4 = forward - per_group["layer4"] - per_group["head"]
t_layer4 = step_cost("layer4") - f_layer4
epochs = np.arange(1, 101)
fig, ax = plt.subplots(figsize=(8, 4))
ax.plot(epochs, [speedup(e, f_head, t_head) for e in epochs], color=BLUE, lw=2.5, label="head")
ax.plot(epochs, [speedup(e, f_layer4, t_layer4) for e in epochs], color=GREEN, lw=2.5, ls="--",
        label="layer4 and head")  # fmt: skip
ax.axhline((f_layer4 + t_layer4) / t_layer4, color=GREY, lw=1, ls=":")
ax.set(xscale="log", yscale="log", xlabel="epochs", ylabel="times fewer FLOPs")
ax.set_xticks([1, 2, 5, 10, 20, 50, 100], [1, 2, 5, 10, 20, 50, 100])
ax.set_yticks([1, 2, 5, 10, 20, 50, 100], [1, 2, 5, 10, 20, 50, 100])
ax.minorticks_off()
ax.legend(frameon=False)
plt.show()
for name, f, t in (("head", f_head, t_head), ("layer4", f_layer4, t_layer4)):
    gains = [f"{speedup(e, f, t):.1f}" for e in (1, 5, 20)]
    print(f"{name:<7} 1, 5 and 20 epochs: {', '.join(gains)} times fewer FLOPs")

# %% [markdown]
# For one epoch there is nothing to gain. For many, the head's gain has no end in sight, and that of
# `layer4` ends at the dotted line, $(f + t)/t$: what trains has to be computed each time.
#
# ### ✏️ Your turn · Exercise 11.5: which of these caches are right?
#
# Five programs keep what the frozen part computes. Which of them train **the same** as the correct
# slow loop, with augmentation where it has augmentation? Give all letters.
#
# - **a** `backbone.eval()`, photos resized and cropped in the middle, features kept, head trained.
# - **b** `backbone.eval()`, a *random* crop of each photo, features kept, head trained for 20 epochs.
# - **c** `backbone.train()`, photos as in a, features kept, head trained.
# - **d** `backbone.eval()`, photos as in a, the output of `layer3` kept, `layer4` and head trained on
#   it.
# - **e** `backbone.eval()`, photos as in a, features kept, head trained for 5 epochs; then `layer4` is
#   thawed, and training goes on with the kept features.

# %% tags=["exercise"]
answer = None  # one or more letters in quotes

# %% tags=["solution"]
answer = "a, d"

# %%
answer = check.which_cache(answer)
# check.which_cache.hint()

# %% [markdown]
# And augmentation? A crop that is new in each epoch has new features, so nothing can be kept, and
# the head costs a forward pass each time. Two honest ways out: do without it (for a head alone it
# gains little), or keep the features of a few different crops of each photo and take them in turn.
#
# ## The package does it for you
#
# `ft.finetune` looks for the first module that trains, cuts the network there, and keeps what the
# part before it gives, wherever that changes no number beyond rounding: for the validation photos
# always, for the training photos if they are not augmented (`augment=False`). With augmentation
# the frozen part still runs without keeping anything for the way back. `views=5` keeps five
# augmented versions of each photo. `cache=False` switches all of it off:


# %%
small = data.with_transforms(data.train.transform, look)  # 64 pixels


def train(cache):
    torch.manual_seed(0)
    net = ft.replace_head(ft.load_backbone("resnet18"), 2)
    stage = ft.Stage("head", epochs=6, lr=1e-2, augment=False)
    start = time.perf_counter()
    # on the CPU, where computing takes most of the time; a GPU would wait for other things
    ft.finetune(net, small, stage, cache=cache, device="cpu", progress=False, preflight=False)
    return net.fc.weight.detach(), time.perf_counter() - start


kept, seconds_kept = train(cache=True)
anew, seconds_anew = train(cache=False)
print("same head, up to rounding:", torch.allclose(kept, anew, atol=1e-4))
print("more than 1.5 times faster in 6 epochs:", seconds_anew > 1.5 * seconds_kept)

# %% [markdown]
# ## Where the memory goes
#
# On a GPU it is mostly memory that sets the limit, not time. Four things want to be kept while
# training, and two of them depend on what is frozen:
#
# | | for each | kept when frozen |
# | --- | --- | --- |
# | weights | parameter: 4 bytes | yes |
# | gradients | parameter that trains: 4 bytes | no |
# | optimizer | parameter that trains: AdamW 8 bytes (two running means), SGD with momentum 4 | no |
# | **activations** | photo in the batch: what the way back needs again | above what trains |
#
# The last one can be measured: PyTorch hands each tensor that it keeps for the way back to a hook,
# and the hook adds up the bytes. (Several layers may keep the same tensor; it counts once.)


# %%
def activation_bytes(train, batch):
    """Bytes that one forward pass keeps for the way back, without the parameters."""
    net = ft.train_mode(ft.apply_stage(model, ft.Stage(train=train)))
    own = {t.data_ptr() for t in (*net.parameters(), *net.buffers())}
    kept = {}

    def note(tensor):
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        F.cross_entropy(net(batch), torch.arange(len(batch)) % 2)
    return sum(t.numel() * t.element_size() for t in kept.values())


batch = torch.randn(8, 3, 128, 128)
memory = {}
for train in ("head", "layer4", "all"):
    kept = activation_bytes(train, batch) / len(batch)
    trains = ft.freeze_report(model).trainable
    weights = sum(p.numel() for p in model.parameters())
    memory[train] = {"weights": 4 * weights, "gradients": 4 * trains, "AdamW": 8 * trains}
    memory[train]["activations, batch of 32"] = 32 * kept
    print(f"{train:<7} activations of one photo: {kept / 1e6:.1f} MB")

# %%
# alt: Stacked bars of megabytes for head, layer4 and all; for all the activations of a batch of 32
#   make up three quarters.
fig, ax = plt.subplots(figsize=(9, 3.6))
left = np.zeros(3)
for part, colour in zip(memory["all"], (GREY, BLUE, GREEN, ORANGE), strict=True):
    size = np.array([memory[train][part] / 1e6 for train in memory])
    ax.barh(list(memory), size, left=left, color=colour, label=part)
    left += size
ax.set_xlabel("MB")
ax.legend(frameon=False, loc="lower right")
plt.show()
total = {train: sum(parts.values()) for train, parts in memory.items()}
print("of training all, the largest part is:", max(memory["all"], key=memory["all"].get))
print("all needs more than 5 times the head alone:", total["all"] > 5 * total["head"])

# %% [markdown]
# The package counts the same, and the FLOPs as well, in a few milliseconds: `count_cost` runs the
# network on PyTorch's `meta` device, where tensors have a shape and no numbers.

# %%
from ftcourse.models.cost import count_cost

print(f"{'':<8}{'trains':>12}{'forward':>9}{'backward':>10}{'memory, batch of 32':>21}")
for train in ("head", "layer4", "all"):
    cost = count_cost(ft.apply_stage(model, ft.Stage(train=train)), size=128, batch_size=32)
    flops = f"{cost.forward / 1e9:>9.2f}{cost.backward / 1e9:>10.2f}"
    print(f"{train:<8}{cost.trainable:>12,}{flops}{cost.memory / 1e6:>18,.0f} MB")
print("as counted by hand, within 2 %:", abs(cost.memory / total["all"] - 1) < 0.02)

# %% [markdown]
# The orange part grows with the batch, and with the *area* of the photo. So what to do when memory
# is short, in this order: a smaller batch, smaller photos, half precision (halves the orange part;
# lesson 05), freezing more. And when the batch becomes too small to be good: several small batches
# before one step of the optimizer (gradient accumulation).
#
# ## The bill
#
# Now measured, by a command that gives each row a process of its own, so that each has its own peak
# memory. Times are those of the machine that made the file: **the ratios are the point**. The
# network sees 64 pixels, as in lesson 10, and the batches have 32 photos.

# %%
compute = results.load("compute")
print(compute["command"], "-", compute["machine"])
rows = {(r["method"], r["computed_once"]): r for r in compute["rows"] if r["pixels"] == 64}
full = rows["all", False]
print(f"\n{'':<28}{'GFLOP':>8}{'time':>8}{'memory':>9}")
for (method, once), row in rows.items():
    name = method + (", computed once" if once else "")
    share = row["ms_a_photo"] / full["ms_a_photo"]
    above = row["peak_mb"] - row["peak_mb_before_training"]
    print(f"{name:<28}{row['gflop_a_photo']:>8.3f}{share:>8.3f}{above:>6} MB")

# %% [markdown]
# `time` is that of a training step, as a share of that of `all`; what is computed once has a first
# pass besides. `memory` is the peak above what the process held before the first step: that was
# about 1 GB, for Python, PyTorch, the photos and the weights, and no method changes it.
#
# The table says what you have counted, with a correction. The last block takes more than half of the
# time of the whole, because the way forward remains. Computed once, its share of the FLOPs falls to
# a fifth, and its time only to two fifths: the optimizer moves the same 8.4 million numbers in
# each step, and that is not in the FLOPs of the layers. The head costs next to nothing, in time
# and in memory. All layers take about 200 MB here; at 224 pixels the activations alone are 12 times
# as large.
#
# And what does one get for it? Lesson 10 has the accuracies: 100 insects a class, the mean of its
# seeds. `scratch` costs what `all` costs; `LP-FT` trains the head in its first epoch of four.

# %%
# alt: Accuracy against the time of an epoch relative to training all layers, for five methods: the
#   linear probe is cheapest, scratch is as dear as all and far below.
gained = results.load("methods_insects")
accuracy = {
    r["method"]: 100 * r["mean"]
    for r in gained["summary"]
    if (r["classes"], r["pixels"], r["per_class"]) == (2, 64, 100)
}
cost_of = {m: rows[m, False]["ms_a_photo"] for m in ("linear probe", "last block", "all")}
cost_of["scratch"] = cost_of["all"]
cost_of["LP-FT"] = 0.25 * cost_of["linear probe"] + 0.75 * cost_of["all"]
fig, ax = plt.subplots(figsize=(8, 4.2))
for (method, value), colour, marker in zip(
    cost_of.items(), (BLUE, GREEN, "#E69F00", GREY, ORANGE), "s^Dov", strict=True
):
    x = value / cost_of["all"]
    ax.plot(x, accuracy[method], marker, ms=11, color=colour)
    ax.annotate(method, (x, accuracy[method]), xytext=(0, -20), textcoords="offset points",
                ha="center", color=colour)  # fmt: skip
ax.set(xlabel="time of an epoch, all layers = 1", ylabel="test accuracy, %", xlim=(0, 1.1))
ax.margins(y=0.15)
plt.show()

# %% [markdown]
# Up is better, left is cheaper. Two things to see. Pre-training costs *you* nothing: `scratch` takes
# as long as `all`, and stands far below. And between the others the question is what a few points
# are worth to you: the probe tells in a minute whether a problem can be solved at all, and the
# dearer methods are for when it can. (One set of drawings, one number of photos: lesson 10 has the
# intervals, and real photos, on which the order is less clear.)
#
# ## Your own case, in plain numbers
#
# A whole training is
#
# $$\text{hours} = \frac{\text{photos} \times \text{epochs}}{3600 \times \text{photos per second}}$$
#
# and everything else follows. First your own speed, here and now, with all layers training at 128
# pixels:

# %% tags=["nbval-ignore-output"]
rate = 16 / took["all"]
print(f"this machine, all layers, 128 pixels: {rate:.0f} photos per second")

# %%
my_photos, my_epochs, my_pixels = 5_000, 20, 224
my_watts = 60  # what the machine draws while it computes: laptop 30 to 60, a PC with a GPU 300
my_price_kwh = 0.30  # of electricity, in your money
my_price_hour = 0.0  # of a rented machine, for an hour: look it up today


def bill(photos, epochs, per_second, watts=0.0, price_kwh=0.0, price_hour=0.0):
    """Hours, kilowatt-hours and money of a training."""
    hours = photos * epochs / per_second / 3600
    kwh = hours * watts / 1000
    return hours, kwh, kwh * price_kwh + hours * price_hour


hours, kwh, money = bill(36_000, 10, per_second=100, watts=60, price_kwh=0.30)
print(f"36,000 photos, 10 epochs at 100 a second: {hours:.1f} hours, {kwh:.2f} kWh, {money:.2f}")

# %% tags=["nbval-ignore-output"]
scale = (my_pixels / 128) ** 2  # quadratic, as counted above
share = {"all": took["all"], "layer4": took["layer4"], "head": took["head"]}
print(f"{my_photos:,} photos, {my_epochs} epochs, {my_pixels} pixels, on this machine:")
for train, value in share.items():
    per_second = 16 / value / scale
    h, kwh, money = bill(my_photos, my_epochs, per_second, my_watts, my_price_kwh, my_price_hour)
    print(f"   {train:<22} {h:6.2f} h  {kwh:6.3f} kWh  {money:6.2f}")
per_second = 16 / took["head"] / scale
h, kwh, money = bill(my_photos, 1, per_second, my_watts, my_price_kwh, my_price_hour)
print(f"   {'head, computed once':<22} {h:6.2f} h  {kwh:6.3f} kWh  {money:6.2f}")

# %% [markdown]
# Put in your own numbers. For many a case the answer is: *it is done before the account at the cloud
# is open.*
#
# - **Your laptop's CPU** costs electricity. Good for a head or a last block on some thousand photos,
#   and for all layers with small photos.
# - **A PC with a gaming GPU** costs electricity, too, and does everything in this course. What has to
#   fit is its memory: see the last line below.
# - **Colab and Kaggle notebooks** cost nothing to begin with, have limited hours and promise no GPU.
#   The disk is emptied afterwards: save checkpoints elsewhere, and go on with `resume=True`.
# - **A rented GPU** (AWS, Google Cloud, Azure, and many smaller ones) costs by the hour; look it up,
#   and add storage and traffic. Good for many runs and large networks. Set a budget alarm before
#   you start, and **stop the machine when it is done**: most of the money that is lost there is
#   lost over night.

# %%
from torchvision import models

with torch.device("meta"):  # the structure alone, without memory for the weights
    resnet50 = models.resnet50(num_classes=2)
cost = count_cost(resnet50, size=224, batch_size=32)
print(f"ResNet-50, all layers, 224 pixels, batch of 32, float32: {cost.memory / 1e9:.1f} GB")

# %% [markdown]
# How many times faster is a GPU than your CPU? Do not look it up: run the cell above on it. It
# takes a minute, and it is *your* network, photo size and data on it. If the loop is fed too
# slowly, the GPU waits; lesson 05 shows how to find out.
#
# ## Now with ImageNet weights
#
# The arithmetic of other networks, at 224 pixels. No weights are needed for this, and nothing is
# downloaded; it takes a few seconds, and so it runs only with `FTCOURSE_PROFILE=full`.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    for name in ("mobilenet_v3_small", "resnet18", "resnet50", "convnext_tiny", "vit_b_16"):
        net = models.get_model(name, weights=None).eval()
        with torch.no_grad():
            flops = count(lambda net=net: net(torch.zeros(1, 3, 224, 224)))
        size = sum(p.numel() for p in net.parameters())
        print(f"{name:<20} {size / 1e6:6.1f} million parameters {flops / 1e9:7.2f} GFLOP")
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You count the FLOPs of a convolution, and know that the cost goes with the area of the photo.
# - You know why backward costs twice forward, and which half freezing saves where.
# - You compute a frozen part once, can prove that nothing changes, and predict the gain.
# - You know the four things in memory, and which lever moves which.
# - You can say how long a training will take before you start it, and what it costs where.

# %%
print(progress.summary("11"))

# %% [markdown]
# ## Common questions
#
# **Why is the measured ratio smaller than the counted one?** FLOPs are the products alone. BatchNorm,
# ReLU and additions are hardly any arithmetic, but they read and write all activations. And small
# matrices do not fill a processor.
#
# **Is a network with fewer FLOPs faster?** Often, not always: MobileNets have few, in a form that
# processors cannot use well. Measure.
#
# **Do I need a GPU for fine-tuning?** For a head on a few thousand photos, no. For all layers of a
# large network, or for many experiments, yes.
#
# **Why does my GPU use only 20 %?** It waits for photos. More loader workers, photos decoded once,
# or a larger batch.
#
# **Is energy a topic?** For a single fine-tuning hardly: see the kWh above. For a hundred runs in a
# search, a hundred times that. Pre-training is where the energy went; to reuse it is the saving.
#
# ## One step further
#
# - Count `torchvision`'s `resnet50` by hand with your `conv_flops`. Where are its FLOPs?
# - Use SGD with momentum in place of AdamW in the memory table. How many MB are saved for `all`?
# - Keep the features of 5 random crops of each photo, and train a head that takes another one in
#   each epoch. How many FLOPs, as a formula?
#
# **Next:** [12. Silent bugs](12_silent_bugs.ipynb): nine programs that train without an error, and are
# wrong.
