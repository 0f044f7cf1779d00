"""`splits.csv` and `predictions.csv` have each photo once, and say what the report and `predict` say."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import ftcourse as ft
from ftcourse.reporting.tables import Answer, read_answers, write_predictions, write_splits
from tests.shapes import photos, run


def rows(file):
    with open(file, newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def test_each_photo_is_in_the_split_that_it_was_drawn_to(run, photos):
    data = ft.load_data(photos)
    found = {(r["file"], r["split"], r["label"]) for r in rows(run / "splits.csv")}
    expected = {
        (path.relative_to(photos).as_posix(), name, path.parent.name)
        for name in ("train", "val", "test")
        for path in getattr(data, name).paths
    }
    assert found == expected and len(expected) == 30


def test_the_answers_are_those_of_the_report_and_of_predict(run, photos):
    report, loaded = json.loads((run / "report.json").read_text()), ft.load_run(run)
    table = rows(run / "predictions.csv")
    assert [r["split"] for r in table] == ["val"] * 6 + ["test"] * 6
    confusion = np.zeros((3, 3), int)
    for r in table[6:]:
        confusion[loaded.classes.index(r["true"]), loaded.classes.index(r["predicted"])] += 1
    assert confusion.tolist() == report["test"]["confusion"]
    for r in table:
        answer = loaded.predict(photos / r["file"])
        assert (r["true"], r["predicted"]) == (answer.file.parent.name, answer.label)
        told = [float(r[f"probability of {name}"]) for name in loaded.classes]
        assert told == pytest.approx(list(answer.probabilities.values()), abs=2e-6)


def test_any_name_comes_back_as_it_was(tmp_path):
    classes, files = ["a,b", 'c"d\ne'], ["x\ny.png", "猫 🐱,.png"]
    write_splits(tmp_path, classes, {"test": (files, [1, 0])})
    assert [r["file"] for r in rows(tmp_path / "splits.csv")] == files
    write_predictions(tmp_path, classes, {"test": (files, [1, 0], np.array([[0.9, 0.1]] * 2))})
    assert read_answers(tmp_path) == {
        files[0]: Answer('c"d\ne', "a,b"),
        files[1]: Answer("a,b", "a,b"),
    }


@pytest.mark.parametrize(
    "content", [b"", b"file,label\nx,y\n", b"\xff\xfe", b"file,split,true,predicted\nx,test\n"]
)
def test_another_table_is_refused_by_its_name(tmp_path, content):
    (tmp_path / "predictions.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"predictions\.csv: damaged, or not of this package"):
        read_answers(tmp_path)


def test_a_run_without_the_table_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="runs of earlier versions have none"):
        read_answers(tmp_path)
