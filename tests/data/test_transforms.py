"""The transforms for training and for everything else, and how large a photo they need."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import models
from torchvision.transforms import v2

from ftcourse.data.transforms import (
    MEAN,
    STD,
    eval_transforms,
    needed_side,
    seen_region,
    train_transforms,
)

IMAGENET = models.ResNet18_Weights.DEFAULT.transforms()
quick = settings(max_examples=30, deadline=None)


def photo(height: int = 150, width: int = 200, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def test_at_224_the_evaluation_transform_is_that_of_torchvisions_weights():
    ours = eval_transforms(224)
    assert (ours.crop_size, ours.resize_size) == (IMAGENET.crop_size, IMAGENET.resize_size)
    assert torch.equal(ours(photo()), IMAGENET(photo()))
    pil = Image.fromarray(photo().permute(1, 2, 0).numpy())
    assert torch.equal(ours(pil), IMAGENET(pil))


@quick
@given(st.integers(1, 400))
def test_the_short_side_is_resized_to_114_percent_rounded_up(size):
    (resize,) = eval_transforms(size).resize_size
    assert math.floor(1.14 * size) <= resize <= math.ceil(1.14 * size) and resize >= 1.14 * size


@pytest.mark.parametrize("transforms", [eval_transforms, train_transforms])
def test_both_give_normalised_squares_of_128_pixels_unless_asked(transforms):
    default, small = transforms()(photo()), transforms(40)(photo())
    assert default.shape == (3, 128, 128) and small.shape == (3, 40, 40)
    assert default.dtype == small.dtype == torch.float32
    assert type(default) is type(small) is torch.Tensor


@pytest.mark.parametrize("transforms", [eval_transforms, train_transforms])
def test_one_colour_comes_out_minus_the_mean_over_the_spread(transforms):
    """Of white, which no change of colour can make brighter: (1 - mean) / std."""
    white = torch.full((3, 60, 60), 255, dtype=torch.uint8)
    torch.manual_seed(3)  # a draw that makes it no darker
    for mean, std in ((MEAN, STD), ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))):
        transform = transforms(32, mean=mean, std=std)
        brightest = torch.stack([transform(white) for _ in range(20)]).amax((0, 2, 3))
        expected = (1 - torch.tensor(mean)) / torch.tensor(std)
        assert torch.allclose(brightest, expected, atol=1e-4)


def unnormalised(transform, image, times):
    """What a training transform gives, as pixels from 0 to 1."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return torch.stack([transform(image) * std + mean for _ in range(times)])


def test_training_crops_half_to_all_of_the_area_and_mirrors_half_of_the_photos():
    """Read off a photo whose red says how far right a pixel lies, and its green how far down."""
    torch.manual_seed(0)
    side = torch.linspace(0, 255, 200)
    image = torch.zeros(3, 200, 200)
    image[0], image[1] = side, side[:, None]
    image[2] = 255
    seen = unnormalised(train_transforms(64), image.to(torch.uint8), 300)
    red, green, blue = seen.unbind(1)
    across = (red / blue).mean(1)  # what dims a pixel dims its blue as much
    down = (green / blue).mean(2)
    width = across[:, -1] - across[:, 0]
    height = down[:, -1] - down[:, 0]
    area = (width.abs() * height.abs()) * (64 / 63) ** 2
    assert 0.35 < area.min() < 0.6 and 0.9 < area.max() < 1.15  # changed contrast blurs the ends
    assert 0.4 < (width < 0).float().mean() < 0.6
    assert (height > 0).all()


def test_training_changes_brightness_contrast_and_saturation_by_up_to_a_fifth_and_never_the_hue():
    torch.manual_seed(0)
    grey = torch.full((3, 40, 40), 128, dtype=torch.uint8)
    seen = unnormalised(train_transforms(16), grey, 300)
    level = seen.mean((1, 2, 3)) * 255 / 128
    # of one grey the contrast is 0 and the saturation too: what changes it is the brightness
    assert 0.78 < level.min() < 0.83 and 1.17 < level.max() < 1.22
    assert (seen.amax(1) - seen.amin(1)).max() < 1e-3  # grey stays grey
    jitter = next(t for t in train_transforms().transforms if isinstance(t, v2.ColorJitter))
    assert tuple(jitter.contrast) == tuple(jitter.saturation) == pytest.approx((0.8, 1.2))
    assert jitter.hue is None


def test_training_photos_are_resized_with_antialiasing():
    """A fine chequerboard becomes grey instead of a pattern that is not in the photo."""
    board = (torch.arange(256)[:, None] + torch.arange(256)) % 2 * 255
    image = board.to(torch.uint8).expand(3, -1, -1)
    torch.manual_seed(0)
    (crop,) = unnormalised(train_transforms(32), image, 1)
    assert crop.std() < 0.05


# -- how large a photo a transform needs -------------------------------------------------------


@quick
@given(st.integers(8, 300))
def test_a_crop_may_be_larger_than_what_is_left_of_it_so_more_is_needed(size):
    assert needed_side(eval_transforms(size)) == math.ceil(1.14 * size)
    assert needed_side(train_transforms(size)) == math.ceil(1.25 * size)
    assert needed_side(v2.RandomResizedCrop(size)) == math.ceil(1.25 * size)


@quick
@given(st.integers(1, 500), st.integers(1, 500))
def test_of_several_sides_the_largest_counts(a, b):
    both = v2.Compose([v2.Resize(a), v2.CenterCrop(b)])
    assert needed_side(both) == needed_side(v2.Compose([v2.ToImage(), both])) == max(a, b)
    assert needed_side(v2.Resize((a, b))) == max(a, b)


class Side:
    """A transform of somebody's own, with its size under this name."""

    def __init__(self, **sides):
        vars(self).update(sides)


@pytest.mark.parametrize("name", ["size", "crop_size", "resize_size"])
def test_the_size_may_have_one_of_three_names_and_be_a_number_or_several(name):
    assert needed_side(Side(**{name: 70})) == 70
    assert needed_side(Side(**{name: [70, 90]})) == 90
    assert needed_side(Side(**{name: (70,), "size": 80})) == 80 if name != "size" else True


@pytest.mark.parametrize(
    "transform", [None, v2.ToImage(), v2.Compose([v2.ToImage()]), Side(size=None), Side(size=())]
)
def test_a_transform_that_does_not_tell_its_size_needs_nothing_known(transform):
    assert needed_side(transform) == 0


@pytest.mark.parametrize("odd", ["large", [1.5, 2], ["a"], object(), 1.5])
def test_a_size_that_is_no_whole_number_of_pixels_is_not_taken_for_one(odd):
    assert needed_side(Side(size=odd)) == 0


def test_a_list_that_is_empty_or_no_list_of_transforms_needs_nothing_known():
    assert needed_side(Side(transforms=[])) == 0
    assert needed_side(Side(transforms=None, size=9)) == 9
    assert needed_side(np.asarray) == 0


# -- which part of a photo the network sees ------------------------------------------------------


def seen_by_coordinates(transform, width, height):
    """The same, found out: a photo of its own coordinates goes through the transform."""
    x = (torch.arange(width) + 0.5) / 1000
    y = (torch.arange(height) + 0.5) / 1000
    ramps = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    out = transform(torch.cat([ramps, torch.zeros(1, height, width)]))
    out = 1000 * (out[:2] * torch.tensor(STD)[:2, None, None] + torch.tensor(MEAN)[:2, None, None])
    across, down = out[0].median(0).values, out[1].median(1).values
    ends = []
    for line in (across, down):
        middle, step = len(line) // 2, (line[-5] - line[4]) / (len(line) - 9)
        begin = line[middle] - (middle + 0.5) * step
        ends.append((begin.item(), (begin + len(line) * step).item()))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


@quick
@given(st.integers(80, 400), st.integers(80, 400), st.sampled_from([64, 96, 128]))
def test_the_seen_region_is_where_the_pixels_of_the_input_come_from(width, height, size):
    steps = [v2.Resize(int(1.3 * size)), v2.CenterCrop((size, size + 7)), v2.Normalize(MEAN, STD)]
    stretched = [v2.Resize((size, size)), v2.Normalize(MEAN, STD)]
    for transform in (eval_transforms(size), v2.Compose(steps), v2.Compose(stretched)):
        told = seen_region(transform, (width, height))
        found = seen_by_coordinates(transform, width, height)
        assert told == pytest.approx(found, abs=0.02 * max(width, height)), transform


def test_the_seen_region_of_a_photo_of_3_to_2_is_its_middle():
    left, top, right, bottom = seen_region(eval_transforms(128), (300, 200))
    assert (left + right, top + bottom) == pytest.approx((300, 200), abs=2)
    assert right - left == pytest.approx(bottom - top, rel=0.01)
    assert (right - left) / 300 == pytest.approx(0.585, abs=0.005)


def test_a_crop_that_is_larger_than_the_photo_reaches_beyond_it():
    region = seen_region(v2.Compose([v2.Resize(50), v2.CenterCrop(60)]), (100, 100))
    assert region == (-10, -10, 110, 110)


@pytest.mark.parametrize("step", [v2.RandomResizedCrop(32), v2.RandomHorizontalFlip(), lambda x: x])
def test_what_moves_pixels_at_random_or_unknown_has_no_seen_region(step):
    with pytest.raises(ValueError, match=rf"{type(step).__name__}: which part"):
        seen_region(v2.Compose([v2.Resize(40), step]), (100, 80))
