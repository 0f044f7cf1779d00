# %% [markdown]
# # 99. My topic
#
# «Say in two or three sentences which question a learner has at this point, and why the answer
# matters. The first cell to run comes within 250 words.»
#
# **What you will be able to do**
#
# - «an ability, in words that can be checked»;
# - «another one».

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

import ftcourse as ft
from ftcourse.exercises import lesson99 as check
from ftcourse.exercises import opening, progress

plt.rcParams.update({"figure.dpi": 80, "font.size": 13, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "savefig.bbox": "tight"})
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"
_ = torch.manual_seed(0)

opening.show(lesson="99", seconds=10, minutes=30)

# %% [markdown]
# ## «A heading that says what is found out»
#
# «Words for people who do not know it yet.» Show numbers: a line that prints `True` teaches
# nothing.

# %%
model = ft.replace_head(ft.load_backbone("resnet18"), num_classes=2)
ft.unfreeze(ft.freeze(model), "head")
sizes = {name: sum(p.numel() for m in group for p in m.parameters())
         for name, group in ft.layer_groups(model).items()}  # fmt: skip
for name, size in sizes.items():
    print(f"{name:<7} {size:>10,} weights")

# %%
# alt: Bars of the number of weights in each layer group, on a logarithmic axis; the head, in
#   orange, is the smallest.
fig, ax = plt.subplots(figsize=(8, 3))
ax.bar(list(sizes), list(sizes.values()), color=[BLUE] * 5 + [ORANGE])
ax.set(yscale="log", ylabel="weights")
plt.show()

# %% [markdown]
# ### ✏️ Your turn · Exercise 99.1: «what is to be done»
#
# «Say what goes in and what comes out, with shapes and units.» Fill in `trained_share`: of a
# model's weights, the fraction that training may move. A weight may move if its parameter has
# `requires_grad`.


# %% tags=["exercise"]
def trained_share(model):
    """The fraction of the model's weights, from 0 to 1, that may move."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def trained_share(model):
    """The fraction of the model's weights, from 0 to 1, that may move."""
    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return moving / sum(p.numel() for p in model.parameters())


# %%
trained_share = check.trained_share(trained_share)
# check.trained_share.hint()       # remove the first "#" for a hint; run it again for a second one
# check.trained_share.solution()   # ... and for a worked answer

# %% [markdown]
# Whatever the learner wrote, `trained_share` works from here on: the check hands back the
# learner's function if it is right, and the reference if not.

# %%
print(f"the head alone:  {trained_share(model):.4%}")
ft.unfreeze(model)
print(f"all layers:      {trained_share(model):.0%}")
print(f"a linear layer:  {trained_share(nn.Linear(8, 2)):.0%}")

# %% [markdown]
# ### ✏️ Your turn · Exercise 99.2: «a question to think about»
#
# «A question that a wrong idea answers wrongly.» The head alone trains. Which memory shrinks most,
# compared with training all layers?
#
# - **a** The weights'.
# - **b** The gradients' and the optimizer's.
# - **c** The photos'.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "b"

# %%
answer = check.what_shrinks(answer)
# check.what_shrinks.hint()

# %% [markdown]
# ## Now with ImageNet weights
#
# «The same with a larger network.» It downloads 45 MB, so it runs only with
# `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    larger = ft.load_backbone("resnet18", weights="DEFAULT")
    print(f"{sum(p.numel() for p in larger.parameters()):,} weights")
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - «The abilities from above, as sentences that begin with "You".»

# %%
print(progress.summary("99"))

# %% [markdown]
# ## Common questions
#
# **«A question that people ask at this point?»** «Its answer.»
#
# ## One step further
#
# - «Something to try without a check.»
#
# **This was the last lesson.** «Where to go from here.»
