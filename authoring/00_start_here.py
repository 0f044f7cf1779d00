# %% [markdown]
# # 0. Start here
#
# Welcome. In this course you take a network that has already learnt to see and make it see what
# *you* care about, with a few hundred photos, on the machine in front of you.
#
# **What you will be able to do after this lesson**
#
# - tell whether your machine is ready, and how long the lessons will take on it;
# - say which of the two tiers you are working in;
# - use the exercises: try, get a hint, look at a worked answer, go on.

# %%
import torch

import ftcourse as ft
from ftcourse import doctor
from ftcourse.exercises import lesson00 as check
from ftcourse.exercises import opening, progress

opening.show(lesson="00", seconds=10, minutes=10)

# %% [markdown]
# Each lesson starts with these lines. Look at `tier` and `device`: they tell what you are about to
# use.
#
# ## Is the machine ready?
#
# The doctor looks at versions, memory, disk and device, times a few training steps, and says how
# long a lesson will take. In a terminal it is `ftcourse doctor`.

# %% tags=["nbval-ignore-output"]
import textwrap

found = doctor.examine()
for line in doctor.summary(found).splitlines():
    print(textwrap.fill(line, 96, subsequent_indent=" " * 10))

# %%
print("problems found:", len(found["problems"]))
for problem in found["problems"]:
    print("to do:", problem)

# %% [markdown]
# ## Two tiers
#
# | | pocket (default) | full |
# | --- | --- | --- |
# | network | `resnet18` on Tiny ImageNet, inside the package | torchvision's, on ImageNet, downloaded |
# | needs | a CPU | a network connection once; a GPU for comfort |
# | used by | every lesson | the last section of each lesson, on request |
#
# You ask for the full tier by setting `FTCOURSE_PROFILE=full` before you start JupyterLab. Nothing
# switches by itself. Here is the pocket network; loading it took no download.

# %%
model = ft.load_backbone("resnet18")
print(type(model).__name__, f"with {sum(p.numel() for p in model.parameters()):,} parameters")
print("classes it knows:", len(ft.weights_of(model).meta["categories"]))

# %% [markdown]
# ## How exercises work
#
# You get a cell to fill in, and below it a cell that checks. The check has three answers: ✅ right, ❌ not
# yet, with what it saw and a hint, and ⏳ it waits. It never stops the notebook: until your answer is
# right, the lesson goes on with ours. Write numbers as you like: 1/3, 0.33, "33 %", 8394754 or, with
# commas, in quotes: "8,394,754".
#
# ### ✏️ Your turn · Exercise 0.1: accuracy
#
# A network gives each photo a row of scores, the *logits*, one a class. Its answer is the class with
# the largest score. Fill in `accuracy`: the share of photos whose answer is right, as a fraction.
# Run the next two cells **before** you write anything, too, to see what the check says then.


# %% tags=["exercise"]
def accuracy(logits, targets):
    """Share of right answers. logits: (photos, classes); targets: (photos,), the right classes."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def accuracy(logits, targets):
    """Share of right answers. logits: (photos, classes); targets: (photos,), the right classes."""
    return (logits.argmax(dim=1) == targets).float().mean().item()


# %%
accuracy = check.accuracy(accuracy)

# %% [markdown]
# Stuck? Take a `#` away and run the cell: it prints a hint, run again a second one, and in the end a
# worked answer. Nobody counts against you, but try first: what you have tried, you remember.

# %%
# check.accuracy.hint()
# check.accuracy.solution()

# %%
logits = torch.tensor([[2.0, 1.0], [0.5, 3.0], [1.0, 0.0]])
print("2 of 3 right:", round(accuracy(logits, torch.tensor([0, 1, 1])), 3))

# %% [markdown]
# ### ✏️ Your turn · Exercise 0.2: predict
#
# Some exercises ask you to **predict before you run**. Guess, then compare; a wrong guess teaches
# the most. A data set has 100 photos, and a `DataLoader` hands them out 32 at a time. How many
# batches do you get in one pass?

# %% tags=["exercise"]
guess = None  # a whole number

# %% tags=["solution"]
guess = 4

# %%
number = check.batches(guess)
# check.batches.hint()

# %%
loader = torch.utils.data.DataLoader(torch.zeros(100, 1), batch_size=32)
print("batches:", len(loader), "of sizes", [len(batch) for batch in loader])

# %% [markdown]
# ### ✏️ Your turn · Exercise 0.3: choose
#
# Others let you choose. Photos are split in three: **train** (the network learns from it),
# **validation** and **test**. You have trained three networks and want to pick the best. On which
# split do you compare them?
#
# - **a** on train
# - **b** on validation
# - **c** on test
# - **d** on all photos together

# %% tags=["exercise"]
answer = None  # a letter in quotes, such as "a"

# %% tags=["solution"]
answer = "b"

# %%
answer = check.which_split(answer)
# check.which_split.hint()

# %% [markdown]
# Your progress is kept in a file on this machine and nowhere else. `ftcourse progress` shows it in
# a terminal; here it is for this lesson:

# %%
print(progress.summary("00"))

# %% [markdown]
# And here is the board of all lessons, one dot an exercise. It stays at hand: run this cell again
# whenever you want to know where to go on.

# %% tags=["nbval-ignore-output"]
from ftcourse import widgets

widgets.progress_board()

# %% [markdown]
# ## A taste
#
# This is where the course is going, in a few lines: ants and bees, which are not what the network was
# trained to tell apart, a new last layer, and a few seconds of training. You need not understand the
# lines yet; lesson 04 writes such a training by hand.
#
# The photos are **Pocket Insects**, drawn by code in this package so that nothing is downloaded.
# (64 pixels wide here, to be quick.)

# %%
preprocess = ft.weights_of(model).transforms(crop_size=64, resize_size=73)
data = ft.load_data(
    "pocket-insects", classes=("ants", "bees"), transform=preprocess, progress=False
)
torch.manual_seed(0)  # the same start for everybody
ft.replace_head(model, num_classes=2)
history = ft.finetune(model, data, ft.Stage(train="head", epochs=3, lr=1e-3), progress=False)
print("photos:", data.counts)

# %% [markdown]
# How often is it right on the 120 test photos, which it never saw? Guessing gets half of them.

# %% tags=["nbval-ignore-output"]
test = ft.evaluate(model, data.test)["accuracy"]
print(f"right on the test photos: {100 * test:.1f} %, guessing: 50 %")
assert test > 0.65, "less than expected: were the numbers in the cell above changed?"

# %%
# alt: Ten drawn photos of ants and bees; above each what the network says, and whether it is right.
shown = data.test.subset(range(10))
logits, targets = ft.predict(model, shown)
titles = [
    f"{data.classes[said]}: {'right' if said == right else 'wrong'}"
    for said, right in zip(logits.argmax(dim=1), targets, strict=True)
]
ft.show_images([shown.image(i) for i in range(10)], titles, columns=5)

# %% [markdown]
# Above each photo stands what the network says, and whether that is right.
#
# ### ✏️ Your turn · Exercise 0.4: make it better
#
# Two numbers decide here: `epochs`, how many times the network goes through the training photos (3 so far),
# and `lr`, the **learning rate**, how long its steps are (0.001 so far). `train` makes a new last layer and
# trains it. Change the numbers until at least 90 % of the 40 **validation** photos are right in the best
# epoch. There are many such pairs. (Why validation? See 0.3.)


# %%
def train(epochs, lr):
    """Train a new last layer; returns the history, with one row an epoch."""
    torch.manual_seed(0)
    ft.replace_head(model, num_classes=2)
    stage = ft.Stage(train="head", epochs=epochs, lr=lr)
    return ft.finetune(model, data, stage, progress=False)


# %% tags=["exercise"]
history = None  # for example: history = train(epochs=3, lr=1e-4)

# %% tags=["solution"]
history = train(epochs=6, lr=1e-3)

# %%
history = check.better(history)
# check.better.hint()

# %%
# alt: Accuracy on training and validation photos against the epochs of training; a dashed line at
#   the 90 percent that are asked for.
epochs = history.column("epoch")
ft.plot_lines(
    {
        "training": (epochs, history.column("train_accuracy")),
        "validation": (epochs, history.column("val_accuracy")),
    },
    xlabel="epoch",
    ylabel="photos that are right",
    percent="y",
    ylim=(0.4, 1.02),
    levels={"asked for": 0.9},
)

# %% [markdown]
# Until your own run is there, the picture shows ours. With 40 photos one more or less is 2.5 %: small
# differences mean nothing. What may move besides the last layer, and how fast, decides how good this
# gets; that is the rest of the course.

# %% [markdown]
# ## What you can now do
#
# - You know that your machine is ready, or what it lacks.
# - You know the tiers and how to ask for the full one.
# - You can work with exercises, hints and worked answers.
#
# ## Common questions
#
# **I changed a cell and now nothing works.** *Kernel → Restart Kernel and Run All Cells* brings
# every lesson back, solved or not.
#
# **Where are the solutions?** In the folder `solutions/`, the same notebooks with every exercise
# solved.
#
# **Do I need a GPU?** No. All cells of a lesson together take under 90 seconds on two CPU cores.
# Lesson 05 tells what a GPU would change.
#
# **How much mathematics?** One formula runs through the course, and lesson 01 explains it in words
# first.
#
# ## One step further
#
# - Run `ftcourse doctor` in a terminal: *File → New → Terminal*.
# - Type `check.accuracy` alone into a cell, and `check.accuracy(3)`. What do the answers tell you?
#
# **Next:** [1. Load a pre-trained ResNet](01_load_a_pretrained_resnet.ipynb).
