"""JSON that others may have written: read with a limit, checked by a form, refused in a sentence.

A form says what a value must be, and allows what it does not name:

| form                  | the value                                                     |
| --------------------- | ------------------------------------------------------------- |
| a type, `None`        | of that type (a whole number is a float, True is no number)   |
| `Number(low, high)`   | a finite number in that range; `whole=True`: an integer       |
| `Each(form, n, m)`    | a list of n to m such values                                  |
| `{str: form}`         | an object with any keys                                       |
| `{"a": f, "b?": g}`   | an object with `a`, and perhaps `b`                           |
| `(f, g)`              | one of them                                                   |
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftcourse.models.states import known_architecture, regular_file

__all__ = [
    "HEADER", "HISTORY", "REPORT", "SETTINGS", "Each", "Number", "check_header", "fault", "parse", "read_record",
]  # fmt: skip

LARGEST = 1 << 28  # bytes of a JSON file; a report of a thousand classes has about ten megabytes
DEEPEST = 60  # lists in lists


@dataclass(frozen=True)
class Number:
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False


@dataclass(frozen=True)
class Each:
    form: Any
    least: int = 0
    most: float = math.inf


def fault(value: Any, form: Any, at: str = "") -> str | None:
    """What is wrong with a value, in words that begin with where it is; None if nothing is."""
    if isinstance(form, tuple):
        faults = [fault(value, one, at) for one in form]
        return None if None in faults else faults[-1]
    if isinstance(form, Number):
        return _number(value, form, at)
    if isinstance(form, Each):
        if not isinstance(value, list) or not form.least <= len(value) <= form.most:
            return f"{at} must be a list" + _many(form) + f", and is {_told(value)}"
        return _first(fault(one, form.form, f"{at}[{i}]") for i, one in enumerate(value))
    if isinstance(form, dict):
        return _object(value, form, at)
    if form is None:
        return None if value is None else f"{at} must be null, and is {_told(value)}"
    if form in (int, float):
        return _number(value, Number(whole=form is int), at)
    return (
        None if isinstance(value, form) else f"{at} must be {_TYPES[form]}, and is {_told(value)}"
    )


_TYPES = {
    str: "a text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    object: "anything",
}


def _object(value: Any, form: dict[Any, Any], at: str) -> str | None:
    if not isinstance(value, dict):
        return f"{at or 'it'} must be an object, and is {_told(value)}"
    if str in form:
        return _first(fault(v, form[str], f"{at}.{str(k)[:40]}") for k, v in value.items())
    faults = []
    for key, inner in form.items():
        name = key.removesuffix("?")
        where = f"{at}.{name}" if at else name
        if name in value:
            faults.append(fault(value[name], inner, where))
        elif name == key:
            faults.append(f"{where} is missing")
    return _first(faults)


def _number(value: Any, form: Number, at: str) -> str | None:
    kinds = (int,) if form.whole else (int, float)
    good = type(value) in kinds and form.low <= value <= form.high and abs(value) != math.inf
    if good:  # nan is in no range
        return None
    what = "a whole number" if form.whole else "a number"
    low, high = (None if abs(v) == math.inf else f"{v:g}" for v in (form.low, form.high))
    spans = {(True, True): f" from {low} to {high}", (True, False): f" of at least {low}"}
    return f"{at} must be {what}{spans.get((low is not None, high is not None), '')}, and is {_told(value)}"


def _many(form: Each) -> str:
    if form.most == form.least:
        return f" of {form.least}"
    return f" of at least {form.least}" if form.least else ""


def _first(faults: Any) -> str | None:
    return next((one for one in faults if one is not None), None)


def _told(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    plain = value is None or isinstance(value, (bool, int, float, str))
    text = json.dumps(value) if plain else f"a {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."


# -- reading -----------------------------------------------------------------------------------


def parse(text: str | bytes, source: Any) -> Any:
    """JSON from anywhere.

    Raises:
        ValueError: it is none, or is nested too deep; the message names `source`.
    """
    try:
        value = json.loads(text)
    except RecursionError as err:
        raise ValueError(f"{source}: damaged, or not of this package (nested too deep)") from err
    except ValueError as err:  # also UnicodeDecodeError, and a whole number of over 4300 digits
        raise ValueError(f"{source}: damaged, or not of this package ({_one_line(err)})") from err
    if _deeper_than(value, DEEPEST):
        raise ValueError(f"{source}: damaged, or not of this package (nested too deep)")
    return value


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for one in layer
            if isinstance(one, (list, dict))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not layer:
            return False
    return True


def read_record(
    path: str | Path, form: Any, more: Callable[[Any], str | None] | None = None
) -> Any:
    """A JSON file that has a form, and for which `more` finds no fault.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged or has another form; the message names the file, what is wrong and where.
    """
    path = Path(path)
    regular_file(path, "file")
    if path.stat().st_size > LARGEST:
        raise ValueError(
            f"{path}: has {path.stat().st_size / 1e6:.0f} MB, so it is none of this package"
        )
    value = parse(path.read_bytes(), path)
    wrong = fault(value, form) or (more(value) if more else None)
    if wrong is not None:
        raise ValueError(f"{path}: damaged, or not of this package: {wrong}")
    return value


def _one_line(err: BaseException) -> str:
    return " ".join(str(err).split())[:120] or type(err).__name__


# -- the forms ---------------------------------------------------------------------------------

SIDE = Number(1, 4096, whole=True)  # pixels; a side of 4096 takes 200 MB a photo as float32
COUNT = Number(0, 1e12, whole=True)
SHARE = Number(0, 1)
COLOURS = Each(Number(-1e3, 1e3), 3, 3)
SEED = Number(-(2**63), 2**64 - 1, whole=True)

# The header of a model's file: `save_model` writes it, `load_model` believes it.
HEADER = {
    "architecture": str,
    "classes": Each(str, 1, 1_000_000),
    "crop_size?": SIDE,
    "resize_size?": SIDE,
    "working_size?": SIDE,
    "mean?": COLOURS,
    "std?": Each(Number(1e-6, 1e3), 3, 3),
    "weights?": (str, None),
    "origins?": Each(str),
    "transform_input?": bool,
    "grey_bits?": Number(0, 32, whole=True),
    "groups?": (str, None),
    "layout?": (str, None),
    "columns?": (str, None),
    "labels?": (str, None),
    "seed?": SEED,
    "temperature?": Number(0.01, 100),
    "version?": str,
}

# What a run was made from: `settings.json`.
SETTINGS = {
    "strategy": str,
    "epochs": (Number(1, 1e9, whole=True), None),
    "seed": SEED,
    "weights": str,
    "backbone": str,
    "size": (Number(16, 1e6, whole=True), None),
    "batch_size": Number(2, 1e9, whole=True),
    "on_error": str,
    "groups?": (str, None),
    "layout?": (str, None),
    "keep_placeholders?": bool,
    "lr?": (Number(0, 1e6), None),
    "augment?": str,
    "class_weights?": (str, None),
    "early_stopping?": COUNT,
    "label_smoothing?": SHARE,
    "mix?": (str, None),
    "ema?": (SHARE, None),
    "bf16?": bool,
    "device?": (str, None),
    "workers?": COUNT,
    "time_budget?": (Number(0, 1e9), None),
    "log?": (str, None),
    "columns?": (str, None),
    "labels?": (str, None),
    "photos": str,
    "planned_epochs?": (Number(1, 1e9, whole=True), None),
}

# `history.json`, and the history in a checkpoint.
EPOCH = {"epoch": COUNT, "stage": COUNT, "train": str, "seconds?": Number(0, 1e12)}
HISTORY = {
    "epochs": Each(EPOCH),
    "stages": Each({"train": (str, Each(str)), "epochs": Number(1, 1e9, whole=True)}),
    "findings?": Each(dict),
    "best": {"epoch?": COUNT},
    "settings": dict,
    "notes?": Each(str),
    "stopped?": str,
    "score?": str,
}

# What pages are made from: `report.json`.
REPORT = {
    "origins?": Each(str),
    "name": str,
    "source": str,
    "classes": Each(str, 1),
    "counts": {str: COUNT},
    "counts_per_class": {str: {str: COUNT}},
    "strategy": str,
    "seed": SEED,
    "weights": str,
    "backbone": str,
    "size": SIDE,
    "epochs": COUNT,
    "command": str,
    "notes": Each(str),
    "data_notes": Each(str),
    "versions": {str: str},
    "audit": ({"findings": Each({"message": str, "severity": str, "kind": str, "files": Each(str)})}, None),
    "baselines": {"majority": SHARE, "linear_probe": SHARE},
    "baseline_details": {"majority_class": str},
    "test": {
        "accuracy": SHARE,
        "accuracy_interval": Each(SHARE, 2, 2),
        "macro_f1": SHARE,
        "ece": SHARE,
        "samples": COUNT,
        "without_near_copies?": {"left_out": COUNT, "accuracy": (SHARE, None)},
        "per_class": Each(
            {
                "class": str,
                "precision": (SHARE, None),
                "recall": (SHARE, None),
                "f1": (SHARE, None),
                "support": COUNT,
            }
        ),
        "confusion": Each(Each(COUNT)),
    },
}  # fmt: skip


def check_header(header: Any) -> str | None:
    """What is wrong with the header of a model's file; None if nothing is."""
    if wrong := fault(header, HEADER):
        return wrong
    if not known_architecture(header["architecture"]):
        name = header["architecture"][:60]
        return f"its architecture {name!r} is none of torchvision's classifiers or timm's networks"
    if len(set(header["classes"])) < len(header["classes"]):
        return "it names a class twice"
    return None
