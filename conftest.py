"""What the tests and `pytest --nbval lessons/` need, wherever they are started from."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_configure(config):
    # nbval opens the sanitize file relative to the working directory; anchor it to the repository.
    if getattr(config.option, "nbval_sanitize_with", None) is None:
        config.option.nbval_sanitize_with = str(HERE / "nbval_sanitize.cfg")
    # Tests and notebooks run by tests leave the progress of whoever runs them alone.
    os.environ.setdefault("FTCOURSE_PROGRESS", "off")
    if "PYTEST_XDIST_WORKER" in os.environ:  # several at a time: one thread each is faster
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """Skip notebooks that need a package of an extra which is not installed, and say so."""
    missing = {}
    for item in items:
        if item.path.suffix == ".ipynb":
            if item.path not in missing:
                missing[item.path] = [n for n in _needs(item.path) if not _installed(n)]
            if names := missing[item.path]:
                reason = f"{item.path.name} needs {', '.join(names)}: pip install -e '.[dev]'"
                item.add_marker(pytest.mark.skip(reason=reason))


def _needs(notebook):
    metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
    return metadata.get("ftcourse", {}).get("needs", [])


def _installed(module):
    return importlib.util.find_spec(module) is not None
