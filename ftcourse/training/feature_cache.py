"""The output of what is frozen, computed once and kept.

In training the frozen part of a model gives the same output for the same photo in each epoch. `FeatureCache`
computes it once, so that an epoch costs only what trains. That changes the result by float rounding and no more:
same batches, same order, same random numbers. Where it cannot be promised, nothing is kept:

- a photo that random augmentation changes each time is computed anew in each epoch, without a graph (`views=k`
  keeps k augmented versions of it instead, which is another, smaller augmentation);
- a model whose computation cannot be cut in two (hooks, branches that depend on data, several tensors across
  every possible cut) runs as it is, and `FeatureCache.notes` says why.
"""

from __future__ import annotations

import operator
import os
import random
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, default_collate

from ftcourse.training.frozen_prefix import Cut, Prefix, cut_model
from ftcourse.training.stages import Stage, apply_stage

__all__ = ["FeatureCache", "KeptFeatures", "Shortcut"]

BUDGET = 2**30  # bytes of features kept in memory; what is beyond goes into a memory-mapped file


class KeptFeatures(Dataset):
    """The kept features of a split, with its targets: item i is (features[i], targets[i]).

    With several views of each photo, `view` says which of them is given out.
    """

    def __init__(self, features: Tensor, targets: list[Any], views: int = 1) -> None:
        self.features, self.targets, self.views, self.view = features, targets, views, 0

    def __len__(self) -> int:
        return len(self.targets) // self.views

    def __getitem__(self, i: int) -> tuple[Tensor, Any]:
        row = self.view * len(self) + i
        return self.features[row], self.targets[row]

    @staticmethod
    def collate(items: list[tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
        """A batch as PyTorch makes it, the features in channels_last."""
        return _stack(items), default_collate([target for _, target in items])


@dataclass
class Shortcut:
    """How one split reaches the model: `data` to load from, and what `model(...)` then computes."""

    data: Any
    cut: Cut | None = None
    prefix: Prefix | None = None  # to be run before the rest; None if `data` has features already

    @contextmanager
    def taken(self, model: nn.Module, epoch: int = 0) -> Iterator[None]:
        """Within it, `model(x)` takes what `data` holds: features, or photos that need no graph at first."""
        if self.cut is None:
            yield
            return
        if isinstance(self.data, KeptFeatures):
            self.data.view = epoch % self.data.views
        rest = self.cut.rest(model)
        model.forward = _after(self.prefix, rest) if self.prefix else rest.forward  # type: ignore[method-assign]
        try:
            yield
        finally:
            del model.forward  # the class's own again


def _after(prefix: Prefix, rest: nn.Module) -> Callable[[Tensor], Any]:
    return lambda images: rest(prefix(images))


class FeatureCache:
    """Outputs of frozen parts, kept across epochs and stages; across runs, if they are given one object.

    Args:
        budget: bytes of features kept in memory; what does not fit goes into a file in `folder`, mapped into
            memory. The file is removed with the cache (on Linux and macOS its name at once).
        folder: where that file goes; by default the system's folder for temporary files.
        enabled: False computes everything in each epoch.
    """

    def __init__(
        self, budget: int = BUDGET, folder: str | Path | None = None, enabled: bool = True
    ) -> None:
        self.budget, self.enabled = budget, enabled
        self.folder = Path(folder) if folder else Path(tempfile.gettempdir())
        self.notes: list[str] = []
        self._kept: dict[tuple, tuple[KeptFeatures, Any]] = {}
        self._files: list[str] = []
        weakref.finalize(self, _remove, self._files)

    @classmethod
    def of(cls, choice: bool | str | Path | FeatureCache) -> FeatureCache:
        """What the `cache` argument of `finetune` means: True, False, a folder, or a cache to share."""
        if isinstance(choice, FeatureCache):
            return choice
        if isinstance(choice, bool):
            return cls(enabled=choice)
        Path(choice).mkdir(parents=True, exist_ok=True)
        return cls(folder=choice)

    @property
    def used(self) -> int:
        """Bytes of the features kept in memory."""
        return sum(_bytes(f.features) for f, _ in self._kept.values() if not _mapped(f.features))

    def shortcuts(
        self, model: nn.Module, train: Any, val: Any, *, judged: nn.Module | None = None,
        bf16: bool = False, keep: bool = True, views: int | None = None, seed: int = 0,
        later: Sequence[tuple[Cut, bool]] = (),
    ) -> tuple[Shortcut, Shortcut]:  # fmt: skip
        """The least work by which two splits can pass through `model`, as its parameters now train or do not.

        Args:
            train, val: data sets of (image float32 (3, H, W), target).
            judged: what is validated, if not the model itself but the average of its weights. Where that average
                still moves in what is frozen (it trained in an earlier stage), nothing is kept for it.
            bf16: run the frozen part of training in bfloat16.
            keep: False where training images are changed after loading (MixUp), so that no output can be kept.
            views: keep so many randomly augmented views of each training photo.
            later: what `look_ahead` found: features that a later stage needs are kept on the way.
        """
        try:
            cut = cut_model(model) if self.enabled else None
        except ValueError as err:
            self._note(f"nothing is kept: {err}")
            cut = None
        if cut is None:
            return Shortcut(train), Shortcut(val)
        depth = len(cut.before.nodes)
        ahead = later if later and len(later[0][0].before.nodes) <= depth else ()
        learnt = list(takewhile(lambda pair: pair[1], ahead))  # they train on the same photos
        prefix = first = cut.prefix(model, earlier=[c for c, _ in ahead])
        if bf16 or len(learnt) < len(ahead):
            first = cut.prefix(model, bf16=bf16, earlier=[c for c, _ in learnt])
        learn = self._shortcut(cut, first, train, keep, views, seed)
        same = judged is None or judged is model
        if not same and cut.prefix(judged).fingerprint != prefix.fingerprint:  # type: ignore[arg-type]
            return learn, Shortcut(val)
        return learn, self._shortcut(cut, prefix, val)

    def look_ahead(self, model: nn.Module, stages: Sequence[Stage]) -> list[tuple[Cut, bool]]:
        """Where the stages after the first cut the model, and whether both train on photos as they are.

        It ends with the first stage that cuts later than the one before, in which something before that cut
        moves. Up to there one pass gives the features of all. Parameters are frozen as for the first stage.
        """
        found: list[tuple[Cut, bool]] = []
        for stage in stages[1:] if self.enabled else ():
            try:
                cut = cut_model(apply_stage(model, stage))
            except ValueError:  # which that stage will tell
                break
            if cut is None or (found and len(cut.before.nodes) > len(found[-1][0].before.nodes)):
                break
            found.append((cut, not (stage.augment or stages[0].augment)))
        apply_stage(model, stages[0])
        return found

    def _shortcut(
        self, cut: Cut, prefix: Prefix, split: Any,
        keep: bool = True, views: int | None = None, seed: int = 0,
    ) -> Shortcut:  # fmt: skip
        if not hasattr(split, "__len__") or len(split) == 0:
            return Shortcut(split)
        try:
            kept = self._features(prefix, split, views, seed) if keep else None
            if kept is None:
                prefix(_stack([split[0]]).to(prefix.device))  # it fails here, if it must
        except ValueError as err:
            self._note(f"nothing is kept: {err}")
            return Shortcut(split)
        if kept is None:
            self._note(f"computed each epoch, without a graph: up to {cut.at}, {len(split)} photos")
            return Shortcut(split, cut, prefix)
        where = "in a file" if _mapped(kept.features) else "in memory"
        size = _bytes(kept.features) / 2**20
        self._note(f"computed once: up to {cut.at}, {len(split)} photos, {size:.1f} MB {where}")
        return Shortcut(kept, cut)

    def close(self) -> None:
        """Free the memory and remove the files."""
        self._kept.clear()
        _remove(self._files)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _features(
        self, prefix: Prefix, split: Any, views: int | None, seed: int
    ) -> KeptFeatures | None:
        """The features of a split, computed now if they are not there; None if they cannot be kept."""
        fixed = _repeats(split)
        if not fixed and not views:
            return None
        key = (prefix.fingerprint, *(() if fixed else (views, seed)), *_identity(split))
        if key not in self._kept:
            before = _random_states()
            with torch.random.fork_rng(devices=[], enabled=not fixed):
                made = self._fill(prefix, split, None if fixed else views, seed)
            if made is None or (fixed and _random_states() != before):
                return None  # no room, or chance was at work after all
            self._kept[key] = made, split  # the split is held: no other object can take its id
        return self._kept[key][0]

    def _fill(
        self, prefix: Prefix, split: Any, views: int | None, seed: int
    ) -> KeptFeatures | None:
        n, store = len(split), None
        targets: list[Any] = []
        earlier = self._features(prefix.after, split, views, seed) if prefix.after else None
        source, compute = (split, prefix) if earlier is None else (earlier, prefix.go_on)
        row = 0
        for view in range(views or 1):
            if earlier is not None:
                earlier.view = view
            if views:
                torch.manual_seed((seed * 1_000_003 + view) ^ 0x5EED)  # no epoch's own seed
            let_go = getattr(source, "let_go", None) if view + 1 == (views or 1) else None
            for images, some in _batches(source, prefix.batch, prefix.device, let_go):
                part = compute(images.to(prefix.device)).cpu()
                if store is None:
                    store = self._room((views or 1) * n, part)
                if store is None:
                    return None
                store[row : row + len(part)] = part
                row, targets = row + len(part), targets + some
        return None if store is None else KeptFeatures(store, targets, views or 1)

    def _room(self, rows: int, like: Tensor) -> Tensor | None:
        """Room for so many rows of features, laid out as these are; None if there is none."""
        laid = like.movedim(1, -1) if like.ndim == 4 else like  # channels_last
        shape, dtype = (rows, *laid.shape[1:]), like.dtype
        numbers = int(np.prod(shape))
        size = numbers * dtype.itemsize
        if self.used + size <= self.budget:
            store, name = torch.empty(shape, dtype=dtype), None
        elif size > 0.9 * shutil.disk_usage(self.folder).free:
            return None
        else:
            handle, name = tempfile.mkstemp(".bin", "ftcourse-features-", self.folder)
            os.close(handle)
            store = torch.from_file(name, shared=True, size=numbers, dtype=dtype).view(shape)
            try:  # the mapping stays, and nothing is left behind however the program ends
                os.unlink(name)
            except OSError:  # Windows keeps a file that is in use
                self._files.append(name)
        store = store.movedim(-1, 1) if like.ndim == 4 else store
        store.mapped_from = name  # type: ignore[attr-defined]
        return store


def _batches(
    split: Any, size: int, device: torch.device, let_go: Callable[[int], None] | None = None
) -> Iterator[tuple[Tensor, list]]:
    """Images (size, ...) and a list of their targets, in the order of the split.

    For a GPU a thread reads the next ones while some are worked on. On a CPU it would only take cores from them,
    and photos that the GPU itself transforms are quickly there.
    `let_go` is told each row that has been read.
    """

    def read(start: int) -> tuple[Tensor, list]:
        rows = range(start, min(start + size, len(split)))
        items = [split[i] for i in rows]
        for i in rows if let_go else ():
            let_go(i)  # type: ignore[misc]
        return _stack(items), [target for _, target in items]

    starts = range(0, len(split), size)
    moved = getattr(split, "device", None) is not None
    # a data set may hold an open file of this thread
    if device.type == "cpu" or moved or not getattr(split, "any_thread", False):
        yield from map(read, starts)
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(read, 0)
        for start in starts[1:]:
            done, coming = coming.result(), pool.submit(read, start)
            yield done
        yield coming.result()


def _remove(files: list[str]) -> None:
    for name in files:
        with suppress(OSError):
            os.unlink(name)
    files.clear()


def _bytes(t: Tensor) -> int:
    return t.numel() * t.element_size()


def _mapped(t: Tensor) -> bool:
    return getattr(t, "mapped_from", None) is not None


def _stack(items: list[tuple[Any, Any]]) -> Tensor:
    if not all(isinstance(image, Tensor) for image, _ in items):
        raise ValueError("its inputs are not tensors")
    if len({image.shape for image, _ in items}) > 1:
        raise ValueError("its inputs differ in shape")
    images = [image for image, _ in items]
    if images[0].ndim != 3:
        return torch.stack(images)
    return torch.stack([image.movedim(0, -1) for image in images]).movedim(-1, 1)  # channels_last


def _identity(split: Any) -> tuple:
    """What a split gives: the same for two splits of the same photos with the same transform."""
    if isinstance(split, Subset):
        return ("subset", tuple(split.indices), *_identity(split.dataset))
    if hasattr(split, "images") and hasattr(split, "index"):
        transform = getattr(split, "transform", None)
        return (id(split.images), tuple(split.index), tuple(split.targets), id(transform))
    return (id(split), len(split))


def _random_states() -> tuple:
    numpy = np.random.get_state()[1].tobytes()  # type: ignore[union-attr, index]
    return (torch.get_rng_state().numpy().tobytes(), random.getstate(), numpy)


def _repeats(split: Any) -> bool:
    """True if a split gives the same photo twice, and draws no random number for it."""
    before = _random_states()
    rows = sorted({0, len(split) // 2, len(split) - 1}) if len(split) else []
    for i in rows:
        (one, first), (two, second) = split[i], split[i]
        if not (isinstance(one, Tensor) and torch.equal(one, two)) or not _same(first, second):
            return False
    return bool(rows) and _random_states() == before


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    return bool(operator.eq(a, b))
