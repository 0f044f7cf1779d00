"""Does a data set give the same item whenever it is read, and is it still what it was?

Neither is guessed from a few items. A data set says that it repeats itself (`why_not`), and what it is made of is
compared by identity and version (`state_of`). Reading some items twice can only refuse (`looked_at`).
"""

from __future__ import annotations

import random
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset, Subset
from torchvision import transforms as v1
from torchvision.transforms import _presets, v2

from ftcourse.data.photos import PhotoCache
from ftcourse.data.splits import Split
from ftcourse.models import modes

__all__ = [
    "NotKept",
    "Same",
    "alive",
    "changed",
    "looked_at",
    "mark",
    "random_kept",
    "random_states",
    "state_of",
    "why_not",
]

# Transforms of torchvision that have no chance in them. Their exact types: a subclass may do anything.
_STEADY = {
    *(nn.Identity, _presets.ImageClassification, _presets.SemanticSegmentation),
    *(
        getattr(library, name)
        for library in (v1, v2)
        for name in (
            *(
                "CenterCrop",
                "ConvertImageDtype",
                "FiveCrop",
                "Grayscale",
                "Identity",
                "Normalize",
                "Pad",
            ),
            *("PILToTensor", "RGB", "Resize", "TenCrop", "ToDtype", "ToImage", "ToPILImage"),
            *("ToPureTensor", "ToTensor"),
        )
        if hasattr(library, name)
    ),
}
_CHAINS = (v1.Compose, v2.Compose, nn.Sequential)


class NotKept(ValueError):
    """Why the features of a data set cannot be kept."""


# -- what a data set says ----------------------------------------------------------------------


def why_not(split: Any) -> str | None:
    """Why a data set is not taken to give the same item each time; None if it is.

    A `Split` does with a transform that is known to be free of chance, or that says `repeats = True`; any other
    data set does if it has that attribute itself. Subsets and concatenations are what their parts are.
    """
    if isinstance(split, Subset):
        return why_not(split.dataset)
    if isinstance(split, ConcatDataset):
        return next((reason for part in split.datasets if (reason := why_not(part))), None)
    if not _is_split(split):
        if getattr(split, "repeats", False) is True:
            return None
        return (
            f"{type(split).__name__} does not say that its items are the same each time; if they are, set "
            f"its attribute: repeats = True"
        )
    if not isinstance(split.images, (Tensor, PhotoCache, list, tuple)):
        return f"its images are a {type(split.images).__name__}, which is not known to repeat"
    part = _unsteady(split.transform)
    if part is None:
        return None
    name = getattr(part, "__name__", type(part).__name__)
    if type(part).__module__.startswith("torchvision.") and not isinstance(
        part, (v1.Lambda, v2.Lambda)
    ):
        return f"its transform {name} draws anew each time"
    return (
        f"its transform {name} does not say that it gives the same image each time; if it does, set "
        f"the attribute of that transform: repeats = True"
    )


def _is_split(split: Any) -> bool:
    """True for a split of this package that reads its items as this package does."""
    read = (getattr(type(split), name, None) for name in ("__getitem__", "image", "_transformed"))
    ours = (getattr(how, "__module__", "").startswith("ftcourse.") for how in read)
    return isinstance(split, Split) and all(ours)


def _unsteady(transform: Any) -> Any:
    """The first part of a transform that is not known to repeat itself; None if all are."""
    if transform is None or getattr(transform, "repeats", False) is True:
        return None
    if type(transform) in _CHAINS:
        parts = getattr(transform, "transforms", transform)
        return next((part for p in parts if (part := _unsteady(p)) is not None), None)
    return None if type(transform) in _STEADY else transform


# -- what it is made of ------------------------------------------------------------------------


class Same:
    """Stands for one object: equal to another of its kind only while both stand for that very object.

    It does not keep the object alive. An `id` may be given to another object later; this is then equal to nothing.
    """

    def __init__(self, x: Any) -> None:
        self._object: Callable[[], Any]
        try:
            self._object = weakref.ref(x)
        except TypeError:  # some built-in kinds cannot be referred to weakly
            self._object = lambda: x

    def __eq__(self, other: object) -> bool:
        mine = self._object()
        return isinstance(other, Same) and mine is not None and mine is other._object()

    __hash__ = None  # type: ignore[assignment]


_PLAIN = (
    *(type(None), bool, int, float, complex, str, bytes, np.generic, PurePath),
    *(torch.dtype, torch.device, torch.Size, torch.memory_format),
)
_LARGE = 2**26  # bytes of a NumPy array beyond which its contents are not compared
_OF_EVERY_MODULE = set(vars(nn.Module()))
_PARTS = {"_modules", "_parameters", "_buffers"}
_NOT_READ = {"paths", "classes", "class_to_idx", "any_thread"}  # of a Split: not part of an item


def mark(x: Any, depth: int = 5) -> Any:
    """What tells a value from another one: numbers, texts and lists by what they hold, all else by identity.

    A tensor goes by its identity and its version, which each change in place through PyTorch raises; a NumPy array
    (up to 64 MB) by its identity and its contents; what is called (a transform) by its identity and its settings.
    """
    if isinstance(x, _PLAIN):
        return type(x), x
    if isinstance(x, Tensor):
        return Same(x), None if x.is_inference() else x._version
    if isinstance(x, np.ndarray):
        by_contents = x.nbytes <= _LARGE and not x.dtype.hasobject
        return Same(x), zlib.crc32(x.tobytes()) if by_contents else None
    if depth and isinstance(x, (list, tuple)):
        if all(isinstance(one, _PLAIN) for one in x):
            return type(x), tuple(x), tuple(map(type, x))  # True is 1, but collates otherwise
        return type(x), tuple(mark(one, depth - 1) for one in x)
    if depth and isinstance(x, Mapping):
        return type(x), tuple((mark(k, depth - 1), mark(v, depth - 1)) for k, v in x.items())
    if depth and (callable(x) or isinstance(x, Dataset)) and not isinstance(x, type):
        return Same(x), settings(x, depth - 1, parts=True)
    return Same(x)


def settings(x: Any, depth: int = 4, parts: bool = False) -> tuple:
    """The marks of an object's attributes; of a module without weights, modules inside (but `parts`) and hooks."""
    hidden = _OF_EVERY_MODULE - (_PARTS if parts else set()) if isinstance(x, nn.Module) else set()
    own = getattr(x, "__dict__", {})
    return tuple((name, mark(value, depth)) for name, value in own.items() if name not in hidden)


def state_of(split: Any, name: str = "") -> dict[str, Any]:
    """Marks by name of all that the items of a data set are made of; equal ones make the same items."""
    ours = _is_split(split)
    found = {name + "type": Same(type(split)) if ours else Same(split)}
    for key, value in getattr(split, "__dict__", {}).items():
        if isinstance(value, Dataset):
            found |= state_of(value, f"{name}{key}.")
        elif not (ours and key in _NOT_READ):
            found[name + key] = mark(value)
    return found


def alive(marks: Any) -> bool:
    """True if all objects that marks stand for are still there."""
    if isinstance(marks, Same):
        return marks == marks  # nothing equals one whose object is gone
    if isinstance(marks, Mapping):
        return all(map(alive, marks.values()))
    return not isinstance(marks, tuple) or all(map(alive, marks))


def changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The name of something that is not what it was; None if all is."""
    return next(
        (n for n in {**then, **now} if n not in then or n not in now or then[n] != now[n]), None
    )


# -- reading it, which can only refuse -----------------------------------------------------------


def looked_at(split: Any, again: bool = True) -> tuple[dict[int, tuple[Any, Any]], set[str]]:
    """Three items by their number, and the attributes that change by reading (counters, what is kept).

    Raises:
        NotKept: `again` is asked for, and an item is another one the second time, or reading draws random numbers.
    """
    before, state = random_states(), state_of(split)
    found = {i: split[i] for i in sorted({0, len(split) // 2, len(split) - 1})}
    for i, item in found.items() if again else ():
        if not same_item(item, split[i]):
            raise NotKept(f"its item {i} is another one when it is read again")
    if again and random_states() != before:
        raise NotKept("to read its items draws random numbers")
    now = state_of(split)
    return found, {name for name in now if name not in state or state[name] != now[name]}


def same_item(one: Any, two: Any) -> bool:
    """True if two items are equal: tensors and arrays by their numbers, also inside of dicts, lists and tuples."""
    if type(one) is not type(two):
        return False
    if isinstance(one, (Tensor, np.ndarray)):
        return one.shape == two.shape and bool((one == two).all())
    if isinstance(one, Mapping):
        return one.keys() == two.keys() and all(same_item(one[k], two[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same_item, one, two))
    return bool(one == two)


def random_states() -> tuple:
    """The state of each random number generator that everybody shares: PyTorch's, NumPy's, Python's."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    numpy = tuple(a.tobytes() if isinstance(a, np.ndarray) else a for a in np.random.get_state())
    torch_states = [s.numpy().tobytes() for s in (torch.get_rng_state(), *gpus)]
    return (*torch_states, numpy, random.getstate())


@contextmanager
def random_kept() -> Iterator[None]:
    """Afterwards those generators are where they were."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with modes.random_kept(torch_too=False), torch.random.fork_rng(devices=gpus):
        yield
