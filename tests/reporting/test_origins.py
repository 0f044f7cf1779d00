"""A card passes on what the first weights must not be used for, over however many trainings."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import json

import yaml

import ftcourse as ft
from ftcourse.models.pocket import HERE
from ftcourse.reporting.model_card import model_card
from ftcourse.reporting.origins import base_model, inherited, origins_of
from tests.shapes import photos, run

FORBIDDEN = "decisions about people, safety, or anything where an error costs more than a click"


def header(card):
    return yaml.safe_load(card.split("---\n", 2)[1])


def test_what_the_pocket_weights_must_not_be_used_for_is_in_the_card_and_the_report(run):
    report = json.loads((run / "report.json").read_text())
    assert FORBIDDEN in " ".join((HERE / "MODEL_CARD.md").read_text().split())
    card, page = model_card(report), (run / "report.md").read_text()
    for text in (card, page):
        assert FORBIDDEN in text and "ImageNet's terms" in text
    assert header(card)["base_model"] == "ftcourse-resnet18-pocket"
    assert ft.load_run(run).meta["origins"] == ["pocket"]


def test_it_is_passed_on_by_a_model_that_was_itself_fine_tuned(run):
    first = ft.load_run(run).meta
    again = origins_of("runs/a/model.safetensors", first)
    assert again == ["pocket", "model.safetensors"]
    third = origins_of("b/other.safetensors", {"origins": again})
    assert third == ["pocket", "model.safetensors", "other.safetensors"]
    assert FORBIDDEN in " ".join(inherited(third))
    assert base_model(third, "resnet18") == "other.safetensors"
    assert origins_of("old.safetensors", {"weights": "pocket"})[0] == "pocket"  # before `origins`


def test_random_unknown_and_other_weights_are_told_apart():
    assert origins_of("none", {}) == [] == inherited([]) and base_model([], "resnet18") is None
    assert "mine.pth" in inherited(origins_of("mine.pth", {}))[0]
    assert "not known" in inherited(["mine.pth"])[0]
    (told,) = inherited(origins_of("DEFAULT", {}))
    assert '"DEFAULT"' in told and "ImageNet" in told and FORBIDDEN not in told
    assert base_model(["DEFAULT"], "resnet50") == "resnet50-DEFAULT"


def test_a_card_of_an_old_report_names_no_base_model(run):
    report = json.loads((run / "report.json").read_text())
    del report["origins"]
    assert "base_model" not in header(model_card(report))
