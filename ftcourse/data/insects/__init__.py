"""Pocket Insects: the data set inside the package, drawn by code. Importing it draws nothing.

    data = ft.load_data("pocket-insects", classes=("ants", "bees"))
    image, label = data.train[0]
    masks = data.train.with_target("semantic")

Six classes, fine-grained on purpose: ants, bees, beetles, butterflies, ladybirds, spiders.
"""

from ftcourse.data.insects.anatomy import CLASSES
from ftcourse.data.insects.dataset import TARGETS, InsectSplit, load
from ftcourse.data.insects.picture import DOMAINS, Picture, render
from ftcourse.data.insects.scenery import BACKGROUNDS
from ftcourse.data.insects.shapes import PARTS

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
