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
import torch
from torch import nn

import ftcourse as ft
from ftcourse.exercises import lesson99 as check
from ftcourse.exercises import opening, progress

_ = torch.manual_seed(0)

opening.show(lesson="99", seconds=10, minutes=30)

# %% [markdown]
# ## «A heading that says what is found out»
#
# «Words for people who do not know it yet.» Show numbers: a line that prints `True` teaches
# nothing. What the text says of them, a silent `assert` holds it to.

# %%
model = ft.replace_head(ft.load_backbone("resnet18"), num_classes=2)
ft.unfreeze(ft.freeze(model), "head")
sizes = {}
for name, group in ft.layer_groups(model).items():
    sizes[name] = sum(p.numel() for module in group for p in module.parameters())
for name, size in sizes.items():
    print(f"{name:<7} {size:>10,} weights")
assert min(sizes, key=sizes.get) == "head"

# %%
# alt: Horizontal bars of the number of weights in each layer group: layer4 has most, the head least.
ft.plot_bars(sizes, title="Weights of each group", label=",.0f")

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
