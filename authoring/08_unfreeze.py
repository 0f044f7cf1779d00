# %% [markdown]
# # 8. Unfreeze
#
# A head on frozen features is a good start, and it ends where the features end. They were learnt
# from other photos, for other classes. To go further θ has to move. It took hours to find, and a
# few careless steps can ruin it, without an error, while the training loss falls beautifully.
#
# **What you will be able to do**
#
# - compute by hand how far a step moves the weights of a group, and see when that is too far;
# - explain why a random head harms a good backbone, and train in two stages instead (LP-FT);
# - write stages: one block, all of it, thawed bit by bit, each group at its own rate;
# - read and check a schedule with warm-up and cosine;
# - measure what the network forgets, and trade old against new on purpose.

# %%
import copy

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import lesson08 as check
from ftcourse.exercises import opening, progress, samples

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
_ = torch.manual_seed(0)

opening.show(lesson="08", seconds=50, minutes=40)

# %% [markdown]
# Ants and bees again, at 64 x 64 pixels, so that many small experiments take little time. The
# training photos also come as one tensor, without augmentation: most of this lesson is about
# single steps.

# %%
data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64, progress=False)
plain = data.train.with_transform(data.val.transform)
images = torch.stack([image for image, _ in plain])
targets = torch.tensor(plain.targets)
print(data)

# %% [markdown]
# ## Where the head ends
#
# First the head alone, as in lesson 02: θ stands still, so the features are computed once, and
# training takes a blink.

# %%
pretrained = ft.load_backbone("resnet18")
body = nn.Sequential(*list(pretrained.children())[:-1], nn.Flatten())
with torch.no_grad():
    features = body(images)


def new_model(fitted, seed=0):
    """The pre-trained network with a head for two classes: a random one, or one that was fitted."""
    torch.manual_seed(seed)
    model = ft.replace_head(ft.load_backbone("resnet18"), 2)
    if fitted:
        optimizer = torch.optim.Adam(model.fc.parameters(), lr=1e-2)
        for _ in range(100):
            loss = F.cross_entropy(model.fc(features), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


probe = new_model(fitted=True)
fit = F.cross_entropy(probe.fc(features), targets).item()
before = ft.evaluate(probe, data.val)
print("training loss of the fitted head is below 0.1:", fit < 0.1)
print("validation accuracy lies between 0.7 and 0.95:", 0.7 < before["accuracy"] < 0.95)

# %% [markdown]
# The head has learnt its 120 photos, all there is to get out of these features. Whatever is still
# missing in validation, more epochs of the head will not bring. So: let θ move. How far?
#
# ## How far one step goes
#
# Plain SGD moves a weight by rate times gradient. **AdamW**, which most people use, divides the
# gradient by its own recent size. In the very first step nothing is left of it but the sign:
#
# $$w \leftarrow w - \eta\,\bigl(\operatorname{sign}(g) + \lambda\, w\bigr)$$
#
# with the learning rate η and the weight decay λ. *Every* weight moves by η, whether its gradient
# was 3 or 0.000003. So a learning rate has a plain meaning: compare it with the size of the
# weights.

# %%
sizes = {}
for name, modules in ft.layer_groups(pretrained).items():
    if name == "head":
        continue
    matrices = [p.detach() for m in modules for p in m.parameters() if p.ndim > 1]
    sizes[name] = torch.cat([p.flatten() for p in matrices]).square().mean().sqrt().item()
    print(f"{name:<7} typical weight {sizes[name]:.3f}")

# %% [markdown]
# A rate of 0.001 moves a weight of `layer4` by a fifteenth of its size, *in each step*. At 0.01 it
# is two thirds: hardly anything that pre-training found survives the first few. That is why θ is
# trained with small rates, and the early layers often with even smaller ones: their
# edges and colours fit any photo. With `layer_decay` each group towards the input learns so many
# times as fast as the next one (*discriminative learning rates*, from
# [ULMFiT](https://arxiv.org/abs/1801.06146)):
#
# $$\eta_{\text{group}} = \eta \cdot \text{layer\_decay}^{\,\text{distance from the head}}$$
#
# ### ✏️ Your turn · Exercise 8.1: a step by hand
#
# Fill in `first_step`: the new weights of a group after AdamW's first step. `distance` counts the
# groups from the head: 0 for the head, 1 for `layer4`, 5 for the stem. The check compares with
# PyTorch's own AdamW.


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
# The package's optimizer holds exactly these groups. Here is what it is given for a stage that
# trains everything, with `layer_decay=0.5`:

# %%
stage = ft.Stage("all", epochs=3, lr=1e-3, head_lr=1e-2, layer_decay=0.5, weight_decay=0.01)
model = new_model(fitted=True)
optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
print(f"{'group':<20}{'numbers':>11}{'rate':>11}{'decay':>7}")
for group in optimizer.param_groups:
    count = sum(p.numel() for p in group["params"])
    print(f"{group['name']:<20}{count:>11,}{group['lr']:>11.6f}{group['weight_decay']:>7}")

# %% [markdown]
# Two rows a group: weight decay pulls at matrices and leaves norms and biases alone. And your
# formula against one real step on real photos:

# %%
model = new_model(fitted=False)
optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
weight = model.layer2[0].conv1.weight
old = weight.detach().clone()
F.cross_entropy(model(images[:16]), targets[:16]).backward()
by_hand = first_step(old, weight.grad, lr=1e-3, layer_decay=0.5, distance=3, weight_decay=0.01)
optimizer.step()
sizeable = weight.grad.abs() > 1e-5  # AdamW divides by size + 1e-8, which shows on tiny gradients
print("gradients compared: more than half of them:", sizeable.float().mean().item() > 0.5)
same = torch.allclose(by_hand[sizeable], weight[sizeable], atol=1e-6)
print("layer2, your step and AdamW's are the same:", same)

# %% [markdown]
# ## A rate that is too large
#
# Theory is cheap; sweep. The same fitted head each time, then two epochs of everything, 16 steps
# in all, with the schedule that we look at further below.


# %%
def train(model, optimizer, steps, scheduler=None, norms_learn=True, penalty=None):
    """So many steps on batches of 16 training photos. The loop of lesson 04, made small."""
    order = torch.Generator().manual_seed(0)
    queue = []
    for _ in range(steps):
        if len(queue) < 16:
            queue = torch.randperm(len(images), generator=order).tolist()
        batch, queue = queue[:16], queue[16:]
        ft.train_mode(model) if norms_learn else model.eval()
        loss = F.cross_entropy(model(images[batch]), targets[batch])
        if penalty is not None:
            loss = loss + penalty(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return model.eval()


rates = [1e-5, 1e-4, 1e-3, 1e-2]
sweep = {}
for lr in rates:
    stage = ft.Stage("all", epochs=2, lr=lr, weight_decay=0.0)
    model = copy.deepcopy(probe)
    optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
    scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=8)
    sweep[lr] = ft.evaluate(train(model, optimizer, 16, scheduler), data.val)

# %%
# alt: Validation loss and accuracy after two epochs against the learning rate on a logarithmic axis:
#   near the fitted head for 0.00001 and 0.0001, much worse at 0.001 and ruined at 0.01, where a grey
#   band shows the size of the weights.
fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for ax, key in zip(axes, ("loss", "accuracy"), strict=True):
    ax.axvspan(min(sizes.values()), max(sizes.values()), color=GREY, alpha=0.25, lw=0)
    ax.plot(rates, [sweep[lr][key] for lr in rates], "o-", color=ORANGE, lw=2.5)
    ax.axhline(before[key], color=BLUE, ls="--")
    ax.text(1e-5, before[key], "fitted head", color=BLUE, va="bottom")
    ax.set(xscale="log", xlabel="learning rate", title=f"validation {key}", xlim=(7e-6, 0.2))
axes[0].set(ylim=(0, None))
axes[1].set(ylim=(0.4, 1.0))
axes[1].text(0.19, 0.42, "size of the\nweights", color="#555555", ha="right", fontsize=11)
plt.show()

# %%
for lr in (1e-5, 1e-4):
    close = sweep[lr]["accuracy"] > before["accuracy"] - 0.1
    print(f"rate {lr:g}: accuracy not more than 0.1 below the fitted head's:", close)
print(
    "rate 0.01: validation loss more than three times as high:",
    sweep[1e-2]["loss"] > 3 * before["loss"],
)

# %% [markdown]
# The nearer the rate comes to the size of the weights, the more is ruined, as you would now expect.
# The loss tells it earlier than the accuracy. **Start two powers of ten below the size of the
# weights**: 1e-4 to 5e-4 with AdamW for θ, ten times as
# much for a new head. Then sweep: three rates a factor of 3 apart, one short run each, judged on
# the validation split. No other half hour pays as well.
#
# ## The first steps, with a random head
#
# Where does θ's gradient come from? Through the head: $\partial L/\partial f = W^\top (p - y)$,
# head weights times error. While the head is random, both factors are bad: the errors are large,
# and $W$ says nothing true about which features matter. θ hurries to please a head that will be
# another one in twenty steps.
#
# Let us watch the first 12 steps. BatchNorm stays in eval mode here, so that nothing moves but the
# weights. Once with plain SGD, once with AdamW, each with a random head and with the fitted one.

# %%
optimizers = {
    "SGD, rate 0.01": lambda model: torch.optim.SGD(model.parameters(), lr=0.01),
    "AdamW, rate 0.0001": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-4),
}
first = {}
for name, make in optimizers.items():
    for fitted in (False, True):
        model = new_model(fitted)
        first[name, fitted] = train(model, make(model), 12, norms_learn=False)

# %% tags=["nbval-ignore-output"]
print(ft.freeze_report(first["SGD, rate 0.01", False]))


# %%
def moved(model):
    """Relative distance of each group of θ from the weights that were loaded."""
    return {r["group"]: r["moved"] for r in ft.freeze_report(model).rows if r["group"] != "head"}


# %%
# alt: Two bar charts of the distance moved by each layer group in 12 steps. SGD: the bars of the
#   random head are several times as high as those of the fitted head. AdamW: less than twice.
fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for ax, name in zip(axes, optimizers, strict=True):
    for shift, fitted, colour in ((-0.2, False, ORANGE), (0.2, True, BLUE)):
        distance = moved(first[name, fitted])
        label = "fitted head" if fitted else "random head"
        ax.bar(
            [i + shift for i in range(5)], list(distance.values()), 0.4, color=colour, label=label
        )
    ax.set_xticks(range(5), list(distance))
    ax.set(ylabel="‖w - w₀‖ / ‖w₀‖", title=name)
axes[1].legend(frameon=False, loc="upper left")
plt.show()

# %%
ratios = {}
for name in optimizers:
    random, fitted = moved(first[name, False]), moved(first[name, True])
    ratios[name] = [random[group] / fitted[group] for group in random]
print(
    "SGD: with the random head every group moves more than twice as far:",
    min(ratios["SGD, rate 0.01"]) > 2,
)
print("AdamW: layer4 moves less than 3 times as far:", ratios["AdamW, rate 0.0001"][-1] < 3)

# %% [markdown]
# With SGD the picture is plain: with the fitted head the error $p - y$ is nearly zero, and θ hardly
# moves. AdamW hides it. Its steps have the length of the rate, whatever the gradient, so the
# distances are not so different. **Distance is not yet harm.** The harm has to be measured, and it
# can be: give the network its *old* head back, and ask it about photos it knows nothing of since.
# Does it still answer as before?

# %%
preprocess = ft.weights_of(pretrained).transforms(crop_size=64, resize_size=73)
pieces, _ = samples.pieces(samples.sample_photos(), 16, seed=0)
photos = torch.stack([preprocess(piece) for piece in pieces])
insects = torch.stack([image for image, _ in data.val])


@torch.inference_mode()
def old_answers(model, inputs):
    """The classes, of the 200 of the pre-training, that this body names with the old head."""
    body = copy.deepcopy(model).eval()
    body.fc = pretrained.fc
    return body(inputs).argmax(1)


reference = {"photos": old_answers(pretrained, photos), "insects": old_answers(pretrained, insects)}


def agreement(model, inputs=photos, name="photos"):
    """Share of these pictures on which the old head says what it said before."""
    return (old_answers(model, inputs) == reference[name]).float().mean().item()


print("pieces of three real photos:", len(photos))
print("the pre-trained network agrees with itself:", agreement(pretrained))

# %%
random, fitted = (agreement(first["AdamW, rate 0.0001", f]) for f in (False, True))
print(
    "AdamW, old answers kept: more with the fitted head, by at least 0.05:", fitted > random + 0.05
)

# %% [markdown]
# So here is the recipe with a name: **linear probe, then fine-tune, LP-FT**
# ([Kumar et al., 2022](https://arxiv.org/abs/2202.10054)). First fit the head on frozen features,
# then let θ move from there. In that paper the gain shows above all on photos *unlike* the
# training photos, which is where features that were not distorted are needed. It costs next to
# nothing. In stages:
#
# ```python
# [ft.Stage("head", epochs=3, lr=1e-2),
#  ft.Stage("all", epochs=10, lr=3e-4, head_lr=1e-3)]
# ```
#
# ## Which groups: one block, all of it, bit by bit
#
# A `Stage` names the first group that trains; all groups after it train, too.
#
# | | stages | what it means |
# | --- | --- | --- |
# | one block | `head`, then `layer4` | edges and colours stay, what is made of them may change |
# | all of it | `head`, then `all` | everything may change; wants a smaller rate |
# | bit by bit | `head`, `layer4`, ..., `all` | *gradual unfreezing* (ULMFiT): one more when the last has settled |
#
# Which is best? The honest answer, from this repository's runs with 100 photos a class over five
# seeds: on rendered insects head, last block and all reach 88.8, 94.2 and 95.4 % in test, on real
# photos of ants and bees 85.4, 86.3 and 83.0 % (`benchmarks/results/methods.md`, at 128 pixels). On
# photos near the pre-training there is little to gain by moving far. So try the list from top to
# bottom, and judge on *your* validation split.
#
# What did a run really move? The report tells, if you can read it.
#
# ### ✏️ Your turn · Exercise 8.2: which run is which?
#
# Four runs of four steps, all with AdamW: everything at **one rate**; everything with
# **`layer_decay=0.3`**; a stage for **`layer4` and head**; a stage for the **head**, in which
# somebody called `model.train()` where it should have been `ft.train_mode(model)`. Blue: how far
# the weights moved. Orange: how far BatchNorm's statistics did. Match them.

# %%
runs = check.mystery_runs(images[:16], targets[:16])

# %%
# alt: Four panels, A to D, with bars for weights and statistics moved in each group from stem to
#   layer4, on a logarithmic axis.
fig, axes = plt.subplots(1, 4, figsize=(13, 3.6), sharey=True, layout="constrained")
for ax, (letter, rows) in zip(axes, runs.items(), strict=True):
    for shift, key, colour in ((-0.2, "moved", BLUE), (0.2, "stats_moved", ORANGE)):
        heights = [row[key] for row in rows[:5]]
        ax.bar([i + shift for i in range(5)], heights, 0.4, color=colour)
    ax.set_xticks(range(5), [row["group"].replace("layer", "l") for row in rows[:5]])
    ax.set(yscale="log", ylim=(1e-6, 1), title=letter)
axes[0].set_ylabel("distance moved")
fig.legend(["weights", "statistics"], loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %% tags=["exercise"]
answer = {
    "one rate": None,  # a letter in quotes
    "layer_decay=0.3": None,
    "layer4 and head": None,
    "head, with model.train()": None,
}

# %% tags=["solution"]
answer = {
    "one rate": "C",
    "layer_decay=0.3": "A",
    "layer4 and head": "D",
    "head, with model.train()": "B",
}

# %%
answer = check.match_runs(answer)
# check.match_runs.hint()

# %% [markdown]
# ## How fast, and when: the schedule
#
# Two habits take the sting out of the rate.
#
# - **Warm-up**: the first tenth of the steps, from nearly nothing to the full rate. AdamW's first
#   steps rest on one or two batches; let them be short.
# - **Cosine**: down to zero at the end. Large steps find the valley, small ones its floor.
#
# `make_scheduler` does both, counted in **steps**, not in epochs. Here three stages of gradual
# unfreezing, each with its own warm-up and cosine. For each group the rate at each step:

# %%
stages = [
    ft.Stage("head", epochs=2, lr=1e-2),
    ft.Stage("layer4", epochs=2, lr=1e-3, head_lr=3e-3),
    ft.Stage("all", epochs=3, lr=5e-4, head_lr=1e-3, layer_decay=0.5),
]
steps_per_epoch, history_of_rates, starts = 8, [], []
model = copy.deepcopy(probe)
for stage in stages:
    starts.append(len(history_of_rates))
    optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
    scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch)
    for _ in range(stage.epochs * steps_per_epoch):
        history_of_rates.append({g["name"]: g["lr"] for g in optimizer.param_groups})
        optimizer.step()  # there is no gradient, so nothing moves: we only watch the rate
        scheduler.step()

# %%
# alt: Learning rate at each step for head, layer4, layer3 and stem over three stages, logarithmic;
#   each stage rises quickly and falls along a cosine, and lower groups join later at lower rates.
fig, ax = plt.subplots(figsize=(10, 4))
for name, colour in (("head", ORANGE), ("layer4", BLUE), ("layer3", GREEN), ("stem", GREY)):
    ax.plot([at.get(name) for at in history_of_rates], color=colour, lw=2.5, label=name)
for start, stage in zip(starts, stages, strict=True):
    ax.axvline(start - 0.5, color="#BBBBBB", lw=1)
    ax.text(start, 2.2e-2, f"Stage({stage.train!r})", fontsize=12)
ax.set(yscale="log", ylim=(1e-6, 4e-2), xlabel="step", ylabel="learning rate")
ax.legend(frameon=False, loc="lower left", ncols=2)
plt.show()

# %%
last = history_of_rates[starts[2] :]
print("steps in all:", len(history_of_rates), "and of the last stage:", len(last))
print(
    "groups that train, stage by stage:",
    [len({n.split(" ")[0] for n in history_of_rates[s]}) for s in starts],
)
print(
    f"peak of the last stage: head {max(a['head'] for a in last):.4f}, stem {max(a['stem'] for a in last):.6f}"
)
print("its first step has less than half the peak's rate:", last[0]["head"] < 0.5e-3)

# %% [markdown]
# ### ✏️ Your turn · Exercise 8.3: the schedule that never falls
#
# This runs without an error, and trains poorly. Somebody has plotted its learning rate. Batches of
# 16, 120 photos, so 8 steps an epoch.
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
fig, ax = plt.subplots(figsize=(8, 3))
ax.plot(observed, color=ORANGE, lw=2.5, drawstyle="steps-post")
ax.set(xlabel="step", ylabel="learning rate", ylim=(0, 1.1e-3), title="observed")
plt.show()

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
# ## All of it, for real
#
# The three stages from above, on augmented photos, by `ft.finetune`. It makes a new optimizer for
# each stage (lesson 03 told why) and keeps the weights that were best in validation.

# %%
tuned = new_model(fitted=False)
history = ft.finetune(tuned, data, stages, batch_size=16, progress=False)

# %%
# alt: Loss and accuracy over seven epochs in three stages, for training and validation.
history.plot()
plt.show()

# %%
after = ft.evaluate(tuned, data.val)
print("stages that ran:", len(history.stages), "epochs:", len(history.epochs))
print("validation accuracy is above 0.8:", after["accuracy"] > 0.8)

# %% [markdown]
# Forty validation photos are few: 0.025 is one photo. Whether fine-tuning beats the head alone, and
# from how many photos on, is a question for many seeds; lesson 10 answers it with intervals.
#
# ## What it forgets
#
# The network was told to tell ants from bees. Nobody told it to keep anything else. Take the fitted
# head, train everything for two epochs, and ask the old head again:


# %%
def fine_tuned(stage, **options):
    """From the fitted head, two epochs of a stage; the options are those of `train`."""
    model = copy.deepcopy(probe)
    optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
    scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=8)
    return train(model, optimizer, 16, scheduler, **options)


changed = fine_tuned(ft.Stage("all", epochs=2, lr=3e-4))
print("every group of θ has moved:", all(distance > 0 for distance in moved(changed).values()))
print("old answers kept, photos: below 0.7:", agreement(changed) < 0.7)
print("old answers kept, insects: below 0.7:", agreement(changed, insects, "insects") < 0.7)

# %% [markdown]
# That is **catastrophic forgetting**. It matters if you want the old classes too, if you will
# fine-tune the same network again for something else, or if your users' photos differ from your
# training photos: what was forgotten may be what they need.
#
# Who is to blame? Here is a surprise. No optimizer and no gradient, only two epochs' worth of
# forward passes in train mode:

# %%
drifted = copy.deepcopy(pretrained)
ft.train_mode(drifted)
with torch.no_grad():
    for _ in range(16):
        drifted(images[torch.randperm(len(images))[:16]])
print("weights that moved:", sum(distance > 0 for distance in moved(drifted).values()))
print("old answers kept, photos: below 0.8:", agreement(drifted) < 0.8)

# %% [markdown]
# BatchNorm's statistics alone, now those of ants and bees on their ground, cost a good part of the
# old answers. (For the *new* task they are right to move: that is what the photos look like now.)
#
# ### Treatments
#
# - **A lower rate**, or **fewer layers**: less moves.
# - **Keep the statistics**: BatchNorm in eval mode throughout.
# - **L2-SP** ([Li et al., 2018](https://arxiv.org/abs/1802.01483)): ordinary weight decay pulls
#   towards zero; pull towards the pre-trained weights instead.
#
# L2-SP in two lines, and all of them from the same fitted head, 16 steps each:

# %%
origin = {name: p.detach() for name, p in pretrained.named_parameters() if name[:3] != "fc."}


def l2_sp(model, strength=1.0):
    """Strength times the squared distance of θ from the pre-trained weights."""
    named = [(name, p) for name, p in model.named_parameters() if name in origin]
    return strength * sum((p - origin[name]).square().sum() for name, p in named)


full_rate = ft.Stage("all", epochs=2, lr=3e-4)
a_tenth = ft.Stage("all", epochs=2, lr=3e-5, head_lr=3e-4)
treated = {
    "all": changed,
    "a tenth of the rate": fine_tuned(a_tenth),
    "layer4 and head": fine_tuned(ft.Stage("layer4", epochs=2, lr=3e-4)),
    "statistics kept": fine_tuned(full_rate, norms_learn=False),
    "statistics kept, L2-SP": fine_tuned(full_rate, norms_learn=False, penalty=l2_sp),
    "statistics kept, a tenth": fine_tuned(a_tenth, norms_learn=False),
}
kept = {name: agreement(model) for name, model in treated.items()}
wins = {name: ft.evaluate(model, data.val)["accuracy"] for name, model in treated.items()}

# %%
# alt: Bars of the share of old answers kept, by treatment: about half for all at full rate and for a
#   tenth of the rate, nearly all for a tenth of the rate with the statistics kept.
fig, ax = plt.subplots(figsize=(9, 4))
for k, name in enumerate(reversed(treated)):
    ax.barh(k, kept[name], color=ORANGE if name == "all" else GREEN)
    ax.text(
        kept[name] - 0.01, k, f"insects {wins[name]:.2f}", color="white", ha="right", va="center"
    )
ax.set_yticks(range(len(treated)), list(reversed(treated)))
ax.axvline(1, color=BLUE, ls="--")
ax.text(0.99, len(treated) - 0.4, "head alone", color=BLUE, ha="right")
ax.set(xlabel="old answers kept (photos)", xlim=(0, 1.02))
plt.show()

# %%
print("a tenth of the rate alone keeps fewer than 0.65:", kept["a tenth of the rate"] < 0.65)
held = kept["statistics kept, a tenth"]
print("with the statistics kept as well, more than 0.65:", held > 0.65)
print("and at least 0.15 more than all at full rate:", held > kept["all"] + 0.15)
free, pulled = (moved(treated["statistics kept" + name])["layer4"] for name in ("", ", L2-SP"))
print("L2-SP: layer4 stays within half the distance:", pulled < 0.5 * free)

# %% [markdown]
# The white numbers, validation accuracy on insects, differ by a few of 40 photos, which is chance.
# The bars differ by a lot. A lower rate alone keeps little, as long as the statistics move; statistics alone
# keep little at a full rate; together they keep nearly everything. **How much is forgotten is in
# your hands.**
#
# ### Afterwards: mix old and new
#
# The last treatment needs no training at all. Take the weights of the network before and after
# fine-tuning, and go a part of the way in a straight line
# ([WiSE-FT, Wortsman et al., 2022](https://arxiv.org/abs/2109.01903)):
#
# $$\theta_\alpha = (1 - \alpha)\,\theta_{\text{before}} + \alpha\,\theta_{\text{after}}$$
#
# That this works is not obvious: between two networks that were trained apart it usually does not.
# After fine-tuning with a moderate rate both ends lie in the same valley.
#
# ### ✏️ Your turn · Exercise 8.4: on the line between two networks
#
# Fill in `interpolate`. `before` and `after` are two `state_dict()`s with the same names; return a
# third. `share=0` is `before`, `share=1` is `after`. BatchNorm's statistics are in there as well.


# %% tags=["exercise"]
def interpolate(before, after, share):
    """A state dict on the straight line between two others."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def interpolate(before, after, share):
    """A state dict on the straight line between two others."""
    return {name: (1 - share) * before[name] + share * after[name] for name in after}


# %%
interpolate = check.interpolate(interpolate)
# check.interpolate.hint()

# %% [markdown]
# Before: the head alone. After: two epochs of everything, from above. Between them:

# %%
shares = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
line = []
mixture = copy.deepcopy(probe)
for share in shares:
    mixture.load_state_dict(interpolate(probe.state_dict(), changed.state_dict(), share))
    line.append((agreement(mixture), ft.evaluate(mixture, data.val)["accuracy"]))

# %%
# alt: Two curves over the share of the new weights from 0 to 1: validation accuracy on insects stays
#   high, old answers kept fall from 1.
fig, ax = plt.subplots(figsize=(8, 3.8))
ax.plot(shares, [new for _, new in line], "o-", color=ORANGE, lw=2.5, label="insects: accuracy")
ax.plot(shares, [old for old, _ in line], "s-", color=BLUE, lw=2.5, label="old answers kept")
ax.set(xlabel="share of the fine-tuned weights α", ylim=(0, 1.05))
ax.set_title("from the old network to the new one")
ax.legend(frameon=False, loc="lower left")
plt.show()

# %%
print("at 0 all old answers are kept:", line[0][0] == 1.0)
middle, end = line[2], line[-1]
print("at 0.4 more of them are kept than at 1:", middle[0] > end[0] + 0.03)
print("at 0.4 the new accuracy is still above 0.7:", middle[1] > 0.7)

# %% [markdown]
# One run of fine-tuning, and you choose the place on the line afterwards, on the validation split.
#
# ### ✏️ Your turn · Exercise 8.5: choose the stages
#
# Three situations and four plans. Choose one plan for each, and **write down your reason in a
# sentence before you run the check**.
#
# - **old and new**: an app names the 200 old classes with the old head. It shall also tell ants
#   from bees, with a second head on the same body, and the old answers must not change at all.
# - **birds**: 100 photos a class of birds in gardens, much like the photos of the pre-training.
# - **X-rays**: 5,000 a class, nothing like the pre-training. A GPU is there.
#
# ```python
# a = [ft.Stage("head", epochs=10, lr=1e-2)]
#
# b = [ft.Stage("head", epochs=3, lr=1e-2),
#      ft.Stage("all", epochs=10, lr=1e-4, head_lr=1e-3, layer_decay=0.5)]
#
# c = [ft.Stage("head", epochs=1, lr=1e-2),
#      ft.Stage("all", epochs=30, lr=5e-4, head_lr=1e-3)]
#
# d = [ft.Stage("head", epochs=3, lr=1e-2),
#      ft.Stage("all", epochs=10, lr=3e-2)]
# ```

# %% tags=["exercise"]
answer = {"old and new": None, "birds": None, "X-rays": None}  # a letter in quotes for each

# %% tags=["solution"]
answer = {"old and new": "a", "birds": "b", "X-rays": "c"}

# %%
answer = check.choose_stages(answer)
# check.choose_stages.hint()

# %% [markdown]
# ## Now with ImageNet weights
#
# LP-FT with torchvision's ImageNet weights at 128 pixels. It downloads 45 MB and takes some minutes
# on a CPU, so it runs only with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.replace_head(ft.load_backbone("resnet18", weights="DEFAULT"), 2)
    full = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
    plan = [
        ft.Stage("head", epochs=3, lr=1e-2),
        ft.Stage("all", epochs=5, lr=3e-4, head_lr=1e-3, layer_decay=0.7),
    ]
    print(ft.finetune(large, full, plan))
    print(ft.freeze_report(large))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You compare a learning rate with the size of the weights, and can compute AdamW's first step.
# - You fit the head first, and let θ move from there.
# - You write stages for one block, for all of it and for gradual unfreezing, and give each group
#   its rate.
# - You plot the learning rate of a run before you believe its schedule.
# - You can measure what a network forgets, and choose between old and new.

# %%
print(progress.summary("08"))

# %% [markdown]
# ## Common questions
#
# **How many epochs for each stage?** The head until its validation accuracy stands still, which
# costs little. Then so many as you can afford: with a cosine the last epochs are the best ones.
#
# **Does it have to be AdamW?** No. SGD with momentum works as well, at other rates: 0.01 to 0.001
# is a usual start for θ. What you know about one optimizer's rate does not carry over to the
# other: see the two bar charts.
#
# **BatchNorm: train it or not?** With batches of 16 and more of the new photos, its statistics
# should follow for the new task. With tiny batches, or if old answers count, keep it in eval mode.
#
# **Is forgetting always bad?** Not if nobody asks the old questions. But it is a sign of how far
# you went, and what generalises to unusual photos was learnt from the old ones.
#
# ## One step further
#
# - Give the random head zero weights (`nn.init.zeros_`), and repeat the first 12 steps with SGD.
#   How far does θ move, and why so little in the first step?
# - Mix two networks fine-tuned with different seeds half and half. Then two trained from random
#   weights. Which mixture still works?
# - Make `l2_sp` ten times and a hundred times as strong. Where do its points go?
#
# **Next:** [9. Overfitting](09_overfitting.ipynb), where the training accuracy is perfect, and
# that is the problem.
