"""The record of a run: its columns, its file, and how it reads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcourse.training.history import History

numbers = st.floats(0, 10, allow_nan=False)
row = st.fixed_dictionaries(
    {
        "epoch": st.integers(1, 99),
        "stage": st.integers(1, 9),
        "train": st.sampled_from(["head", "layer4", "all"]),
        **{f"{split}_{name}": numbers for split in ("train", "val") for name in ("loss", "score")},
        "seconds": numbers,
    }
)


def a_history(**more) -> History:
    rows = [
        {
            "epoch": k, "train": train, "train_loss": 1 / k, "train_accuracy": 0.5 + k / 100,
            "val_loss": 2 / k, "val_accuracy": 0.6 + k / 100, "seconds": 1.25 * k,
        }
        for k, train in ((1, "head"), (2, "head"), (3, "layer4"))
    ]  # fmt: skip
    return History(rows, **{"best": rows[1]} | more)


@settings(max_examples=25, deadline=None)
@given(st.lists(row, max_size=5), st.text(max_size=10), st.lists(st.text(max_size=5), max_size=2))
def test_a_history_comes_back_from_its_file_as_it_was(tmp_path_factory, rows, stopped, notes):
    path = tmp_path_factory.mktemp("history") / "history.json"
    history = History(rows, best=rows[0] if rows else {}, stopped=stopped, notes=notes)
    assert history.save(path) == path
    assert History.load(path) == history
    assert History.load(str(path)).to_dict() == history.to_dict() == json.loads(path.read_text())


def test_a_history_in_words_of_any_language_is_read_back_whatever_the_locale(tmp_path):
    path = History(notes=["Größe", "尺寸"]).save(tmp_path / "h.json")
    assert History.load(path).notes == ["Größe", "尺寸"]


def test_the_file_is_for_readers_too(tmp_path):
    text = a_history().save(tmp_path / "h.json").read_text()
    assert text.splitlines()[1] == ' "epochs": ['


@settings(max_examples=25, deadline=None)
@given(st.lists(row, max_size=5))
def test_a_column_has_one_value_an_epoch_and_the_seconds_add_up(rows):
    history = History(rows)
    for name in ("epoch", "val_loss", "seconds"):
        assert history.column(name) == [r[name] for r in rows]
    assert history.seconds == pytest.approx(sum(r["seconds"] for r in rows))


def test_two_histories_share_nothing_and_begin_empty():
    one, other = History(), History()
    one.epochs.append({}), one.notes.append("x"), one.settings.update(a=1)
    assert other == History([], [], [], {}, {}, [], "", "accuracy")
    copied = one.to_dict()
    copied["notes"].append("y")
    assert one.notes == ["x"]


def test_the_table_has_a_row_an_epoch_and_a_star_at_the_one_that_was_kept():
    assert str(a_history()).splitlines() == [
        "epoch  trains   train loss  accuracy   val loss  accuracy  seconds",
        "    1  head          1.000     0.510      2.000     0.610      1.2",
        "    2  head          0.500     0.520      1.000     0.620      2.5 *",
        "    3  layer4        0.333     0.530      0.667     0.630      3.8",
        "* kept: the best on the validation split",
    ]
    assert repr(a_history()) == str(a_history())


def test_columns_lie_under_their_titles_and_where_nothing_was_kept_nothing_says_so():
    text = str(a_history(best={}))
    assert "*" not in text and "kept" not in text
    title, *rows = text.splitlines()
    for word in ("loss", "accuracy", "seconds"):
        assert all(r[title.index(word) + len(word) - 1] != " " for r in rows)


def test_why_it_stopped_is_the_last_line():
    assert str(a_history(stopped="stopped early")).splitlines()[-1] == "stopped early"


@pytest.mark.parametrize(("score", "width"), [("map", 8), ("exact_match_score", 17)])
def test_another_score_has_its_own_columns_as_wide_as_its_name(score, width):
    rows = [{"epoch": 7, "train": "all", "train_loss": 2.0, f"val_{score}": 0.25, "seconds": 10.0}]
    title, line = str(History(rows, score=score)).splitlines()
    assert title.split() == [
        "epoch",
        "trains",
        "train",
        "loss",
        score,
        "val",
        "loss",
        score,
        "seconds",
    ]
    # a detector has no loss on validation photos, and no score on those it trains on
    assert (
        line
        == f"    7  all           2.000  {'-'.rjust(width)}          -  {'0.250'.rjust(width)}     10.0"
    )
    assert len(line) == len(title)


def test_the_plot_is_of_this_history_written_where_asked_in_the_theme_asked_for(
    tmp_path, monkeypatch
):
    import ftcourse.plots

    seen = []
    monkeypatch.setattr(
        ftcourse.plots, "plot_history", lambda *a, **k: seen.append((a, k)) or "figure"
    )
    history = a_history()
    assert history.plot(tmp_path / "a.png", theme="dark") == "figure"
    assert seen == [((history,), {"path": tmp_path / "a.png", "theme": "dark"})]
