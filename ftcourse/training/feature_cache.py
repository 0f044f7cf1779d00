"""The output of what is frozen, computed once and kept.

In training the frozen part of a model gives the same output for the same photo in each epoch. `FeatureCache`
computes it once, so that an epoch costs only what trains. That changes the result by float rounding and no more:
same batches, same order, same random numbers. Where it cannot be promised, nothing is kept:

- data is kept if it says that it repeats itself (`ftcourse.training.repeats`), and while it stays what it was;
- a photo that random augmentation changes each time is computed anew in each epoch, without a graph (`views=k`
  keeps k augmented versions of it instead, which is another, smaller augmentation);
- a model whose computation cannot be cut in two (hooks, branches that depend on data, several tensors across
  every possible cut) runs as it is;
- the first images that take a shortcut go through the model itself, too: if both do not agree, there is none.

`FeatureCache.notes` says what was done, and why no more.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from ftcourse.training.frozen_prefix import Cut, Prefix, cut_model, disagreement
from ftcourse.training.repeats import (
    NotKept,
    alive,
    changed,
    looked_at,
    random_kept,
    random_states,
    state_of,
    why_not,
)
from ftcourse.training.stages import Stage, apply_stage

__all__ = ["FeatureCache", "KeptFeatures", "Shortcut"]

BUDGET = 2**30  # bytes of features kept in memory; what is beyond goes into a memory-mapped file


class KeptFeatures(Dataset):
    """The kept features of a split, with its targets: item i is (features[i], targets[i]).

    With several views of each photo, `view` says which of them is given out. Once `lapsed`, items are those of the
    split itself.
    """

    def __init__(
        self, features: Tensor, targets: list[Any], views: int = 1, split: Any = None
    ) -> None:
        self.features, self.targets, self.views, self.view = features, targets, views, 0
        self.split, self.lapsed = split, False

    def __len__(self) -> int:
        return len(self.split) if self.lapsed else len(self.targets) // self.views

    def __getitem__(self, i: int) -> tuple[Tensor, Any]:
        if self.lapsed:
            return self.split[i]
        row = self.view * len(self) + i
        return self.features[row], self.targets[row]

    @staticmethod
    def collate(items: list[tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
        """A batch as PyTorch makes it, the features in channels_last."""
        return _stack(items), default_collate([target for _, target in items])


@dataclass
class Shortcut:
    """How one split reaches the model: `data` to load from, and what `model(...)` then computes.

    It holds as long as what it has taken over stays as it is: the frozen part of the model, and data whose
    features are kept. That is looked at before each epoch; if a callback has changed something, the rest of the
    stage takes the model and the data as they are, and a note says so.
    """

    data: Any
    cut: Cut | None = None
    prefix: Prefix | None = None  # to be run before the rest; None if `data` has features already
    cache: FeatureCache | None = None  # which is told what happens
    state: dict[str, Any] = field(default_factory=dict)  # of the split whose features are kept
    _of_model: dict[str, Any] | None = None
    _checked: bool = False

    @contextmanager
    def taken(self, model: nn.Module, epoch: int = 0) -> Iterator[None]:
        """Within it, `model(x)` takes what `data` holds: features, or photos that need no graph at first."""
        self._look_for_changes(model)
        if self.cut is None:
            yield
            return
        if isinstance(self.data, KeptFeatures):
            self.data.view = epoch % self.data.views
        rest = self.cut.rest(model)
        model.forward = self._through(model, rest) if self.prefix else rest.forward  # type: ignore[method-assign]
        try:
            yield
        finally:
            del model.forward  # the class's own again

    def _look_for_changes(self, model: nn.Module) -> None:
        if self.cut is None:
            return
        of_model = self.cut.state(model)
        self._of_model = self._of_model or of_model
        found = {"the frozen part of the model": changed(self._of_model, of_model)}
        if isinstance(self.data, KeptFeatures):
            now = state_of(self.data.split)
            held = {name: now[name] for name in self.state if name in now}
            found["the data"] = changed(self.state, held)
        for what, name in found.items():
            if name is not None and self.cut is not None:
                self._lapse(
                    f"{what} changed ({name}): what was kept is not used in that stage any more"
                )

    def _lapse(self, note: str, finding: str | None = None) -> None:
        self.cut = None
        if isinstance(self.data, KeptFeatures):
            self.data.lapsed = True
        if self.cache is not None:
            self.cache.tell(note, finding)

    def _through(self, model: nn.Module, rest: nn.Module) -> Callable[[Any], Any]:
        """Prefix and rest, which the first batch compares with the model itself."""

        def forward(images: Any) -> Any:
            if not self._checked and self.cut is not None:
                self._checked = True
                self._compare(model, images)
            if self.cut is None:
                return type(model).forward(model, images)
            return rest(self.prefix(images))  # type: ignore[misc]

        return forward

    def _compare(self, model: nn.Module, images: Any) -> None:
        if not isinstance(images, Tensor):
            self._lapse("nothing is kept: its inputs are not tensors")
            return
        try:
            wrong = disagreement(model, self.cut, self.prefix, images[:_COMPARED])  # type: ignore[arg-type]
        except ValueError as err:
            self._lapse(f"nothing is kept: {err}")
            return
        if wrong:
            self._lapse(_MISMATCH, wrong)


_COMPARED = 3  # images of the first batch that are computed both ways
_MISMATCH = "nothing is kept: both halves of the model do not compute what the whole does"


@dataclass
class _Entry:
    """Features of one split, and what they are features of."""

    fingerprint: tuple
    drawn: tuple  # views and seed of an augmented split
    state: dict[str, Any]
    features: Tensor
    targets: list[Any]
    run: int = 0  # the last run that used them


class FeatureCache:
    """Outputs of frozen parts, kept across epochs and stages; across runs, if they are given one object.

    What earlier runs left is let go, the least recently used first, where a run needs the room.

    Args:
        budget: bytes of features kept in memory; what does not fit goes into a file in `folder`, mapped into
            memory. The file is removed with the cache (on Linux and macOS its name at once).
        folder: where that file goes; by default a folder for temporary files that is not in memory itself.
        enabled: False computes everything in each epoch.
    """

    def __init__(
        self, budget: int = BUDGET, folder: str | Path | None = None, enabled: bool = True
    ) -> None:
        self.budget, self.enabled = budget, enabled
        self.folder = Path(folder) if folder else _folder_on_disk()
        self.notes: list[str] = []
        self.findings: list[dict[str, Any]] = []
        self._kept: list[_Entry] = []  # the most recently used last
        self._run = 0
        self._files: list[str] = []
        weakref.finalize(self, _remove, self._files)

    @classmethod
    def of(cls, choice: bool | str | Path | FeatureCache) -> FeatureCache:
        """What the `cache` argument of `finetune` means: True, False, a folder, or a cache to share."""
        if isinstance(choice, FeatureCache):
            choice._run += 1
            return choice
        if isinstance(choice, bool):
            return cls(enabled=choice)
        with suppress(OSError):  # which is told when a file is needed
            Path(choice).mkdir(parents=True, exist_ok=True)
        return cls(folder=choice)

    @property
    def used(self) -> int:
        """Bytes of the features kept in memory."""
        return sum(_bytes(e.features) for e in self._kept if not _mapped(e.features))

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
            self.tell(f"nothing is kept: {err}")
            cut = None
        if cut is None:
            return Shortcut(train), Shortcut(val)
        if cut.stopped:
            self.tell(f"more is frozen than is computed once, up to {cut.at}: {cut.stopped}")
        depth = len(cut.before.nodes)
        ahead = later if later and len(later[0][0].before.nodes) <= depth else ()
        learnt = list(takewhile(lambda pair: pair[1], ahead))  # they train on the same photos
        prefix = first = cut.prefix(model, earlier=[c for c, _ in ahead])
        if bf16 or len(learnt) < len(ahead):
            first = cut.prefix(model, bf16=bf16, earlier=[c for c, _ in learnt])
        learn = self._shortcut(model, cut, first, train, keep, views, seed)
        same = judged is None or judged is model
        if not same and cut.prefix(judged).fingerprint != prefix.fingerprint:  # type: ignore[arg-type]
            return learn, Shortcut(val)
        return learn, self._shortcut(model, cut, prefix, val)

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

    def tell(self, note: str, finding: str | None = None) -> None:
        """Keep a note, once; with a finding too, where a shortcut was found to be wrong."""
        if note not in self.notes:
            self.notes.append(note)
        if finding:
            what = (
                "the frozen part, computed apart, did not give what the model gives: it is not used"
            )
            fix = (
                "nothing: training goes on with the model itself. Please report it, with the model"
            )
            self.findings.append(
                {"name": "shortcut refused", "what": what, "evidence": finding, "fix": fix}
            )

    def _shortcut(
        self, model: nn.Module, cut: Cut, prefix: Prefix, split: Any,
        keep: bool = True, views: int | None = None, seed: int = 0,
    ) -> Shortcut:  # fmt: skip
        if not hasattr(split, "__len__") or len(split) == 0:
            return Shortcut(split)
        reason = why_not(split) if keep else "its images are mixed anew each time"
        try:
            if keep and (reason is None or views):
                drawn = () if reason is None else (views or 1, seed)
                return self._of_kept(model, cut, prefix, split, drawn)
        except NotKept as err:
            reason = str(err)
        except ValueError as err:
            self.tell(f"nothing is kept: {err}")
            return Shortcut(split)
        photos = f"up to {cut.at}, {len(split)} photos"
        self.tell(f"computed each epoch, without a graph: {photos} ({reason})")
        return Shortcut(split, cut, prefix, self)

    def _of_kept(
        self, model: nn.Module, cut: Cut, prefix: Prefix, split: Any, drawn: tuple
    ) -> Shortcut:
        """A shortcut from features that are kept, after a look whether they are right.

        Raises:
            NotKept: the data does not repeat itself after all, or there is no room.
            ValueError: its inputs cannot be computed in batches.
        """
        with random_kept():
            items, restless = looked_at(split, again=not drawn)
            entry = self._entry(prefix, split, drawn, restless)
        rows = sorted({min(items), max(items)})
        images = _stack([items[i] for i in rows]).to(prefix.device)
        kept = None if drawn else entry.features[rows].to(prefix.device)  # a view is drawn anew
        wrong = disagreement(model, cut, prefix, images, kept)
        if wrong:
            self._kept = [e for e in self._kept if e is not entry]
            self.tell(_MISMATCH, wrong)
            return Shortcut(split)
        where = "in a file" if _mapped(entry.features) else "in memory"
        size = _bytes(entry.features) / 2**20
        self.tell(f"computed once: up to {cut.at}, {len(split)} photos, {size:.1f} MB {where}")
        data = KeptFeatures(entry.features, entry.targets, drawn[0] if drawn else 1, split)
        return Shortcut(data, cut, cache=self, state=entry.state)

    def close(self) -> None:
        """Free the memory and remove the files."""
        self._kept.clear()
        _remove(self._files)

    def _entry(self, prefix: Prefix, split: Any, drawn: tuple, restless: set[str]) -> _Entry:
        """The features of a split, computed now if they are not there."""
        self._kept = [e for e in self._kept if alive(e.state)]
        before = state_of(split)
        for entry in self._kept:
            held = {name: before.get(name) for name in entry.state}
            if (entry.fingerprint, entry.drawn, entry.state) == (prefix.fingerprint, drawn, held):
                break
        else:
            states = random_states()
            features, targets = self._filled(prefix, split, drawn, restless)
            if not drawn and random_states() != states:
                raise NotKept("to read its items draws random numbers")
            after = state_of(split)
            steady = {k: v for k, v in after.items() if k not in restless and before.get(k) == v}
            entry = _Entry(prefix.fingerprint, drawn, steady, features, targets)
        entry.run = self._run
        self._kept = [e for e in self._kept if e is not entry] + [entry]
        return entry

    def _filled(
        self, prefix: Prefix, split: Any, drawn: tuple, restless: set[str]
    ) -> tuple[Tensor, list[Any]]:
        views, seed = drawn or (1, 0)
        n, store = len(split), None
        targets: list[Any] = []
        source, compute = split, prefix
        if prefix.after:
            entry = self._entry(prefix.after, split, drawn, restless)
            source = KeptFeatures(entry.features, entry.targets, views, split)
            compute = prefix.go_on  # type: ignore[assignment]
        row = 0
        for view in range(views):
            if prefix.after:
                source.view = view
            if drawn:
                torch.manual_seed((seed * 1_000_003 + view) ^ 0x5EED)  # no epoch's own seed
            let_go = getattr(source, "let_go", None) if view + 1 == views else None
            for images, some in _batches(source, prefix.batch, prefix.device, let_go):
                part = compute(images.to(prefix.device)).cpu()
                if store is None:
                    store = self._room(views * n, part)
                store[row : row + len(part)] = part
                row, targets = row + len(part), targets + some
        return store, targets  # type: ignore[return-value]

    def _room(self, rows: int, like: Tensor) -> Tensor:
        """Room for so many rows of features, laid out as these are.

        Raises:
            NotKept: there is none, neither in memory nor on the disk.
        """
        laid = like.movedim(1, -1) if like.ndim == 4 else like  # channels_last
        shape, dtype = (rows, *laid.shape[1:]), like.dtype
        numbers = int(np.prod(shape))
        size = numbers * dtype.itemsize
        self._let_go(lambda: self.used + size <= self.budget, mapped=False)
        if self.used + size <= self.budget:
            store, name = torch.empty(shape, dtype=dtype), None
        else:
            store, name = self._mapped_file(numbers, dtype)
            store = store.view(shape)
        store = store.movedim(-1, 1) if like.ndim == 4 else store
        store.mapped_from = name  # type: ignore[attr-defined]
        return store

    def _let_go(self, enough: Callable[[], bool], mapped: bool) -> None:
        """Let go what earlier runs left, the least recently used first, until there is room enough."""
        for entry in list(self._kept):
            if enough():
                return
            if entry.run < self._run and _mapped(entry.features) == mapped:
                self._kept.remove(entry)

    def _mapped_file(self, numbers: int, dtype: torch.dtype) -> tuple[Tensor, str]:
        size, folder = numbers * dtype.itemsize, self.folder
        if folder is None:
            raise NotKept("no memory left for it, and no folder for temporary files on a disk")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._let_go(lambda: size <= 0.9 * shutil.disk_usage(folder).free, mapped=True)
            if size > 0.9 * shutil.disk_usage(folder).free:
                raise NotKept(f"{size / 2**20:.0f} MB have no room in {folder}")
            handle, name = tempfile.mkstemp(".bin", "ftcourse-features-", folder)
        except OSError as err:
            raise NotKept(f"no file can be made in {folder}: {err.strerror or err}") from err
        try:
            try:
                _reserve(handle, size)
            finally:
                os.close(handle)
            store = torch.from_file(name, shared=True, size=numbers, dtype=dtype)
        except (OSError, RuntimeError) as err:
            _remove([name])
            raise NotKept(f"{size / 2**20:.0f} MB have no room in {folder}") from err
        try:  # the mapping stays, and nothing is left behind however the program ends
            os.unlink(name)
        except OSError:  # Windows keeps a file that is in use
            self._files.append(name)
        return store, name


def _reserve(handle: int, size: int) -> None:
    """Take the room on the disk at once: to write into a mapped file beyond it would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
        return
    zeros = bytes(min(size, 2**22))
    while size:
        size -= os.write(handle, zeros[:size])


def _folder_on_disk() -> Path | None:
    """A folder for temporary files that is not in memory itself: on many systems the usual one is."""
    usual = [tempfile.gettempdir(), "/var/tmp", str(Path.home() / ".cache")]  # nosec B108: by mkstemp
    return next((Path(f) for f in usual if os.access(f, os.W_OK) and not _in_memory(f)), None)


def _in_memory(folder: str | Path) -> bool:
    """True for a folder whose files take memory (tmpfs), as Linux tells it."""
    try:
        mounts = [line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:  # another system
        return False
    path, kind, longest = os.path.realpath(folder), "", -1
    for _, where, this, *_ in mounts:
        root = where.replace("\\040", " ")
        if os.path.commonpath([root, path]) == root and len(root) >= longest:
            kind, longest = this, len(root)
    return kind in ("tmpfs", "ramfs")


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
