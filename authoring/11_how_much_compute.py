# %% [markdown]
# # 11. How much compute?
#
# Lesson 10 asked what a method gains. Here comes the bill: seconds, memory, hours on a rented
# machine; and how to save most of it, by computing once what never changes.
#
# **What you will be able to do**
#
# - count the arithmetic of a network, forwards and backwards, and say what freezing saves;
# - compute the frozen part once, with the same result, and predict the gain;
# - tell where memory goes;
# - turn your own images per second into hours and money.

# %%
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

import ftcourse as ft
from ftcourse import results
from ftcourse.exercises import lesson11 as check
from ftcourse.exercises import opening, progress
from ftcourse.models.cost import count_cost

_ = torch.manual_seed(0)

opening.show(lesson="11", seconds=25, minutes=40)

# %% [markdown]
# ## Count one layer
#
# Seconds differ from machine to machine; the *amount of arithmetic* does not. It is counted in FLOPs,
# floating-point operations: a multiplication is one, an addition is one. (Some authors count both
# together as one, a MAC. Their numbers are half of ours.)
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
# that runs. (All else, BatchNorm, ReLU, adding up, is small beside them.) Here are the first layer of
# ResNet-18 on a photo of 128 pixels, and then the whole network, your function layer by layer. A
# hook notes the size of each output as the photo passes:


# %%
def count(run):
    """The FLOPs of a function call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def by_hand(model, photo):
    """FLOPs of each layer group, from the sizes that hooks see."""
    groups = {name: 0 for name in ft.layer_groups(model)}
    hooks = []
    for group, modules in ft.layer_groups(model).items():
        for conv in (m for part in modules for m in part.modules() if isinstance(m, nn.Conv2d)):

            def note(layer, inputs, output, group=group):
                kernel, places = layer.kernel_size[0], output.shape[2:]
                groups[group] += conv_flops(layer.in_channels, layer.out_channels, kernel, *places)

            hooks.append(conv.register_forward_hook(note))
    model(photo)
    for hook in hooks:
        hook.remove()
    groups["head"] = 2 * model.fc.in_features * model.fc.out_features
    return groups


model = ft.replace_head(ft.load_backbone("resnet18"), 2).eval()
photo = torch.randn(1, 3, 128, 128)
with torch.no_grad():
    first, forward = count(lambda: model.conv1(photo)), count(lambda: model(photo))
    per_group = by_hand(model, photo)
print(f"first layer:   by hand {conv_flops(3, 64, 7, 64, 64):>13,}   PyTorch {first:>13,}")
print(f"whole network: by hand {sum(per_group.values()):>13,}   PyTorch {forward:>13,}")

# %%
# alt: Two bars for each layer group, its share of the arithmetic and of the parameters. Arithmetic is
#   spread evenly over layer1 to layer4; three quarters of the parameters are in layer4.
parts = ft.layer_groups(model).items()
numbers = {group: sum(p.numel() for m in ms for p in m.parameters()) for group, ms in parts}
ft.plot_bars(
    {
        group: {
            "arithmetic": per_group[group] / forward,
            "parameters": numbers[group] / sum(numbers.values()),
        }
        for group in numbers
    },
    percent=True,
    xlabel="share of the network",
)

# %% [markdown]
# Parameters sit at the end, where there are many channels; arithmetic is spread evenly, because in the
# early layers each of the few weights works at many places. **The number of parameters does not tell
# the cost.**
#
# ### ✏️ Your turn · Exercise 11.2: a larger photo
#
# At 128 pixels a photo costs 1.18 GFLOP. How many at 224? Two digits are enough.

# %% tags=["exercise"]
guess = None  # GFLOP

# %% tags=["solution"]
guess = 1.18 * (224 / 128) ** 2

# %%
gflop_at_224 = check.at_224(guess)
# check.at_224.hint()

# %% [markdown]
# Are larger photos worth it? Our weights on real ants and bees, with a linear probe, cross-validated in
# five shuffles of the training photos:

# %%
found = results.load("input_size")
print(found["command"])
with torch.no_grad():
    for row in (r for r in found["rows"] if r["resize_size"] > r["crop_size"]):
        pixels, accuracy = row["crop_size"], 100 * row["accuracy"]
        flops = count(lambda pixels=pixels: model(torch.zeros(1, 3, pixels, pixels)))
        print(f"{pixels:>4} pixels: {flops / 1e9:4.2f} GFLOP   {accuracy:.1f} %", end="")
        print(f"   shuffles {100 * row['lowest']:.1f} to {100 * row['highest']:.1f}")

# %% [markdown]
# From 64 to 128 pixels the cost becomes fourfold, and the accuracy gains four points; the ranges of the
# shuffles do not meet. At 160 nothing more is gained. These weights were trained on 64 pixels: a network
# is often best at a somewhat larger size than it was trained on
# ([Touvron et al. 2019](https://arxiv.org/abs/1906.06423)), and not at any size.
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
# about 1 + 2 = 3 times the forward pass. Which of the products does freezing save?

# %%
four, four_targets = torch.randn(4, 3, 128, 128), torch.tensor([0, 1, 0, 1])


def step_cost(train):
    """FLOPs of one forward and backward pass, for one photo."""
    ft.apply_stage(model, ft.Stage(train=train))

    def step():
        F.cross_entropy(model(four), four_targets).backward()

    return count(step) / len(four)


for train in ("all", "layer4", "head"):
    print(f"{train:<7} {step_cost(train) / forward:.2f} times the forward pass")

# %% [markdown]
# - **all**: 3, less the very first layer, whose input is the photo and wants no gradient.
# - **layer4**: one forward for everything, the way back for `layer4` only.
# - **head**: the way back is nearly free. What is left is the way *forward*.
#
# ### ✏️ Your turn · Exercise 11.3: only the stem
#
# Now the other way round: `Stage(train=("stem",))` lets the first layer move, and freezes all above
# it, 99.9 % of the parameters. What does a step cost?
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

# %% [markdown]
# (`step_cost(("stem",)) / forward` tells.) So **freezing saves what lies below the lowest layer that
# trains**, and of what lies above it, a half of the way back.
#
# Arithmetic is not time: small layers keep a processor less busy, and memory has to be moved as well.
# Here is one step with 16 photos on *your* machine, the optimizer's part included. Beside it stands a
# fast GPU: whole runs of five epochs, 1,600 photos of 224 pixels, decoding and
# validation included; there the frozen part is computed once, as in the next section.


# %% tags=["nbval-ignore-output"]
batch, labels = torch.randn(16, 3, 128, 128), torch.arange(16) % 2


def seconds(train, repeats=3):
    """The time of the fastest of some training steps."""
    stage = ft.Stage(train=train)
    ft.train_mode(ft.apply_stage(model, stage))
    optimizer, best = ft.make_optimizer(model, stage), float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(batch), labels).backward()
        optimizer.step()
        best = min(best, time.perf_counter() - start)
    return best


stored = results.load("speed_gpu")  # benchmarks/speed.py, one run each
ours = {r["row"]: r for r in stored["runs"] if r["program"] == "ftcourse"}
took = {train: seconds(train) for train in ("all", "layer4", "head")}
print(
    f"{'':<8}{'here, ms a photo':>18}{'head = 1':>10}   {stored['gpu']}: seconds, photos a second"
)
for train, value in took.items():
    run = ours[f"{train}-5-tuned"]
    rate = run["epochs"] * run["train_photos"] / run["wall"]
    print(f"{train:<8}{1000 * value / 16:>18.1f}{value / took['head']:>10.1f}", end="")
    print(f"{run['wall']:>24.1f}{rate:>10,.0f}")
assert took["all"] > 1.3 * took["head"], "something else keeps this machine busy: run it again"

# %% [markdown]
# On the GPU the three differ by a factor of 1.6: so fast a card waits for photos, and for the program to
# start. Before you freeze to save *time* there, look at whether the GPU is the bottleneck (lesson 06).
#
# ## What never changes is computed once
#
# Head only: θ stands still, so each photo has the *same* 512 features in each epoch, and the loop
# computes them each time. Here are both ways, for 24 insects and 10 epochs: same photos, same head, same
# order, no augmentation.

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


slow, once = {}, {}
slow["flops"] = count(lambda: slow.update(head=train_head(backbone, photos)))
with torch.no_grad():
    once["flops"] = count(lambda: once.update(features=backbone(photos)))
once["flops"] += count(lambda: once.update(head=train_head(lambda kept: kept, once["features"])))

difference = (slow["head"] - once["head"]).abs().max().item()
print(f"features in each step {slow['flops'] / 1e9:5.1f} GFLOP")
print(f"features once         {once['flops'] / 1e9:5.1f} GFLOP")
print(f"largest difference between the heads: {difference:.4f}")
assert difference < 1e-4

# %% [markdown]
# Ten epochs, ten times less, and the same head: no accuracy was traded for speed. It works for
# `layer4`, too: the output of `layer3` is kept, and `layer4` and head train on that.
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
#   layer4 it flattens towards a dashed line at 2.4.
f_head, t_head = forward - per_group["head"], 2 * per_group["head"]
f_layer4 = forward - per_group["layer4"] - per_group["head"]
t_layer4 = step_cost("layer4") - f_layer4
limit = (f_layer4 + t_layer4) / t_layer4
epochs = [1, 2, 5, 10, 20, 50, 100]
gains = {
    "head": (epochs, [speedup(e, f_head, t_head) for e in epochs]),
    "layer4": (epochs, [speedup(e, f_layer4, t_layer4) for e in epochs]),
}
levels = {f"most for layer4: {limit:.1f}": limit}
ft.plot_lines(gains, log="xy", xlabel="epochs", ylabel="times fewer FLOPs", levels=levels)

# %% [markdown]
# For one epoch there is nothing to gain. For many, the head's gain grows with their number, and that of
# `layer4` ends at $(f + t)/t$: what trains has to be computed each time.
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
# And augmentation? A crop that is new in each epoch has new features. Two honest ways out: do without
# it, or keep the features of a few crops of each photo and take them in turn.
#
# `ft.finetune` keeps what the frozen part gives wherever that changes no number beyond rounding: for
# validation photos always, for training photos if they are not augmented. `views=5` keeps five augmented
# versions of each photo; `cache=False` switches it off:


# %% tags=["nbval-ignore-output"]
small = data.with_transforms(data.train.transform, look)  # 64 pixels


def train(cache):
    """The head after six epochs, and the seconds that they took."""
    torch.manual_seed(0)
    net = ft.replace_head(ft.load_backbone("resnet18"), 2)
    stage = ft.Stage("head", epochs=6, lr=1e-2, augment=False)
    start = time.perf_counter()
    ft.finetune(net, small, stage, cache=cache, device="cpu", progress=False, preflight=False)
    return net.fc.weight.detach(), time.perf_counter() - start


kept, seconds_kept = train(cache=True)
anew, seconds_anew = train(cache=False)
difference = (kept - anew).abs().max().item()
print(
    f"kept {seconds_kept:.1f} s, computed anew {seconds_anew:.1f} s; heads differ by {difference:.0e}"
)
assert difference < 1e-4 and seconds_anew > 1.3 * seconds_kept

# %% [markdown]
# ## Where the memory goes
#
# On a GPU it is often memory that sets the limit. Four things want to be kept while training:
#
# | | for each | kept when frozen |
# | --- | --- | --- |
# | weights | parameter: 4 bytes | yes |
# | gradients | parameter that trains: 4 bytes | no |
# | optimizer | parameter that trains: AdamW 8 bytes (two running means), SGD with momentum 4 | no |
# | **activations** | photo in the batch: what the way back needs again | above what trains |
#
# The last one can be measured: PyTorch hands each tensor that it keeps for the way back to a hook.


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
    activations = activation_bytes(train, batch) / len(batch)
    trains, weights = ft.freeze_report(model).trainable, sum(p.numel() for p in model.parameters())
    memory[train] = {"weights": 4 * weights, "gradients": 4 * trains, "AdamW": 8 * trains}
    memory[train]["activations, batch of 32"] = 32 * activations

# %%
# alt: Bars of megabytes for head, layer4 and all: weights are the same in all three, gradients and
#   AdamW grow with what trains, and for all layers the activations are the longest bar.
megabytes = {train: {k: v / 1e6 for k, v in row.items()} for train, row in memory.items()}
ft.plot_bars(megabytes, xlabel="MB", label=".0f")

# %% [markdown]
# The package counts the same without computing: `count_cost` runs the network on PyTorch's `meta`
# device, where tensors have a shape and no numbers. Last column: what the tensors of whole runs took on
# that H200 (batches of 32, SGD with momentum; below `layer4` and below the head computed once).

# %%
print(f"{'':<8}{'by hand':>9}{'count_cost':>12}{'224, SGD':>15}{stored['gpu']:>14}")
for train, row in memory.items():
    mine = sum(row.values()) / 1e6
    ft.apply_stage(model, ft.Stage(train=train))
    at_128 = count_cost(model, size=128, batch_size=32).memory / 1e6
    at_224 = count_cost(model, size=224, batch_size=32, optimizer="sgd").memory / 1e6
    gpu = ours[f"{train}-5-tuned"]["gpu_mb"]
    print(f"{train:<8}{mine:>6.0f} MB{at_128:>9.0f} MB{at_224:>12.0f} MB{gpu:>11} MB")
    assert abs(at_128 / mine - 1) < 0.02

# %% [markdown]
# For all layers the count comes near the card's number. The other two runs took more than is counted: the
# frozen part has to be computed once, and a forward pass needs room, too.
#
# The activations grow with the batch, and with the *area* of the photo. So when memory is short: a
# smaller batch, smaller photos, half precision (halves the activations; lesson 06), freezing more. When
# the batch becomes too small to be good, add up the gradients of several before one step (exercise 6.3).
#
# ## The bill
#
# Measured, each row in a process of its own: 64 pixels, as in lesson 10, batches of 32 photos.

# %%
compute = results.load("compute")
print(compute["command"], "-", compute["machine"])
rows = {(r["method"], r["computed_once"]): r for r in compute["rows"] if r["pixels"] == 64}
full = rows["all", False]
print(f"\n{'':<28}{'GFLOP':>8}{'time':>8}{'memory':>9}")
for (method, kept), row in rows.items():
    name = method + (", computed once" if kept else "")
    share = row["ms_a_photo"] / full["ms_a_photo"]
    above = row["peak_mb"] - row["peak_mb_before_training"]
    print(f"{name:<28}{row['gflop_a_photo']:>8.3f}{share:>8.3f}{above:>6} MB")

# %% [markdown]
# `time` is that of a training step, as a share of that of `all`; `memory` the peak above what the process
# held before the first step. It is what you have counted, with a correction: computed once, the last
# block's share of the FLOPs falls to a fifth, and its time only to two fifths. The optimizer moves the
# same 8.4 million numbers in each step, and that is not in the FLOPs of the layers.
#
# And what does one get for it? The accuracies are those of lesson 10: 100 insects a class, the mean of
# five seeds. `scratch` costs what `all` costs a step; `LP-FT` trains the head in its first epoch of four.

# %%
# alt: Accuracy against the time of an epoch relative to training all layers, for five methods: the
#   linear probe is cheapest, scratch is as dear as all and far below.
gained = results.load("methods_insects")
accuracy = {
    r["method"]: r["mean"]
    for r in gained["summary"]
    if (r["classes"], r["pixels"], r["per_class"]) == (2, 64, 100)
}
cost_of = {m: rows[m, False]["ms_a_photo"] for m in ("linear probe", "last block", "all")}
cost_of["scratch"] = cost_of["all"]
cost_of["LP-FT"] = 0.25 * cost_of["linear probe"] + 0.75 * cost_of["all"]
points = {m: ([cost / cost_of["all"]], [accuracy[m]]) for m, cost in cost_of.items()}
ft.plot_points(
    points,
    xlabel="time of an epoch, all layers = 1",
    ylabel="test accuracy",
    percent="y",
    names=True,
)

# %% [markdown]
# Up is better, left is cheaper. Pre-training costs *you* nothing: `scratch`, for as many epochs, stands
# far below. (Given many more, it rises: lesson 10.) Between the others the question is what a few
# points are worth to you: the probe tells in a minute whether a problem can be solved at all.
#
# ## Your own case, in plain numbers
#
# $$\text{hours} = \frac{\text{photos} \times \text{epochs}}{3600 \times \text{photos per second}}$$
#
# and everything else follows. With your own speed from above (a training step; reading photos comes on
# top, if it is not done meanwhile), and the H200's whole runs beside it (of five epochs, the frozen part computed
# once; for twenty its column says too much):

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
print(
    f"{my_photos:,} photos, {my_epochs} epochs, {my_pixels} pixels:     here              {stored['gpu']}"
)
for name, train in (("all", "all"), ("layer4", "layer4"), ("head, computed once", "head")):
    epochs = 1 if name.endswith("once") else my_epochs
    per_second = 16 / took[train] / scale
    h, kwh, money = bill(my_photos, epochs, per_second, my_watts, my_price_kwh, my_price_hour)
    run = ours[f"{train}-5-tuned"]
    gpu = my_photos * my_epochs / (run["epochs"] * run["train_photos"] / run["wall"]) / 60
    print(f"   {name:<22}{h:7.2f} h  {kwh:6.3f} kWh {money:6.2f}{gpu:12.1f} minutes")

# %% [markdown]
# Put in your own numbers. For a head on some thousand photos, *it is done before the account at the cloud
# is open.* For all layers of a large network, or many runs, take a GPU (lesson 05 says where); what has
# to fit is its memory:

# %%
with torch.device("meta"):  # the structure alone, without memory for the weights
    resnet50 = models.resnet50(num_classes=2)
cost = count_cost(resnet50, size=224, batch_size=32)
print(f"ResNet-50, all layers, 224 pixels, batch of 32, float32: {cost.memory / 1e9:.1f} GB")

# %% [markdown]
# ## An open task
#
# ### ✏️ Your turn · Exercise 11.6: within the budget
#
# The program below names new photos after learning from 24 labelled ones. It is right often enough, and
# it costs 78 GFLOP. Delete the line with `raise`, then change it until it costs **at most 16 GFLOP** and
# still gets **at least 19 of 24** new photos right. `backbone` is a ResNet-18 whose output is the 512
# features; `images` and `new` are 24 photos each, of 64 pixels. Any way that gets there is right; the
# check tells both numbers.


# %% tags=["exercise"]
def frugal(backbone, images, labels, new):
    """Labels, int64 (24,), for the new photos."""
    raise NotImplementedError  # delete this line, and change what stands below

    head = nn.Linear(512, 2)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(10):
        loss = F.cross_entropy(head(backbone(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head(backbone(new)).argmax(1)


# %% tags=["solution"]
def frugal(backbone, images, labels, new):
    """Labels, int64 (24,), for the new photos."""
    with torch.no_grad():
        known, asked = backbone(images), backbone(new)
    head = nn.Linear(512, 2)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(30):
        loss = F.cross_entropy(head(known), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head(asked).argmax(1)


# %%
frugal = check.frugal(frugal)
# check.frugal.hint()

# %% [markdown]
# ## Now with ImageNet weights
#
# The arithmetic of other networks, at 224 pixels. Nothing is downloaded; it takes a few seconds, and
# so it runs only with `FTCOURSE_PROFILE=full`.

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
# - You can say how long a training will take before you start it, and what it costs.

# %%
print(progress.summary("11"))

# %% [markdown]
# ## Common questions
#
# **Why is the measured ratio smaller than the counted one?** FLOPs are the products alone. BatchNorm,
# ReLU and additions are hardly any arithmetic, but they read and write all activations. And small
# matrices do not fill a processor.
#
# **Is energy a topic?** For a single fine-tuning hardly: see the kWh above. For a hundred runs in a
# search, a hundred times that.
#
# ## One step further
#
# - Count `torchvision`'s `resnet50` by hand with your `conv_flops`. Where are its FLOPs?
# - Use SGD with momentum in place of AdamW in the memory table. How many MB are saved for `all`?
# - Keep the features of 5 random crops of each photo, and train a head that takes another one in
#   each epoch. How many FLOPs, as a formula?
#
# **Next:** [12. Silent bugs](12_silent_bugs.ipynb): twelve programs that train without an error, and are
# wrong.
