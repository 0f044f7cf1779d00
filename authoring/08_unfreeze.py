# %% [markdown]
# # 8. Unfreeze
#
# A head on frozen features ends where the features end. They were learnt from other photos, for other
# classes. To go further θ has to move. It took days to find, and a few careless steps ruin it, without
# an error, while the training loss falls beautifully.
#
# **What you will be able to do**
#
# - show what a random head does to a good backbone, and train in two stages instead (LP-FT);
# - write stages: one block, all of it, thawed bit by bit;
# - measure what a network forgets, and trade old against new on purpose.

# %%
import copy
import statistics

import torch
from torch.nn import functional as F

import ftcourse as ft
from ftcourse import results
from ftcourse.exercises import lesson08 as check
from ftcourse.exercises import opening, progress, samples

_ = torch.manual_seed(0)

opening.show(lesson="08", seconds=40, minutes=40)

# %% [markdown]
# ## Where the head ends
#
# Ants and bees, 120 training photos of 64 x 64 pixels. First the head alone, as in lesson 02: θ stands
# still, so the features are computed once, and training takes a blink.

# %%
data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64, progress=False)
plain = data.train.with_transform(data.val.transform)  # without augmentation
images = torch.stack([image for image, _ in plain])
targets = torch.tensor(plain.targets)
pretrained = ft.load_backbone("resnet18")
features = ft.embed(ft.replace_head(ft.load_backbone("resnet18"), 2), plain)


def new_model(fitted, seed=0):
    """The pre-trained network with a head for two classes: a random one, or one that was fitted."""
    torch.manual_seed(seed)
    model = ft.replace_head(ft.load_backbone("resnet18"), 2)
    if fitted:
        optimizer = torch.optim.Adam(model.fc.parameters(), lr=1e-2)
        for _ in range(100):
            optimizer.zero_grad()
            F.cross_entropy(model.fc(features), targets).backward()
            optimizer.step()
    return model


probe = new_model(fitted=True)

# %% tags=["nbval-ignore-output"]
fit, before = ft.evaluate(probe, plain), ft.evaluate(probe, data.val)
print(f"{'fitted head':<12}{'loss':>7}{'accuracy':>10}")
print(f"{'training':<12}{fit['loss']:>7.3f}{fit['accuracy']:>10.3f}")
print(f"{'validation':<12}{before['loss']:>7.3f}{before['accuracy']:>10.3f}")
assert fit["loss"] < 0.1 and 0.7 < before["accuracy"] < 0.95

# %% [markdown]
# The head has learnt its 120 photos, all there is to get out of these features. More epochs of the head
# will not bring what is missing in validation. So: let θ move.
#
# ## The first steps, with a random head
#
# θ never sees a label. It hears of them only through the head: each feature is told to grow or to
# shrink, in the direction of the head's weights $W$, and by as much as the head is wrong. (In symbols:
# $\partial L/\partial f = W^\top (p - y)$, with the predicted probabilities $p$ and the label $y$ as zeros and
# a one.) A random head is wrong by much, and its $W$ points nowhere in particular. The first steps do lower the
# loss. But they bend good features to suit a head that will be another one twenty steps later.
#
# Watch 12 steps, from a random head and from the fitted one. BatchNorm stays in eval mode, so that
# nothing but weights moves.


# %%
def train(model, optimizer, steps, scheduler=None, statistics_move=True, penalty=None):
    """So many steps on batches of 16 training photos: the loop of lesson 04, made small."""
    order, queue = torch.Generator().manual_seed(0), []
    for _ in range(steps):
        if len(queue) < 16:
            queue = torch.randperm(len(images), generator=order).tolist()
        batch, queue = queue[:16], queue[16:]
        ft.train_mode(model) if statistics_move else model.eval()
        loss = F.cross_entropy(model(images[batch]), targets[batch])
        if penalty is not None:
            loss = loss + penalty(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return model.eval()


first = {}
for name, fitted in (("random head", False), ("fitted head", True)):
    for kind, make, lr in (("SGD", torch.optim.SGD, 0.01), ("AdamW", torch.optim.AdamW, 1e-4)):
        model = new_model(fitted)
        train(model, make(model.parameters(), lr=lr), 12, statistics_move=False)
        first[kind, name] = model

# %% [markdown]
# How far has a group moved? Take the change of all its weights together as one arrow, and compare its
# length with that of the weights themselves: 0.01 is one percent. (In symbols: ‖w - w₀‖ / ‖w₀‖, with
# the weights $w_0$ that were loaded. The freeze report has it as *moved*.)


# %% tags=["nbval-ignore-output"]
def moved(model):
    """Relative distance of each group of θ from the weights that were loaded."""
    return {r["group"]: r["moved"] for r in ft.freeze_report(model).rows if r["group"] != "head"}


distances = {key: moved(model) for key, model in first.items()}
print(f"{'':<8}{'SGD, rate 0.01':^25}{'AdamW, rate 0.0001':^25}")
print(f"{'':<8}{'random':>9}{'fitted':>9}{'times':>7}{'random':>9}{'fitted':>9}{'times':>7}")
for group in distances["SGD", "random head"]:
    print(f"{group:<8}", end="")
    for kind in ("SGD", "AdamW"):
        a, b = (distances[kind, f"{head} head"][group] for head in ("random", "fitted"))
        print(f"{a:>9.5f}{b:>9.5f}{a / b:>7.1f}", end="")
        assert a > 2 * b or kind == "AdamW"
    print()

# %% [markdown]
# With SGD the picture is plain: where the fitted head is hardly ever wrong, θ hardly moves. AdamW hides
# it: its steps have the length of the rate, whatever the gradient (lesson 07). **Distance is not yet
# harm.** Harm has to be measured, and can be: give the network its *old* head back. Does it still say
# of other photos what it said before?


# %%
preprocess = ft.weights_of(pretrained).transforms(crop_size=64, resize_size=73)
pieces, _ = samples.pieces(samples.sample_photos(), 16, seed=0)
photos = torch.stack([preprocess(piece) for piece in pieces])


@torch.inference_mode()
def old_answers(model):
    """The class, of the 200 of the pre-training, that this body names with the old head, for each photo."""
    body = copy.deepcopy(model).eval()
    body.fc = pretrained.fc
    return body(photos).argmax(1)


reference = old_answers(pretrained)


def kept(model):
    """The share of the photos of which the old head says what it said before."""
    return (old_answers(model) == reference).float().mean().item()


print(
    f"{len(photos)} pieces of three real photos; kept by the untouched network: {kept(pretrained)}"
)

# %% tags=["nbval-ignore-output"]
for name in ("random head", "fitted head"):
    print(
        f"12 steps of AdamW from a {name}: {kept(first['AdamW', name]):.2f} of the old answers kept"
    )
assert kept(first["AdamW", "fitted head"]) > kept(first["AdamW", "random head"]) + 0.05

# %% [markdown]
# One run is a lottery. The same for five draws of photos, heads and orders (`benchmarks/forgetting.py`):

# %%
# alt: Two rows of five dots each: the share of old answers kept after 12 steps is higher from a fitted
#   head than from a random one.
runs = results.load("forgetting")["runs"]


def column(kind, key):
    """The values of each row of the results, one a seed: {"random head": [...], ...}."""
    names = dict.fromkeys(r["name"] for r in runs if r["kind"] == kind)
    return {n: [r[key] for r in runs if (r["kind"], r["name"]) == (kind, n)] for n in names}


ft.plot_dots(
    column("first steps", "kept"),
    percent=True,
    xlabel="old answers kept after 12 steps",
    title="A random head bends what was good",
)

# %% [markdown]
# So here is the recipe with a name: **linear probe, then fine-tune, LP-FT**
# ([Kumar et al., 2022](https://arxiv.org/abs/2202.10054)). First fit the head on frozen features, then
# let θ move from there. In that paper the gain shows above all on photos *unlike* the training photos,
# which is where features that were not distorted are needed. The probe costs little:
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
# Which is best? Test accuracy in this repository's runs, 100 photos a class at 64 pixels, mean and 95 %
# interval of five seeds ("all" moves all layers from a random head; bit by bit was not measured):

# %%
print(f"{'':<14}{'drawn insects':>15}{'real photos':>15}")
for method in ("linear probe", "last block", "all", "LP-FT"):
    print(f"{method:<14}", end="")
    for name in ("methods_insects", "methods_photos"):
        rows = [r for r in results.load(name)["summary"] if r["method"] == method]
        (row,) = [r for r in rows if (r["classes"], r["pixels"], r["per_class"]) == (2, 64, 100)]
        print(f"{100 * row['mean']:>9.1f} ± {100 * row['interval95']:.1f}", end="")
    print()

# %% [markdown]
# The pre-training saw photos. On drawings, which are unlike them, moving θ pays; on real photos of ants
# and bees it gains about one photo of 153 at the most. And LP-FT is not shown to be better than "all" in
# either column: that it bends less is nothing that this test asks for. So try the list from top to bottom,
# and judge on *your* validation split.
#
# ### ✏️ Your turn · Exercise 8.1: which run is which?
#
# Four runs of four steps, all with AdamW: everything at **one rate**; everything with
# **`layer_decay=0.3`**; a stage for **`layer4` and head**; a stage for the **head**, in which somebody
# called `model.train()` where it should have been `ft.train_mode(model)`. What moved, weights and
# BatchNorm's statistics?

# %%
# alt: Panels A and B: bars of how far weights and statistics moved in each group from stem to layer4.
reports = check.mystery_runs(images[:16], targets[:16])
ft.plot_movement({letter: reports[letter] for letter in "AB"})

# %%
# alt: Panels C and D: bars of how far weights and statistics moved in each group from stem to layer4.
ft.plot_movement({letter: reports[letter] for letter in "CD"})

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
# check.match_runs.hint()       # remove the first "#" for a hint; run it again for a second one
# check.match_runs.solution()   # ... and for a worked answer

# %% [markdown]
# ## All of it, for real
#
# Gradual unfreezing on augmented photos. `ft.finetune` makes a new optimizer and a new schedule for each
# stage, and keeps the weights that were best in validation.

# %%
stages = [
    ft.Stage("head", epochs=2, lr=1e-2),
    ft.Stage("layer4", epochs=2, lr=1e-3, head_lr=3e-3),
    ft.Stage("all", epochs=3, lr=5e-4, head_lr=1e-3, layer_decay=0.5),
]
tuned = new_model(fitted=False)
history = ft.finetune(tuned, data, stages, batch_size=16, progress=False)

# %%
# alt: Loss and accuracy over seven epochs in three stages, for training and validation, and the
#   learning rates.
history.plot()

# %% tags=["nbval-ignore-output"]
after = ft.evaluate(tuned, data.val)
print(f"{len(history.stages)} stages, {len(history.epochs)} epochs", end=": ")
print(f"validation accuracy {after['accuracy']:.3f}; the head alone had {before['accuracy']:.3f}")
assert after["accuracy"] > 0.8

# %% [markdown]
# Forty validation photos are few: one photo is 0.025. From how many photos on fine-tuning beats the head
# alone is a question for many seeds, and lesson 10's.
#
# ## What it forgets
#
# The network was told to tell ants from bees. Nobody told it to keep anything else. From the fitted head,
# train everything for two epochs, and ask the old head again:


# %%
def fine_tuned(stage, **options):
    """From the fitted head, two epochs of a stage; the options are those of `train`."""
    model = copy.deepcopy(probe)
    optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
    scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=8)
    return train(model, optimizer, 16, scheduler, **options)


changed = fine_tuned(ft.Stage("all", epochs=2, lr=3e-4))

drifted = copy.deepcopy(pretrained)  # no optimizer, no gradient: only forward passes in train mode
ft.train_mode(drifted)
with torch.no_grad():
    for _ in range(16):
        drifted(images[torch.randperm(len(images))[:16]])
groups_moved = sum(distance > 0 for distance in moved(drifted).values())

# %% tags=["nbval-ignore-output"]
print(f"all layers, two epochs:                    {kept(changed):.2f} of the old answers kept")
print(f"16 forward passes, {groups_moved} groups of weights moved: {kept(drifted):.2f}")
assert kept(changed) < 0.7 and kept(drifted) < 0.8 and groups_moved == 0

# %% [markdown]
# The first line is **catastrophic forgetting**. It matters if you want the old classes, too, if you will
# fine-tune the same network again for something else, or if your users' photos differ from your training
# photos.
#
# The second line is a surprise: not one weight moved. BatchNorm's statistics alone, now those of ants
# and bees on their ground, cost a good part of the old answers. (For the *new* task they are right to
# move: that is what the photos look like now.)
#
# ### Treatments
#
# - **A lower rate**, or **fewer layers**: less moves.
# - **Keep the statistics**: BatchNorm in eval mode throughout.
# - **A spring to the old weights.** Ordinary weight decay is a spring that pulls each weight towards
#   zero. Hang it up at the pre-trained weights instead, and θ is pulled back to where it came from
#   (*L2-SP*, [Li et al., 2018](https://arxiv.org/abs/1802.01483)). In code it is one more term of the
#   loss:

# %%
origin = {name: p.detach() for name, p in pretrained.named_parameters() if name[:3] != "fc."}


def l2_sp(model):
    """The squared distance of θ from the pre-trained weights."""
    named = [(name, p) for name, p in model.named_parameters() if name in origin]
    return sum((p - origin[name]).square().sum() for name, p in named)


full_rate = ft.Stage("all", epochs=2, lr=3e-4)
held = {
    "without": fine_tuned(full_rate, statistics_move=False),
    "with L2-SP": fine_tuned(full_rate, statistics_move=False, penalty=l2_sp),
}
distance = {name: moved(model)["layer4"] for name, model in held.items()}

# %% tags=["nbval-ignore-output"]
for name, value in distance.items():
    print(f"layer4 moved, {name:<11} {value:.4f}")
assert distance["with L2-SP"] < 0.5 * distance["without"]

# %% [markdown]
# All treatments, each from a fitted head and for 16 steps, over the five draws:

# %%
# alt: A row of five dots for each treatment, the share of old answers kept: about half for all layers
#   and for a tenth of the rate, nearly all for a tenth of the rate with the statistics kept.
ft.plot_dots(
    column("treatments", "kept"),
    percent=True,
    xlabel="old answers kept",
    title="What keeps the old answers",
)

# %%
print(f"{'':<26}{'old answers kept':>17}{'accuracy on 200 other insects':>31}")
old, new = column("treatments", "kept"), column("treatments", "accuracy")
for name in old:
    print(
        f"{name:<26}{statistics.mean(old[name]):>17.2f}{statistics.mean(new[name]):>31.3f}", end=""
    )
    print(f"  (from {min(new[name]):.3f} to {max(new[name]):.3f})")

# %% [markdown]
# A lower rate alone keeps little, as long as the statistics move; the statistics alone keep little at a full
# rate; together they keep nine tenths. And keeping cost nothing here: of the rows that move all layers the
# one that keeps most is also the best on insects. (In 16 steps none is better than the head alone. That takes
# more steps, and the right photos: see the table above.) **How much is forgotten is in your hands.**
#
# ### Afterwards: mix old and new
#
# The last treatment needs no training. Take the weights before and after fine-tuning, and go a part of
# the way in a straight line: 0 is the old network, 1 the new one
# ([WiSE-FT, Wortsman et al., 2022](https://arxiv.org/abs/2109.01903)). With the share α:
#
# $$\theta_\alpha = (1 - \alpha)\,\theta_{\text{before}} + \alpha\,\theta_{\text{after}}$$
#
# That a mixture works at all is not obvious: of two networks that were trained apart it usually does
# not ([Frankle et al., 2020](https://arxiv.org/abs/1912.05671)).
#
# ### ✏️ Your turn · Exercise 8.2: on the line between two networks
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
on_insects, on_photos = [], []
mixture = copy.deepcopy(probe)
for share in shares:
    mixture.load_state_dict(interpolate(probe.state_dict(), changed.state_dict(), share))
    on_insects.append(ft.evaluate(mixture, data.val)["accuracy"])
    on_photos.append(kept(mixture))
assert on_photos[0] == 1.0 and on_photos[2] > on_photos[-1] and on_insects[2] > 0.7

# %%
# alt: Two curves over the share of the new weights from 0 to 1: validation accuracy on insects stays
#   high, old answers kept fall from 1.
ft.plot_lines(
    {
        "insects: validation accuracy": (shares, on_insects),
        "old answers kept": (shares, on_photos),
    },
    percent="y",
    xlabel="share of the new weights",
    title="From the old network to the new one",
)

# %% [markdown]
# Over the five draws, with 200 other insects:

# %%
old, new = column("line", "kept"), column("line", "accuracy")
print(f"{'share of the new weights':<26}{'old answers kept':>17}{'accuracy':>10}")
for share in old:
    print(f"{share:<26}{statistics.mean(old[share]):>17.2f}{statistics.mean(new[share]):>10.3f}")
better = sum(a > b for a, b in zip(new["0.4"], new["1.0"], strict=True))
print(f"share 0.4 is more accurate than 1.0 in {better} of {len(new['1.0'])} draws")

# %% [markdown]
# One run of fine-tuning, and you choose the place on the line afterwards, on the validation split.
#
# ### ✏️ Your turn · Exercise 8.3: choose the stages
#
# Four situations and four plans; one plan may fit several, another none. Choose for each the **cheapest**
# plan that is likely to be as good as any, and write down your reason in a sentence before you run the
# check.
#
# - **old and new**: an app names the 200 old classes with the old head. It shall also tell ants
#   from bees, with a second head on the same body, and the old answers must not change at all.
# - **birds**: 100 photos a class of birds in gardens, much like the photos of the pre-training.
# - **drawings**: 100 drawings a class, unlike the photos of the pre-training.
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
answer = {"old and new": None, "birds": None, "drawings": None, "X-rays": None}  # a letter for each

# %% tags=["solution"]
answer = {"old and new": "a", "birds": "a", "drawings": "b", "X-rays": "c"}

# %%
answer = check.choose_stages(answer)
# check.choose_stages.hint()

# %% [markdown]
# ## ✏️ Your turn · Exercise 8.4: change the plan until it keeps the old and learns the new
#
# All layers, one epoch, from the fitted head. With these settings the run loses many old answers, and is
# worse on the validation photos than the head alone was (loss above):

# %% tags=["exercise"]
plan = {
    "lr": 3e-4,
    "head_lr": 3e-4,
    "layer_decay": 1.0,
    "statistics move": True,  # or False: BatchNorm in eval mode
    "share": 1.0,  # of the new weights, as in exercise 8.2
}

# %% tags=["solution"]
plan = {"lr": 1e-3, "head_lr": 1e-3, "layer_decay": 0.2, "statistics move": False, "share": 1.0}

# %% [markdown]
# Change them until **at least 0.85 of the old answers are kept and the validation loss is below 0.26**.
# The check trains, and tells how far you got. There are many ways.

# %%
plan = check.old_and_new(plan)
# check.old_and_new.hint()

# %% tags=["nbval-ignore-output"]
found = check.old_and_new_after(plan)
print(f"validation loss {found['loss']:.3f}, the head alone had {before['loss']:.3f}")
print(f"old answers kept: {found['kept']:.2f}")
assert found["kept"] > 0.8 and found["loss"] < before["loss"]

# %% [markdown]
# ## Now with ImageNet weights
#
# LP-FT with torchvision's ImageNet weights at 128 pixels. It downloads 45 MB and takes some minutes
# on a CPU, so it runs only with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.replace_head(ft.load_backbone("resnet18", weights="DEFAULT"), 2)
    full = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
    lp_ft = [
        ft.Stage("head", epochs=3, lr=1e-2),
        ft.Stage("all", epochs=5, lr=3e-4, head_lr=1e-3, layer_decay=0.7),
    ]
    print(ft.finetune(large, full, lp_ft))
    print(ft.freeze_report(large))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You fit the head first, and let θ move from there.
# - You write stages for one block, for all of it and for gradual unfreezing.
# - You read from a freeze report what a run has moved.
# - You measure what a network forgets, and choose between old and new.

# %%
print(progress.summary("08"))

# %% [markdown]
# ## Common questions
#
# **How many epochs for each stage?** The head until its validation accuracy stands still, which costs
# little. Then as many as you can afford, with the best weights kept.
#
# **BatchNorm: train it or not?** With batches of 16 and more of the new photos, its statistics may
# follow for the new task. With tiny batches, or if old answers count, keep it in eval mode.
#
# **Is forgetting always bad?** Not if nobody asks the old questions. But it shows how far you went.
#
# ## One step further
#
# - Give the random head zero weights (`nn.init.zeros_`), and repeat the first 12 steps with SGD.
#   How far does θ move, and why so little in the first step?
# - Mix two networks fine-tuned with different seeds half and half. Then two trained from random
#   weights. Which mixture still works?
# - Make `l2_sp` ten times and a hundred times as strong. How far does layer4 move then?
#
# **Next:** [9. Overfitting](09_overfitting.ipynb), where the training accuracy is perfect, and
# that is the problem.
