"""How weights move: stage after stage, over epochs, kept and resumed.

`loop` is the textbook. `stages` say what trains and how fast, `recipes` choose them; `runs` and `checkpoints` keep
what an interrupt must not lose, and `history` records. `preflight` looks for mistakes that raise no error,
`lr_finder` tries learning rates. `frozen_prefix` and `feature_cache` compute once what is frozen.
"""
