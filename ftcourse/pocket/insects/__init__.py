"""Pocket Insects: the data set inside the package, drawn by code. Importing it draws nothing.

    data = ft.load_data("pocket-insects", classes=("ants", "bees"))
    image, label = data.train[0]
    masks = data.train.with_target("semantic")

Six classes, fine-grained on purpose: ants, bees, beetles, butterflies, ladybirds, spiders.
"""

from ftcourse.pocket.insects.anatomy import CLASSES
from ftcourse.pocket.insects.dataset import TARGETS, InsectSplit, load
from ftcourse.pocket.insects.picture import DOMAINS, Picture, render
from ftcourse.pocket.insects.scenery import BACKGROUNDS
from ftcourse.pocket.insects.shapes import PARTS

__all__ = [
    "BACKGROUNDS",
    "CLASSES",
    "DOMAINS",
    "PARTS",
    "TARGETS",
    "InsectSplit",
    "Picture",
    "load",
    "render",
]
