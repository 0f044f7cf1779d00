"""Near copies of a photo: smaller, recompressed, mirrored, turned by 90 degrees, slightly cropped.

Each photo has the two 64-bit hashes of ImageHash (https://github.com/JohannesBuchner/imagehash), the
perceptual one and the difference one, and the same two for its *views*: the eight ways to turn and
mirror it, each whole and cut by 4 % and by 8 % a side, and cut by 8 % at one side or one corner. Two
photos are near copies if a view of one and the other itself differ in a few bits of both hashes.

Of 200 copies of photos of ants and bees all are found that are smaller, grey, mirrored or turned by 90
degrees, 199 of those cropped by 5 % a side and 171 of those cropped by 5 % at one corner; no two of the
398 photos themselves are taken for copies (benchmarks/results/near_copies.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["VIEWS", "clusters", "joined", "view_hashes"]

# Of 64, in each of the two hashes; a view of one photo and another photo are 15 apart and more.
NEAR_BITS = 8
FLAT_BITS = 8  # a hash with fewer set bits than this belongs to a nearly uniform picture

# What is cut off at the left, the top, the right, the bottom: parts of the width and of the height.
_CENTRED = [(c, c, c, c) for c in (0.0, 0.04, 0.08)]
_ONE_SIDED = [
    tuple(0.08 if side in cut else 0.0 for side in range(4))
    for cut in ((0,), (1,), (2,), (3,), (0, 1), (1, 2), (2, 3), (3, 0))
]
_TURNS = 8
VIEWS = _TURNS * len(_CENTRED) + len(_ONE_SIDED)

_SIDE = 64  # views are made from a copy of this size
_LOW, _HIGH = 8, 32  # ImageHash: the 8 x 8 lowest frequencies of 32 x 32 pixels


def _turned(square: np.ndarray) -> np.ndarray:
    """The eight ways to turn and mirror a square, (8, n, n)."""
    return np.stack([np.rot90(m, r) for m in (square, square[:, ::-1]) for r in range(4)])


def _resampling(length: int, start: float, end: float) -> np.ndarray:
    """(length, 64): Pillow's weights for resizing a column cut at both ends, read off the identity."""
    box = (0, start * _SIDE, _SIDE, (1 - end) * _SIDE)
    identity = Image.fromarray(np.eye(_SIDE, dtype=np.float32))
    return np.asarray(identity.resize((_SIDE, length), Image.Resampling.LANCZOS, box=box))


def _operators(length: int, along: tuple[int, int]) -> np.ndarray:
    """(cuts, length, 64): for each cut, the resampling between two of its four sides."""
    return np.stack(
        [_resampling(length, cut[along[0]], cut[along[1]]) for cut in _CENTRED + _ONE_SIDED]
    )


_ACROSS, _DOWN = (0, 2), (1, 3)
_COSINES = np.cos(
    np.pi * np.arange(_LOW)[:, None] * (2 * np.arange(_HIGH) + 1) / (2 * _HIGH)
)  # of the discrete cosine transform
_LOW_ROWS = _COSINES @ _operators(_HIGH, _DOWN)
_LOW_COLUMNS = (_COSINES @ _operators(_HIGH, _ACROSS)).transpose(0, 2, 1)
_WIDE_ROWS, _WIDE_COLUMNS = _operators(8, _DOWN), _operators(9, _ACROSS).transpose(0, 2, 1)
_TALL_ROWS, _TALL_COLUMNS = _operators(9, _DOWN), _operators(8, _ACROSS).transpose(0, 2, 1)

# A turned photo has the same frequencies, some of them in each other's place or with the other sign.
_FREQUENCIES = np.arange(_LOW * _LOW).reshape(_LOW, _LOW)


def _turned_frequencies() -> tuple[np.ndarray, np.ndarray]:
    """Of each of the eight turns (8, 64): where its frequencies come from, and with which sign."""
    basis = np.einsum("ki,lj->klij", _COSINES, _COSINES).reshape(_LOW * _LOW, _HIGH, _HIGH)
    source, sign = np.zeros((_TURNS, 64), int), np.zeros((_TURNS, 64))
    for k, wave in enumerate(basis):
        for turn, turned in enumerate(_turned(wave)):
            found = _COSINES @ turned @ _COSINES.T
            at = np.abs(found).argmax()
            source[turn, at], sign[turn, at] = k, np.sign(found.flat[at])
    return source, sign


_FROM, _SIGN = _turned_frequencies()


def view_hashes(image: Image.Image) -> np.ndarray:
    """uint64 (VIEWS, 2): perceptual and difference hash of each view, the photo itself first."""
    grey = image.convert("L")
    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), np.float64)
    n, whole = len(_CENTRED), _TURNS * len(_CENTRED)
    low = (_LOW_ROWS @ small @ _LOW_COLUMNS).reshape(-1, 64)
    waves = np.concatenate([(low[:n, _FROM] * _SIGN).reshape(whole, 64), low[n:]])
    perceptual = waves > np.median(waves, axis=1, keepdims=True)
    wide = np.rint(_WIDE_ROWS @ small @ _WIDE_COLUMNS)  # (cuts, 8, 9); rounded as pixels are, so
    tall = np.rint(_TALL_ROWS @ small @ _TALL_COLUMNS)  # (cuts, 9, 8); that flat is flat
    steps = [_steps(w, t) for w, t in zip(wide[:n], tall[:n], strict=True)]
    difference = np.concatenate([*steps, (np.diff(wide[n:]) > 0).reshape(-1, 64)])
    packed = np.stack([_packed(perceptual), _packed(difference)], axis=1)
    packed[0] = _packed(  # to the bit what the library says
        np.stack([imagehash.phash(grey).hash.ravel(), imagehash.dhash(grey).hash.ravel()])
    )
    return packed


def _steps(wide: np.ndarray, tall: np.ndarray) -> np.ndarray:
    """(8, 64): whether it gets brighter to the right, in each of the eight turns."""
    return np.stack(
        [
            (np.diff(np.rot90(m(wide if r % 2 == 0 else tall), r)) > 0).ravel()
            for m in (lambda a: a, lambda a: a[:, ::-1])
            for r in range(4)
        ]
    )


def _packed(bits: np.ndarray) -> np.ndarray:
    """(n, 64) bool -> (n,) uint64."""
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


# -- the search --------------------------------------------------------------------------------


def clusters(hashes: Sequence[np.ndarray | None]) -> list[list[int]]:
    """Groups of photos that are near copies of each other, or joined by a chain of such.

    Args:
        hashes: of each photo what `view_hashes` gave, or None for one that takes no part. Nearly
            uniform pictures, whose hashes say little, take no part either.

    Returns:
        The positions in each group of two and more, sorted.

    A photo is compared only with those that agree with it, up to two bits, in one third of the
    perceptual hash: of three thirds that differ in 8 bits together one differs in 2 at most, so
    nothing is missed, and few others are looked at.
    """
    kept = [i for i, own in enumerate(hashes) if own is not None and _telling(own[:1, 1])[0]]
    if len(kept) < 2:
        return []
    views = np.stack([hashes[i] for i in kept])  # type: ignore[misc]
    own, first, same = np.unique(views[:, 0], axis=0, return_index=True, return_inverse=True)
    same = same.reshape(-1)
    group_of = np.arange(len(own))
    asked = views[first].reshape(-1, 2)
    who = np.repeat(np.arange(len(own)), views.shape[1])
    told = _telling(asked[:, 1])
    waiting: list[np.ndarray] = []
    for pairs in _near_pairs(asked[told], who[told], own, group_of):
        waiting.append(pairs)
        if sum(map(len, waiting)) > len(own):
            _join(group_of, waiting)
    _join(group_of, waiting)
    return [[kept[i] for i in group] for group in _groups(group_of[same])]


def joined(count: int, groups: Iterable[Iterable[int]]) -> np.ndarray:
    """(count,): the number of the set of each of 0..count-1, when groups that share a member are one."""
    links = [(g[0], i) for group in groups for g in [list(group)] for i in g[1:]]
    return _components(count, np.array(links, dtype=int).reshape(-1, 2))


def _join(group_of: np.ndarray, waiting: list[np.ndarray]) -> None:
    """Give both members of each pair, and all of their groups, one number; the pairs are used up."""
    if waiting:
        links = group_of[np.concatenate(waiting)]
        group_of[:] = _components(int(group_of.max()) + 1, links)[group_of]
        waiting.clear()


def _components(count: int, links: np.ndarray) -> np.ndarray:
    ones = np.ones(len(links), dtype=bool)
    graph = coo_array((ones, (links[:, 0], links[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _groups(number_of: np.ndarray) -> list[list[int]]:
    """Positions with the same number, where there are several; by their first position."""
    order = np.argsort(number_of, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(number_of[order])) + 1)
    return sorted(part.tolist() for part in parts if len(part) > 1)


def _telling(difference: np.ndarray) -> np.ndarray:
    """Whether difference hashes have enough set and unset bits to tell photos apart."""
    ones = _ones(difference)
    return (ones >= FLAT_BITS) & (ones <= 64 - FLAT_BITS)


def _ones(bits: np.ndarray) -> np.ndarray:
    """How many bits are set in each of (n,) uint64."""
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.bitwise_count(bits)
    return np.unpackbits(np.ascontiguousarray(bits).view(np.uint8).reshape(-1, 8), axis=1).sum(1)


_THIRDS = ((0, 21), (21, 21), (42, 22))  # first bit, bits
_AT_ONCE = 2**18  # comparisons, which bounds the memory
_TABLED = 2**16  # photos in one table, each some 250 times, in which memory goes


def _near_pairs(
    asked: np.ndarray, who: np.ndarray, own: np.ndarray, group_of: np.ndarray
) -> Iterator[np.ndarray]:
    """Pairs (n, 2) of positions in `own`: `who[i]`, of which `asked[i]` is a view, and a near one.

    Those that `group_of` has in one group already, which may grow meanwhile, are left out.
    """
    for start, width in _THIRDS:
        width = min(width, 6 + len(own).bit_length())  # the table need not be much larger than they
        keys, queries = (_bits(hashes[:, 0], start, width) for hashes in (own, asked))
        by_key = np.argsort(queries, kind="stable")
        for begin in range(0, len(own), _TABLED):
            ends, members = _table(keys[begin : begin + _TABLED], width)
            for i, place in _members(by_key, queries[by_key], ends):
                j = begin + members[place]
                near = _ones(asked[i, 0] ^ own[j, 0]) <= NEAR_BITS
                i, j = i[near], j[near]
                near = _ones(asked[i, 1] ^ own[j, 1]) <= NEAR_BITS
                near &= group_of[who[i]] != group_of[j]
                if near.any():
                    yield np.stack([who[i[near]], j[near]], axis=1)


def _table(keys: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each number of `width` bits, positions of the keys at most two bits apart: their ends, and they."""
    bits = [1 << bit for bit in range(width)]
    apart = np.array([0, *bits, *map(sum, combinations(bits, 2))], dtype=np.int32)
    rows = (keys ^ apart[:, None]).ravel()
    columns = np.tile(np.arange(len(keys), dtype=np.int32), len(apart))
    entries = (np.ones(len(rows), dtype=bool), (rows, columns))
    table = coo_array(entries, shape=(2**width, len(keys))).tocsr()
    return table.indptr[1:], table.indices


def _bits(numbers: np.ndarray, start: int, width: int) -> np.ndarray:
    return ((numbers >> np.uint64(start)) & np.uint64(2**width - 1)).astype(np.int32)


def _members(
    rows: np.ndarray, keys: np.ndarray, ends: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each row with each place below its key's end and from the end of the key before, in portions."""
    last = ends[keys]
    many = last - np.where(keys > 0, ends[keys - 1], 0)
    total, start = np.cumsum(many), 0
    while start < len(many):
        before = total[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(total, before + _AT_ONCE, side="right")))
        counts = many[start:end]
        step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.repeat(rows[start:end], counts), np.repeat(last[start:end] - counts, counts) + step
        start = end
