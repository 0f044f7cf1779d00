"""Settings of a run from a file: `ftcourse train --config FILE`, hand-written or a run's `settings.json`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftcourse.models.states import regular_file
from ftcourse.reporting.report import Settings
from ftcourse.training.records import LARGEST, SETTINGS, fault

__all__ = ["read_settings"]

RECORDED = ("photos", "planned_epochs")  # what a run writes beside its settings
FORM = {name.removesuffix("?"): form for name, form in SETTINGS.items()}
KNOWN = [name for name in FORM if name not in RECORDED]


def read_settings(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a JSON object names, for `Settings`; what is `given` wins.

    `batch-size` is read as `batch_size`. What `settings.json` has beside its settings is passed over.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no JSON object, a key is unknown, or a value makes no sense; the message names file
            and key.
    """
    regular_file(path, "file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: is too large for a file of settings")
    try:
        asked = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as err:
        raise ValueError(f"{path}: is no JSON ({err})") from err
    if not isinstance(asked, dict):
        raise ValueError(f'{path}: must be an object, such as {{"epochs": 5}}')
    found = {}
    for key, value in asked.items():
        name = key.replace("-", "_")
        if name in RECORDED:
            continue
        if name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KNOWN)}"
            raise ValueError(f"{path}: there is no setting {key!r}; {hint}")
        form = FORM[name]
        if isinstance(form, tuple) and value is not None:
            form = form[0]  # or its fault would be that it is not null
        if wrong := fault(value, form, key):
            raise ValueError(f"{path}: {wrong}")
        found[name] = value
    try:
        Settings(**found)
    except ValueError as err:
        raise ValueError(f"{path}: {err}") from err
    return {**found, **given}
