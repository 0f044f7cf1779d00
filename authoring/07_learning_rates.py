# %% [markdown]
# # 7. Learning rates
#
# One number decides whether the first ten steps improve a pre-trained network or ruin it: the
# learning rate. Most people copy it from somewhere. Here you find out what it means, what too much
# of it does, and how to choose one for your own photos.
#
# **What you will be able to do**
#
# - compute how far AdamW's first step moves a weight, and see when that is too far;
# - give each layer group a rate, and check a schedule with warm-up and cosine;
# - run a learning-rate finder, and know what it cannot see.

# %%
import copy
import math

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

import ftcourse as ft
from ftcourse import results, widgets
from ftcourse.exercises import lesson07 as check
from ftcourse.exercises import opening, progress

_ = torch.manual_seed(0)

opening.show(lesson="07", seconds=40, minutes=35)

# %% [markdown]
# Ants and bees again, 120 training photos of 64 x 64 pixels, without augmentation. We start where
# lesson 02 ended: at a head that was fitted on frozen features.

# %%
data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64, progress=False)
plain = data.train.with_transform(data.val.transform)
start = ft.replace_head(ft.load_backbone("resnet18"), 2)

features, targets = ft.embed(start, plain), torch.tensor(plain.targets)
optimizer = torch.optim.Adam(start.fc.parameters(), lr=1e-2)
for _ in range(100):
    optimizer.zero_grad()
    F.cross_entropy(start.fc(features), targets).backward()
    optimizer.step()

# %% tags=["nbval-ignore-output"]
before = ft.evaluate(start, data.val)
on_training = ft.evaluate(start, plain)
print(f"{'fitted head':<14}{'loss':>7}{'accuracy':>10}")
print(f"{'training':<14}{on_training['loss']:>7.3f}{on_training['accuracy']:>10.3f}")
print(f"{'validation':<14}{before['loss']:>7.3f}{before['accuracy']:>10.3f}")
assert on_training["loss"] < 0.1 and 0.7 < before["accuracy"] < 0.95

# %% [markdown]
# The head has learnt its 120 photos by heart. If more is to come, the other eleven million weights have to
# move. How far?
#
# ## How far one step goes
#
# Plain SGD moves a weight by rate times gradient. **AdamW**, which most people use, divides the
# gradient by its own recent size. In the very first step nothing is left of it but the sign: *every*
# weight moves by the learning rate, whether its gradient was 3 or 0.000003. With the learning rate η
# and the weight decay λ, which pulls each weight a little towards zero:
#
# $$w \leftarrow w - \eta\,\bigl(\operatorname{sign}(g) + \lambda\, w\bigr)$$
#
# So a learning rate has a plain meaning: compare it with the size of the weights.

# %%
sizes = {}
for name, modules in ft.layer_groups(start).items():
    matrices = [p.detach() for m in modules for p in m.parameters() if p.ndim > 1]
    sizes[name] = torch.cat([p.flatten() for p in matrices]).square().mean().sqrt().item()
del sizes["head"]  # it is new
print(f"{'group':<8}{'typical weight':>15}{'a step of 0.0001':>18}{'a step of 0.01':>16}")
for name, size in sizes.items():
    print(f"{name:<8}{size:>15.3f}{1e-4 / size:>17.1%} {1e-2 / size:>15.0%}")
assert 0.5 < 1e-2 / sizes["layer4"] < 0.9

# %% [markdown]
# At 0.01 *each step* moves a weight of `layer4` by two thirds of its size: hardly anything that
# pre-training found survives the first few. That is why a pre-trained body is trained with small
# rates.
#
# The early layers often get even smaller ones: their edges and colours fit any photo. With
# `layer_decay` each group towards the input learns so many times as fast as the next one
# (*discriminative learning rates*, from [ULMFiT](https://arxiv.org/abs/1801.06146)):
#
# $$\eta_{\text{group}} = \eta \cdot \text{layer\_decay}^{\,\text{distance from the head}}$$
#
# ### ✏️ Your turn · Exercise 7.1: a step by hand
#
# Fill in `first_step`: the new weights of a group after AdamW's first step. `distance` counts the
# groups from the head: 0 for the head, 1 for `layer4`, 5 for the stem.


# %% tags=["exercise"]
def first_step(weights, gradient, lr, layer_decay, distance, weight_decay):
    """The weights after the first step of AdamW. weights, gradient: tensors of one shape."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def first_step(weights, gradient, lr, layer_decay, distance, weight_decay):
    """The weights after the first step of AdamW. weights, gradient: tensors of one shape."""
    rate = lr * layer_decay**distance
    return weights - rate * (gradient.sign() + weight_decay * weights)


# %%
first_step = check.first_step(first_step)
# check.first_step.hint()       # remove the first "#" for a hint; run it again for a second one
# check.first_step.solution()   # ... and for a worked answer

# %% [markdown]
# A stage says all of it in one line, and the package makes the optimizer's groups from it:

# %%
stage = ft.Stage("all", epochs=3, lr=1e-3, head_lr=1e-2, layer_decay=0.5, weight_decay=0.01)
model = copy.deepcopy(start)
optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
print(f"{'group':<20}{'numbers':>11}{'rate':>11}{'decay':>7}")
for group in optimizer.param_groups:
    count = sum(p.numel() for p in group["params"])
    print(f"{group['name']:<20}{count:>11,}{group['lr']:>11.6f}{group['weight_decay']:>7}")

# %% [markdown]
# Two rows a group: weight decay pulls at matrices and leaves norms and biases alone. Now your formula
# against one real step on real photos. (AdamW divides by size + 0.00000001, which shows on tiny
# gradients; they are left out.)

# %%
images = torch.stack([plain[i][0] for i in range(0, 120, 8)])
weight = model.layer2[0].conv1.weight
old = weight.detach().clone()
F.cross_entropy(model.train()(images), targets[::8]).backward()
by_hand = first_step(old, weight.grad, lr=1e-3, layer_decay=0.5, distance=3, weight_decay=0.01)
optimizer.step()
sizeable = weight.grad.abs() > 1e-5
apart = (by_hand - weight)[sizeable].abs().max().item()
print(f"layer2 moved by {(weight - old)[sizeable].abs().mean().item():.6f} a weight")
print(f"largest difference between your step and AdamW's: {round(apart, 5)}")
assert sizeable.float().mean() > 0.2 and apart < 2e-6, "run the cells above again, in order"

# %% [markdown]
# ## A rate that is too large
#
# Theory is cheap; sweep. Always from the fitted head, always two epochs of everything, 16 steps in
# all. (`ft.train_one_epoch` is the loop of lesson 04.)


# %%
def short_run(stage, start=start):
    """The validation loss and accuracy after a stage, from a network that stays as it is."""
    model = copy.deepcopy(start)
    optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
    loader = DataLoader(plain, batch_size=16, shuffle=True)
    scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=len(loader))
    torch.manual_seed(0)
    for _ in range(stage.epochs):
        ft.train_one_epoch(model, loader, optimizer, scheduler=scheduler)
    return ft.evaluate(model, data.val)


rates = [1e-5, 1e-4, 3e-4, 1e-3, 1e-2]
sweep = {lr: short_run(ft.Stage("all", epochs=2, lr=lr, weight_decay=0.0)) for lr in rates}

# %% tags=["nbval-ignore-output"]
print(f"{'rate':<12}{'share of a weight':>18}{'validation loss':>17}{'accuracy':>10}")
print(f"{'fitted head':<12}{'':>18}{before['loss']:>17.2f}{before['accuracy']:>10.3f}")
for lr, found in sweep.items():
    share = lr / sizes["layer4"]
    print(f"{lr:<12g}{share:>17.1%} {found['loss']:>17.2f}{found['accuracy']:>10.3f}")
assert sweep[1e-2]["loss"] > 3 * before["loss"] and sweep[1e-4]["loss"] < 2 * before["loss"]

# %%
# alt: Validation loss after two epochs against the learning rate, both logarithmic: near that of the
#   fitted head up to 0.001, and many times as high at 0.01; a dotted line marks the size of the weights.
ft.plot_lines(
    {"after two epochs": (rates, [sweep[lr]["loss"] for lr in rates])},
    log="xy",
    levels={"fitted head": before["loss"]},
    moments={"size of a weight": sizes["layer4"]},
    xlabel="learning rate",
    ylabel="validation loss",
    title="Near the size of the weights, ruin",
)

# %% [markdown]
# At the smallest rate hardly anything moves but BatchNorm's statistics (lesson 03), and that alone is no gain.
# In the middle the loss is about as good as the fitted head's: when moving θ *pays* is lesson 10's question.
# What is sure is the ruin: from 0.001 to 0.003 the loss rises in each of five draws of photos, in four of them to
# 1.9 and more (`benchmarks/rates.py`, printed below).
#
# **Begin two powers of ten below the size of the weights**: 1e-4 to 5e-4 with AdamW for θ, ten times as
# much for a new head. Then sweep: three rates, a factor of 3 apart, one short run each, judged on the
# validation split.
#
# ## When: warm-up and cosine
#
# Two habits take the sting out of a rate.
#
# - **Warm-up**: the first tenth of the steps goes from nearly nothing to the full rate. AdamW's first
#   steps rest on one or two batches; let them be short.
# - **Cosine**: down to zero at the end. Large steps find the valley, small ones its floor.
#
# `make_scheduler` does both, counted in **steps**, not in epochs. Three stages, each with a warm-up and
# a cosine of its own, with 8 steps an epoch. What rate does each group have, step by step?

# %%
stages = [
    ft.Stage("head", epochs=2, lr=1e-2),
    ft.Stage("layer4", epochs=2, lr=1e-3, head_lr=3e-3),
    ft.Stage("all", epochs=3, lr=5e-4, head_lr=1e-3, layer_decay=0.5),
]
curves, begins, step = {}, {}, 0
model = copy.deepcopy(start)
for stage in stages:
    begins[f"Stage({stage.train!r})"] = step
    optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
    scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=8)
    for _ in range(8 * stage.epochs):
        for group in optimizer.param_groups:
            steps, at = curves.setdefault(group["name"], ([], []))
            steps.append(step)
            at.append(group["lr"])
        optimizer.step()  # there is no gradient, so nothing moves: we only watch the rate
        scheduler.step()
        step += 1

for name in ("head", "layer4", "stem"):
    steps, at = curves[name]
    print(f"{name:<7} trains in steps {steps[0]:>2} to {steps[-1]}, at most at {max(at):.6f}")

# %%
# alt: Learning rate at each step for head, layer4, layer3 and stem over three stages, logarithmic;
#   each stage rises quickly and falls along a cosine, and lower groups join later at lower rates.
shown = {name: curves[name] for name in ("head", "layer4", "layer3", "stem")}
ft.plot_lines(
    shown,
    log="y",
    markers=True,
    moments=begins,
    ylim=(1e-6, 5e-2),
    xlabel="step",
    ylabel="learning rate",
    title="Each stage with a warm-up and a cosine of its own",
)

# %% [markdown]
# ### ✏️ Your turn · Exercise 7.2: the schedule that never falls
#
# This runs without an error, and trains poorly. Batches of 16, 120 photos, so 8 steps an epoch.
#
# ```python
# stage = ft.Stage("all", epochs=5, lr=1e-3, warmup=0.1)                # 1
# optimizer = ft.make_optimizer(model, stage)
# scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=8)    # 2
# for epoch in range(5):
#     for x, y in loader:
#         loss = F.cross_entropy(model(x), y)
#         optimizer.zero_grad()
#         loss.backward()
#         optimizer.step()
#     scheduler.step()                                                  # 3
# ```
#
# Somebody has noted its learning rate:

# %%
stage = ft.Stage("all", epochs=5, lr=1e-3, warmup=0.1)
optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=8)
observed = []
for _ in range(5):
    for _ in range(8):
        observed.append(optimizer.param_groups[-1]["lr"])
        optimizer.step()
    scheduler.step()

# %%
# alt: The observed learning rate over 40 steps: a staircase of five steps, rising to 0.001.
ft.plot_lines(
    {"observed": observed}, markers=True, xlabel="step", ylabel="learning rate", title="A staircase"
)

# %% [markdown]
# What is wrong?
#
# - **a** Line 1: warm-up is the trouble; with `warmup=0` the rate would fall as it should.
# - **b** Line 2: it should say `steps_per_epoch=40`, all the steps there are.
# - **c** Line 3 stands one level too far to the left: the schedule counts batches.
# - **d** The optimizer and its schedule have to be made anew in each epoch.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "c"

# %%
answer = check.schedule_bug(answer)
# check.schedule_bug.hint()

# %% [markdown]
# ## The learning-rate finder
#
# A sweep costs a run for each rate. The finder costs one short run
# ([Smith, 2015](https://arxiv.org/abs/1506.01186)): raise the rate a little after *each* batch, from
# far too small to far too large, and note the loss. Then put all weights back. Here for a new head,
# which is the only thing that trains:

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
fresh = ft.replace_head(ft.load_backbone("resnet18"), 2)
kept = copy.deepcopy(fresh.state_dict())
found = ft.lr_finder(fresh, data, ft.Stage("head"), batch_size=16)
moved = sum(not torch.equal(value, kept[name]) for name, value in fresh.state_dict().items())
print(f"{len(found.rates)} steps, rates from {found.rates[0]:g} to {found.rates[-1]:g}")
print(f"tensors of the network that are not as before: {moved} of {len(kept)}")
assert moved == 0

# %%
# alt: Training loss against the learning rate, logarithmic: flat, then falling, then turning; a
#   dashed line marks the suggested rate on the falling part.
found.plot()

# %% [markdown]
# Read it from left to right. **Flat**: rates too small to learn anything in so few steps. **Falling**:
# here training works. **Turning upwards**: the steps are too large. Take a rate from the falling part,
# well before the lowest point: there training is about to break.
#
# ### ✏️ Your turn · Exercise 7.3: half of the way down
#
# Make a rule of it. Fill in `half_way`: the first rate at which the loss has gone half of its way
# down, from the first loss to the lowest one. Both lists have one entry a step.


# %% tags=["exercise"]
def half_way(rates, losses):
    """The first rate at which the loss is half-way from losses[0] down to its lowest."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def half_way(rates, losses):
    """The first rate at which the loss is half-way from losses[0] down to its lowest."""
    half = (losses[0] + min(losses)) / 2
    for rate, loss in zip(rates, losses, strict=True):
        if loss <= half:
            return rate


# %%
half_way = check.half_way(half_way)
# check.half_way.hint()

# %% tags=["nbval-ignore-output"]
print(f"your rule on the smoothed curve: {half_way(found.rates, found.smoothed):.4f}")
print(f"suggested by the package:        {found.suggestion}")

# %% [markdown]
# (The package is a little more careful with noise, and rounds to one digit.) The same with a button,
# for any part of the network and for SGD, too:

# %% tags=["nbval-ignore-output"]
finder = widgets.rate_finder(fresh, data, steps=60, batch_size=16)
_ = finder.find()  # what the button does
finder

# %% [markdown]
# ### May you believe it?
#
# Compare it with the sweep, over five draws of photos and heads. "Best of the sweep" is the rate of
# a ladder that has the lowest loss on 200 other photos after two epochs
# (`benchmarks/rates.py`; the ladders go by factors of three):

# %%
runs = results.load("rates")["runs"]
print(f"{'trains':<7}{'seed':>5}{'finder':>9}{'best of the sweep':>19}", end="")
print(f"{'loss near the finder':>22}{'best':>7}{'at 0.001':>10}{'at 0.003':>10}")
for run in runs:
    near = min(run["rates"], key=lambda r: abs(math.log(r / run["suggestion"])))
    loss = run["losses"][run["rates"].index(near)]
    print(f"{run['train']:<7}{run['seed']:>5}{run['suggestion']:>9g}{run['best']:>19g}", end="")
    at = dict(zip(run["rates"], run["losses"], strict=True))
    print(f"{loss:>22.2f}{min(run['losses']):>7.2f}{at[0.001]:>10.2f}{at[0.003]:>10.2f}")
    assert run["train"] == "all" or abs(math.log(run["best"] / run["suggestion"])) < math.log(4)
    assert run["train"] == "head" or (run["suggestion"] <= 3e-4 and loss < run["losses"][-2])

# %% [markdown]
# For a new head it says 0.009 five times, and the sweep says 0.01 or 0.03: it could hardly do better. For
# all layers from a fitted head, where the loss has little left to fall, it never names a rate that ruins,
# and seldom the best one.
#
# Three things it cannot see:
#
# - **It starts where you start.** The same layers from a new head and from a fitted one ask for other
#   rates, in the same five draws:

# %%
for run in runs:
    if run["train"] == "all":
        print(f"seed {run['seed']}: from a new head {run['from_a_new_head']:g}", end=", ")
        print(f"from a fitted head {run['suggestion']:g}")

# %% [markdown]
# - **It looks at training batches**, and not at validation: it cannot see overfitting or forgetting
#   (lessons 09 and 08).
# - **It looks at some dozens of steps**, and cannot know what a rate does in thousands.
#
# So take its rate as the middle of a small sweep: a third of it, it, three times it.
#
# ## ✏️ Your turn · Exercise 7.4: change the rates until it learns
#
# A new head, all layers at one rate of 0.01, no warm-up, one epoch of 8 steps. It ends like this:


# %%
def one_epoch(lr, head_lr, layer_decay, warmup):
    """The validation loss and accuracy after 8 steps of all layers, from a new head."""
    stage = ft.Stage(
        "all", 1, lr, head_lr, layer_decay=layer_decay, warmup=warmup, weight_decay=0.0
    )
    return short_run(stage, start=fresh)


# %% tags=["nbval-ignore-output"]
ruined = one_epoch(lr=1e-2, head_lr=1e-2, layer_decay=1.0, warmup=0.0)
print(f"validation loss {ruined['loss']:.1f}, accuracy {ruined['accuracy']:.2f}")
assert ruined["loss"] > 2

# %% [markdown]
# Change the four numbers until the validation loss is **below 0.45**. There are many ways. The check
# trains, and tells how far you got.

# %% tags=["exercise"]
rates = {"lr": 1e-2, "head_lr": 1e-2, "layer_decay": 1.0, "warmup": 0.0}  # change these

# %% tags=["solution"]
rates = {"lr": 1e-3, "head_lr": 1e-2, "layer_decay": 1.0, "warmup": 0.1}

# %%
chosen = check.rescue(rates)
# check.rescue.hint()

# %% tags=["nbval-ignore-output"]
rescued = one_epoch(**chosen)
print(f"validation loss {rescued['loss']:.2f}, accuracy {rescued['accuracy']:.2f}")
assert rescued["loss"] < 0.5, "run the cells above again, in order"

# %% [markdown]
# ## Now with ImageNet weights
#
# The finder on torchvision's ImageNet weights at 128 pixels: first for the head, then for all layers.
# It downloads 45 MB, so it runs only with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.replace_head(ft.load_backbone("resnet18", weights="DEFAULT"), 2)
    full = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
    for trains in ("head", "all"):
        suggestion = ft.lr_finder(large, full, ft.Stage(trains), batch_size=16).suggestion
        print(f"{trains:<5} try {suggestion:g}")
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You compare a learning rate with the size of the weights, and can compute AdamW's first step.
# - You give each group its rate with `lr`, `head_lr` and `layer_decay`.
# - You plot the learning rate of a run before you believe its schedule.
# - You read a finder's curve, and check its rate with a small sweep on the validation split.

# %%
print(progress.summary("07"))

# %% [markdown]
# ## Common questions
#
# **Does it have to be AdamW?** No. SGD with momentum works as well, at other rates: 0.01 to 0.001 is a
# usual start for θ. What you know about one optimizer's rate does not carry over to the other: SGD's
# step is as long as the gradient. Ask the finder: `ft.Stage("all", optimizer="sgd")`.
#
# **Another batch size?** Lesson 06: k times the batch wants a larger rate, with SGD up to k times.
#
# **The finder's curve is flat, or falls at once.** Flat: give it a larger `stop`. At once: a smaller
# `start`. Jagged: larger batches.
#
# **Do I have to tune the warm-up?** Begin with a tenth of the steps, the default here; "One step further"
# measures what it is worth.
#
# ## One step further
#
# - Run the finder for all layers from `start`, with three seeds. How far apart are its suggestions?
# - Repeat the sweep with SGD. At which rate does it ruin the network?
# - Take away warm-up and cosine (`warmup=0`, `schedule="constant"`), and repeat the sweep. Which rate
#   suffers most?
#
# **Next:** [8. Unfreeze](08_unfreeze.ipynb): with the rates in hand, which layers, and when? And what
# does the network forget?
