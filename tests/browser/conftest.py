"""A real JupyterLab in a real Chromium for these tests; see docs/lab.py. `make test-browser` runs them.

Notebooks are copied into a temporary folder and run there. Pictures of what was seen are left in
test-results/browser/. Without playwright or a browser each test is skipped, with the line that gets it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from lab import Server, missing, start_lab  # noqa: E402

RESULTS = ROOT / "test-results" / "browser"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = missing()
    for item in items:
        if why and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {
        "FTCOURSE_PROGRESS": str(tmp_path_factory.mktemp("learner") / "progress.json"),
        "FTCOURSE_PROFILE": "pocket",
    }
    with start_lab(env=env, timeout=100) as running:
        yield running
