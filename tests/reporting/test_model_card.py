"""A model card says what the report knows, and marks what only a person can say."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import json

import pytest
import yaml

from ftcourse.reporting.model_card import model_card, write_card
from tests.shapes import photos, run


@pytest.fixture
def report(run):
    return json.loads((run / "report.json").read_text())


def test_the_header_is_yaml_with_the_measured_accuracy(report):
    _, header, _ = model_card(report).split("---\n", 2)
    meta = yaml.safe_load(header)
    assert meta["pipeline_tag"] == "image-classification"
    (metric, f1) = meta["model-index"][0]["results"][0]["metrics"]
    assert metric == {
        "type": "accuracy",
        "value": pytest.approx(report["test"]["accuracy"], abs=1e-4),
    }
    assert f1["value"] == pytest.approx(report["test"]["macro_f1"], abs=1e-4)


def test_the_header_has_the_accuracy_without_near_copies_too(report):
    report["test"]["without_near_copies"] = {
        "left_out": 2,
        "samples": 5,
        "accuracy": 0.6,
        "accuracy_interval": [0.2, 0.9],
    }
    _, header, _ = model_card(report).split("---\n", 2)
    metrics = yaml.safe_load(header)["model-index"][0]["results"][0]["metrics"]
    assert [m["value"] for m in metrics if "near copy" in m.get("name", "")] == [0.6]


def test_odd_names_of_classes_and_folders_keep_the_header_readable(report):
    report["name"] = 'a "name": with #signs'
    _, header, _ = model_card(report).split("---\n", 2)
    assert yaml.safe_load(header)["model-index"][0]["name"] == report["name"]


def test_the_card_names_the_command_the_classes_and_each_note(report):
    text = model_card(report)
    assert report["command"] in text
    for name in report["classes"]:
        assert f"| {name} |" in text
    for note in [*report["notes"], report["test"]["calibration"]["note"]]:
        assert note in text


def test_what_only_a_person_knows_is_marked(report):
    assert model_card(report).count("TO FILL IN") >= 5


def test_the_confusions_are_told_the_most_frequent_first(report):
    report["test"]["confusion"] = [[5, 1, 0], [0, 4, 2], [0, 0, 6]]
    text = model_card(report)
    assert text.index("2 of 6 square were taken for stripes") < text.index(
        "1 of 6 circle was taken for square"
    )


def test_a_card_that_may_have_been_filled_in_is_never_written_over(run, tmp_path):
    path = write_card(run, tmp_path / "card.md")
    assert path.read_text(encoding="utf-8").startswith("---\n")
    with pytest.raises(FileExistsError, match="may have been filled in"):
        write_card(run, path)


def test_without_a_finished_run_there_is_no_card(tmp_path):
    with pytest.raises(FileNotFoundError, match="finished run"):
        write_card(tmp_path)
