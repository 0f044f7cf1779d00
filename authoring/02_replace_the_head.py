# %% [markdown]
# # 2. Replace the head
#
# A pre-trained network answers a question that nobody asked you: which of *its* classes is this?
# One layer makes it answer yours. You take off the old head, put on a new one, and work out by hand
# what training will do with it.
#
# **What you will be able to do**
#
# - replace the head of any torchvision network, and count θ and φ;
# - say what the loss must be before the first step, and use that as a test;
# - compute the gradient for φ by hand, train a head with it, and say which message θ gets;
# - avoid two mistakes: a head that is new in name only, and one that the optimizer does not hold.

# %%
import math

import torch
from torch import nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import lesson02 as check
from ftcourse.exercises import opening, progress

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
# The layer *says* two and *computes* 200: what counts are the weights. Lesson 03 has a more expensive
# sister of this trap.
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
# And θ, all the rest?

# %%
phi = sum(p.numel() for p in model.fc.parameters())
theta = sum(p.numel() for p in model.parameters()) - phi
print(f"θ {theta:>12,}")
print(f"φ {phi:>12,}   one number in {(theta + phi) // phi:,}")

# %% [markdown]
# ## Before the first step: a loss you can predict
#
# A new head knows nothing. With $C$ classes it should give each about the probability $1/C$.
# Cross-entropy is minus the logarithm of the probability that the right class gets.
#
# ### ✏️ Your turn · Exercise 2.3: the loss at step zero
#
# Fill in `chance_loss`: the loss to expect from a head that knows nothing. Guess first what comes out
# for the 37 breeds of the Oxford-IIIT Pet set.


# %% tags=["exercise"]
def chance_loss(num_classes):
    """The cross-entropy of a head that gives each class the same probability; one number."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def chance_loss(num_classes):
    """The cross-entropy of a head that gives each class the same probability; one number."""
    return math.log(num_classes)


# %%
chance_loss = check.chance_loss(chance_loss)
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
some = [i for label in (0, 1) for i in range(48) if train.targets[i] == label]
first_six = [*some[:6], *some[train.targets.count(0) :][:6]]
ft.show_images(
    [train.load(i) for i in first_six], [data.classes[train.targets[i]] for i in first_six]
)

# %% [markdown]
# Now new heads for 2, 5, 10, 37 and 200 classes, ten of each with other random numbers, on the same photos. The
# labels are made up here, 0, 1, 2, ... in turn: a head that knows nothing does not care.

# %%
backbone = nn.Sequential(*list(model.children())[:-1], nn.Flatten())
with torch.no_grad():
    train_features, test_features = backbone(train_images), backbone(test_images)

losses = {}
for classes in (2, 5, 10, 37, 200):
    heads = [nn.Linear(train_features.shape[1], classes) for _ in range(10)]
    targets = torch.arange(len(train_features)) % classes
    with torch.no_grad():
        losses[classes] = [F.cross_entropy(head(train_features), targets).item() for head in heads]

# %% tags=["nbval-ignore-output"]
print("classes   you say   ten new heads: mean (lowest to highest)")
for classes, row in losses.items():
    mean = sum(row) / len(row)
    print(
        f"{classes:>7}{float(chance_loss(classes)):>10.2f}{mean:>17.2f} ({min(row):.2f} to {max(row):.2f})"
    )
    assert abs(mean - math.log(classes)) < 0.5, "a new head's loss should be near log C"

# %%
# alt: Loss of new heads against the predicted loss, ten points for each of five numbers of classes; all
#   points lie on the diagonal or just above it.
ft.plot_points(
    {f"{c} classes": ([float(chance_loss(c))] * 10, row) for c, row in losses.items()},
    diagonal=True,
    xlabel="predicted: log C",
    ylabel="loss of a new head",
)

# %% [markdown]
# Use it as a test, each time. **A loss far above log C before the first step means that something
# is wrong**: labels that do not fit the head, inputs that were not normalised, a head that is not
# new. `ft.preflight` makes this very test for you.
#
# ## The gradient for φ
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
# PyTorch computes the same numbers:

# %% tags=["nbval-ignore-output"]
logits = model.fc(train_features)
F.cross_entropy(logits, train_targets).backward()
by_hand = phi_gradient(train_features, logits.detach(), train_targets)
for name, p, mine in zip(("W", "b"), model.fc.parameters(), by_hand, strict=True):
    apart = (p.grad - torch.as_tensor(mine)).abs().max().item()
    print(
        f"{name}: largest entry {p.grad.abs().max():.3f}, largest difference to yours {apart:.0e}"
    )
    assert apart < 1e-4, f"your gradient for {name} is not PyTorch's"

# %% [markdown]
# ### What a head alone can do
#
# If θ stays where it is, the features never change: computed once, they serve for the whole
# training. What is left is a tiny problem, and your own gradient solves it.

# %%
W, b = torch.zeros(2, train_features.shape[1]), torch.zeros(2)
curve = []
for _ in range(200):
    logits = train_features @ W.T + b
    curve.append(F.cross_entropy(logits, train_targets).item())
    weight_gradient, bias_gradient = phi_gradient(train_features, logits, train_targets)
    W, b = W - 0.02 * weight_gradient, b - 0.02 * bias_gradient

# %% tags=["nbval-ignore-output"]
accuracy = ((test_features @ W.T + b).argmax(1) == test_targets).float().mean().item()
print(
    f"training loss at step 0: {curve[0]:.3f} (log 2 = {math.log(2):.3f}), at the end {curve[-1]:.3f}"
)
print(f"accuracy on the 60 other photos: {accuracy:.2f} (guessing: 0.50)")
assert curve[-1] < 0.5 and accuracy > 0.65, "have you changed the photos, or the step size?"

# %%
# alt: The training loss falls from log 2 towards zero over 200 steps.
ft.plot_lines(
    {"training": curve}, levels={"log 2": math.log(2)}, xlabel="step", ylabel="training loss"
)

# %% [markdown]
# 48 photos, a second of computing, and a network that was never told what an ant is. With more photos
# and some freedom for θ it gets better: lessons 08 and 10 measure by how much.
#
# ## The message to θ
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
# PyTorch computes the same, and goes on backwards through the network, with the long link ∂f/∂θ, for
# which nobody wants to use a pen. Twice: under a new, random head, and under the one that you have just
# trained.


# %%
def backwards(head, photos=slice(0, 24)):
    """∂L/∂f, the logits, and for each weight tensor the size of its gradient relative to its own."""
    model.fc = head
    model.zero_grad()
    features = backbone(train_images[photos])  # in eval mode
    features.retain_grad()
    logits = head(features)
    F.cross_entropy(logits, train_targets[photos]).backward()
    sizes = {
        name: (p.grad.norm() / p.detach().norm()).item()
        for name, p in model.named_parameters()
        if p.ndim > 1
    }
    return features.grad, logits.detach(), sizes


random_head, trained_head = nn.Linear(512, 2), nn.Linear(512, 2)
with torch.no_grad():
    trained_head.weight.copy_(W)
    trained_head.bias.copy_(b)

message, logits, under_random = backwards(random_head)
mine = torch.as_tensor(feature_gradient(random_head.weight.detach(), logits, train_targets[:24]))
theta_tensors = [p for name, p in model.named_parameters() if not name.startswith("fc.")]
told = sum(p.grad is not None and bool(p.grad.any()) for p in theta_tensors)
_, _, under_trained = backwards(trained_head)
apart = (message - mine).abs().max().item()
assert apart < 1e-5, "your message to θ is not PyTorch's"
print(f"the message to θ: {tuple(mine.shape)}, photos by features")
print(f"tensors of θ with a gradient: {told} of {len(theta_tensors)}")

# %%
# alt: Gradient divided by weight for each of 21 weight tensors from input to head, on a logarithmic axis, under a
#   random head and under a trained one. In the backbone the trained head's curve is the higher one, by a factor
#   of about two; at the head itself both rise far above all others.
ft.plot_lines(
    {
        "under a random head": list(under_random.values()),
        "under a trained head": list(under_trained.values()),
    },
    log="y",
    markers=True,
    xticks=[0, 5, 10, 15, 20],
    xlabel="weight tensor, from the input (0) to the head (20)",
    ylabel="gradient / weights (norms)",
)

# %% tags=["nbval-ignore-output"]
print("gradient / weights        random head   trained head")
for what, pick in (("θ, middle of 20 tensors", slice(0, -1)), ("the head", slice(-1, None))):
    middle = [
        torch.tensor(list(sizes.values())[pick]).median().item()
        for sizes in (under_random, under_trained)
    ]
    print(f"{what:<24}{middle[0]:>13.4f}{middle[1]:>15.4f}")
    assert (middle[0] > middle[1]) == (what == "the head"), "have you changed the 200 steps above?"
print(f"message: largest entry {message.abs().max():.4f}, largest difference to yours {apart:.0e}")
# %% [markdown]
# Every part of the network is asked to move, and the head by far the hardest for its size, whether it is
# random or trained: it is a small layer next to the loss. Nor does a random head ask more of θ. Its errors
# are larger, its W is smaller, and the message is their product; here the trained head asks for more.
#
# The difference is *what* is asked. No nonsense, even by a random head: a step of θ alone lowers the loss. But
# it asks for what this one head happens to need. Compare the messages of two heads by their cosine: 1 for the
# same direction, 0 for directions that have nothing to do with each other.


# %%
def trained_from(head, steps=1000, lr=0.1):
    """The head after so many steps of your own gradient descent."""
    W, b = head.weight.detach(), head.bias.detach()
    for _ in range(steps):
        dW, db = phi_gradient(train_features, train_features @ W.T + b, train_targets)
        W, b = W - lr * dW, b - lr * db
    return W, b


def cosines(heads):
    """Between the messages of each two heads: mean, lowest, highest."""
    told = [
        torch.as_tensor(feature_gradient(W, train_features @ W.T + b, train_targets)).flatten()
        for W, b in heads
    ]
    pairs = [
        F.cosine_similarity(told[i], told[k], dim=0).item()
        for i in range(len(told))
        for k in range(i)
    ]
    return sum(pairs) / len(pairs), min(pairs), max(pairs)


new_heads = [nn.Linear(512, 2) for _ in range(5)]
as_they_are = [(head.weight.detach(), head.bias.detach()) for head in new_heads]
between_random = cosines(as_they_are)
between_trained = cosines([trained_from(head) for head in new_heads])

# %% tags=["nbval-ignore-output"]
print("cosine of the messages of two heads, ten pairs of five:  mean (lowest to highest)")
for what, (mean, low, high) in (("random", between_random), ("trained", between_trained)):
    print(f"{what:<55}{mean:>6.2f} ({low:.2f} to {high:.2f})")

net = ft.load_backbone("resnet18")
net.fc = random_head
x, t = train_images[:12], train_targets[:12]
before = F.cross_entropy(net(x), t)
before.backward()
with torch.no_grad():
    for name, p in net.named_parameters():
        if not name.startswith("fc."):
            p -= 0.01 * p.grad
    after = F.cross_entropy(net(x), t).item()
print(f"a step of θ alone under a random head: loss {before.item():.3f} -> {after:.3f}")
assert after < before.item(), "a small step against the gradient lowers the loss"
assert abs(between_random[0]) < 0.15 < between_trained[0], "have you changed steps or lr above?"

# %% [markdown]
# Five random heads ask for five different networks. Trained from the same five starts, they agree. That is one
# reason to let the head learn first; lesson 03 shows what a random head does to the features.
#
# ## Which numbers does the optimizer hold?
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
# Evidence beats memory. How far does the head move in one step, for each order?


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
    return (net.fc.weight - before).abs().max().item()


# %% tags=["nbval-ignore-output"]
first, second = head_moves(optimizer_first=True), head_moves(optimizer_first=False)
print("largest step of a weight of the head")
print(f"  A, optimizer first: {first:.4f}")
print(f"  B, head first:      {second:.4f}")
assert first == 0 < second, "in A the optimizer holds the old head"

# %% [markdown]
# ## How much can a head learn by heart?
#
# Only 1,026 numbers: too few, one might think, to learn photos by heart. Try it. **Random labels** have
# nothing to do with the photos, so whoever gets them right has learnt each photo.
#
# ### ✏️ Your turn · Exercise 2.7: learn noise by heart
#
# An open task. Write `fit_head`: it trains a head on features, from the start, and returns W (classes,
# features) and b (classes,). The check gives it up to 60 photos with random labels and tells how many are
# right; change steps, step size or method until **all** are. Any way is right.


# %% tags=["exercise"]
def fit_head(features, targets, num_classes):
    """W and b of a head that gives each photo its label."""
    raise NotImplementedError  # your code here; you have phi_gradient


# %% tags=["solution"]
def fit_head(features, targets, num_classes):
    """W and b of a head that gives each photo its label."""
    W, b = torch.zeros(num_classes, features.shape[1]), torch.zeros(num_classes)
    for _ in range(1000):
        dW, db = phi_gradient(features, features @ W.T + b, targets)
        W, b = W - 0.1 * dW, b - 0.1 * db
    return W, b


# %%
fit_head = check.fit_head(fit_head)
# check.fit_head.hint()

# %% [markdown]
# Now the 48 real training photos, with labels by coin, five times; and the 60 others, with coins of their
# own:

# %% tags=["nbval-ignore-output"]
by_heart = []
print("coins   training photos right   other photos right")
for seed in range(5):
    coins = torch.randint(0, 2, (108,), generator=torch.Generator().manual_seed(seed))
    W, b = fit_head(train_features, coins[:48], 2)
    right = [
        int(((f @ W.T + b).argmax(1) == t).sum())
        for f, t in ((train_features, coins[:48]), (test_features, coins[48:]))
    ]
    by_heart.append(right[0])
    print(f"{seed:>5}{right[0]:>17} of 48{right[1]:>15} of 60")
assert min(by_heart) >= 40, "your head has not learnt these by heart: more steps in fit_head?"

# %% tags=["nbval-ignore-output"]
everything = torch.cat([train_features, test_features])
needed = []
for seed in range(5):
    coins = torch.randint(0, 2, (108,), generator=torch.Generator().manual_seed(seed))
    head = nn.Linear(512, 2)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    steps = 0
    while (head(everything).argmax(1) != coins).any() and steps < 1000:
        optimizer.zero_grad()
        F.cross_entropy(head(everything), coins).backward()
        optimizer.step()
        steps += 1
    needed.append(steps)
print("steps of Adam until all 108 random labels are right:", ", ".join(map(str, needed)))
assert max(needed) < 300, "a head has 513 numbers a class, and there are 108 photos"

# %% [markdown]
# All of them, in 28 to 62 steps where this page was made. **With at least as many features as photos, a
# head alone can learn any labels**: in general one weighted sum of 512 features and a constant can be fitted to
# 513 photos exactly. Few weights are no protection. Only photos that were not trained on tell what was learnt.
#
# ## More than one layer, and other networks
#
# A head may have more layers. Dropout before the last one is a common addition:
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
# - You can write down the gradient for φ, error times input, train a head with it, and say what θ is told.
# - You know that a head alone can learn photos by heart, and look at other photos.
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
# **Should I initialise the head with zeros?** Then the loss starts at exactly log C. It works for a single
# layer, and gives θ no gradient in the very first step: try it below.
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
