"""A finished run from Python: `ft.load_run(RUN).predict(...)`."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import pytest
import torch

import ftcourse as ft
from ftcourse.shipping import runs
from ftcourse.shipping.inference import predict_files
from tests.shapes import own_photos, photos, run


def test_a_run_is_in_eval_mode_and_knows_its_classes(run):
    loaded = ft.load_run(run)
    assert not loaded.model.training and loaded.classes == ["circle", "square", "stripes"]
    assert "circle, square, stripes" in repr(loaded) and len(repr(loaded)) < 100


def test_one_file_gives_one_answer_and_it_is_what_the_model_says(run, photos):
    loaded, file = ft.load_run(run), photos / "circle" / "00.png"
    answer = loaded.predict(str(file))
    with torch.inference_mode():
        logits = loaded.model(loaded.input_of(file)[None])[0] / loaded.temperature
    assert answer.file == file and list(answer.probabilities) == loaded.classes
    assert list(answer.probabilities.values()) == pytest.approx(logits.softmax(0).tolist())
    assert answer.label == loaded.classes[int(logits.argmax())]
    assert answer.probability == max(answer.probabilities.values())


def test_a_folder_a_glob_and_a_list_give_a_list(run, photos):
    loaded, files = ft.load_run(run), sorted((photos / "square").iterdir())
    by_folder = loaded.predict(photos / "square")
    assert [a.file for a in by_folder] == files
    assert loaded.predict(f"{photos}/square/*.png") == loaded.predict(files) == by_folder
    (one,) = loaded.predict(iter(files[:1]))
    assert (one.file, one.label) == (files[0], by_folder[0].label)
    assert loaded.predict([]) == []


def test_a_bad_file_is_told_and_does_not_stop_the_others(run, own_photos):
    bad, good = own_photos / "circle" / "00.png", own_photos / "circle" / "01.png"
    bad.write_bytes(b"no photo")
    first, second, third = ft.load_run(run).predict([bad, good, own_photos / "nothing.png"])
    assert str(bad) in first.error and first.label is None and first.probabilities == {}
    assert second.error is None and second.label in ("circle", "square", "stripes")
    assert "no such file" in third.error


def test_where_one_file_was_asked_for_its_fault_is_an_error(run, own_photos):
    loaded, bad = ft.load_run(run), own_photos / "circle" / "00.png"
    bad.write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"00\.png"):
        loaded.predict(bad)
    with pytest.raises(FileNotFoundError, match=r"nothing\.png: no such file"):
        loaded.predict(own_photos / "nothing.png")
    (own_photos / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: no photos there"):
        loaded.predict(own_photos / "empty")


@pytest.mark.parametrize("files", ["photo.jpg", ["photo.jpg", "other.jpg"]])
def test_a_model_alone_refuses_file_names_and_says_who_takes_them(run, files):
    with pytest.raises(TypeError, match=r"photo\.jpg.*load_run\(RUN\)\.predict"):
        ft.predict(ft.load_run(run).model, files)


def test_answers_doubted_more_than_asked_for_are_marked(run, photos):
    loaded, files = ft.load_run(run), sorted((photos / "square").iterdir())
    probabilities = sorted(a.probability for a in loaded.predict(files))
    limit = probabilities[4]
    answers = list(predict_files(loaded, files, abstain=limit))
    assert sum(a["abstained"] for a in answers) == 4
    assert all(a["abstained"] == (a["probability"] < limit) for a in answers)
    assert "abstained" not in next(predict_files(loaded, files[:1]))


def test_a_run_is_named_by_a_hub_a_folder_or_an_exported_file(run, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(runs, "download_run", lambda name: asked.append(name) or run)
    assert ft.load_run("hub:me/shapes@v1").classes == ft.load_run(run).classes
    assert asked == ["hub:me/shapes@v1"]
    with pytest.raises(FileNotFoundError, match=r"model\.onnx: no such file"):
        ft.load_run(tmp_path / "model.onnx")
