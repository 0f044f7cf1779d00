"""`ftcourse predict` for many photos: lists, the standard input, tables, ONNX files, files that cannot be read."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import csv
import io
import json
import shutil
import sys

import pytest
from typer.testing import CliRunner

import ftcourse as ft
from ftcourse.cli import app
from ftcourse.shipping import answers, onnx_run
from ftcourse.shipping.export import export
from tests.shapes import photos, run
from tests.test_cli import SEPARATE, ftcourse, told


def files_in(result) -> list[str]:
    return [answer["file"] for answer in json.loads(result.stdout)]


def test_names_come_from_lists_and_the_standard_input_with_any_line_ends(run, photos, tmp_path):
    one, two, three = (str(photos / "circle" / f"0{i}.png") for i in range(3))
    (tmp_path / "lf.txt").write_text(f"{one}\n\n{two}\n")
    (tmp_path / "crlf.txt").write_bytes(f"\ufeff{two}\r\n{three}\r\n".encode())
    words = ["predict", run, f"@{tmp_path / 'lf.txt'}", "--list", tmp_path / "crlf.txt", "--json"]
    assert files_in(ftcourse(*words)) == [one, two, three]
    for typed in (f"{three}\n{one}", f"{three}\0{one}\0"):
        result = CliRunner(**SEPARATE).invoke(
            app, ["predict", str(run), "-", "--json"], input=typed
        )
        assert files_in(result) == [three, one]


def test_a_list_that_is_missing_or_a_photo_is_told(run, photos, tmp_path):
    assert "no.txt" in told("predict", run, "--list", tmp_path / "no.txt")
    assert "is a photo, not a list" in told("predict", run, f"@{photos / 'circle' / '00.png'}")
    assert "no file is named" in told("predict", run)


def test_a_table_has_a_row_for_each_file_also_for_odd_names_and_bad_ones(run, photos, tmp_path):
    odd = tmp_path / 'two\nlines, "and" more.png'
    shutil.copy(photos / "square" / "00.png", odd)
    (tmp_path / "bad.jpg").write_text("no photo")
    words = ["predict", run, odd, tmp_path / "bad.jpg", "~nobody.jpg", "x" * 5000, "--top", 2]
    result = ftcourse(*words, "--csv", tmp_path / "new" / "answers.csv", code=1)
    lines = result.stdout.splitlines()
    assert len(lines) == 1 and "two\\nlines" in lines[0]  # the line output stays a line a photo
    assert result.stderr.splitlines()[-1] == "ftcourse: 3 of 4 files could not be read"
    written = (tmp_path / "new" / "answers.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(written)))
    assert list(rows[0]) == ["file", "class", "probability", "class_2", "probability_2", "error"]
    assert rows[0]["file"] == str(odd) and 0 < float(rows[0]["probability_2"]) < 1
    assert rows[1]["class"] == "" and "cannot be decoded" in rows[1]["error"]
    assert "no such file" in rows[2]["error"] and rows[3]["error"]
    assert ftcourse(*words, "--format", "csv", code=1).stdout == written


def test_a_bar_is_shown_on_stderr_for_many_photos_only(run, photos, monkeypatch):
    assert "photo" not in ftcourse("predict", run, photos / "circle", "--format", "csv").stderr
    monkeypatch.setattr(answers, "MANY", 5)
    result = ftcourse("predict", run, photos / "circle", "--format", "csv")
    assert "10/10" in result.stderr and len(result.stdout.splitlines()) == 11


def test_an_onnx_file_answers_as_the_run_does_and_says_what_it_lacks(
    run, photos, tmp_path, monkeypatch
):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    file = export(run, "onnx", tmp_path / "m.onnx").path
    assert repr(ft.load_run(file)) == repr(ft.load_run(run))
    words = [photos / "circle", "--json"]
    expected, found = (json.loads(ftcourse("predict", r, *words).stdout) for r in (run, file))
    assert [a["file"] for a in found] == [a["file"] for a in expected]
    for a, b in zip(found, expected, strict=True):
        assert a["class"] == b["class"] and abs(a["probability"] - b["probability"]) < 1e-4
    assert "give the folder of the run" in told("evaluate", file, photos)
    (tmp_path / "bad.onnx").write_bytes(b"\x80" * 30)
    assert "bad.onnx: not a readable ONNX file" in told("predict", tmp_path / "bad.onnx", photos)
    monkeypatch.setattr(onnx_run.importlib.util, "find_spec", lambda name: None)
    assert 'pip install "ftcourse[onnx]"' in told("predict", file, photos)
