"""A run knows the photos that it was trained on, whatever they are called now; the score without them is told."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from ftcourse.data.loading import load_data
from ftcourse.data.near_copies import VIEWS
from ftcourse.data.prints import Prints, seen_among
from ftcourse.reporting.report_page import evaluation
from ftcourse.shipping.inference import evaluate_folder, load_run
from ftcourse.shipping.inference import predict_files as answers
from ftcourse.shipping.train_photos import FILE, read_train_photos, trained_on
from tests.shapes import QUICK, own_photos, photos, run


@pytest.fixture
def train_files(photos):
    """The files that the run was trained on."""
    return load_data(photos, size=32, seed=QUICK.seed).train.paths


def test_the_file_holds_the_training_photos_and_no_others(run, photos, train_files):
    known = read_train_photos(run)
    assert len(known) == len(train_files) < 30
    assert (run / FILE).stat().st_size < 600 * len(known) + 1000
    assert trained_on(run, load_data(photos, size=32, seed=QUICK.seed).test) == ([], [])


def test_photos_of_the_training_are_known_under_other_names_and_the_rest_is_counted_alone(
    run, photos, train_files, tmp_path
):
    for k, file in enumerate(sorted(photos.rglob("*.png"))):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / file.parent.name / f"renamed {29 - k}.png")
    result = evaluate_folder(run, tmp_path, "all")
    seen, new = result["trained_on"], [p for p in photos.rglob("*.png") if p not in train_files]
    assert seen["same_file"] == seen["left_out"] == len(train_files) and seen["near_copy"] == 0
    right = [
        a["class"] == p.parent.name for a, p in zip(answers(load_run(run), new), new, strict=True)
    ]
    assert seen["samples"] == len(new) and seen["accuracy"] == pytest.approx(np.mean(right))
    told = (
        f"trained on {len(train_files)} of these 30 photos. Without them: {np.mean(right):.1%} of"
    )
    assert told in evaluation(result)


def test_a_smaller_copy_is_a_near_copy(run, train_files, tmp_path):
    (tmp_path / "circle").mkdir()
    circle = next(p for p in train_files if p.parent.name == "circle")
    Image.open(circle).resize((30, 30)).save(tmp_path / "circle" / "small.png")
    result = evaluate_folder(run, tmp_path, "all")
    found = result["trained_on"]
    assert (found["same_file"], found["near_copy"], found["accuracy"]) == (0, 1, None)
    assert "1 of these 1 photos, 1 of them as a near copy: nothing is known" in evaluation(result)


def test_copies_among_new_photos_are_no_photos_of_the_training():
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 2**64, (4, VIEWS, 2), dtype=np.uint64)
    looks[2, 0] = looks[1, 0]  # two new ones that look alike
    files = rng.integers(0, 256, (4, 32), dtype=np.uint8)
    known, new = Prints(files[:1], looks[:1]), Prints(files[1:], looks[1:])
    assert seen_among(new, known) == ([], [])
    known = Prints(files[:2], looks[:2])
    assert seen_among(new, known) == ([0], [1])


def test_the_training_split_is_all_known_and_the_test_split_is_not(run, photos):
    result = evaluate_folder(run, photos, "train")
    assert result["trained_on"]["left_out"] == result["samples"]
    assert result["trained_on"]["accuracy"] is None
    tested = evaluate_folder(run, photos)
    assert tested["trained_on"]["left_out"] == 0
    assert tested["trained_on"]["accuracy"] == tested["accuracy"]
    assert "trained on none of them, nor on a near copy" in evaluation(tested)


def test_beside_a_model_alone_nothing_is_known_and_that_is_said(run, photos, tmp_path):
    shutil.copy(run / "model.safetensors", tmp_path)
    result = evaluate_folder(tmp_path / "model.safetensors", photos)
    assert result["trained_on"] is None
    assert "is not known: train_photos.safetensors is not beside its model" in evaluation(result)


LOOKS = np.zeros((2, VIEWS, 2), np.int64)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * 100, "damaged"),
        (b"", "damaged"),
        ({"files": np.zeros((2, 32), np.uint8)}, "no list of photos"),
        ({"files": np.zeros((2, 32), np.int64), "looks": LOOKS}, "no list of photos"),
        ({"files": np.zeros((3, 32), np.uint8), "looks": LOOKS}, "no list of photos"),
        ({"files": np.zeros((2, 32), np.uint8), "looks": LOOKS[:, :3]}, "no list of photos"),
        ({"files": np.zeros((), np.uint8), "looks": LOOKS}, "no list of photos"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, said):
    if isinstance(content, bytes):
        (tmp_path / FILE).write_bytes(content)
    else:
        save_file(content, tmp_path / FILE)
    with pytest.raises(ValueError, match=rf"train_photos\.safetensors: .*{said}"):
        read_train_photos(tmp_path)
