"""Photos written as class folders are read by torchvision, pixel for pixel and class for class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder

from ftcourse.data.class_folders import write_class_folders
from ftcourse.data.splits import Data, Split


def drawn(count: int, seed: int) -> Split:
    g = torch.Generator().manual_seed(seed)
    photos = torch.randint(0, 256, (count, 3, 9, 7), generator=g, dtype=torch.uint8)
    return Split(photos, [i % 2 for i in range(count)], ["bees", "ants"])


def test_image_folder_reads_the_same_pixels_and_classes(tmp_path):
    data = Data(["bees", "ants"], train=drawn(23, 0), val=drawn(4, 1), test=drawn(2, 2))
    folder = write_class_folders(data, tmp_path / "photos")
    for name in ("train", "val", "test"):
        split, read = getattr(data, name), ImageFolder(folder / name)
        assert read.classes == sorted(data.classes) and len(read) == len(split)
        for label in data.classes:
            ours = [split.image(i) for i, t in enumerate(split.targets) if data.classes[t] == label]
            theirs = [image for image, t in read if read.classes[t] == label]
            for a, b in zip(ours, theirs, strict=True):
                assert np.array_equal(a.permute(1, 2, 0).numpy(), np.asarray(b))


def test_files_that_are_there_are_not_mixed_with_new_ones(tmp_path):
    (tmp_path / "mine.txt").touch()
    data = Data(["bees", "ants"], train=drawn(2, 0), val=drawn(2, 1), test=drawn(2, 2))
    with pytest.raises(FileExistsError, match="there are files in it"):
        write_class_folders(data, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
