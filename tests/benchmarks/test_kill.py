"""The command is killed some times and resumed: the end is that of a run that nobody touched."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("resource")
spec = importlib.util.spec_from_file_location("kill", ROOT / "benchmarks" / "kill.py")
kill = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kill)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_three_kills_at_random_end_in_the_same_bits(tmp_path):
    found = kill.trial(kills=3, each=3, seed=1, folder=tmp_path)
    assert found["kills"] == 3 and found["same"] == found["runs"]
    assert not found["refused"] and not found["with_leftovers_at_the_end"]


def test_the_page_of_fifty_kills_is_made_from_its_numbers():
    found = json.loads((kill.RESULTS / "kill.json").read_text(encoding="utf-8"))
    assert (kill.RESULTS / "kill.md").read_text(encoding="utf-8") == kill.page(found)
    assert found["kills"] >= 50 and found["same"] == found["runs"]
