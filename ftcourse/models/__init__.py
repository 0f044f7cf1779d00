"""Networks: load them, name their groups, freeze and thaw, look inside, count the cost. Knows nothing of data.

`backbones` loads weights and replaces heads, `freezing` says what may move, `features` shows what a network makes
of images, `cost` counts. `pocket` has the weights inside the package.
"""
