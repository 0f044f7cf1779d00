"""Cross-validation: each photo is tested once, what belongs together stays so, the numbers are the folds'."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import ftcourse as ft
from ftcourse.data.folds import folds_of
from ftcourse.reporting import cross_validation
from tests.shapes import draw_photos
from tests.test_cli import QUICK, ftcourse, told


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Two classes of 12 photos that look like no other, and three of each class with a near copy."""
    root = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (root / label).mkdir()
        for i in range(12):
            image = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
                (64, 64)
            )
            image.save(root / label / f"{i:02d}.png")
            if i < 3:
                image.save(root / label / f"{i:02d}_copy.jpg", quality=90)
    return root


def files(split):
    return {path.as_posix() for path in split.paths}


def test_each_photo_is_in_the_test_of_one_fold_and_near_copies_are_never_parted(noise):
    data = ft.load_data(noise, size=32)
    folds = folds_of(data, 4, seed=1)
    everything = files(data.train) | files(data.val) | files(data.test)
    assert len(everything) == 30 and len(folds) == 4
    assert sorted(f for fold in folds for f in files(fold.test)) == sorted(everything)
    for fold in folds:
        parts = [files(fold.train), files(fold.val), files(fold.test)]
        assert sum(map(len, parts)) == 30 and set.union(*parts) == everything
        for label in ("a", "b"):
            for i in range(3):
                pair = {f"{noise.as_posix()}/{label}/{i:02d}{end}" for end in (".png", "_copy.jpg")}
                assert sum(bool(pair & part) for part in parts) == 1
        for split in (fold.train, fold.val, fold.test):
            assert min(split.counts().values()) > 0
            for path, target in zip(split.paths, split.targets, strict=True):
                assert path.parent.name == data.classes[target]
        assert fold.train.transform is data.train.transform
        assert fold.test.transform is data.test.transform
        i = fold.test.paths.index(sorted(fold.test.paths)[0])
        assert np.array_equal(
            np.asarray(fold.test.load(i)), np.asarray(Image.open(fold.test.paths[i]).convert("RGB"))
        )


def test_groups_are_never_parted_and_the_seed_draws_others(noise):
    for fold in folds_of(ft.load_data(noise, size=32, groups=r"^\d(\d)"), 3):
        groups = [
            {path.stem[1] for path in split.paths} for split in (fold.train, fold.val, fold.test)
        ]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 10
    data = ft.load_data(noise, size=32, groups="file")
    first, same, other = (folds_of(data, 3, seed)[0].test for seed in (0, 0, 1))
    assert files(first) == files(same) != files(other)


def test_too_few_photos_and_photos_without_files_are_told(noise):
    with pytest.raises(ValueError, match=r"folds=13: class 'a' has 12 photos .* 13 are needed"):
        folds_of(ft.load_data(noise, size=32), 13)
    few = ft.load_data("pocket-insects", per_class=2, val_per_class=1, test_per_class=1, size=32)
    with pytest.raises(ValueError, match="is for photos in files"):
        folds_of(few, 3)


def test_the_mean_and_the_interval_are_of_the_folds(noise, tmp_path, monkeypatch):
    def one(data, settings, progress):
        """Of the photos of class a, all are called so; of b, half."""
        truth = np.array(data.test.targets)
        answers = truth * (np.arange(len(truth)) % 2)
        row = {"accuracy": float((truth == answers).mean()), **data.counts}
        return row | {"epochs": 1, "best_epoch": 1}, truth, answers

    monkeypatch.setattr(cross_validation, "_one", one)
    words = ["train", noise, "--out", tmp_path / "run", *QUICK, "--folds", 3]
    text = ftcourse(*words).stdout
    found = json.loads((tmp_path / "run" / "folds.json").read_text())
    accuracies = [row["accuracy"] for row in found["folds"]]
    assert found["mean"] == pytest.approx(np.mean(accuracies))
    assert found["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    right = sum(row["accuracy"] * row["test"] for row in found["folds"])
    assert found["samples"] == 30 and found["accuracy"] == pytest.approx(right / 30)
    assert found["interval"][0] < found["accuracy"] < found["interval"][1]
    assert f"{found['mean']:.1%} on average over 3 folds" in text and "fold 3 of 3" in text
    page = (tmp_path / "run" / "folds.md").read_text()
    for accuracy in accuracies:
        assert f"{accuracy:.1%}" in text and f"| {accuracy:.1%} |" in page
    assert "not empty" in told(*words)


def test_a_real_fold_is_trained_and_tested(tmp_path):
    draw_photos(tmp_path / "shapes", photos=6)
    words = ["train", tmp_path / "shapes", "--out", tmp_path / "run", *QUICK, "--folds", 2]
    result = ftcourse(*words, "--json")
    found = json.loads(result.stdout)
    assert [row["test"] for row in found["folds"]] == [9, 9]
    assert [row["epochs"] for row in found["folds"]] == [1, 1]
    assert 0 <= found["accuracy"] <= 1 and "on average over 2 folds" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resume"], "--folds 3: goes with neither --resume nor --force"),
        (["--time-budget", "5"], "--time-budget 5.0: does not go with --folds 3"),
        (["--log", "mlflow"], "--log mlflow: does not go with --folds 3"),
    ],
)
def test_what_does_not_go_with_folds_is_told(noise, tmp_path, words, said):
    line = told("train", noise, "--out", tmp_path / "run", *QUICK, "--folds", 3, *words)
    assert said in line and not (tmp_path / "run").exists()
