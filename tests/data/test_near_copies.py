"""Near copies: found however they were turned or cut, none missed by the search, no two others taken for them."""

from __future__ import annotations

import time

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from ftcourse.data import near_copies
from ftcourse.data.near_copies import NEAR_BITS, VIEWS, clusters, joined, view_hashes


def scene(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A picture with soft shapes, another for each seed, as photos are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def cut(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    w, h = image.size
    return image.crop(
        (round(left * w), round(top * h), round(w - right * w), round(h - bottom * h))
    )


turn = Image.Transpose
CHANGES = {
    "half as large": lambda im: im.resize((im.width // 2, im.height // 2)),
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned left": lambda im: im.transpose(turn.ROTATE_90),
    "turned by 180": lambda im: im.transpose(turn.ROTATE_180),
    "turned right": lambda im: im.transpose(turn.ROTATE_270),
    "transposed": lambda im: im.transpose(turn.TRANSPOSE),
    "transversed": lambda im: im.transpose(turn.TRANSVERSE),
    "cropped by 5 % a side": lambda im: cut(im, 0.05, 0.05, 0.05, 0.05),
    "cropped by 8 % a side": lambda im: cut(im, 0.08, 0.08, 0.08, 0.08),
    "cropped at the left": lambda im: cut(im, 0.08, 0, 0, 0),
    "cropped at a corner": lambda im: cut(im, 0, 0.08, 0.08, 0),
    "cropped, then turned": lambda im: cut(im, 0.05, 0.05, 0.05, 0.05).transpose(turn.ROTATE_90),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change):
    photos = [scene(seed) for seed in range(12)]
    found = clusters([view_hashes(im) for im in [*photos, CHANGES[change](photos[5])]])
    assert found == [[5, 12]]


@pytest.mark.parametrize("seed", range(5))
def test_the_first_view_is_what_imagehash_says_and_the_others_are_close_to_it(seed):
    image = scene(seed).convert("L")
    bits = np.unpackbits(view_hashes(image).view(np.uint8).reshape(VIEWS, 2, 8), axis=-1)
    by_turn = [image.rotate(90 * r, expand=True) for r in range(4)]
    by_turn += [ImageOps.mirror(image).rotate(90 * r, expand=True) for r in range(4)]
    for view, turned in zip(bits, by_turn, strict=False):
        theirs = [imagehash.phash(turned).hash.ravel(), imagehash.dhash(turned).hash.ravel()]
        assert (view != theirs).sum() <= 4
        if turned is by_turn[0]:
            assert (view == theirs).all()


def test_plain_pictures_are_no_copies_of_each_other():
    ramps = [
        np.tile(np.linspace(100 + i, 130 + 5 * i, 64).astype(np.uint8), (64, 1)) for i in range(4)
    ]
    assert clusters([view_hashes(Image.fromarray(ramp)) for ramp in ramps]) == []


def random_hashes(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (n, VIEWS, 2), dtype=np.uint64)


def flip(number: np.uint64, bits: set[int]) -> np.uint64:
    return number ^ np.uint64(sum(1 << b for b in bits))


bits = st.sets(st.integers(0, 63), max_size=NEAR_BITS + 3)


@settings(max_examples=60, deadline=None)
@given(bits, bits, st.integers(0, VIEWS - 1), st.booleans())
def test_two_photos_are_near_exactly_if_both_hashes_differ_in_eight_bits_at_most(
    first, second, view, turned_round
):
    hashes = random_hashes(6, seed=3)
    a, b = (1, 4) if turned_round else (4, 1)
    hashes[b, 0] = flip(hashes[a, view, 0], first), flip(hashes[a, view, 1], second)
    near = len(first) <= NEAR_BITS and len(second) <= NEAR_BITS
    assert clusters(list(hashes)) == ([[1, 4]] if near else [])


def test_the_search_finds_what_comparing_all_with_all_finds():
    rng = np.random.default_rng(1)
    hashes = random_hashes(60, 2)
    for copy in range(40, 60):  # each a view of an earlier one, 0 to 12 bits away
        hashes[copy, 0] = hashes[rng.integers(copy), rng.integers(VIEWS)]
        for kind in (0, 1):
            for bit in rng.choice(64, rng.integers(13), replace=False):
                hashes[copy, 0, kind] ^= np.uint64(1 << int(bit))
    differ = (
        np.bitwise_count
        if hasattr(np, "bitwise_count")
        else np.vectorize(lambda n: bin(n).count("1"))
    )
    pairs = [
        (i, j)
        for i in range(60)
        for j in range(60)
        if i != j and (differ(hashes[i] ^ hashes[j, 0]) <= NEAR_BITS).all(1).any()
    ]
    number = joined(60, pairs)
    expected = sorted(np.flatnonzero(number == n).tolist() for n in set(number))
    assert clusters(list(hashes)) == [group for group in expected if len(group) > 1]


@pytest.mark.parametrize("table", [32, 2**16])
@pytest.mark.parametrize("apart", [(2, 3, 3), (3, 2, 3), (3, 3, 2)])
def test_two_bits_apart_in_one_third_are_found_in_whichever_table(apart, table, monkeypatch):
    monkeypatch.setattr(near_copies, "_TABLED", table)
    hashes = random_hashes(300, 1)
    planted = [[3 * k, 299 - 3 * k] for k in range(20)]
    for i, j in planted:
        bits = {
            start + 3 * bit for start, n in zip((0, 21, 42), apart, strict=True) for bit in range(n)
        }
        hashes[j] = random_hashes(1, 1000 + j)[0]
        hashes[j, 0] = flip(hashes[i, 0, 0], bits), hashes[i, 0, 1]
    assert clusters(list(hashes)) == planted


def test_a_photo_without_hashes_takes_no_part():
    own = view_hashes(scene(1))
    assert clusters([None, own, None, own]) == [[1, 3]]
    assert clusters([None]) == clusters([]) == []


def test_copies_among_thousands_are_found_in_moments():
    hashes = random_hashes(5000, 0)
    hashes[4999, 0] = flip(hashes[7, 3, 0], {0, 5, 60}), hashes[7, 3, 1]
    start = time.process_time()
    assert clusters(list(hashes)) == [[7, 4999]]
    assert time.process_time() - start < 10


def test_a_thousand_frames_of_one_scene_are_one_group_and_take_moments():
    """Each is near to each: the search must not keep half a million pairs, 32 times over."""
    rng = np.random.default_rng(0)
    hashes = np.repeat(random_hashes(1, 0), 1000, axis=0)
    for own in hashes:
        for bit in rng.choice(64, 3, replace=False):
            own[:, 0] ^= np.uint64(1 << int(bit))
    start = time.process_time()
    assert clusters(list(hashes)) == [list(range(1000))]
    assert time.process_time() - start < 20
