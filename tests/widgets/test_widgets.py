"""Widgets: what their buttons do, what they show, and what is left of them without a kernel; no browser needed."""

from __future__ import annotations

import base64
import io
import sys
import threading
import time
import types

import ipywidgets as w
import numpy as np
import pytest
import torch
from PIL import Image

import ftcourse as ft
from ftcourse import widgets
from ftcourse.exercises import progress
from ftcourse.widgets import base, board, efficiency, freeze, live, predict
from ftcourse.widgets.augment import augmented
from ftcourse.widgets.curves import curves
from tests.conftest import BlobData, Blobs, tiny_resnet
from tests.models.test_features import everything
from tests.plots.test_plots import a_history

VIEW = "application/vnd.jupyter.widget-view+json"


def as_data(n: int = 12, size: int = 40) -> ft.Data:
    """Real splits of noise, so that photos, transforms and targets are there."""
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=g)
    look = ft.data.transforms.eval_transforms(32)
    splits = [ft.Split(images, [i % 2 for i in range(n)], ["left", "right"], transform=look)] * 3
    return ft.Data(["left", "right"], *splits)


def check_still(explorer: widgets.Explorer, *words: str) -> dict[str, str]:
    """The still form is complete, and beside the live one in one bundle."""
    data, metadata = explorer._repr_mimebundle_()
    assert data[VIEW]["model_id"] == explorer.view.model_id
    assert "text/plain" in data and ("text/html" in data or "image/png" in data)
    if "image/png" in data:
        assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).width > 100
        assert len(metadata["image/png"]["alt"]) > 10
    for word in words:
        assert word in data["text/plain"], data["text/plain"]
    return data


def test_colab_gets_what_ipywidgets_itself_would_send(tiny, monkeypatch):
    explorer = widgets.freeze_explorer(tiny, size=32, time=False)
    assert set(explorer._repr_mimebundle_()[0]) == {VIEW, "text/html", "text/plain"}
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    assert set(explorer._repr_mimebundle_()[0]) == {VIEW, "text/plain"}


# -- freeze explorer ---------------------------------------------------------------------------


def test_a_click_on_a_group_freezes_or_thaws_it_in_the_model(tiny):
    ft.apply_stage(tiny, ft.Stage(train="head"))
    explorer = widgets.freeze_explorer(tiny, size=32, time=False)
    assert explorer.chosen == ["head"]
    explorer.buttons["layer4"].click()
    assert explorer.chosen == ["layer4", "head"]
    assert all(p.requires_grad for p in tiny.layer4.parameters())
    explorer.buttons["head"].click()
    assert not any(p.requires_grad for p in tiny.fc.parameters())
    assert "trains: click to freeze" in explorer.buttons["layer4"].tooltip
    assert "is frozen" in explorer.buttons["head"].tooltip


def test_the_names_of_frozen_and_thawed_groups_can_be_read_in_any_theme(tiny):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    ft.apply_stage(tiny, ft.Stage(train="head"))
    explorer = widgets.freeze_explorer(tiny, size=32, time=False)
    for name in ("head", "stem"):
        style = explorer.buttons[name].style
        low, high = sorted(luminance(c) for c in (style.text_color, style.button_color))
        assert (high + 0.05) / (low + 0.05) > 7  # WCAG's stricter level


def test_the_panel_follows_with_counts_and_the_line_of_code(tiny):
    explorer = widgets.freeze_explorer(tiny, size=32, time=False)
    explorer.choose(["head"])
    assert "130" in explorer.panel.value  # 64 x 2 weights and 2 biases
    assert "ft.Stage(train=&quot;head&quot;)" in explorer.panel.value
    explorer.presets[-1].click()
    total = sum(p.numel() for p in tiny.parameters())
    assert f"{total:,}" in explorer.panel.value and "&quot;all&quot;" in explorer.panel.value


def test_the_time_is_measured_once_for_each_choice(tiny, blobs, monkeypatch):
    calls = []

    def measure(model, size):
        calls.append(freeze.training_groups(model))
        return 0.01 * len(calls[-1])

    monkeypatch.setattr(freeze, "seconds_per_image", measure)
    explorer = widgets.freeze_explorer(tiny, blobs, size=32)
    explorer.choose(["head"])
    explorer.choose(explorer.groups)
    explorer.choose(["head"])
    assert len(calls) == 2  # everything, and the head
    assert explorer.seconds() == pytest.approx(40 * 0.01, rel=0.5)  # 40 photos, and their loading


def test_the_still_freeze_explorer_compares_the_presets_and_leaves_the_model(tiny):
    ft.apply_stage(tiny, ft.Stage(train="layer3"))
    explorer = widgets.freeze_explorer(tiny, size=32, time=False)
    before = everything(tiny)
    data = check_still(explorer, "head", "layer4 and head", "everything", "130")
    assert everything(tiny) == before
    assert data["text/html"].count("<tr>") == 4


def test_code_for_any_choice_of_groups_trains_just_those(tiny):
    known = list(ft.layer_groups(tiny))
    for groups in (["head"], ["layer3", "layer4", "head"], ["stem"], ["stem", "head"], known):
        code = freeze.stage_code(groups, known)
        assert eval(code).groups(tiny) == groups, code
    assert freeze.stage_code([], known).startswith("ft.freeze(model)")


# -- progress board ----------------------------------------------------------------------------


@pytest.fixture
def done(tmp_path, monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(tmp_path / "progress.json"))
    progress.record("0.1", "right")
    progress.record("0.2", "hint")
    progress.record("0.2", "wrong")
    progress.record("1.1", "solution")
    yield
    progress._here.clear()


def test_the_board_shows_each_exercise_in_its_state(done):
    rows = board.board_rows()
    first = {e["number"]: e for e in rows[0]["exercises"]}
    titles = {row["lesson"]: row["title"] for row in rows}
    assert titles["00"] == "Start here" and titles["10"] == "How much data"
    assert titles["15"] == "Text" and titles["17"] == "Ship it"
    assert [first[n]["state"] for n in ("0.1", "0.2", "0.3")] == ["right", "tried", "open"]
    assert first["0.2"]["hints"] == 1 and rows[1]["exercises"][0]["solution"]
    assert board.next_exercise(rows) == "0.2"
    explorer = widgets.progress_board()
    assert "0.2: tried, 1 hints" in explorer.panel.value
    check_still(explorer, "●◐○", "1 of 4")


def test_the_board_is_read_again_on_request(done):
    explorer = widgets.progress_board()
    progress.record("0.2", "right")
    explorer.button.click()
    assert "Go on with exercise <b>0.3</b>" in explorer.panel.value


# -- live run ----------------------------------------------------------------------------------

QUICK = {"batch_size": 8, "preflight": False}
ENDED = (
    "interrupted after epoch",
    "stopped on request after epoch",
)  # in a batch, or right after an epoch


def test_a_live_run_gives_the_numbers_of_a_plain_one(blobs):
    stage = ft.Stage("head", epochs=3)
    plain_model, live_model = tiny_resnet(), tiny_resnet()
    plain = ft.finetune(plain_model, blobs, stage, progress=False, **QUICK)
    run = widgets.live_run(live_model, blobs, stage, **QUICK)
    history = run.result(timeout=60)
    assert history.column("train_loss") == plain.column("train_loss")
    assert not run.running and "Finished." in run.panel.value
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            live_model.state_dict().values(), plain_model.state_dict().values(), strict=True
        )
    )
    check_still(run, "kept: the best on the validation split")


class Slow(Blobs):
    def __getitem__(self, i):
        time.sleep(0.004)
        return super().__getitem__(i)


def slow_data() -> BlobData:
    return BlobData(Slow(40, 1), Blobs(20, 2), Blobs(20, 3))


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_the_stop_button_ends_the_run_between_batches_with_the_best_weights():
    model = tiny_resnet()
    start = time.monotonic()
    run = widgets.live_run(model, slow_data(), ft.Stage("all", epochs=10_000, lr=1e-3), **QUICK)
    assert time.monotonic() - start < 5 and run.running  # it returned at once
    wait_for(lambda: len(run.history.epochs) >= 2)
    run.button.click()
    history = run.result(timeout=30)
    assert history.stopped.startswith(ENDED) and len(history.epochs) < 10_000
    assert "Stopped. The model has the weights of epoch" in run.panel.value
    assert run.button.disabled
    found = ft.evaluate(model, slow_data().val)
    assert found["accuracy"] == pytest.approx(history.best["val_accuracy"])
    assert found["loss"] == pytest.approx(history.best["val_loss"], rel=1e-4)


def test_callbacks_of_one_s_own_are_heard_as_well(blobs):
    heard = {"batches": 0, "epochs": 0}

    def on_batch():
        heard["batches"] += 1
        return heard["batches"] == 12

    def on_epoch(history):
        heard["epochs"] += 1

    run = widgets.live_run(
        tiny_resnet(),
        blobs,
        ft.Stage("head", epochs=9),
        on_batch=on_batch,
        on_epoch=on_epoch,
        **QUICK,
    )
    history = run.result(timeout=60)
    assert heard == {"batches": 12, "epochs": 2} and len(history.epochs) == 2  # 5 batches an epoch


def test_an_interrupt_while_waiting_stops_the_run(monkeypatch):
    run = widgets.live_run(tiny_resnet(), slow_data(), ft.Stage("head", epochs=10_000), **QUICK)
    wait_for(lambda: run.history.epochs)
    once = iter([True])

    def sleep(seconds):
        if next(once, False):
            raise KeyboardInterrupt

    monkeypatch.setattr(live, "time", types.SimpleNamespace(
        sleep=sleep, monotonic=time.monotonic, perf_counter=time.perf_counter))  # fmt: skip
    assert run.result().stopped.startswith(ENDED)


def test_an_error_of_the_run_is_shown_and_raised_where_one_waits(blobs):
    run = widgets.live_run(tiny_resnet(), blobs, ft.Stage("layer9"), **QUICK)
    with pytest.raises(ValueError, match="no layer group 'layer9'"):
        run.result(timeout=30)
    assert "Ended with ValueError" in run.panel.value


def test_a_run_that_is_waited_for_too_long_goes_on():
    before = threading.active_count()
    run = widgets.live_run(tiny_resnet(), slow_data(), ft.Stage("head", epochs=10_000), **QUICK)
    with pytest.raises(TimeoutError, match="it goes on"):
        run.result(timeout=0.2)
    assert (run.running and run.speed() is None) or run.speed() > 0
    run.stop()
    run.result(timeout=30)
    assert threading.active_count() <= before + 1  # the bar may have one of its own


def test_time_left_follows_the_stages():
    rows = [{"stage": 1, "seconds": 2.0}, {"stage": 1, "seconds": 2.0}]
    assert live.seconds_left([], [3], 0.0, 0.0) is None
    assert live.seconds_left([], [3], 1.0, 0.5) == pytest.approx(
        5.0
    )  # 3 epochs of 2 s, one of them begun
    assert live.seconds_left(rows, [4, 6], 1.0, 0.5) == pytest.approx(2 * 8 - 1)
    slower = [*rows, {"stage": 2, "seconds": 5.0}]
    assert live.seconds_left(slower, [2, 3], 0.0, 0.0) == pytest.approx(10.0)
    assert live.seconds_left(rows, [2], 0.0, 0.0) == 0.0


def test_live_curves_name_the_stages_and_tell_screen_readers_the_last_value():
    svg = curves(a_history(), 5)
    assert svg.count("<svg") == 2 and "layer4" in svg and "★" in svg
    assert 'aria-label="Accuracy after epoch 4: validation 0.740"' in svg
    assert "no epoch yet" in curves(ft.History(), 5)


# -- prediction explorer -----------------------------------------------------------------------


def a_photo(width: int = 60, height: int = 50, colour=(200, 40, 40)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def test_uploads_of_ipywidgets_7_and_8_are_read_alike():
    content = a_photo()
    seven = {"me.png": {"metadata": {"name": "me.png"}, "content": content}}
    eight = ({"name": "me.png", "type": "image/png", "content": memoryview(content)},)
    assert base.uploaded(seven) == base.uploaded(eight) == [("me.png", content)]
    assert base.uploaded({}) == base.uploaded(()) == []


def test_a_photo_dropped_in_is_explained_and_a_broken_one_is_named(tiny):
    explorer = widgets.prediction_explorer(tiny, as_data())
    before, first = everything(tiny), explorer.image.content
    explorer._uploaded({"me.png": {"content": a_photo()}})
    assert explorer.text.startswith("me.png; the network says") and not explorer.problem
    assert explorer.image.content != first
    explorer._uploaded(({"name": "notes.txt", "content": memoryview(b"no photo")},))
    assert "notes.txt: cannot be decoded" in explorer.problem
    assert "notes.txt" in explorer.note.value
    assert everything(tiny) == before
    check_still(explorer, "me.png")


def test_the_slider_shows_a_test_photo_with_what_is_right(tiny):
    explorer = widgets.prediction_explorer(tiny, as_data(), memory=False)
    explorer.slider.value = 3
    assert 'alt="test photo 3: right; the network says' in explorer.image.value
    assert explorer.text.startswith("test photo 3: right; the network says")


def test_an_explanation_has_the_network_s_own_numbers_and_the_photo_itself_as_nearest(tiny):
    data = as_data()
    memory = predict.Memory.of(tiny, data)
    found = predict.explain(
        tiny, data.test.image(4), data.val.transform, data.classes, memory, top=2
    )
    logits, _ = ft.predict(tiny, data.test)
    assert dict(found.probabilities) == pytest.approx(
        dict(zip(data.classes, logits[4].softmax(0).tolist(), strict=True)), abs=1e-5
    )
    assert found.neighbours[0][2] == pytest.approx(1, abs=1e-5)
    assert torch.equal(found.neighbours[0][0], data.train.image(4))
    assert found.seen.min() >= 0 and found.seen.max() <= 1


def test_of_many_training_photos_some_of_each_class_are_compared(tiny, monkeypatch):
    monkeypatch.setattr(predict, "MOST", 6)
    memory = predict.Memory.of(tiny, as_data(12))
    assert sorted(memory.split.targets) == [0, 0, 0, 1, 1, 1] and len(memory.features) == 6


def test_a_photo_is_turned_upright():
    image = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", exif=exif)
    assert predict.read_photo(buffer.getvalue()).size == (20, 30)


# -- augmentation viewer -----------------------------------------------------------------------


def test_sliders_set_the_transform_and_the_code_that_makes_it():
    viewer = widgets.augmentation_viewer(as_data(), size=32)
    first = viewer.image.content
    viewer.crop.value, viewer.flip.value, viewer.rotation.value = 0.3, False, 20
    assert viewer.image.content != first
    assert "crop=0.3, flip=False, colour=0.2, rotation=20" in viewer.code.value
    image = viewer.transform(viewer.split.image(0))
    assert image.shape == (3, 32, 32) and image.dtype == torch.float32 and image.min() < 0
    check_still(viewer, "crop=0.3")


def test_drawing_again_changes_the_draws_and_not_the_notebook_s_random_numbers():
    state = torch.get_rng_state()
    viewer = widgets.augmentation_viewer(as_data().train, size=32)
    first = viewer.image.content
    viewer.again.click()
    assert viewer.image.content != first
    assert torch.equal(torch.get_rng_state(), state)
    photo, look = viewer.split.image(0), widgets.augmentation(32, normalise=False)
    same = [augmented(photo, look, 2, seed=5) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*same, strict=True))


def test_the_default_augmentation_is_the_package_s_training_transform():
    photo = as_data().train.image(0)
    ours, theirs = widgets.augmentation(32), ft.data.transforms.train_transforms(32)
    for seed in range(3):
        torch.manual_seed(seed)
        a = ours(photo)
        torch.manual_seed(seed)
        assert torch.equal(a, theirs(photo))


# -- learning-rate finder ----------------------------------------------------------------------


def test_the_button_finds_a_rate_and_keeps_one_for_each_choice(tiny, blobs):
    before = everything(tiny)
    finder = widgets.rate_finder(tiny, blobs, steps=12, batch_size=8)
    check_still(finder, "12 batches")
    finder.train.value = "all"
    finder.button.click()
    assert everything(tiny) == before
    assert finder.bar.value == 12 and not finder.button.disabled
    assert finder.stage.lr == finder.found["all", "adamw"].suggestion
    check_still(finder, f"lr={finder.stage.lr:g}")
    finder.train.value = "head"  # not found yet
    assert finder.image.content == b"" and finder.stage.lr == ft.Stage().lr
    finder.train.value = "all"
    assert finder.image.content != b""


# -- data-efficiency explorer ------------------------------------------------------------------


def a_row(method, n, mean, half=0.02, **more):
    return {"method": method, "per_class": n, "mean": mean, "interval95": half, **more}


ROWS = [
    a_row("probe", 10, 0.70), a_row("probe", 100, 0.80), a_row("all", 10, 0.60, 0.05),
    a_row("all", 100, 0.90),
]  # fmt: skip


def test_readings_are_the_measured_values_or_lie_between_on_a_log_scale():
    at_ten = efficiency.readings(ROWS, 10)
    assert [(r["method"], r["mean"], r["measured"]) for r in at_ten] == [
        ("probe", 0.70, True), ("all", 0.60, True)
    ]  # fmt: skip
    between = {r["method"]: r for r in efficiency.readings(ROWS, np.sqrt(1000))}
    assert between["all"]["mean"] == pytest.approx(0.75) and not between["all"]["measured"]
    assert between["all"]["half"] == 0.05  # the wider of the two
    assert efficiency.readings(ROWS, 1000) == []


def test_advice_tells_a_difference_from_chance():
    assert "Its interval overlaps with no other." in efficiency.advice(
        efficiency.readings(ROWS, 100)
    )
    near = [a_row("a", 10, 0.80), a_row("b", 10, 0.79), a_row("c", 10, 0.5)]
    assert "overlaps with that of b:" in efficiency.advice(efficiency.readings(near, 10))
    single = [a_row("a", 10, 0.80, None), a_row("b", 10, 0.79, None)]
    assert "single run" in efficiency.advice(efficiency.readings(single, 10))
    assert efficiency.advice([]) == "Nothing was measured around this size."


def test_photos_needed_are_read_off_the_line():
    assert efficiency.photos_needed(ROWS, "all", 0.75) == pytest.approx(np.sqrt(1000))
    assert efficiency.photos_needed(ROWS, "probe", 0.5) == 10
    assert efficiency.photos_needed(ROWS, "probe", 0.99) is None


def test_the_explorer_takes_a_results_file_with_several_settings():
    rows = [{**r, "classes": c} for r in ROWS for c in (2, 6)]
    rows.append(a_row("all", 100, 0.99, None, classes=6, seeds=1))
    file = {"command": "python benchmarks/x.py", "summary": [{"seeds": 5, **r} for r in rows]}
    explorer = widgets.efficiency_explorer(file)
    explorer.setting.value = "6 classes"
    explorer.photos.value = 100
    assert "With 100 photos a class, all is best: 90 %" in explorer.text  # five seeds before one
    assert "python benchmarks/x.py" in explorer.told.value
    check_still(explorer, "90.0 %", "± 2.0")
    with pytest.raises(ValueError, match="no rows"):
        widgets.efficiency_explorer([])


def test_only_widgets_that_ipywidgets_7_has_are_used(tiny, blobs):
    core = {"Button", "Checkbox", "Dropdown", "FileUpload", "FloatSlider", "HBox", "HTML",
            "IntProgress", "IntSlider", "SelectionSlider", "VBox"}  # fmt: skip

    def names(widget):
        return {widget._model_name.removesuffix("Model")} | {
            name for child in getattr(widget, "children", ()) for name in names(child)
        }

    made = [
        widgets.freeze_explorer(tiny, size=32, time=False), widgets.progress_board(),
        widgets.prediction_explorer(tiny, as_data(), memory=False),
        widgets.augmentation_viewer(as_data(), size=32), widgets.rate_finder(tiny, blobs),
        widgets.efficiency_explorer(ROWS),
    ]  # fmt: skip
    assert set().union(*(names(e.view) for e in made)) <= core
    assert all(isinstance(e.view, w.VBox) for e in made)
