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
# screen tells you which. This lesson moves it there and takes honest times; the next one makes it fast.
# Both run on any machine: where there is no GPU they measure the CPU, and make no number up.
#
# **What you will be able to do**
#
# - choose a device, move model *and* data, and read the error that everyone meets;
# - take times that are true on a device that works asynchronously;
# - train without waiting for the device in each step;
# - get a GPU on Colab or elsewhere.

# %%
import copy
import time

import torch
from torch import nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import lesson05 as check
from ftcourse.exercises import opening, progress

_ = torch.manual_seed(0)

opening.show(lesson="05", seconds=15, minutes=30)

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

# %% tags=["nbval-ignore-output"]
if torch.cuda.is_available():
    device = torch.device("cuda")
elif torch.backends.mps.is_available():
    device = torch.device("mps")
else:
    device = torch.device("cpu")

print(f"chosen here: {device}; ft.best_device() chooses: {ft.best_device()}")
assert device.type == ft.best_device().type

# %% [markdown]
# The work of this lesson is that of lesson 04: ants and bees, 64 x 64 pixels. `ft.finetune` takes
# the best device by itself, and leaves the model there.

# %%
data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64, progress=False)
model = ft.replace_head(ft.load_backbone("resnet18"), len(data.classes))
history = ft.finetune(model, data, ft.Stage(train="head", epochs=3, lr=1e-2), progress=False)

# %% tags=["nbval-ignore-output"]
print(f"the model is on: {next(model.parameters()).device}")
print(f"validation accuracy: {history.best['val_accuracy']:.3f}")
assert next(model.parameters()).device.type == device.type and history.best["val_accuracy"] > 0.7

# %% [markdown]
# ## Two things must move
#
# A GPU has memory of its own, and can compute only with what lies there. Move the model and forget
# the photos, and you meet an error that everyone meets. Here it is, on purpose. (Without a GPU we
# take PyTorch's device `meta`, which knows shapes and holds no numbers: good enough to be *another*
# device.)

# %% tags=["nbval-ignore-output"]
elsewhere = device if device.type != "cpu" else torch.device("meta")
head = nn.Linear(512, 2).to(elsewhere)
features = torch.randn(4, 512)  # on the CPU
try:
    head(features)
except RuntimeError as err:
    print("RuntimeError:", err)

# %% [markdown]
# With a GPU it reads *Expected all tensors to be on the same device, but found at least two
# devices, cuda:0 and cpu*, or a little different, depending on the version. It always means: find
# the one that you have not moved. And there is a difference that makes it easy to miss one:

# %% tags=["nbval-ignore-output"]
moved_head, moved_features = head.to(elsewhere), features.to(elsewhere)
print(
    f"module: .to() gives {'the same object' if moved_head is head else 'another object'}", end=", "
)
print(f"and its weights are on {head.weight.device}")
print(
    f"tensor: .to() gives {'the same object' if moved_features is features else 'another object'}",
    end=", ",
)
print(f"and the old one is on {features.device}")
assert moved_head is head and moved_features is not features

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

# %% tags=["nbval-ignore-output"]
mini = check.MiniDevice()
start = time.perf_counter()
for _ in range(20):
    mini.submit(lambda: time.sleep(0.01))  # twenty jobs of 10 ms each
submitted = time.perf_counter() - start
mini.wait()
done = time.perf_counter() - start

print(f"all submitted after {submitted:.4f} s, all done after {done:.4f} s")
assert submitted < 0.1 * done and done > 0.19

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
trial = copy.deepcopy(model)  # in train mode BatchNorm moves; the trained model shall not


def training_step():
    trial.zero_grad()
    F.cross_entropy(trial(images), targets).backward()


seconds = {}
for train in ("head", "layer4", "all"):
    ft.train_mode(ft.apply_stage(trial, ft.Stage(train=train)))
    seconds[train] = measure(training_step, wait, repeats=3)

# %% tags=["nbval-ignore-output"]
print(f"on {opening.device()}, batches of {len(images)} photos of 64 x 64 pixels:")
for train, s in seconds.items():
    print(f"{train:<7} {1000 * s:7.1f} ms a step, {len(images) / s:8.0f} photos a second")
assert seconds["head"] < seconds["all"]

# %% [markdown]
# A GPU is there to shorten these steps, and it does so for the computing alone. What becomes of the rest
# of a step is lesson 06's question.
#
# ## Do not look at every step
#
# The queue has one more consequence. As long as you only *submit*, the CPU prepares the next batch
# while the device computes. Ask for a **number**, and the CPU has to wait until the queue is empty.
# In the miniature, with 5 ms of preparing and 5 ms of computing:


# %% tags=["nbval-ignore-output"]
def run_steps(look_at_every_step, steps=20):
    start = time.perf_counter()
    for _ in range(steps):
        time.sleep(0.005)  # the CPU prepares a batch
        mini.submit(lambda: time.sleep(0.005))  # the device computes
        if look_at_every_step:
            mini.wait()  # what loss.item() does
    mini.wait()
    return time.perf_counter() - start


looking, working = run_steps(True), run_steps(False)
print(f"20 steps, a look at each: {looking:.3f} s; one look at the end: {working:.3f} s")
assert looking > 1.3 * working

# %% [markdown]
# What counts as looking? Everything that hands a tensor's number to Python. `check.looks` counts it,
# with or without a GPU:

# %%
loss = F.cross_entropy(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))
total = torch.zeros(())
lines = {
    "loss.item()": lambda: loss.item(),
    "float(loss)": lambda: float(loss),
    "loss.tolist()": lambda: loss.tolist(),
    "loss.cpu()": lambda: loss.cpu(),
    "if loss < 1:": lambda: bool(loss < 1),
    "print(loss)": lambda: str(loss),
    "total += loss": lambda: total.add_(loss),
    "loss.detach()": lambda: loss.detach(),
}
for line, run in lines.items():
    print(f"{line:<14} {check.looks(run)}")

# %% [markdown]
# Here is the loop of lesson 04, which adds up `loss.item()`, and the package's own, over six batches:


# %%
def loop_of_lesson_04(model, batches, optimizer):
    """Train for one epoch; the mean loss over its photos."""
    total, photos = 0.0, 0
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
        photos += len(y)
    return total / photos


def small():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    batches = [(torch.randn(8, 3, 4, 4), torch.randint(0, 2, (8,))) for _ in range(6)]
    return network, batches, torch.optim.SGD(network.parameters(), lr=0.1)


given, given_too = small(), small()
print("lesson 04:         ", check.looks(lambda: loop_of_lesson_04(*given)), "looks in 6 steps")
print("ft.train_one_epoch:", check.looks(lambda: ft.train_one_epoch(*given_too)), "looks")

# %% [markdown]
# The package looks twice an epoch, for loss and accuracy, however many steps it has.
#
# ### ✏️ Your turn · Exercise 5.3: change the loop until it looks once
#
# Write `train_epoch`: the same weights afterwards, the same number returned, and **one** look at most,
# however many batches there are. Begin with the loop above; there are several ways.


# %% tags=["exercise"]
def train_epoch(model, batches, optimizer):
    """Train for one epoch, as the loop above, with one look at most."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def train_epoch(model, batches, optimizer):
    """Train for one epoch, as the loop above, with one look at most."""
    total, photos = 0.0, 0
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(y)
        photos += len(y)
    return total.item() / photos


# %%
train_epoch = check.train_epoch(train_epoch)
# check.train_epoch.hint()

# %%
one, other = loop_of_lesson_04(*small()), train_epoch(*small())
print(f"the loop of lesson 04 returns {one:.4f}, yours {other:.4f}")
assert abs(one - other) < 1e-5

# %% [markdown]
# ## Where to find a GPU
#
# **Colab, in a minute.** In a copy of the course that has an address, each notebook begins with a badge:
# press it. (A copy without: *File > Upload notebook*, and install the package in its first cell.) Then
# *Runtime > Change runtime type > T4 GPU > Save*, and run from the first cell; the line `device` in its
# output must begin with `cuda`. (This lesson and the next ask for a T4 by themselves.) The machine's disk
# is **wiped** when the session ends, so write to your Drive; and it ends when you are idle, so let a long
# run go on where it was:
#
# ```python
# from google.colab import drive
# drive.mount("/content/drive")
# ft.finetune(model, data, stages, out_dir="/content/drive/MyDrive/runs/mine", resume=False)  # then True
# ```
#
# | kind of place | for example | what it costs you |
# | --- | --- | --- |
# | notebooks, free | Colab, Kaggle | no money; a quota of hours, sessions that end |
# | notebooks, paid | Colab's paid plans | credit by the hour |
# | rented | AWS, Google Cloud, Azure, Lambda, RunPod, Vast.ai | money while it is *on*, busy or not |
# | a cluster | your university or company | your place in a queue, and a form |
# | your own card | any with 8 GB or more | its price once, electricity, noise |
#
# Prices change too often to print them. What you can know beforehand is the number of hours: measure
# **one epoch**, multiply by epochs, by runs you will throw away, and by two, to be safe (lesson 11 has
# the formula). And set an alarm: the dearest GPU is the one that was forgotten over the weekend.
#
# Does a photo of a patient, a customer or a child leave your machine? On a rented machine it lies on
# somebody else's disk. Then the first price to ask for is not in money.
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
        print(f"{train:<7} {8 / s:7.1f} photos a second")
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You choose a device, and move the model, the images and the targets.
# - You warm up, wait, and only then read the clock.
# - You do not ask for a number in each step.
# - You know where to find a GPU, and which costs to ask for.

# %%
print(progress.summary("05"))

# %% [markdown]
# ## Common questions
#
# **Does a GPU change the result?** In the last digits: sums are made in another order. Two runs on
# the same GPU may differ as well.
#
# **`torch.compile`?** It makes a step faster after a first call that can take minutes. Worth it for
# hours of training, not for a lesson.
#
# **Do I need a GPU for this course?** No. Each lesson says at its top how long it takes on two CPU cores;
# none takes more than a minute and a half. For your own thousands of photos with all layers training,
# measure one epoch here, one on Colab, and decide.
#
# ## One step further
#
# - Take the warm-up out of `measure`, and time the first step of a fresh model. How much longer is
#   it?
# - Give AdamW in place of SGD to `loop_of_lesson_04`, and count the looks again. Do new ones come?
#
# **Next:** [6. Feed the GPU](06_feed_the_gpu.ipynb): the device is fast, and waits.
