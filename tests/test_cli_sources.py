"""From a table, or from labels in file names, to a run and back: train, resume, evaluate, audit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.shapes import draw_photos
from tests.test_cli import QUICK, ftcourse, told


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Photos in images/, their classes in a column that no name tells."""
    lines = ["image_id,kind,remark"]
    for path in sorted(draw_photos(tmp_path / "shapes", photos=8).rglob("*.png")):
        name = f"{path.parent.name}_{path.stem}"
        (tmp_path / "set" / "images").mkdir(parents=True, exist_ok=True)
        shutil.move(path, tmp_path / "set" / "images" / f"{name}.png")
        lines.append(f"{name},{path.parent.name},{len(lines)}")
    (tmp_path / "set" / "train.csv").write_text("\n".join(lines))
    return tmp_path / "set" / "train.csv"


def test_a_run_from_a_table_remembers_its_columns(table, tmp_path):
    run, columns = tmp_path / "run", ["--columns", "label=kind"]
    message = told("train", table, "--out", run, *QUICK)
    assert "which column is the label?" in message and "use --columns label=NAME" in message
    ftcourse("train", table, "--out", run, *QUICK, *columns)
    report = json.loads((run / "report.json").read_text())
    assert report["classes"] == ["circle", "square", "stripes"] and report["name"] == "train.csv"
    assert "--columns label=kind" in report["command"]
    assert all(one["file"].startswith("images/") for one in report["worst"])

    result = json.loads(ftcourse("evaluate", run, table, "--json").stdout)
    assert result["samples"] == report["test"]["samples"]
    assert result["accuracy"] == report["test"]["accuracy"]
    assert result["trained_on"]["same_file"] == 0
    everything = json.loads(
        ftcourse("evaluate", run, table.parent, "--split", "all", "--json").stdout
    )
    assert everything["samples"] == 24

    others = ["--columns", "label=kind,split="]
    message = told("train", table, "--out", run, *QUICK, *others, "--resume")
    assert "was started with --columns label=kind, not label=kind,split=" in message
    ftcourse("train", table, "--out", run, *QUICK, *columns, "--resume")


def test_a_run_from_file_names_remembers_the_expression(table, tmp_path):
    photos, run = table.parent / "images", tmp_path / "run"
    assert "use --labels REGEX" in told("train", photos, "--out", run, *QUICK)
    ftcourse("train", photos, "--out", run, *QUICK, "--labels", "([a-z]+)_")
    report = json.loads((run / "report.json").read_text())
    result = json.loads(ftcourse("evaluate", run, photos, "--json").stdout)
    assert result["accuracy"] == report["test"]["accuracy"]
    assert result["samples"] == report["test"]["samples"]
    shown = draw_photos(tmp_path / "folders", photos=2)  # class folders, for the same run
    given = ["--split", "all", "--layout", "classes", "--json"]
    assert json.loads(ftcourse("evaluate", run, shown, *given).stdout)["samples"] == 6


def test_audit_reads_tables_and_names_too(table):
    for words in (
        [table, "--columns", "label=kind"],
        [table.parent / "images", "--labels", "([a-z]+)_"],
    ):
        found = json.loads(ftcourse("audit", *words, "--json").stdout)
        assert found["counts"]["all"] == {"circle": 8, "square": 8, "stripes": 8} and found["ok"]
    assert "'kind' is none of file, label" in told("audit", table, "--columns", "kind=label")
