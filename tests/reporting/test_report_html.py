"""`report.html` needs no other file, says what `report.md` says, and obeys no name."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import base64
import importlib.util
import json
import re

import pytest
import torch
from torch import nn

import ftcourse as ft
from ftcourse.reporting import where
from ftcourse.reporting.report_html import html_of
from ftcourse.reporting.report_page import headline, page
from ftcourse.reporting.where import draw_where
from tests.conftest import Blobs, tiny_resnet
from tests.shapes import photos, run


def test_the_pictures_of_a_run_are_inside_and_nothing_is_fetched(run):
    text = (run / "report.html").read_text(encoding="utf-8")
    found = [
        base64.b64decode(one) for one in re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    ]
    assert (run / "confusion.png").read_bytes() in found
    assert (run / "curves.png").read_bytes() in found
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_it_has_the_headings_the_headline_and_each_cell_of_the_page(run):
    report, text = json.loads((run / "report.json").read_text()), (run / "report.html").read_text()
    plain = re.sub(r"<[^>]+>", "", text)
    assert headline(report) in plain.replace("&quot;", '"')
    for heading in re.findall(r"^#+ (.*)$", page(report), re.M):
        assert heading in plain
    for line in page(report).splitlines():
        if line.startswith("| ") and "---" not in line:
            cells = [cell.strip().replace("\\", "") for cell in line.strip("| ").split(" | ")]
            assert all(cell in plain for cell in cells), cells


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "![x](http://a/b.png)", "[a](javascript:b)"]
)
def test_a_name_is_shown_and_does_nothing(run, tmp_path, name):
    report = json.loads((run / "report.json").read_text())
    report["name"] = report["classes"][0] = report["test"]["per_class"][0]["class"] = name
    report["counts_per_class"] = {s: {c: 1 for c in report["classes"]} for s in report["counts"]}
    text = html_of(page(report), tmp_path, name)
    assert (
        "<script" not in text
        and "<a " not in text
        and "http" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.S).replace("(http", "")
    )
    assert '<img src="http' not in text


def test_a_picture_that_is_not_there_keeps_its_words(tmp_path):
    assert "Confusion" in html_of("![Confusion](confusion.png)", tmp_path, "t")


# -- where the network looked ------------------------------------------------------------------


class WithTest:
    classes = ["a", "b", "c"]

    def __init__(self):
        images = torch.randint(0, 255, (4, 3, 32, 32), dtype=torch.uint8)
        self.test = ft.Split(
            images, [0, 1, 2, 0], self.classes, transform=lambda x: x.float() / 255
        )


WORST = [{"index": 2, "true": "c", "predicted": "a", "probability": 0.9}]


def test_without_grad_cam_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(where.importlib.util, "find_spec", lambda name: None)
    found = draw_where(tmp_path, WORST, WithTest(), tiny_resnet())
    assert found["picture"] is None and "ftcourse[cam]" in found["note"]
    assert draw_where(tmp_path, [], WithTest(), tiny_resnet()) == {"picture": None, "note": ""}


def test_a_network_that_cannot_be_drawn_does_not_fail_the_run(tmp_path):
    pytest.importorskip("pytorch_grad_cam")
    found = draw_where(tmp_path, WORST, WithTest(), nn.Sequential(nn.Flatten(), nn.Linear(3072, 3)))
    assert found["picture"] is None and "could not be drawn: " in found["note"]


def test_where_it_looked_is_asked_for_the_answer_that_it_gave(tmp_path, monkeypatch):
    pytest.importorskip("pytorch_grad_cam")
    asked = []

    def watched(model, inputs, targets):
        asked.append((len(inputs), targets))
        return torch.rand(len(inputs), 32, 32)

    monkeypatch.setattr(where, "grad_cam", watched)
    monkeypatch.setattr(where, "plot_grad_cam", lambda *args, **kwargs: None)
    found = draw_where(tmp_path, WORST, WithTest(), tiny_resnet())
    assert asked == [(1, [0])] and found["picture"] == "where.png"
