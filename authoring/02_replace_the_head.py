# %% [markdown]
# # 2. Replace the head
#
# A pre-trained network answers a question that nobody asked you: which of *its* classes is this?
# One layer makes it answer yours. In this lesson you take off the old head, put on a new one, and
# work out by hand what training will do with it.
#
# **What you will be able to do**
#
# - replace the head of any torchvision network, and know why `in_features` is the number to ask
#   for;
# - count θ and φ;
# - say what the loss must be before the first step, and use that as a test;
# - compute the gradient for φ by hand, and the message that θ gets;
# - avoid the two mistakes that leave a new head untrained.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import lesson02 as check
from ftcourse.exercises import opening, progress

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"
_ = torch.manual_seed(0)

opening.show(lesson="02", seconds=20, minutes=30)

# %% [markdown]
# ## The old head answers the wrong question
#
# Suppose you want to tell ants from bees. The network has 200 scores. There is a bee among them, and
# no ant: whatever ants look like to it, it must call them something else.

# %%
model = ft.load_backbone("resnet18")
print(model.fc)
categories = ft.weights_of(model).meta["categories"]
print([name for name in categories if name in ("ant", "bee")])

# %% [markdown]
# The head is the last layer, a matrix of 200 rows and 512 columns and a bias for each row. The 512
# columns belong to the features that the backbone delivers: they stay. The 200 rows belong to the
# old classes: they go.
#
# | | old | new |
# | --- | --- | --- |
# | inputs (`in_features`) | 512, given by the backbone | 512, **the same** |
# | outputs (`out_features`) | 200, the old classes | **yours** |
# | weights φ | trained | **random, to be trained** |
#
# ### ✏️ Your turn · Exercise 2.1: a new head
#
# Fill in `new_head`: give the model a new head for `num_classes` classes, and return the model. It
# should work for any ResNet, also for one with 2,048 features.


# %% tags=["exercise"]
def new_head(model, num_classes):
    """Put a new nn.Linear in the place of model.fc; return the model."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def new_head(model, num_classes):
    """Put a new nn.Linear in the place of model.fc; return the model."""
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model


# %%
new_head = check.new_head(new_head)
# check.new_head.hint()       # remove the first "#" for a hint; run it again for a second one
# check.new_head.solution()   # ... and for a worked answer

# %% [markdown]
# That is the plain PyTorch way. The package has the same in `ft.replace_head`, which also finds
# the head in networks that call it something else, and puts the new one on the same device as the
# old one.

# %%
by_hand = new_head(ft.load_backbone("resnet18"), 2)
model = ft.replace_head(ft.load_backbone("resnet18"), 2)
print(by_hand.fc)
print(model.fc)

# %% [markdown]
# ### A trap: the attribute that changes nothing
#
# `out_features` looks like a switch. It is a label.

# %%
trapped = ft.load_backbone("resnet18")
trapped.fc.out_features = 2
print(trapped.fc)
with torch.inference_mode():
    print("scores that come out:", trapped(torch.zeros(1, 3, 64, 64)).shape[1])

# %% [markdown]
# The layer *says* two and *computes* 200. The weights are what counts; lesson 03 has a sister of
# this trap that is far more expensive.
#
# ### ✏️ Your turn · Exercise 2.2: count φ
#
# Before you run anything: how many numbers does the new head for **two** classes hold?

# %% tags=["exercise"]
guess = None  # a whole number

# %% tags=["solution"]
guess = 2 * 512 + 2

# %%
count = check.count_of_phi(guess)
# check.count_of_phi.hint()

# %% [markdown]
# Now compare with θ. Freezing θ, which comes in lesson 03, means to train this thin orange slice
# only.

# %%
phi = sum(p.numel() for p in model.fc.parameters())
theta = sum(p.numel() for p in model.parameters()) - phi
print(f"θ {theta:>12,}")
print(f"φ {phi:>12,}   one number in {(theta + phi) // phi:,}")

# %% [markdown]
# ## Before the first step: a loss you can predict
#
# A new head knows nothing. With $C$ classes it should give each about the probability $1/C$, and
# cross-entropy is minus the logarithm of the right class's probability:
#
# $$L_0 \approx -\log\frac{1}{C} = \log C$$
#
# ### ✏️ Your turn · Exercise 2.3: the loss at step zero
#
# The Oxford-IIIT Pet set has 37 breeds. You put a new head on, and evaluate before any training.
# What loss do you expect? Two digits are enough.

# %% tags=["exercise"]
guess = None  # a number

# %% tags=["solution"]
guess = math.log(37)

# %%
expected = check.chance_loss(guess)
# check.chance_loss.hint()

# %% [markdown]
# Let us see whether it is so. We need photos with labels: ants and bees from **Pocket Insects**, the
# set that is drawn by code in this package. They share grounds, colours and poses, on purpose; what
# tells them apart is the animal. 48 to train on, and 60 others to test on.

# %%
data = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
preprocess = ft.weights_of(model).transforms()
train = data.train.with_transform(preprocess).subset(range(48))
test = data.test.with_transform(preprocess).subset(range(60))

train_images, train_targets = torch.stack([x for x, _ in train]), torch.tensor(train.targets)
test_images, test_targets = torch.stack([x for x, _ in test]), torch.tensor(test.targets)
print("train", tuple(train_images.shape), train.counts())
print("test ", tuple(test_images.shape), test.counts())

# %%
# alt: Six drawn photos of ants above six of bees, on leaves, petals, bark and soil.
fig, axes = plt.subplots(2, 6, figsize=(9, 3.4))
for label, row in enumerate(axes):
    some = [i for i, t in enumerate(train.targets) if t == label]
    for ax, i in zip(row, some, strict=False):
        ax.imshow(train.load(i))
        ax.axis("off")
    row[0].set_title(data.classes[label], loc="left")
fig.tight_layout()
plt.show()

# %% [markdown]
# Now new heads for 2, 5, 10, 37 and 200 classes, ten of each with other random numbers, on the
# same photos:

# %%
backbone = nn.Sequential(*list(model.children())[:-1], nn.Flatten())
with torch.inference_mode():
    train_features, test_features = backbone(train_images), backbone(test_images)

sizes, losses = [2, 5, 10, 37, 200], {}
for classes in sizes:
    heads = [nn.Linear(train_features.shape[1], classes) for _ in range(10)]
    targets = torch.arange(len(train_features)) % classes
    with torch.inference_mode():
        losses[classes] = [F.cross_entropy(head(train_features), targets).item() for head in heads]

# %%
# alt: Loss of ten untrained heads for each number of classes from 2 to 200; all points lie near
#   the curve log C.
fig, ax = plt.subplots(figsize=(8, 4))
ax.plot(sizes, [math.log(c) for c in sizes], color=GREY, label="log C")
for classes in sizes:
    label = "a new head" if classes == 2 else None
    ax.plot([classes] * 10, losses[classes], "o", color=ORANGE, alpha=0.5, label=label)
ax.set(xscale="log", xlabel="classes C", ylabel="loss before training", ylim=(0, None))
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.legend(frameon=False)
plt.show()

# %%
for classes in sizes:
    mean = sum(losses[classes]) / 10
    near = abs(mean - math.log(classes)) < 0.5
    print(f"{classes:>3} classes: log C = {math.log(classes):.2f}, mean within 0.5: {near}")

# %% [markdown]
# Use it as a test, each time. **A loss far above log C before the first step means that something
# is wrong**: labels that do not fit the head, inputs that were not normalised, a head that is not
# new. `ft.preflight` makes this very test for you.

# %% [markdown]
# ## Two gradients
#
# Training is gradient descent on $L(\theta, \varphi)$: both kinds of weights go a small step
# downhill.
#
# $$\varphi \leftarrow \varphi - \eta\,\frac{\partial L}{\partial \varphi} \qquad\qquad
# \theta \leftarrow \theta - \eta\,\frac{\partial L}{\partial \theta}$$
#
# The gradient for φ is short enough for pen and paper. Call the features of photo $i$ $f_i$, the
# probabilities that come out $p_i$ and the right answer $y_i$ (a one at the right class, zeros
# elsewhere). Then
#
# $$\frac{\partial L}{\partial W} = \frac{1}{n}\sum_i (p_i - y_i)\, f_i^\top \qquad\qquad
# \frac{\partial L}{\partial b} = \frac{1}{n}\sum_i (p_i - y_i)$$
#
# In words: **error times input, averaged over the photos.**
#
# ### ✏️ Your turn · Exercise 2.4: the gradient for φ by hand
#
# Fill in `phi_gradient`. `features` has shape (photos, features), `logits` (photos, classes),
# `targets` (photos,). Return the gradient for the weight, (classes, features), and for the bias,
# (classes,). No autograd, three or four lines.


# %% tags=["exercise"]
def phi_gradient(features, logits, targets):
    """The gradients of the mean cross-entropy for the head's weight and bias."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def phi_gradient(features, logits, targets):
    """The gradients of the mean cross-entropy for the head's weight and bias."""
    error = logits.softmax(1) - F.one_hot(targets, logits.shape[1])
    return error.T @ features / len(targets), error.mean(0)


# %%
phi_gradient = check.phi_gradient(phi_gradient)
# check.phi_gradient.hint()

# %% [markdown]
# ### And θ?
#
# θ sits behind the features, so the chain rule needs one more link: how should each *feature* have
# been, for the loss to be smaller?
#
# $$\frac{\partial L}{\partial f_i} = \frac{1}{n}\, W^\top (p_i - y_i)
# \qquad\qquad
# \frac{\partial L}{\partial \theta} = \sum_i
# \Big(\frac{\partial f_i}{\partial \theta}\Big)^{\!\top} \frac{\partial L}{\partial f_i}$$
#
# The left one is all that θ ever hears of your task: **the error, sent back through the head's
# weights**.
#
# ### ✏️ Your turn · Exercise 2.5: the message to θ
#
# Fill in `feature_gradient`. `weight` is the head's, (classes, features); `logits` and `targets` are
# as before. Return the gradient for the features, shape (photos, features). Two lines.


# %% tags=["exercise"]
def feature_gradient(weight, logits, targets):
    """The gradient of the mean cross-entropy for the features, (photos, features)."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def feature_gradient(weight, logits, targets):
    """The gradient of the mean cross-entropy for the features, (photos, features)."""
    error = logits.softmax(1) - F.one_hot(targets, logits.shape[1])
    return error @ weight / len(targets)


# %%
feature_gradient = check.feature_gradient(feature_gradient)
# check.feature_gradient.hint()

# %% [markdown]
# PyTorch computes the same three numbers for you. Then it goes on, backwards through the network,
# with the long link ∂f/∂θ, for which nobody wants to use a pen:

# %%
features = backbone(train_images)  # in eval mode; no inference_mode this time
features.retain_grad()
logits = model.fc(features)
loss = F.cross_entropy(logits, train_targets)
loss.backward()

weight_gradient, bias_gradient = phi_gradient(train_features, logits.detach(), train_targets)
message = feature_gradient(model.fc.weight.detach(), logits.detach(), train_targets)
print("φ, weight:   ", torch.allclose(weight_gradient, model.fc.weight.grad, atol=1e-4))
print("φ, bias:     ", torch.allclose(bias_gradient, model.fc.bias.grad, atol=1e-4))
print("message to θ:", torch.allclose(message, features.grad, atol=1e-5))
theta_tensors = [p for name, p in model.named_parameters() if not name.startswith("fc.")]
print(
    "tensors of θ with a gradient:",
    sum(p.grad is not None for p in theta_tensors),
    "of",
    len(theta_tensors),
)

# %%
# alt: Bars of the gradient's size relative to the weights, for stem, layer1 to layer4 in blue
#   and the head in orange, on a logarithmic axis.
groups = ft.layer_groups(model)
relative = {}
for name, modules in groups.items():
    parameters = [p for module in modules for p in module.parameters()]
    gradient = torch.cat([p.grad.flatten() for p in parameters]).norm()
    relative[name] = (
        gradient / torch.cat([p.detach().flatten() for p in parameters]).norm()
    ).item()
fig, ax = plt.subplots(figsize=(8, 3.4))
ax.bar(list(relative), list(relative.values()), color=[BLUE] * 5 + [ORANGE])
ax.set(yscale="log", ylabel="gradient / weights (norms)")
plt.show()

# %%
print("the largest, for its size:", max(relative, key=relative.get))

# %% [markdown]
# Every part of the network is asked to move. The new head is wrong in a large way and pulls
# hardest for its size. And look once more at the message: it goes through $W$, and $W$ is random.
# **In the first steps θ is told nonsense.** That is the reason to hold it still at first, and the
# subject of lesson 03.
#
# ## What a head alone can do
#
# If θ stays where it is, the features never change: computed once, they serve for the whole
# training. What is left is a tiny problem, and your own gradient solves it, with plain gradient
# descent.

# %%
W, b = torch.zeros(2, train_features.shape[1]), torch.zeros(2)
curve = []
for _ in range(200):
    logits = train_features @ W.T + b
    curve.append(F.cross_entropy(logits, train_targets).item())
    weight_gradient, bias_gradient = phi_gradient(train_features, logits, train_targets)
    W, b = W - 0.02 * weight_gradient, b - 0.02 * bias_gradient

accuracy = ((test_features @ W.T + b).argmax(1) == test_targets).float().mean().item()
print(f"loss at step 0 is log 2 = {math.log(2):.3f}:", abs(curve[0] - math.log(2)) < 1e-4)
print("loss after 200 steps is below 0.5:", curve[-1] < 0.5)
print("accuracy on the 60 other photos is above 0.65:", accuracy > 0.65)

# %%
# alt: The training loss falls from log 2 towards zero over 200 steps.
fig, ax = plt.subplots(figsize=(8, 3.2))
ax.plot(curve, color=ORANGE, lw=2.5)
ax.axhline(math.log(2), color=GREY, ls="--")
ax.text(200, math.log(2) - 0.02, "log 2", ha="right", va="top", color=GREY)
ax.set(xlabel="step", ylabel="training loss", ylim=(0, None))
plt.show()

# %% [markdown]
# Note what happened: 48 photos, a second of computing, and a network that was never told what an
# ant is. It is right far more often than guessing, and with more photos and some freedom for θ it
# gets better: lessons 08 and 10 measure by how much.
#
# ### ✏️ Your turn · Exercise 2.6: which program trains the new head?
#
# Both run without an error.
#
# ```python
# # A                                                  # B
# model = ft.load_backbone("resnet18")                 model = ft.load_backbone("resnet18")
# optimizer = torch.optim.SGD(                         model.fc = nn.Linear(512, 2)
#     model.parameters(), lr=0.1)                      optimizer = torch.optim.SGD(
# model.fc = nn.Linear(512, 2)                             model.parameters(), lr=0.1)
# train(model, optimizer)                              train(model, optimizer)
# ```
#
# - **a** Only A.
# - **b** Only B.
# - **c** Both.
# - **d** Neither.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "b"

# %%
answer = check.the_order(answer)
# check.the_order.hint()

# %% [markdown]
# Evidence beats memory. Compare the head before and after one step, for each order:


# %%
def head_moves(optimizer_first):
    net = ft.load_backbone("resnet18")
    if optimizer_first:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.fc = nn.Linear(512, 2)
    if not optimizer_first:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = net.fc.weight.detach().clone()
    F.cross_entropy(net(train_images[::6]), train_targets[::6]).backward()
    optimizer.step()
    return not torch.equal(before, net.fc.weight)


print("A, optimizer first: the head moves:", head_moves(optimizer_first=True))
print("B, head first:      the head moves:", head_moves(optimizer_first=False))

# %% [markdown]
# ## More than one layer, and other networks
#
# A head may have more layers. A hidden layer can pay with much data; with little data it mostly
# finds new ways to learn the training photos by heart. Dropout before the last layer is the usual
# modest addition:
#
# ```python
# model.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(model.fc.in_features, num_classes))
# ```
#
# Other networks call their head something else. `ft.replace_head` takes the last linear layer,
# wherever it is:

# %%
from torchvision import models

from ftcourse.models.backbones import head_of

for name in ("resnet18", "resnet50", "mobilenet_v3_small", "efficientnet_b0", "vit_b_32"):
    with torch.device("meta"):  # the structure alone, without memory for the weights
        net = models.get_model(name, weights=None)
    where, old = head_of(net)
    ft.replace_head(net, 2)
    print(
        f"{name:<19} model.{where:<14} {old.in_features:>5} features -> {head_of(net)[1].out_features}"
    )

# %% [markdown]
# And here is the whole path to a two-class ResNet-50, in torchvision's own words and without this
# package. (`resnet50(weights=weights)` would download 98 MB; the structure alone shows as much.)

# %%
from torchvision.models import ResNet50_Weights, resnet50

weights = ResNet50_Weights.IMAGENET1K_V2  # pretrained=True, in old tutorials, was IMAGENET1K_V1
preprocess_50 = weights.transforms()  # the transforms that belong to these weights
with torch.device("meta"):
    large = resnet50(weights=None)  # weights=weights, when you mean it
    for p in large.parameters():  # θ stays as it is: lesson 03
        p.requires_grad = False
    large.fc = nn.Linear(large.fc.in_features, 2)  # φ: new, and yours

trains = sum(p.numel() for p in large.parameters() if p.requires_grad)
print(large.fc)
print(f"of {sum(p.numel() for p in large.parameters()):,} numbers {trains:,} train")

# %% [markdown]
# ## Now with ImageNet weights
#
# The same with a ResNet-50 that has seen 1.28 million photos. It downloads 98 MB, so it runs only
# with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large = ft.load_backbone("resnet50", weights="DEFAULT")
    large_preprocess = ft.weights_of(large).transforms()
    ft.replace_head(large, 2)
    with torch.inference_mode():
        x = torch.stack([large_preprocess(train.load(i)) for i in range(6)])
        print("loss before training:", F.cross_entropy(large(x), train_targets[:6]).item())
    print("φ:", sum(p.numel() for p in large.fc.parameters()))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You can replace the head of a network: `in_features` stays, `out_features` is yours.
# - You can count θ and φ, and you know that φ is small.
# - You expect a loss of log C before the first step, and look for the mistake if it is not there.
# - You can write down the gradient for φ, error times input, and the message that θ gets.
# - You make the optimizer *after* the new head.

# %%
print(progress.summary("02"))

# %% [markdown]
# ## Common questions
#
# **My classes are among the old ones. Do I need a new head?** If you want exactly these, you can
# keep the old rows for them. A new head is simpler, and learns what *your* photos look like.
#
# **Two classes: one score or two?** Both work. Two scores with cross-entropy need no special case;
# one score with `BCEWithLogitsLoss` is the same model with half of φ.
#
# **Should I initialise the head with zeros?** Then the loss starts at exactly log C. It works for
# a single layer, and gives θ no gradient in the very first step: try it below.
#
# **The loss starts at 40. What now?** Print the range of the inputs (lesson 01), the smallest and
# largest label, and `model.fc`.
#
# ## One step further
#
# - Set the new head's weights to zero and run `loss.backward()`. Which gradients are zero, and
#   why?
# - Train `W, b` on 4 photos in place of 48. How far does the accuracy fall?
# - Find the head of a network in `torchvision.models.list_models()` that you have never heard of.
#
# **Next:** [3. Freeze](03_freeze.ipynb), where θ is held still, and where it moves although you
# said no.
