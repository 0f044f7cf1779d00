# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     gpuType: T4
# ---

# %% [markdown]
# # 6. Feed the GPU
#
# The usual GPU of a beginner is bored: it waits for photos, computes in a precision that nobody needs, and
# has no room for a batch that would fit. Here you find out where the time goes and what fills the memory,
# on your machine and on a fast GPU whose results are stored.
#
# **What you will be able to do**
#
# - find out where the time of a step goes, and feed the device so that it does not wait;
# - use 16 bits, and know what bfloat16 and float16 can hold;
# - count the memory of a step, and train with a batch that does not fit.

# %%
import copy
import io

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse import results
from ftcourse.exercises import lesson06 as check
from ftcourse.exercises import opening, progress, samples

_ = torch.manual_seed(0)
device = ft.best_device()

opening.show(lesson="06", seconds=25, minutes=40)

# %% [markdown]
# ## Where does the time go?
#
# Before it comes to computing, each photo is read, decoded, resized, perhaps flipped and cropped, and
# carried over to the device. What does each part take for *one* photo, on this machine? The photo to
# decode is a real one of 640 x 427 pixels; the network sees 64 x 64.


# %%
def wait():
    """Return when the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64, progress=False)
model = ft.replace_head(ft.load_backbone("resnet18"), 2)
_ = ft.finetune(model, data, ft.Stage("head", epochs=3, lr=1e-2), progress=False)
batch, targets = next(iter(torch.utils.data.DataLoader(data.val, batch_size=32)))
images, targets = batch.to(device), targets.to(device)
trial = copy.deepcopy(model)

buffer = io.BytesIO()
samples.sample_photos()["temple"].save(buffer, "JPEG", quality=90)


def decode():
    Image.open(io.BytesIO(buffer.getvalue())).convert("RGB").load()


def training_step():
    trial.zero_grad()
    F.cross_entropy(trial(images), targets).backward()


def milliseconds(run, photos, repeats):
    """For one photo."""
    return 1000 * check.seconds_of(run, wait, repeats) / photos


parts = {
    "decode a JPEG": milliseconds(decode, 1, 20),
    "read uint8 from memory": milliseconds(lambda: data.val.image(0), 1, 20),
    "transform, plain": milliseconds(lambda: data.val[0], 1, 20),
    "transform, augmented": milliseconds(lambda: data.train[0], 1, 20),
    "carry to the device": milliseconds(lambda: batch.to(device, copy=True), 32, 3),
}
for train in ("head", "all"):
    ft.train_mode(ft.apply_stage(trial, ft.Stage(train=train)))
    parts[f"compute, {train}"] = milliseconds(training_step, 32, 3)
assert parts["decode a JPEG"] > 3 * parts["read uint8 from memory"]

# %%
# alt: Horizontal bars of milliseconds per photo for decoding, reading, transforming, carrying and
#   computing, on this machine.
ft.plot_bars(parts, xlabel="milliseconds for one photo", label=".3f", title=f"On {device.type}")

# %% tags=["nbval-ignore-output"]
feeding = parts["decode a JPEG"] + parts["transform, plain"]
print(f"feeding (decode and transform) {feeding:.1f} ms a photo", end="; ")
print(f"computing: head {parts['compute, head']:.1f} ms, all layers {parts['compute, all']:.1f} ms")

# %% [markdown]
# Where these outputs were made, on a CPU, feeding takes less time than computing, and far less with all
# layers or at 224 pixels. A GPU shortens the two last bars **only**: what was the smaller part then becomes
# nearly all of the work.
#
# ### ✏️ Your turn · Exercise 6.1: sixteen times faster?
#
# A step takes 20 ms for loading and then 80 ms for computing. You rent a GPU that computes 16 times
# faster, and change nothing else. How many times faster is the *training*?

# %% tags=["exercise"]
guess = None  # a number

# %% tags=["solution"]
guess = 100 / (20 + 80 / 16)

# %%
factor = check.speed_up(guess)
# check.speed_up.hint()

# %% [markdown]
# Four fifths of each step the expensive device now does nothing, and `nvidia-smi` shows it: *GPU-Util* far
# below 100 %.
#
# ## Feeding
#
# **1. Do not do the same work in each epoch.** Decode and shrink each photo once, and keep the result in
# memory as `uint8`, one byte a value. `ft.load_data` does that; the random part of the transforms still
# happens anew each time.

# %%
side, photos = 146, 10_000  # what a crop of 128 pixels needs
for name, bytes_each in (("uint8", 1), ("float32", 4)):
    gigabytes = photos * side * side * 3 * bytes_each / 1e9
    print(f"{photos:,} photos of {side} x {side} as {name:<7}: {gigabytes:.1f} GB")

# %% [markdown]
# **2. Load the next batch while the device computes this one.** `num_workers=4` gives the `DataLoader`
# four processes for it. A *model* of what to expect, not a measurement: as long as loading is the slower
# half, each process counts; from then on, none does.

# %%
load, compute = 20, 5  # ms
for workers in (0, 1, 2, 4, 8):
    step = load + compute if workers == 0 else max(load / workers, compute)
    print(f"num_workers={workers}: {step:4.1f} ms a step, {25 / step:3.1f} times as fast")

# %% [markdown]
# And measured? Here is a fast GPU, an H200 beside 16 cores: 1,600 photos of 500 x 375, five epochs at 224
# pixels (`benchmarks/results/speed_gpu.md`; one run each, or the faster of two). "Tuned" is a loop as in
# lesson 04 with eight loading processes, `channels_last` and frozen BatchNorm in eval mode.

# %%
stored = results.load("speed_gpu")


def seconds(row, program):
    return min(r["wall"] for r in stored["runs"] if (r["row"], r["program"]) == (row, program))


loop, ours = "tutorial loop", "ftcourse"
print(f"{stored['gpu']}, seconds for the whole program")
print(
    f"{'':<18}{'loop, one process':>19}{'loop, tuned':>13}{'ft.finetune':>13}{'its tuned row':>15}"
)
for name, row in (("head", "head-5"), ("head, augmented", "augmented-5")):
    found = [seconds(r, p) for p in (loop, ours) for r in (row, f"{row}-tuned")]
    print(f"{name:<18}{found[0]:>19.1f}{found[1]:>13.1f}{found[2]:>13.1f}{found[3]:>15.1f}")

# %% [markdown]
# The tuned loop is four to five times as fast, although eight processes read: they have to be started, and each
# epoch decodes anew. `ft.finetune` decodes once; where chance crops and flips, the GPU does it photo by photo, and
# eight processes (its tuned row) are faster than that.
#
# There must be cores for the processes: a free cloud notebook often has two. In a notebook on Windows or
# macOS they start slowly. So the default here is 0.
#
# **3. `pin_memory=True`** in the `DataLoader` keeps batches in memory that the GPU can fetch by itself;
# with `.to(device, non_blocking=True)` the CPU goes on in the meantime. It can help on CUDA only; whether
# it helps you, a clock tells (yours of exercise 5.2).
#
# **4. Let the GPU transform the photos.** A small `uint8` photo is carried over, and the transforms of
# torchvision run where their input is. `ft.finetune` does so as long as `num_workers` is 0.
#
# **Several GPUs, several processes?** PyTorch's `DistributedDataParallel` runs one process for each GPU:
# each takes its share of the batch, and they average their gradients before each step. `ft.finetune` trains
# in one process and does not use it, and nothing here measures it. A GPU that waits for photos is not
# helped by a second one that waits, too.
#
# ## Fewer bits
#
# GPUs of the last years multiply 16-bit numbers faster than 32-bit ones. There are two kinds of them,
# and they pay in different coin:

# %%
print(f"{'':<10}{'bits':>5}{'largest':>12}{'smallest normal':>17}{'next after 1':>14}")
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    f = torch.finfo(dtype)
    name = str(dtype).removeprefix("torch.")
    print(f"{name:<10}{f.bits:>5}{f.max:>12.2e}{f.smallest_normal:>17.2e}{1 + f.eps:>14.7f}")

# %%
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    one, large, small_one = (torch.tensor(x).to(dtype) for x in (1.0, 70_000.0, 1e-8))
    name = str(dtype).removeprefix("torch.")
    print(f"{name:<9} 1 + 0.001 = {(one + 0.001).item():.6f}   ", end="")
    print(f"70,000 -> {large.item():<8g}  1e-8 -> {small_one.item():.1e}")

# %% [markdown]
# **bfloat16** has the range of float32 and not quite three digits: 1 + 0.001 is still 1. **float16**
# has a digit more and hardly any range: 70,000 is infinite, and 1e-8 is nothing.
#
# So the weights stay in float32. A step of `lr * gradient` is often a thousandth of the weight, and
# in bfloat16 a thousand such steps can add up to nothing:

# %%
for dtype in (torch.float32, torch.bfloat16):
    weight = torch.ones((), dtype=dtype)
    for _ in range(1000):
        weight -= 0.001
    print(f"{dtype!s:<15} 1 minus 1000 times 0.001 = {abs(weight.item()):.3f}")

# %% [markdown]
# **Mixed precision** means: weights in float32, the expensive products in 16 bits, and back.
# `torch.autocast` does it, operation by operation; what needs precision, such as the loss, it
# leaves alone. Put it around the forward pass, and *not* around `backward()`.

# %% tags=["nbval-ignore-output"]
half = torch.float16 if device.type == "mps" else torch.bfloat16
model.eval()
val_images = torch.stack([image for image, _ in data.val]).to(device)
with torch.inference_mode():
    full_logits = model(val_images)
    with torch.autocast(device.type, dtype=half):
        half_logits = model(val_images)

agree = (full_logits.argmax(1) == half_logits.argmax(1)).sum().item()
print(f"scores: {half_logits.dtype}; weights: {model.fc.weight.dtype}", end="; ")
print(f"the same answer for {agree} of {len(val_images)} photos")
assert agree >= 37

# %% [markdown]
# In float16 one thing is left to repair. Gradients are small, and small numbers vanish. The remedy
# is to multiply the *loss* by a large number before `backward()`, and the gradients come out larger
# by the same factor; before the step they are divided again, in float32.

# %%
gradient = torch.tensor(1e-8)
print("as it is:      ", gradient.half().item())
scaled = (gradient * 65536).half()
print("scaled by 2^16:", f"{scaled.float().item() / 65536:.1e}")

# %% [markdown]
# That is `GradScaler`, which also searches for a good factor. bfloat16 does not need it.
#
# ```python
# scaler = torch.amp.GradScaler("cuda")              # for float16 only
# for images, targets in loader:
#     with torch.autocast("cuda", dtype=torch.float16):
#         loss = loss_fn(model(images), targets)
#     optimizer.zero_grad()
#     scaler.scale(loss).backward()
#     scaler.step(optimizer)
#     scaler.update()
# ```
#
# | your GPU | use |
# | --- | --- |
# | NVIDIA since 2020 (A100, L4, RTX 30, newer) | bfloat16: `ft.finetune(..., bf16=True)` |
# | NVIDIA T4, V100 | float16 and a `GradScaler`; bfloat16 runs, and is slow |
# | Apple | float32, or autocast in float16 |
# | a CPU | float32; bfloat16 only if it has instructions for it: measure |
#
# (`torch.cuda.get_device_capability() >= (8, 0)` tells the first row from the second.)
#
# ## Channels last
#
# An image batch has the shape (photos, channels, height, width). How it *lies in memory* is another
# matter: plane by plane, or pixel by pixel with the channels next to each other. Convolutions on
# newer GPUs prefer the latter. The numbers are the same, and so is the shape:

# %%
last = images.to(memory_format=torch.channels_last)
print("shape :", tuple(images.shape), "and", tuple(last.shape))
print("stride:", images.stride(), "and", last.stride())
print("largest difference:", (images - last).abs().max().item())

# %% tags=["nbval-ignore-output"]
ft.train_mode(ft.apply_stage(trial, ft.Stage("all")))
usual = check.seconds_of(training_step, wait, repeats=3)
first_images, images = images, last
_ = trial.to(memory_format=torch.channels_last)
pixelwise = check.seconds_of(training_step, wait, repeats=3)
images = first_images
_ = trial.to(memory_format=torch.contiguous_format)
print(f"here: {1000 * usual:.0f} ms a step, with channels_last {1000 * pixelwise:.0f} ms")

# %% [markdown]
# Two lines, `model.to(memory_format=torch.channels_last)` and the same for each batch. Try it, measure,
# keep what is faster.
#
# ## What fills the memory?
#
# Four things, when you train:
#
# - the **weights**;
# - a **gradient** for each weight that trains;
# - the **optimizer's state**: AdamW remembers two running means for each weight that trains;
# - the **activations**: what the forward pass has to keep for the backward pass.
#
# ### ✏️ Your turn · Exercise 6.2: before the first photo
#
# A ResNet-18 with a head for two classes has 11,177,538 weights, each a float32. All of them train,
# with AdamW. How many MB (millions of bytes) do weights, gradients and optimizer state take
# together? Two digits are enough.

# %% tags=["exercise"]
guess = None  # MB

# %% tags=["solution"]
guess = 4 * 4 * 11_177_538 / 1e6

# %%
megabytes = check.adam_bytes(guess)
# check.adam_bytes.hint()

# %% [markdown]
# Count what is really there, after one step:


# %%
def count_memory(train):
    """MB of weights, gradients and optimizer state after one step of a stage."""
    network = ft.replace_head(ft.load_backbone("resnet18"), 2).to(device)
    stage = ft.Stage(train=train)
    optimizer = ft.make_optimizer(ft.apply_stage(network, stage), stage)
    F.cross_entropy(network(images[:4]), targets[:4]).backward()
    optimizer.step()
    state = [t for s in optimizer.state.values() for t in s.values() if t.numel() > 1]
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return [
        sum(t.numel() * t.element_size() for t in some) / 1e6
        for some in (network.parameters(), gradients, state)
    ]


counts = {train: count_memory(train) for train in ("head", "layer4", "all")}
print(f"{'trains':<8}{'weights':>9}{'gradients':>11}{'AdamW':>8}{'together':>10}  (MB)")
for train, (weights, gradients, state) in counts.items():
    print(
        f"{train:<8}{weights:>9.1f}{gradients:>11.1f}{state:>8.1f}{weights + gradients + state:>10.1f}"
    )

# %% [markdown]
# The activations are harder to count by hand. PyTorch tells each tensor that the forward pass saves, and
# `check.saved_megabytes` adds them up (weights, which are there anyway, are left out):

# %%
activations = {}
for train in counts:
    ft.train_mode(ft.apply_stage(trial, ft.Stage(train=train)))
    activations[train] = check.saved_megabytes(trial, images, targets)
half_batch = check.saved_megabytes(trial, images[:16], targets[:16])
at_224 = 8 * check.saved_megabytes(trial, F.interpolate(images[:4], size=224), targets[:4])

for train, megabytes in activations.items():
    print(f"{train:<7} 32 photos of  64 pixels: {megabytes:6.1f} MB of activations")
print(f"all     16 photos of  64 pixels: {half_batch:6.1f} MB")
print(f"all     32 photos of 224 pixels: {at_224:6.1f} MB")
assert activations["head"] < 0.01 * activations["all"] and 11 < at_224 / activations["all"] < 13.5

# %%
# alt: Horizontal bars of megabytes of weights, gradients, AdamW's state and activations, for the head,
#   layer4 and all layers at 64 pixels, and all layers at 224 pixels, where activations are by far the longest.
names = ("weights", "gradients", "AdamW", "activations")
columns = {f"{train}, 64 px": [*counts[train], activations[train]] for train in counts}
columns["all, 224 px"] = [*counts["all"], at_224]
ft.plot_bars(
    {name: dict(zip(names, column, strict=True)) for name, column in columns.items()},
    xlabel="MB for 32 photos",
    label=".0f",
    title="What a training step keeps in memory",
)

# %% [markdown]
# Half the batch takes half of the activations, and 224 x 224 pixels, 12.25 times as many as 64 x 64, take
# 12 times as much: it is the photos that fill the memory, their number and the *square* of their side.
# And freezing saves three of the four parts. The H200, with 32 photos of 224 pixels (the most that its
# tensors took, in the tuned loop; by SGD with momentum, which remembers one number for each weight where
# AdamW remembers two):

# %%
rows = {name: f"{name}-5-tuned" for name in ("head", "layer4", "all")}
for name, row in {**rows, "all, bfloat16": "all-5-bf16"}.items():
    peak = [r["gpu_mb"] for r in stored["runs"] if (r["row"], r["program"]) == (row, loop)]
    print(f"{name:<14} {peak[0]:>4} MB, {seconds(row, loop):4.1f} s")

# %% [markdown]
# ## Out of memory
#
# `torch.OutOfMemoryError: CUDA out of memory. Tried to allocate ...` Do this, in this order; after
# each, try again:
#
# 1. **See who else is there**: `nvidia-smi`. Another notebook keeps its memory as long as its
#    kernel lives. Restart yours, too: after the error, tensors may still hang on the traceback.
# 2. **Look for a leak.** Does it fail in the first step, or after an hour? `total += loss` (without
#    `.item()` or `.detach()`) keeps the graph of every step. Is validation under
#    `inference_mode()`?
# 3. **Halve the batch**, and accumulate gradients (below). With BatchNorm in eval mode the result is the same.
# 4. **16 bits**: about half of the activations, where autocast applies.
# 5. **Train less**: freeze up to `layer3`.
# 6. **Smaller photos**: 160 instead of 224 pixels halves the activations.
# 7. **Recompute instead of keeping**: `torch.utils.checkpoint`, for the time of one more
#    forward pass.
# 8. A smaller network, or a larger GPU.
#
# ### ✏️ Your turn · Exercise 6.3: a batch in pieces
#
# `backward()` adds (lesson 04). So the gradient of a large batch can be collected from small ones.
# Fill in `accumulate`: afterwards `p.grad` has the gradient of the **mean** cross-entropy over all
# `images`, but no more than `size` of them have been in the network at a time. No step of an
# optimizer. Mind the last piece: it may be smaller.


# %% tags=["exercise"]
def accumulate(model, images, targets, size):
    """Leave the gradient of the whole batch in p.grad, from pieces of at most `size` images."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def accumulate(model, images, targets, size):
    """Leave the gradient of the whole batch in p.grad, from pieces of at most `size` images."""
    for some, theirs in zip(images.split(size), targets.split(size), strict=True):
        loss = F.cross_entropy(model(some), theirs)
        (loss * len(some) / len(images)).backward()


# %%
accumulate = check.accumulate(accumulate)
# check.accumulate.hint()

# %% [markdown]
# Is it really the same? With one exception, which you know from lesson 03: BatchNorm in train mode looks
# at the *batch*, and pieces are other batches.


# %%
def gradient(collect):
    trial.zero_grad()
    collect()
    return torch.cat([p.grad.flatten() for p in trial.parameters()])


differences = {}
for mode in ("eval", "train"):
    _ = trial.eval() if mode == "eval" else trial.train()
    whole = gradient(lambda: F.cross_entropy(trial(images), targets).backward())
    pieces = gradient(lambda: accumulate(trial, images, targets, 12))
    differences[mode] = ((whole - pieces).norm() / whole.norm()).item()

# %% tags=["nbval-ignore-output"]
for mode, difference in differences.items():
    print(f"BatchNorm in {mode:<5} mode: the gradients differ by {difference:.1e} of their length")
assert differences["eval"] < 1e-3 < differences["train"]

# %% [markdown]
# In fine-tuning BatchNorm is often frozen and in eval mode, and then accumulation is exact up to rounding.
# It saves memory and no time.
#
# ## Larger batches, and the learning rate
#
# A GPU with room invites you to use it: batch 512! Per second it gets more photos done. But an
# epoch now has fewer *steps*:

# %%
for size in (8, 30, 120):
    print(f"batch {size:>3}: {-(-120 // size):>2} steps an epoch")

# %% [markdown]
# To see what that does, train a head on ready-made features for five epochs, with plain SGD.

# %% tags=["nbval-ignore-output"]
features = ft.embed(model, data.train.with_transform(data.val.transform))
labels = torch.tensor(data.train.targets)


def loss_after(batch_size, lr, epochs=5):
    torch.manual_seed(0)
    head = nn.Linear(512, 2)
    optimizer = torch.optim.SGD(head.parameters(), lr=lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(features)).split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(head(features[rows]), labels[rows]).backward()
            optimizer.step()
    return F.cross_entropy(head(features), labels).item()


small_batch, large_batch = loss_after(8, lr=0.002), loss_after(120, lr=0.002)
scaled_up = loss_after(120, lr=0.002 * 120 / 8)
print(f"batch   8, rate 0.002: loss {small_batch:.2f} after five epochs")
print(f"batch 120, rate 0.002: loss {large_batch:.2f}")
print(f"batch 120, rate 0.030: loss {scaled_up:.2f}")
assert large_batch > small_batch + 0.05 > scaled_up

# %% [markdown]
# The rule of thumb for SGD: **k times the batch, k times the learning rate**
# ([Goyal et al. 2017](https://arxiv.org/abs/1706.02677)), with a warm-up, and up to a point: beyond
# it, the large step overshoots. For AdamW people rather take the square root of k. With a few
# hundred photos a batch of 16 to 64 leaves enough steps, and the GPU is bored. That is all right.
#
# ## On a GPU
#
# This cell runs only where there is one by NVIDIA. It measures a training step of all layers for 64
# random images of 224 x 224 pixels, and asks PyTorch for the peak of its memory.


# %% tags=["nbval-ignore-output"]
def on_a_gpu(dtype, channels_last):
    """Milliseconds a step, photos a second, and MB at the peak."""
    network = ft.replace_head(ft.load_backbone("resnet18"), 2).to(device).train()
    x = torch.randn(64, 3, 224, 224, device=device)
    y = torch.arange(64, device=device) % 2
    if channels_last:
        network, x = (thing.to(memory_format=torch.channels_last) for thing in (network, x))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16)

    def step():
        with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
            loss = F.cross_entropy(network(x), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    s = check.seconds_of(step, wait, repeats=10)
    return 1000 * s, len(x) / s, torch.cuda.max_memory_allocated() / 1e6


if device.type == "cuda":
    print(torch.cuda.get_device_name())
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for channels_last in (False, True):
            ms, rate, peak = on_a_gpu(dtype, channels_last)
            print(f"{dtype!s:<15} channels_last={channels_last!s:<5}", end=" ")
            print(f"{ms:7.1f} ms a step  {rate:7.0f} photos a second  {peak:6.0f} MB")
else:
    print("no NVIDIA GPU here, so nothing was measured; open this lesson on Colab to run it")
print("counted for 64 photos in float32:", round(sum(counts["all"]) + 2 * at_224), "MB")

# %% [markdown]
# Which line has the most photos a second? Is that faster than one CPU core can decode and transform (see
# the bars)? And is the peak near your count? It will be somewhat above: the backward pass needs room for
# gradients of activations, and libraries take workspace.
#
# `ft.finetune` moves model and batches by itself, transforms photos on the GPU and keeps its sums there.
# Two switches are yours: `ft.finetune(model, data, stages, bf16=True, num_workers=4)`.
#
# ## ✏️ Your turn · Exercise 6.4: change the plan until the step fits
#
# A step of the optimizer shall see 64 photos of 224 pixels with all layers training. The plan below keeps far
# more than the 600 MB that are there. Change it until it fits. By `bits=16` autocast to bfloat16 is meant.
# The check counts, as above.

# %% tags=["exercise"]
plan = {"train": "all", "photos at a time": 64, "pieces": 1, "pixels": 224, "bits": 32}

# %% tags=["solution"]
plan = {"train": "all", "photos at a time": 16, "pieces": 4, "pixels": 224, "bits": 32}

# %%
plan = check.fits(plan)
# check.fits.hint()

# %% tags=["nbval-ignore-output"]
for name, megabytes in check.needed(plan).items():
    print(f"{name:<26} {megabytes:6.0f} MB")
assert check.needed(plan)["together"] < 600

# %% [markdown]
# ## Now with ImageNet weights
#
# A ResNet-50 at 224 x 224 pixels is the usual size of real work. How much does it keep? It downloads 98 MB,
# so it runs only with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    network = ft.replace_head(ft.load_backbone("resnet50", weights="DEFAULT"), 2).to(device)
    x, y = torch.randn(8, 3, 224, 224, device=device), torch.arange(8, device=device) % 2
    for train in ("head", "layer4", "all"):
        ft.train_mode(ft.apply_stage(network, ft.Stage(train=train)))
        each = check.saved_megabytes(network, x, y) / 8
        print(f"{train:<7} {each:6.1f} MB of activations a photo")
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You know which part of a step a GPU makes faster, and feed it so that it is busy.
# - You use bfloat16 where the GPU has it, float16 with a `GradScaler` where it has not.
# - You count weights, gradients, optimizer state and activations, and know what to do when they do
#   not fit.
# - You change the learning rate with the batch.

# %%
print(progress.summary("06"))

# %% [markdown]
# ## Common questions
#
# **My GPU is at 30 %. Is it broken?** It waits for photos.
#
# **Is bfloat16 much faster?** Not where photos are the bottleneck: on the H200 above the tuned loop took
# 8.5 s with it and 9.3 s without. On a CPU without instructions for it, it is often slower.
#
# ## One step further
#
# - `ft.finetune(..., bf16=True)` on this machine: is it faster? Is the accuracy the same?
# - Write `loss_after` with AdamW. By what factor must the rate grow with the batch now?
#
# **Next:** [7. Learning rates](07_learning_rates.ipynb), the number that decides most.
