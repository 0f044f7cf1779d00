"""The report: its numbers are right by hand or by scikit-learn, the test is touched once, nothing is lost."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from sklearn.metrics import f1_score, precision_recall_fscore_support
from torch import nn

import ftcourse as ft
from ftcourse.evaluation import measures
from ftcourse.evaluation.baselines import (
    LinearProbe,
    PooledFeatures,
    majority_class,
    pooled_features,
)
from ftcourse.reporting import report
from ftcourse.reporting.model_card import model_card
from ftcourse.reporting.report import Interrupted, Settings, remarks, train_and_report
from ftcourse.reporting.report_page import evaluation, headline, page
from ftcourse.shipping.inference import evaluate_folder, measure
from ftcourse.training import recipes
from tests.conftest import Blobs, tiny_resnet
from tests.shapes import QUICK, interrupt_after, own_photos, photos, run

RNG = np.random.default_rng(1)
TRUTH = RNG.integers(0, 4, 300)
ANSWERS = np.where(RNG.random(300) < 0.7, TRUTH, RNG.integers(0, 4, 300))

# -- measures ----------------------------------------------------------------------------------


def test_per_class_numbers_and_macro_f1_are_those_of_scikit_learn():
    confusion = measures.confusion_matrix(TRUTH, ANSWERS, 4)
    rows = measures.per_class(confusion, list("abcd"))
    expected = precision_recall_fscore_support(TRUTH, ANSWERS)
    for key, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[key] for row in rows] == pytest.approx(values)
    assert measures.macro_f1(confusion) == pytest.approx(f1_score(TRUTH, ANSWERS, average="macro"))


def test_a_class_without_photos_or_answers_has_no_number_instead_of_a_zero():
    confusion = measures.confusion_matrix(np.array([0, 0, 1]), np.array([0, 0, 0]), 3)
    rows = measures.per_class(confusion, list("abc"))
    assert rows[1]["precision"] is None and rows[1]["recall"] == 0
    assert rows[2]["recall"] is None and rows[2]["f1"] is None
    assert measures.macro_f1(confusion) == pytest.approx((0.8 + 0) / 2)  # of a and b alone


def test_the_interval_contains_the_accuracy_and_is_as_wide_as_theory_says():
    accuracy = (TRUTH == ANSWERS).mean()
    low, high = measures.bootstrap_intervals(TRUTH, ANSWERS)["accuracy"]
    assert low < accuracy < high
    normal = 2 * 1.96 * np.sqrt(accuracy * (1 - accuracy) / len(TRUTH))
    assert high - low == pytest.approx(normal, rel=0.1)


def test_the_same_seed_gives_the_same_interval_and_blocks_change_nothing():
    one = measures.bootstrap_intervals(TRUTH, ANSWERS, seed=3)
    assert one == measures.bootstrap_intervals(TRUTH, ANSWERS, seed=3)
    assert one != measures.bootstrap_intervals(TRUTH, ANSWERS, seed=4)
    many = np.tile(TRUTH, 20), np.tile(ANSWERS, 20)  # needs several blocks of weights
    low, high = measures.bootstrap_intervals(*many)["accuracy"]
    narrow = (one["accuracy"][1] - one["accuracy"][0]) / np.sqrt(20)
    assert high - low == pytest.approx(narrow, rel=0.15)


def test_macro_f1_of_a_resample_is_that_of_scikit_learn_on_the_resampled_photos():
    drawn = np.random.default_rng(5).integers(0, 300, (3, 300))
    weights = np.stack([np.bincount(row, minlength=300) for row in drawn]).astype(float)
    expected = [f1_score(TRUTH[row], ANSWERS[row], average="macro") for row in drawn]
    assert measures._macro_f1_of_weights(TRUTH, ANSWERS)(weights) == pytest.approx(expected)


def test_the_gain_over_an_equal_classifier_is_zero_and_over_a_worse_one_above_zero():
    same = measures.bootstrap_intervals(TRUTH, ANSWERS, ANSWERS)["gain"]
    assert same == [0, 0]
    low, _ = measures.bootstrap_intervals(TRUTH, ANSWERS, np.zeros_like(TRUTH))["gain"]
    assert low > 0.2


def test_the_interval_of_the_gain_is_as_wide_as_theory_says():
    other = np.where(np.random.default_rng(2).random(300) < 0.5, TRUTH, ANSWERS)
    gain = (ANSWERS == TRUTH).astype(float) - (other == TRUTH)
    low, high = measures.bootstrap_intervals(TRUTH, ANSWERS, other=other)["gain"]
    half = 1.96 * gain.std() / len(gain) ** 0.5
    assert (low + high) / 2 == pytest.approx(gain.mean(), abs=half / 10)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_calibration_error_by_hand():
    # two photos at 0.9, one of them right; two at 0.6, both right: (2 * 0.4 + 2 * 0.4) / 4
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    targets = np.array([0, 1, 0, 0])
    assert measures.calibration_error(probabilities, targets) == pytest.approx(0.4)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert measures.calibration_error(certain, np.array([0, 1])) == 0


# -- baselines ---------------------------------------------------------------------------------


def test_the_majority_class_is_that_of_the_training_split_and_the_first_of_equals():
    assert majority_class([2, 1, 1, 0], classes=3) == 1
    assert majority_class([2, 2, 1, 1], classes=4) == 1


def test_pooled_features_are_what_the_head_gets_and_the_model_stays_as_it_is():
    model, split = tiny_resnet(), Blobs(6, 1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    features = pooled_features(model, split, batch_size=4)
    logits, _ = ft.predict(model, split)
    assert features.x.shape == (6, 64) and features.y.tolist() == split.targets
    assert torch.allclose(model.fc(torch.from_numpy(features.x)), logits, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert isinstance(model.fc, nn.Linear)


def test_the_linear_probe_learns_and_takes_the_strongest_penalty_that_does_best_on_validation():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    x = (rng.normal(size=(120, 20)) + 2 * y[:, None]).astype(np.float32)
    train, val = PooledFeatures(x[:80], y[:80]), PooledFeatures(x[80:], y[80:])
    probe = LinearProbe(train, val)
    assert (probe.predict(val.x) == val.y).mean() == probe.val_accuracy > 0.95
    assert probe.C == 1e-4  # each penalty separates these, so the strongest is taken


# -- the recipe --------------------------------------------------------------------------------


def trained(stages):
    return [stage.label for stage in stages]


def test_auto_trains_the_last_block_with_few_photos_and_everything_with_more():
    assert trained(recipes.recipe("auto", 30, 3)) == ["head", "layer4"]
    assert trained(recipes.recipe("auto", 300, 3)) == ["head", "layer4", "all"]
    assert recipes.resolve_strategy("auto", 30, 3) == "layer4"


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 50])
def test_epochs_are_shared_out_whole_and_the_last_stage_always_trains(epochs):
    stages = recipes.recipe("full", 300, 3, epochs=epochs)
    assert sum(stage.epochs for stage in stages) == epochs
    assert stages[-1].train == "all"


def test_from_scratch_trains_everything_at_once_for_as_many_epochs():
    full = recipes.recipe("full", 300, 3)
    (scratch,) = recipes.recipe("auto", 300, 3, from_scratch=True)
    assert scratch.train == "all" and scratch.epochs == sum(stage.epochs for stage in full)
    assert trained(recipes.recipe("auto", 30, 3, from_scratch=True)) == ["all"]
    assert recipes.resolve_strategy("auto", 30, 3, from_scratch=True) == "full"
    assert trained(recipes.recipe("head", 300, 3, from_scratch=True)) == ["head"]


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'all'.*head, layer4, full"):
        recipes.recipe("all", 300, 3)
    with pytest.raises(ValueError, match="strategy='all'"):
        Settings(strategy="all")


# -- what is said of the result ----------------------------------------------------------------


def a_report(accuracy=0.8, n=1000, probe=0.7, majority=0.5, width=0.04, gain=(0.05, 0.15), **more):
    low, high = accuracy - width / 2, accuracy + width / 2
    return {
        "test": {
            "accuracy": accuracy, "samples": n, "macro_f1": accuracy,
            "accuracy_interval": [low, high], "gain_interval": list(gain),
            "per_class": [{"class": "a", "precision": 0.8, "recall": 0.8, "support": n // 2}],
        },
        "baselines": {"majority": majority, "linear_probe": probe},
        "baseline_details": {"majority_class": "a"},
        "weights": "pocket",
        "strategy": "full",
        **more,
    }  # fmt: skip


def test_a_good_result_of_many_photos_needs_no_remark():
    assert remarks(a_report()) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"probe": 0.8}, "does not beat the linear probe"),
        ({"majority": 0.9}, "does not beat the majority class"),
        ({"gain": (-0.01, 0.05)}, "may be chance"),
        ({"width": 0.3, "n": 20}, "30 points wide because the test split has only 20 photos"),
        ({"accuracy": 1.0, "n": 30, "width": 0}, "may still be as low as 100.0%"),
        ({"n": 12}, "Under 10 test photos"),
        ({"probe": 0.8, "n": 4}, "but 4 test photos are too few to judge by"),
        ({"majority": 0.9, "n": 29}, "but 29 test photos are too few to judge by"),
        ({"weights": "none"}, "random weights"),
    ],
)
def test_what_weakens_a_result_is_said(changed, said):
    assert any(said in sentence for sentence in remarks(a_report(**changed)))


def test_what_is_known_to_spoil_the_score_comes_first():
    two = {"kind": "two labels", "severity": "error", "files": ["a/1.png = b/2.png"]}
    two["message"] = "1 time: the same file has two labels; one of them is wrong"
    info = {
        "kind": "exact duplicates",
        "severity": "info",
        "message": "more than once",
        "files": [],
    }
    known = a_report(
        probe=0.8, audit={"findings": [info, two]}, val_near_train=2, counts={"val": 9},
        data_notes=["Photos of one group lie in different splits: x and y.", "Some other note."],
    )  # fmt: skip
    labels, val, groups, probe = remarks(known)
    assert "two labels" in labels and "a/1.png = b/2.png" in labels
    assert "Of 9 validation photos 2 have a near copy in train" in val
    assert "one group" in groups and "too good by an unknown amount" in groups
    assert "linear probe" in probe


def test_the_temperature_is_fitted_without_validation_photos_that_have_a_near_copy_in_train(
    monkeypatch,
):
    logits, targets = torch.arange(10.0).reshape(5, 2), torch.tensor([0, 1, 0, 1, 0])
    fitted = []
    monkeypatch.setattr(report, "predict", lambda model, split: (logits, targets))
    monkeypatch.setattr(report, "temperature_of", lambda *on: fitted.append(on) or (1.5, "so"))
    split = Blobs(5, 1)
    judged = report._validated(
        None, ft.Data(["a", "b"], split, split, split, near_train={"val": [0, 3]})
    )
    assert torch.equal(fitted[0][0], logits[[1, 2, 4]]) and fitted[0][1].tolist() == [1, 0, 0]
    assert torch.equal(judged.logits, logits) and judged.temperature == 1.5


def test_the_headline_has_the_interval_and_both_baselines():
    text = headline(a_report())
    for part in (
        "80.0% of 1000",
        "78.0% to 82.0%",
        "70.0% for a linear probe",
        '50.0% for always saying "a"',
    ):
        assert part in text


# -- a whole run -------------------------------------------------------------------------------


@pytest.fixture
def result(run):
    return json.loads((run / "report.json").read_text())


def test_a_run_has_its_files_and_its_report_what_the_schema_promises(run, result):
    assert {p.name for p in run.iterdir()} >= set(report.FILES) - {"worst.png", "where.png"}
    assert result["classes"] == ["circle", "square", "stripes"]
    assert result["counts"] == {"train": 18, "val": 6, "test": 6}
    assert result["strategy"] == "layer4" and result["seed"] == 0 and result["seconds"] > 0
    assert set(result["baselines"]) == {"majority", "linear_probe"}
    low, high = result["test"]["accuracy_interval"]
    assert low <= result["test"]["accuracy"] <= high
    keys = "stages versions notes weights size worst audit best finetune device command times"
    assert set(keys.split()) <= set(result)
    assert {"per_class", "macro_f1", "ece", "loss", "confusion"} <= set(result["test"])
    assert sum(map(sum, result["test"]["confusion"])) == 6


def test_the_linear_probe_sees_no_backbone_but_the_one_before_training(
    photos, tmp_path, monkeypatch
):
    seen = []

    def watched(model, split, *args, **kwargs):
        seen.append((len(split), model.layer4[1].conv2.weight.clone()))
        return pooled_features(model, split, *args, **kwargs)

    monkeypatch.setattr(report, "pooled_features", watched)
    train_and_report(photos, tmp_path / "run", QUICK, progress=False)
    assert sorted(n for n, _ in seen) == [6, 6, 18]  # val, test and train
    start = ft.load_backbone("resnet18").layer4[1].conv2.weight
    assert all(torch.equal(weight, start) for _, weight in seen)
    trained = load_file(tmp_path / "run" / "model.safetensors")["layer4.1.conv2.weight"]
    assert not torch.equal(trained, start)


def test_the_majority_baseline_of_a_run_is_right_by_hand(own_photos, tmp_path):
    for i in range(4):
        (own_photos / "square" / f"{i:02d}.png").unlink()
        (own_photos / "stripes" / f"{i:02d}.png").unlink()
    settings = replace(QUICK, strategy="head", epochs=1)
    found = train_and_report(own_photos, tmp_path / "run", settings, progress=False)
    # 10, 6 and 6 photos: 2, 1 and 1 of them are tested, and circles are the most frequent in training
    assert found["baseline_details"]["majority_class"] == "circle"
    assert found["baselines"]["majority"] == 2 / 4


def test_the_page_leads_with_the_result_and_ends_with_the_command(run, result):
    text = (run / "report.md").read_text()
    assert text == page(result)
    assert text.index(headline(result)) < text.index("## Each class")
    for part in (
        "confusion.png",
        "curves.png",
        result["command"],
        "Audit",
        "| circle | 6 | 2 | 2 |",
    ):
        assert part in text


def test_evaluating_the_run_on_its_photos_gives_the_reported_numbers(run, photos, result):
    again = evaluate_folder(run, photos)
    for key in ("accuracy", "macro_f1", "accuracy_interval", "confusion"):
        assert again[key] == result["test"][key]
    assert again["loss"] == pytest.approx(result["test"]["loss"], rel=1e-4)
    assert evaluate_folder(run, photos, "all")["samples"] == 30


def test_evaluating_on_a_class_the_run_does_not_know_is_refused(run, own_photos):
    (own_photos / "circle").rename(own_photos / "ring")
    with pytest.raises(ValueError, match=r"does not know the class 'ring'.*circle"):
        evaluate_folder(run, own_photos)


def test_a_folder_with_some_of_the_classes_is_measured_under_the_right_labels(run, own_photos):
    for file in (own_photos / "circle").iterdir():
        file.unlink()
    (own_photos / "circle").rmdir()
    found = evaluate_folder(run, own_photos, "all")
    assert [row["support"] for row in found["per_class"]] == [0, 10, 10]


def test_no_test_photo_is_read_before_training_has_ended(photos, tmp_path, monkeypatch):
    read, ended = [], []
    item, finetune = ft.Split.__getitem__, report.finetune

    def watched_item(split, i):
        read.append((split.paths[i], bool(ended)))
        return item(split, i)

    def watched_finetune(*args, **kwargs):
        history = finetune(*args, **kwargs)
        ended.append(True)
        return history

    monkeypatch.setattr(ft.Split, "__getitem__", watched_item)
    monkeypatch.setattr(report, "finetune", watched_finetune)
    train_and_report(
        photos, tmp_path / "run", replace(QUICK, strategy="head", epochs=1), progress=False
    )
    test = set(ft.load_data(photos).test.paths)
    assert [path for path, after in read if path in test and not after] == []
    val = set(ft.load_data(photos).val.paths)  # for the temperature
    assert {path for path, after in read if after} == test | val


# -- interrupted, resumed, replaced ------------------------------------------------------------


def test_an_interrupted_run_resumes_to_the_same_weights_and_numbers(
    run, result, photos, tmp_path, monkeypatch
):  # fmt: skip
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_after(1, patch)
        with pytest.raises(Interrupted, match=r"epoch 1 of 2.*--resume"):
            train_and_report(photos, out, QUICK, progress=False)
    assert not (out / "report.json").exists()
    again = train_and_report(photos, out, QUICK, resume=True, progress=False)
    assert again["test"] == result["test"] and again["baselines"] == result["baselines"]
    one, two = (load_file(folder / "model.safetensors") for folder in (run, out))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_resuming_with_another_option_or_other_photos_is_refused(own_photos, tmp_path, monkeypatch):
    out, settings = tmp_path / "run", replace(QUICK, strategy="head")
    interrupt_after(1, monkeypatch)
    with pytest.raises(Interrupted):
        train_and_report(own_photos, out, settings, progress=False)
    with pytest.raises(ValueError, match="--batch-size 8, not 4"):
        train_and_report(
            own_photos, out, replace(settings, batch_size=4), resume=True, progress=False
        )
    (own_photos / "circle" / "00.png").unlink()
    with pytest.raises(ValueError, match="the photos or their splits have changed"):
        train_and_report(own_photos, out, settings, resume=True, progress=False)


def test_an_existing_run_is_refused_and_forced_it_is_moved_aside(photos, tmp_path):
    out, settings = tmp_path / "run", replace(QUICK, strategy="head", epochs=1)
    first = train_and_report(photos, out, settings, progress=False)
    (out / "my notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"not empty.*--resume.*--force"):
        train_and_report(photos, out, settings, progress=False)
    scratch = replace(settings, seed=1, weights="none")
    found = train_and_report(photos, out, scratch, force=True, progress=False)
    assert any("random weights" in note for note in found["notes"])
    assert json.loads((out / "before-1" / "report.json").read_text())["test"] == first["test"]
    assert json.loads((out / "report.json").read_text())["seed"] == 1
    assert (out / "my notes.txt").read_text() == "mine"


def test_resuming_what_never_began_is_refused(photos, tmp_path):
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        train_and_report(photos, tmp_path / "nothing", QUICK, resume=True, progress=False)


# -- near copies of training photos in the test split ------------------------------------------


def test_what_is_right_without_near_copies_is_counted_by_hand():
    logits = torch.tensor([[2.0, 0], [2, 0], [0, 2], [0, 2], [2, 0]])
    targets = torch.tensor([0, 0, 0, 1, 1])
    assert "without_near_copies" not in measure(logits, targets, ["a", "b"])
    result = measure(logits, targets, ["a", "b"], near_train=[0, 3])
    rest = result["without_near_copies"]
    assert result["accuracy"] == 0.6 and result["samples"] == 5
    assert rest["left_out"] == 2 and rest["samples"] == 3
    assert rest["accuracy"] == pytest.approx(1 / 3)
    assert 0 <= rest["accuracy_interval"][0] <= 1 / 3 <= rest["accuracy_interval"][1] <= 1
    none = measure(logits, targets, ["a", "b"], near_train=range(5))["without_near_copies"]
    assert none["samples"] == 0 and none["accuracy"] is None


@pytest.fixture(scope="module")
def leaking(tmp_path_factory):
    """train/, val/ and test/ as given; two of the eight test photos are mirrored training photos."""
    root = tmp_path_factory.mktemp("leaking") / "photos"

    def save(seed: int, *path: str, change=lambda image: image) -> None:
        (root.joinpath(*path).parent).mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
        change(Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)).save(
            root.joinpath(*path)
        )

    for k, label in enumerate("ab"):
        for i in range(10):
            save(100 * k + i, "train", label, f"{i}.png")
        for i in range(3):
            save(100 * k + 50 + i, "test", label, f"{i}.png")
            save(100 * k + 60 + i, "val", label, f"{i}.png")
        save(100 * k + 9, "test", label, "copy.png", change=ImageOps.mirror)
    return root


def test_near_copies_across_given_splits_stand_beside_the_headline_everywhere(leaking, tmp_path):
    found = train_and_report(leaking, tmp_path / "run", QUICK, progress=False)
    rest = found["test"]["without_near_copies"]
    assert rest["left_out"] == 2 and rest["samples"] == 6 and found["test"]["samples"] == 8
    said = f"2 test photos that have a near copy in train: {rest['accuracy']:.1%}"
    assert said in headline(found)
    assert said in (tmp_path / "run" / "report.md").read_text().split("## ")[0]
    assert said in model_card(found).split("## ")[0]
    assert any(
        f["kind"] == "leakage" and f["severity"] == "warning" for f in found["audit"]["findings"]
    )
    again = evaluate_folder(tmp_path / "run", leaking)
    assert again["without_near_copies"] == rest
    assert (
        f"Without the 2 photos that have a near copy in train: {rest['accuracy']:.1%}"
        in evaluation(again)
    )


def test_a_report_without_near_copies_says_nothing_of_them(result):
    assert "near copy" not in headline(result) and "without_near_copies" not in result["test"]


def test_groups_are_kept_for_resuming_and_for_evaluating(own_photos, tmp_path):
    settings = replace(QUICK, groups=r"^\d(\d)")
    found = train_and_report(own_photos, tmp_path / "run", settings, progress=False)
    assert "--groups" in found["command"]
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["groups"] == settings.groups
    again = evaluate_folder(tmp_path / "run", own_photos)
    assert again["confusion"] == found["test"]["confusion"]
    with pytest.raises(ValueError, match=r"was started with --groups .*, not None"):
        train_and_report(own_photos, tmp_path / "run", QUICK, resume=True)


def test_nothing_is_blamed_on_fine_tuning_for_a_handful_of_photos():
    few = " ".join(remarks(a_report(n=4, accuracy=0.25, probe=0.25, majority=0.25)))
    assert "learnt nothing" not in few and "train longer" not in few


def test_evaluate_leaves_doubtful_answers_out_and_says_how_right_the_rest_is(run, photos):
    every = evaluate_folder(run, photos, "all", abstain=0.0)
    assert every["abstain"]["answered"] == 30
    assert every["abstain"]["accuracy"] == every["accuracy"]
    found = evaluate_folder(run, photos, "all", abstain=0.6)
    answers = ft.load_run(run).predict(photos)
    sure = [a for a in answers if a.probability >= 0.6]
    right = sum(a.label == a.file.parent.name for a in sure)
    assert 0 < len(sure) < 30
    assert found["abstain"]["answered"] == len(sure)
    assert found["abstain"]["accuracy"] == pytest.approx(right / len(sure))
    said = f"{len(sure)} of 30 photos are answered ({len(sure) / 30:.1%}), and {right / len(sure):.1%} of"
    assert f"left out: {said}" in evaluation(found)
    none = evaluate_folder(run, photos, "all", abstain=1.0)
    assert "0 of 30 photos are answered." in evaluation(none)
    assert "left out" not in evaluation(evaluate_folder(run, photos, "all"))


def test_the_page_lists_confusions_and_coverage(result):
    result["test"]["confusion"] = [[5, 1, 0], [0, 4, 2], [0, 0, 6]]
    text = page(result)
    assert "- 2 of 6 square were taken for stripes.\n- 1 of 6 circle was taken for square." in text
    row = next(r for r in result["test"]["coverage"] if r["threshold"] == 0)
    assert row["answered"] == 6 and f"| 0% | 6 | 100.0% | {row['accuracy']:.1%} |" in text


# -- the temperature ---------------------------------------------------------------------------


def test_a_temperature_is_used_wherever_probabilities_are_told(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "temperature_of", lambda logits, targets: (4.0, "Cooled by hand"))
    plain, cooled = tmp_path / "plain", tmp_path / "cooled"
    settings = replace(QUICK, strategy="head", epochs=1)
    found = train_and_report(photos, cooled, settings, progress=False)
    monkeypatch.setattr(report, "temperature_of", lambda logits, targets: (1.0, "As it is"))
    before = train_and_report(photos, plain, settings, progress=False)
    assert found["test"]["accuracy"] == before["test"]["accuracy"]
    assert found["test"]["confusion"] == before["test"]["confusion"]
    assert found["test"]["ece"] != before["test"]["ece"]
    assert found["test"]["calibration"]["ece_at_1"] == before["test"]["ece"]
    assert "Cooled by hand" in page(found)
    hot, cold = ft.load_run(plain), ft.load_run(cooled)
    assert (hot.temperature, cold.temperature) == (1.0, 4.0)
    file = photos / "circle" / "00.png"
    p = np.array(list(hot.predict(file).probabilities.values()))
    expected = p**0.25 / (p**0.25).sum()
    assert list(cold.predict(file).probabilities.values()) == pytest.approx(expected, rel=1e-4)
    assert evaluate_folder(cooled, photos)["loss"] == pytest.approx(found["test"]["loss"], rel=1e-4)


def test_a_run_from_before_there_was_a_temperature_has_one_of_1(run, tmp_path):
    loaded = ft.load_run(run)
    meta = {k: v for k, v in loaded.meta.items() if k not in ("temperature", "format")}
    ft.save_model(loaded.model, tmp_path / "model.safetensors", **meta)
    assert ft.load_run(tmp_path).temperature == 1.0


def test_a_small_validation_split_is_said_to_be_too_small_for_a_temperature(run, result):
    done = result["test"]["calibration"]
    assert done["temperature"] == 1.0 and "the validation split has 6 photos" in done["note"]
    assert done["note"] in (run / "report.md").read_text()
