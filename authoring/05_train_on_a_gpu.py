# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     gpuType: T4
# ---

# %% [markdown]
# # 5. Train on a GPU
#
# Your loop works. On a GPU it may run many times faster, or not faster at all, and nothing on the
# screen tells you which. This lesson is about the difference. It runs on any machine: where there
# is no GPU it measures the CPU, says what a GPU would change, and makes no number up.
#
# **What you will be able to do**
#
# - choose a device, move model *and* data, and read the error that everyone meets;
# - take times that are true on a device that works asynchronously;
# - find out where the time goes, and feed the device so that it does not wait;
# - use mixed precision, and know what bfloat16 and float16 can hold;
# - count the memory of a training step, and train with a batch that does not fit;
# - get a GPU on Colab or elsewhere, and know what it costs you.

# %%
import copy
import io
import time

import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import lesson05 as check
from ftcourse.exercises import opening, progress, samples

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
_ = torch.manual_seed(0)

opening.show(lesson="05", seconds=20, minutes=40)

# %% [markdown]
# ## Which device?
#
# A network is, for the most part, multiplications of matrices: millions of small products that do
# not depend on each other. A CPU has a few fast cores for them, a GPU has thousands of slow ones.
#
# | PyTorch calls it | it is |
# | --- | --- |
# | `cuda` | a GPU by NVIDIA (and, in PyTorch's ROCm builds, one by AMD) |
# | `mps` | the GPU of an Apple computer |
# | `cpu` | always there |

# %%
if torch.cuda.is_available():
    device = torch.device("cuda")
elif torch.backends.mps.is_available():
    device = torch.device("mps")
else:
    device = torch.device("cpu")

print("chosen as ft.best_device() does:", device == ft.best_device())

# %% [markdown]
# The work of this lesson is that of lesson 04: ants and bees, 64 x 64 pixels. `ft.finetune` takes
# the best device by itself, and leaves the model there.

# %%
data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64, progress=False)
model = ft.replace_head(ft.load_backbone("resnet18"), len(data.classes))
history = ft.finetune(model, data, ft.Stage(train="head", epochs=3, lr=1e-2), progress=False)

print("the model is on the chosen device:", next(model.parameters()).device.type == device.type)
print("validation accuracy above 0.7:", history.best["val_accuracy"] > 0.7)

# %% [markdown]
# ## Two things must move
#
# A GPU has memory of its own, and can compute only with what lies there. Move the model and forget
# the photos, and you meet an error that everyone meets. Here it is, on purpose. (Without a GPU we
# take PyTorch's device `meta`, which knows shapes and holds no numbers: good enough to be *another*
# device.)

# %%
elsewhere = device if device.type != "cpu" else torch.device("meta")
head = nn.Linear(512, 2).to(elsewhere)
features = torch.randn(4, 512)  # on the CPU
try:
    head(features)
    print("no error")
except RuntimeError as err:
    message = str(err)
    print("RuntimeError, and it speaks of devices:", "device" in message)

# %% tags=["nbval-ignore-output"]
print(message)

# %% [markdown]
# With a GPU it reads *Expected all tensors to be on the same device, but found at least two
# devices, cuda:0 and cpu*, or a little different, depending on the version. It always means: find
# the one that you have not moved. And there is a difference that makes it easy to miss one:

# %%
print("a module moves in place:        ", head.to(elsewhere) is head)
moved = features.to(elsewhere)
print("a tensor stays; you get another:", features.device.type == "cpu" and moved is not features)

# %% [markdown]
# ### ✏️ Your turn · Exercise 5.1: which programs have everything on the device?
#
# Give **all** letters that apply.
#
# ```python
# # A                                            # B
# model.to(device)                               model.to(device)
# for images, targets in loader:                 for images, targets in loader:
#     images.to(device)                              images = images.to(device)
#     targets.to(device)                             targets = targets.to(device)
#     loss = loss_fn(model(images), targets)         loss = loss_fn(model(images), targets)
#
# # C                                            # D
# model = model.to(device)                       model = model.to(device)
# for images, targets in loader:                 for images, targets in loader:
#     images = images.to(device)                     logits = model(images.to(device))
#     loss = loss_fn(model(images), targets)         loss = loss_fn(logits, targets.to(device))
# ```

# %% tags=["exercise"]
answer = None  # one or more letters in quotes

# %% tags=["solution"]
answer = "b, d"

# %%
answer = check.all_moved(answer)
# check.all_moved.hint()       # remove the first "#" for a hint; run it again for a second one
# check.all_moved.solution()   # ... and for a worked answer

# %% [markdown]
# And the evidence, each program with one small layer as its model:

# %%
targets = torch.tensor([0, 1, 0, 1])
programs = {
    "A": lambda x, y: (x.to(elsewhere), y.to(elsewhere)) and F.cross_entropy(head(x), y),
    "B": lambda x, y: F.cross_entropy(head(x.to(elsewhere)), y.to(elsewhere)),
    "C": lambda x, y: F.cross_entropy(head(x.to(elsewhere)), y),
    "D": lambda x, y: F.cross_entropy(head(x.to(elsewhere)), y.to(elsewhere)),
}
for name, program in programs.items():
    try:
        program(features, targets)
        print(name, "runs")
    except RuntimeError:
        print(name, "RuntimeError")

# %% [markdown]
# One more place where something stays behind: `model.to(device)` first, `model.fc = nn.Linear(...)`
# after it. The new head is born on the CPU. (`ft.replace_head` puts it where the old one was.)
#
# ## A clock that does not lie
#
# Is the GPU faster? Measure. But a GPU works **asynchronously**: `model(images)` puts work into a
# queue and returns at once, long before the work is done. Without a GPU you can still see what that
# means. `check.MiniDevice` is a device in miniature: one thread that works through a queue.

# %%
mini = check.MiniDevice()
start = time.perf_counter()
for _ in range(20):
    mini.submit(lambda: time.sleep(0.01))  # twenty jobs of 10 ms each
submitted = time.perf_counter() - start
mini.wait()
done = time.perf_counter() - start

print("all submitted in a tenth of the time, or less:", submitted < 0.1 * done)
print("really done after 0.2 seconds or more:", done > 0.19)

# %% [markdown]
# Read the clock at the wrong moment, and the device seems to take no time at all. Many a table of
# astonishing speeds has been made that way. Two more traps: the *first* run of anything takes
# longer, because libraries are loaded, memory is fetched and the fastest method is searched for;
# and a single run is a lottery.
#
# ### ✏️ Your turn · Exercise 5.2: an honest clock
#
# Fill in `measure`. `run()` puts work into the device's queue, `wait()` returns when the queue is
# empty. Return the seconds that *one* run takes, as a mean over `repeats` runs, without the first
# one.


# %% tags=["exercise"]
def measure(run, wait, repeats=5):
    """Seconds for one run(), on a device whose queue wait() waits for."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def measure(run, wait, repeats=5):
    """Seconds for one run(), on a device whose queue wait() waits for."""
    run()
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    wait()
    return (time.perf_counter() - start) / repeats


# %%
measure = check.measure(measure)
# check.measure.hint()

# %% [markdown]
# On a real device the waiting is called `synchronize`. On a CPU there is no queue, and nothing to
# wait for.


# %%
def wait():
    """Return when the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


images, targets = next(iter(torch.utils.data.DataLoader(data.val, batch_size=32)))
images, targets = images.to(device), targets.to(device)
print("a batch:", tuple(images.shape))


# %%
trial = copy.deepcopy(model)  # in train mode BatchNorm moves; the trained model shall not


def training_step():
    trial.zero_grad()
    F.cross_entropy(trial(images), targets).backward()


seconds = {}
for train in ("head", "layer4", "all"):
    ft.train_mode(ft.apply_stage(trial, ft.Stage(train=train)))
    seconds[train] = measure(training_step, wait, repeats=3)
print("a step for the head is faster than one for all:", seconds["head"] < seconds["all"])

# %% tags=["nbval-ignore-output"]
print(f"on {opening.device()}:")
for train, s in seconds.items():
    print(f"{train:<7} {1000 * s:7.1f} ms a step, {len(images) / s:8.0f} photos a second")

# %% [markdown]
# ## Where does the time go?
#
# A step has more parts than the network. Before it comes to computing, each photo is read, decoded,
# resized, perhaps flipped and cropped, and carried over to the device. Here is what each part takes
# for one photo, on this machine. The photo to decode is a real one of 640 x 427 pixels.

# %%
buffer = io.BytesIO()
samples.sample_photos()["temple"].save(buffer, "JPEG", quality=90)
plain, augmented = data.val, data.train
batch = images.cpu()
_ = ft.train_mode(ft.apply_stage(trial, ft.Stage(train="head")))


def decode():
    Image.open(io.BytesIO(buffer.getvalue())).convert("RGB").load()


parts = {  # what, and for how many photos
    "decode a JPEG": (decode, 1),
    "read uint8 from memory": (lambda: plain.image(0), 1),
    "transform, plain": (lambda: plain[0], 1),
    "transform, augmented": (lambda: augmented[0], 1),
    "carry to the device": (lambda: batch.to(device, copy=True), 32),
    "compute, head only": (training_step, 32),
}
milliseconds = {
    name: 1000 * measure(run, wait, repeats=20 if n == 1 else 3) / n
    for name, (run, n) in parts.items()
}
_ = ft.train_mode(ft.apply_stage(trial, ft.Stage(train="all")))
milliseconds["compute, all layers"] = 1000 * seconds["all"] / len(images)
print(
    "decoding takes at least 10 times as long as reading from memory:",
    milliseconds["decode a JPEG"] > 10 * milliseconds["read uint8 from memory"],
)

# %%
# alt: Horizontal bars of milliseconds per photo for decoding, transforming, carrying and computing.
fig, ax = plt.subplots(figsize=(8, 3.8))
colours = [ORANGE] * 4 + [GREY] + [BLUE] * 2
ax.barh(list(milliseconds), list(milliseconds.values()), color=colours)
ax.invert_yaxis()
for row, value in enumerate(milliseconds.values()):
    ax.text(value, row, f" {value:.3f}", va="center")
ax.set(xlabel="milliseconds for one photo")
ax.set_title(f"feeding (orange), computing (blue), on {device.type}", loc="left")
plt.show()

# %% [markdown]
# On a CPU the blue bars are the long ones, and nobody minds the orange ones. A GPU shortens the
# blue bars **only**.
#
# ### ✏️ Your turn · Exercise 5.3: sixteen times faster?
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
# Four fifths of each step the expensive device now does nothing. This is the usual state of a
# beginner's GPU, and `nvidia-smi` shows it: *GPU-Util* far below 100 %. What helps, in this order:
#
# **1. Do not do the same work in each epoch.** Decode and shrink each photo once, and keep the
# result in memory as `uint8`, one byte a value. `ft.load_data` does that; the random part of the
# transforms still happens anew each time.

# %%
side, photos = 146, 10_000  # what a crop of 128 pixels needs
for name, bytes_each in (("uint8", 1), ("float32", 4)):
    print(
        f"{photos:,} photos of {side} x {side} as {name:<7}: {photos * side * side * 3 * bytes_each / 1e9:.1f} GB"
    )

# %% [markdown]
# **2. Load the next batch while the device computes this one.** `num_workers=4` gives the
# `DataLoader` four processes for it. As long as loading is the slower half, each of them counts;
# from then on, none does:

# %%
load, compute = 20, 5  # ms
for workers in (0, 1, 2, 4, 8):
    step = load + compute if workers == 0 else max(load / workers, compute)
    print(f"num_workers={workers}: {step:4.1f} ms a step, {100 / step:4.1f} times the CPU alone")

# %% [markdown]
# (There must be cores for them: A free cloud notebook often has two. In a notebook on Windows or macOS,
# worker processes start slowly and do not know classes that you have defined in a cell. So the
# default here is 0, and `ft.finetune(..., num_workers=4)` asks for more.)
#
# **3. `pin_memory=True`** in the `DataLoader` keeps batches in memory that the GPU can fetch by
# itself; with `.to(device, non_blocking=True)` the CPU goes on in the meantime. It helps on CUDA
# only; whether it helps you, `measure` tells.
#
# **4. Let the GPU transform the photos.** Cropping, flipping and changing colours are arithmetic, too.
# A small `uint8` photo is carried over, and the transforms of torchvision run where their input is.
# `ft.finetune` does so as long as `num_workers` is 0: processes that load photos have no GPU.
#
# ## Do not look at every step
#
# The queue has one more consequence. As long as you only *submit*, the CPU prepares the next batch
# while the device computes. Ask for a **number**, and the CPU has to wait until the queue is empty.
# In the miniature, with 5 ms of preparing and 5 ms of computing:


# %%
def run_steps(look_at_every_step, steps=20):
    start = time.perf_counter()
    for _ in range(steps):
        time.sleep(0.005)  # the CPU prepares a batch
        mini.submit(lambda: time.sleep(0.005))  # the device computes
        if look_at_every_step:
            mini.wait()  # what loss.item() does
    mini.wait()
    return time.perf_counter() - start


print(
    "looking at every step takes 1.3 times as long, or more:",
    run_steps(True) > 1.3 * run_steps(False),
)

# %% [markdown]
# What counts as looking? Everything that turns a tensor into a Python number. PyTorch has one
# operation for it, `_local_scalar_dense`, and a `TorchDispatchMode` sees each operation go by. So
# looks can be counted, with or without a GPU.

# %%
from torch.utils._python_dispatch import TorchDispatchMode


class Looks(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += "_local_scalar_dense" in str(operation)
        return operation(*args, **(kwargs or {}))


def looks(run):
    """How often run() asks a tensor for a Python number."""
    with Looks() as found:
        run()
    return found.count


loss = F.cross_entropy(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))
total = torch.zeros(())
lines = {
    "loss.item()": lambda: loss.item(),
    "float(loss)": lambda: float(loss),
    "if loss < 1:": lambda: bool(loss < 1),
    "total += loss": lambda: total.add_(loss),
    "loss.detach()": lambda: loss.detach(),
}
for line, run in lines.items():
    print(f"{line:<14} {looks(run)}")

# %% [markdown]
# (`print(loss)`, `loss.cpu()` and `loss.tolist()` wait as well, by another way.) Now compare the
# loop of lesson 04, which adds up `loss.item()`, with the package's, over six batches:

# %%
small = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
batches = [(torch.randn(8, 3, 4, 4), torch.randint(0, 2, (8,))) for _ in range(6)]
optimizer = torch.optim.SGD(small.parameters(), lr=0.1)


def loop_of_lesson_04():
    total = 0.0
    for x, y in batches:
        loss = F.cross_entropy(small(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)


print("lesson 04:         ", looks(loop_of_lesson_04), "looks in 6 steps")
print("ft.train_one_epoch:", looks(lambda: ft.train_one_epoch(small, batches, optimizer)), "looks")

# %% [markdown]
# Two a whole epoch, for loss and accuracy, however many steps it has: the sums stay on the device
# until the end. Do the same in your own loop: `total += loss.detach() * len(y)`, and one `.item()`
# after it.
#
# ## Fewer bits
#
# GPUs of the last years multiply 16-bit numbers several times faster than 32-bit ones. There are
# two kinds of them, and they pay in different coin:

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

# %%
half = torch.float16 if device.type == "mps" else torch.bfloat16
model.eval()
val_images = torch.stack([image for image, _ in data.val]).to(device)
with torch.inference_mode():
    full_logits = model(val_images)
    with torch.autocast(device.type, dtype=half):
        half_logits = model(val_images)

agree = (full_logits.argmax(1) == half_logits.argmax(1)).sum().item()
print("scores in 16 bits:", half_logits.dtype == half)
print("weights in 32 bits:", model.fc.weight.dtype == torch.float32)
print("the same answer for at least 37 of 40 photos:", agree >= 37)

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
# That is `GradScaler`; it also searches for a good factor, and skips a step when the factor was too
# large. bfloat16 does not need it.
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
print("equal :", torch.equal(images, last))

# %% tags=["nbval-ignore-output"]
usual = measure(training_step, wait, repeats=3)
first_images, images = images, last
_ = trial.to(memory_format=torch.channels_last)
pixelwise = measure(training_step, wait, repeats=3)
images = first_images
_ = trial.to(memory_format=torch.contiguous_format)
print(f"here: {1000 * usual:.0f} ms a step, with channels_last {1000 * pixelwise:.0f} ms")

# %% [markdown]
# Two lines, `model.to(memory_format=torch.channels_last)` and the same for each batch. It pays most
# together with 16 bits; try it, measure, keep what is faster.
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
# ### ✏️ Your turn · Exercise 5.4: before the first photo
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
# The activations are harder to count by hand, but PyTorch can be asked: a hook is called for each
# tensor that the forward pass saves. (Weights are saved as well; they are there already and cost
# nothing more.)


# %%
def saved_megabytes(network, images, targets):
    """MB that the forward pass keeps for the backward pass."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def look(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(look, lambda tensor: tensor):
        loss = F.cross_entropy(network(images), targets)
    del loss
    return sum(kept.values()) / 1e6


activations = {}
for train in counts:
    ft.train_mode(ft.apply_stage(trial, ft.Stage(train=train)))
    activations[train] = saved_megabytes(trial, images, targets)

half_batch = saved_megabytes(trial, images[:16], targets[:16])
large = F.interpolate(images[:4], size=224)
at_224 = saved_megabytes(trial, large, targets[:4]) * 32 / 4
print("half the batch, half the activations:", abs(half_batch / activations["all"] - 0.5) < 0.05)
print(
    "224 x 224 pixels are 12.25 times 64 x 64, and so are they:",
    11 < at_224 / activations["all"] < 13.5,
)
print(
    "the head alone keeps less than a hundredth:", activations["head"] < 0.01 * activations["all"]
)

# %%
# alt: Stacked bars of megabytes for training the head, layer4 and all layers at 64 pixels, and all
#   layers at 224 pixels, where activations dwarf the rest.
names = ["head\n64 px", "layer4\n64 px", "all\n64 px", "all\n224 px"]
columns = [[*counts[t], activations[t]] for t in counts] + [[*counts["all"], at_224]]
fig, ax = plt.subplots(figsize=(8, 4))
bottom = [0.0] * 4
for part, label in enumerate(("weights", "gradients", "AdamW", "activations, 32 photos")):
    heights = [column[part] for column in columns]
    colour = (GREY, GREEN, BLUE, ORANGE)[part]
    ax.bar(names, heights, bottom=bottom, color=colour, label=label)
    bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
for x, total in enumerate(bottom):
    ax.text(x, total, f"{total:.0f}", ha="center", va="bottom")
ax.set(ylabel="MB")
ax.set_title("What a training step keeps in memory", loc="left")
ax.legend(frameon=False, loc="upper left")
plt.show()

# %% [markdown]
# So it is the photos that fill the memory, not the network: their number, and the *square* of their
# side. And freezing saves three of the four parts.
#
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
# 3. **Halve the batch**, and accumulate gradients (below). The result is the same.
# 4. **16 bits**: about half of the activations.
# 5. **Train less**: freeze up to `layer3`.
# 6. **Smaller photos**: 160 instead of 224 pixels halves the activations.
# 7. **Recompute instead of keeping**: `torch.utils.checkpoint`, for the time of one more
#    forward pass.
# 8. A smaller network, or a larger GPU.
#
# ### ✏️ Your turn · Exercise 5.5: a batch in pieces
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
# Is it really the same? With one exception, which you know from lesson 03: BatchNorm in train mode
# looks at the *batch*, and pieces are other batches.


# %%
def gradient(collect):
    trial.zero_grad()
    collect()
    return torch.cat([p.grad.flatten() for p in trial.parameters()])


for mode in ("eval", "train"):
    _ = trial.eval() if mode == "eval" else trial.train()
    whole = gradient(lambda: F.cross_entropy(trial(images), targets).backward())
    pieces = gradient(lambda: accumulate(trial, images, targets, 12))
    difference = ((whole - pieces).norm() / whole.norm()).item()
    print(f"BatchNorm in {mode:<5} mode: the same gradient: {difference < 0.01}")

quarter = saved_megabytes(trial, images[:8], targets[:8])
print(
    "pieces of 8 need a quarter of the activations:",
    abs(quarter / activations["all"] - 0.25) < 0.03,
)

# %% [markdown]
# In fine-tuning BatchNorm is often frozen and in eval mode, and then accumulation is exact. It
# saves memory and no time.
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

# %%
model.eval()
backbone = nn.Sequential(*list(model.children())[:-1], nn.Flatten())
train_images = torch.stack([image for image, _ in data.train.with_transform(data.val.transform)])
with torch.no_grad():
    features = torch.cat([backbone(some.to(device)).cpu() for some in train_images.split(60)])
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
print("batch 120 is behind batch 8 after five epochs:", large_batch > small_batch + 0.05)
print("with 15 times the learning rate it has caught up:    ", abs(scaled_up - small_batch) < 0.05)

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
    s = measure(step, wait, repeats=10)
    return 1000 * s, len(x) / s, torch.cuda.max_memory_allocated() / 1e6


if device.type == "cuda":
    print(torch.cuda.get_device_name())
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for channels_last in (False, True):
            ms, rate, peak = on_a_gpu(dtype, channels_last)
            print(f"{dtype!s:<15} channels_last={channels_last!s:<5}", end=" ")
            print(f"{ms:7.1f} ms a step  {rate:7.0f} photos a second  {peak:6.0f} MB")
    print("counted for 64 photos in float32:", round(sum(counts["all"]) + 2 * at_224), "MB")
else:
    print("no NVIDIA GPU here, so nothing was measured; open this lesson on Colab to run it")

# %% [markdown]
# Read it with three questions. Which line has the most photos a second? Is it faster than one CPU
# core can decode and transform photos (see the orange bars)? And is the peak near your count? It
# will be somewhat above it: the backward pass needs room for gradients of activations, and
# libraries take workspace.
#
# `ft.finetune` moves model and batches by itself, transforms photos on the GPU and keeps its sums there.
# Two switches are yours: `bf16=True`, on a GPU that has bfloat16, and `num_workers`, where there are
# cores for them:
#
# ```python
# ft.finetune(model, data, stages, bf16=True, num_workers=4)
# ```
#
# How much is feeding worth? Here is a fast GPU, an H200 beside 16 cores: 1,600 photos of 500 x 375,
# augmented, five epochs of the head alone (`benchmarks/results/speed_gpu.md`):
#
# | program | seconds |
# | --- | --- |
# | a loop as in lesson 04, photos loaded by its own process | 34.5 |
# | the same with eight processes that load, channels_last, frozen BatchNorm in eval mode | 9.4 |
# | `ft.finetune`: decoded once, transformed by the GPU | 10.6 |
# | `ft.finetune(..., num_workers=8)`: decoded once, transformed by eight processes | 7.2 |
#
# The network is the same, the GPU is the same. (One run each.)
#
# ## Where to find a GPU
#
# **Colab, in a minute.** Open the notebook with the badge at its top. Then *Runtime > Change runtime
# type > T4 GPU > Save*, and run from the first cell; the line `device` in its output must begin with
# `cuda`. (This lesson asks for a T4 by itself.) Two things to know: the machine's disk is **wiped**
# when the session ends, so write to your Drive; and it ends when you are idle, so let a long run
# continue where it was:
#
# ```python
# from google.colab import drive
# drive.mount("/content/drive")
# ft.finetune(model, data, stages, out_dir="/content/drive/MyDrive/runs/mine", resume=False)  # then True
# ```
#
# | kind of place | for example | what it costs you |
# | --- | --- | --- |
# | notebooks, free | Colab, Kaggle | no money; a quota of hours, no promise that one is free, sessions that end |
# | notebooks, paid | Colab's paid plans | credit by the hour, more for larger GPUs |
# | rented, large clouds | AWS, Google Cloud, Azure | money while it is *on*, busy or not; its disk always |
# | rented, GPU clouds | Lambda, RunPod, Vast.ai | money by the hour or minute, often less; may be sold out |
# | a cluster | your university or company | your place in a queue, and a form |
# | your own card | any with 8 GB or more | its price once, electricity, noise |
#
# On the large clouds a new account often has to ask for a GPU quota first, and data that leaves is
# charged, too. On a marketplace the machine belongs to a stranger: no private photos there.
#
# Prices change too often to print them: look at the provider's pricing page on the day. What you
# can know beforehand is the number of hours. Measure **one epoch**, multiply by epochs, by runs you
# will throw away (more than you think), and by two. Lesson 11 does so. And set an alarm: the
# dearest GPU is the one that was forgotten over the weekend.
#
# Does a photo of a patient, a customer or a child leave your machine? Then the first price to ask
# for is not in money.
#
# ## Now with ImageNet weights
#
# A ResNet-50 at 224 x 224 pixels is the usual size of real work. It downloads 98 MB, so it runs
# only with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    network = ft.replace_head(ft.load_backbone("resnet50", weights="DEFAULT"), 2).to(device)
    x, y = torch.randn(8, 3, 224, 224, device=device), torch.arange(8, device=device) % 2
    for train in ("head", "layer4", "all"):
        ft.train_mode(ft.apply_stage(network, ft.Stage(train=train)))
        s = measure(lambda: F.cross_entropy(network(x), y).backward(), wait, repeats=2)
        print(f"{train:<7} {8 / s:7.1f} photos a second", end=", ")
        print(f"{saved_megabytes(network, x, y) / 8:6.1f} MB of activations a photo")
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You choose a device, and move the model, the images and the targets.
# - You warm up, wait, and only then read the clock.
# - You know which part of a step a GPU makes faster, and feed it so that it is busy.
# - You do not ask for a number in each step.
# - You use bfloat16 where the GPU has it, float16 with a `GradScaler` where it has not.
# - You count weights, gradients, optimizer state and activations, and know what to do when they do
#   not fit.
# - You know where to find a GPU, and which costs to ask for.

# %%
print(progress.summary("05"))

# %% [markdown]
# ## Common questions
#
# **My GPU is at 30 %. Is it broken?** It waits for photos. See "Where does the time go?".
#
# **Does a GPU change the result?** In the last digits: sums are made in another order. Two runs on
# the same GPU may differ as well. With few photos the seed matters more than the device.
#
# **Several GPUs?** For fine-tuning on thousands of photos one is enough; the second would wait for
# photos, too.
#
# **`torch.compile`?** It makes a step faster after a first call that takes a minute or more. Worth
# it for hours of training, not for a lesson.
#
# **Do I need a GPU for this course?** No. Each lesson runs on a CPU in under 90 seconds. For your
# own thousands of photos with all layers training, measure one epoch here, one on Colab, and decide.
#
# ## One step further
#
# - Take the warm-up out of `measure`, and time the first step of a fresh model. How much longer is
#   it?
# - Give `AdamW` in place of SGD to the loop of lesson 04, and count the looks again. Where do the
#   new ones come from? (They read a counter that lies on the CPU; no GPU has to wait for them.)
# - `ft.finetune(..., bf16=True)` on this machine: is it faster? Is the accuracy the same?
#
# **Next:** [8. Unfreeze](08_unfreeze.ipynb), where the backbone begins to move, gently.
