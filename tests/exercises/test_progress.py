"""What a learner has done: kept through two notebooks, odd files and full disks; taken along and handed in."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ftcourse.cli import app
from ftcourse.exercises import Choice, Wrong, progress
from ftcourse.exercises import lesson00 as check


@pytest.fixture(autouse=True)
def no_progress(monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", "off")
    monkeypatch.setattr(progress, "_here", {})


def make_choice():
    texts = {"why": "So.", "hints": ("first.", "second."), "worked": 'answer = "b"'}
    options = {"a": Wrong("a is too cold", "warmer."), "b": None}
    return Choice(number="9.3", name="choice", reference="b", options=options, **texts)


def test_progress_is_kept_in_the_file_that_the_environment_names(tmp_path, monkeypatch, capsys):
    file = tmp_path / "deep" / "progress.json"
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(file))
    exercise = make_choice()
    exercise("a")
    exercise.hint()
    exercise("b")
    exercise("a")  # playing on afterwards takes nothing away
    entry = json.loads(file.read_text())["exercises"]["9.3"]
    assert entry == {"right": True, "tries": 2, "hints": 1}
    assert list(file.parent.iterdir()) == [file]


def test_two_notebooks_keep_each_others_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(tmp_path / "p.json"))
    progress.record("1.1", "right")
    monkeypatch.setattr(progress, "_here", {})
    progress.record("2.1", "right")
    assert set(progress.state()) == {"1.1", "2.1"}


RECORD = """
import sys
from ftcourse.exercises import progress
print("ready", flush=True)
sys.stdin.readline()
for i in range(40):
    progress.record(f"{sys.argv[1]}.{i}", "right")
"""


def test_two_notebooks_that_write_at_once_lose_nothing(tmp_path):
    file = tmp_path / "p.json"
    own = {**os.environ, "FTCOURSE_PROGRESS": str(file)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [
        subprocess.Popen([sys.executable, "-c", RECORD, str(k)], env=own, **pipes) for k in (1, 2)
    ]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:  # both at once
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate()
    assert [process.returncode for process in both] == [0, 0]
    assert len(json.loads(file.read_text())["exercises"]) == 80
    assert list(tmp_path.iterdir()) == [file]


def test_an_account_without_a_home_has_no_file_and_can_ask_for_its_progress(monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    for name in ("FTCOURSE_PROGRESS", "PYTEST_VERSION", "PYTEST_CURRENT_TEST", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_DATA_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(progress.Path, "home", none)
    assert progress.location() is None
    assert "lesson" in progress.summary("01")


def test_nothing_is_written_under_pytest_or_ci_unless_asked_for(monkeypatch):
    monkeypatch.delenv("FTCOURSE_PROGRESS")
    assert progress.location() is None  # this is pytest
    for name in ("PYTEST_VERSION", "PYTEST_CURRENT_TEST", "CI"):
        monkeypatch.delenv(name, raising=False)
    assert progress.location().name == "progress.json"
    monkeypatch.setenv("CI", "true")
    assert progress.location() is None


def test_an_unwritable_place_does_not_stop_a_lesson(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(tmp_path / "file" / "progress.json"))
    assert make_choice()("b") == "b"
    assert "right" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", '{"exercises": 3}', '{"exercises": {"1.1": 2}}'])
def test_a_damaged_file_is_set_aside(tmp_path, monkeypatch, text):
    file = tmp_path / "p.json"
    file.write_text(text)
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(file))
    progress.record("1.1", "right")
    assert progress.state() == {"1.1": {"right": True, "tries": 1}}
    assert (tmp_path / "p.json.damaged").read_text() == text


def test_the_summary_has_a_line_for_each_lesson(tmp_path, monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(tmp_path / "p.json"))
    for number, event in (("1.1", "right"), ("1.2", "wrong"), ("1.2", "hint")):
        progress.record(number, event)
    line = progress.summary("01")
    assert line == "lesson 01  ●◐○○○○ 1 of 6 right (1 hint)"
    assert line in progress.summary().splitlines()
    progress.reset()
    assert "0 of 6 right" in progress.summary("01")


def test_the_summary_stands_odd_entries_in_the_file(tmp_path, monkeypatch):
    file = tmp_path / "p.json"
    odd = {"1.1": {"right": "yes", "hints": "many"}, "1.2": {"right": True, "hints": 2}, "7": {}}
    file.write_text(json.dumps({"exercises": odd}))
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(file))
    assert progress.summary("01") == "lesson 01  ○●○○○○ 1 of 6 right (2 hints)"


def test_a_lesson_whose_extra_is_missing_does_not_stop_the_summary(monkeypatch):
    import importlib

    real = importlib.import_module

    def without_lesson_01(name, *args):
        if name.endswith("lesson01"):
            raise ImportError("no transformers")
        return real(name, *args)

    monkeypatch.setattr(importlib, "import_module", without_lesson_01)
    found = progress.exercises()
    assert "lesson01" not in found and "lesson02" in found


# ----------------------------------------------------------------------- taken along and handed in


def entries(file):
    return json.loads(file.read_text())["exercises"]


def test_progress_is_taken_to_another_machine_and_added_to_what_is_there(tmp_path, monkeypatch):
    for machine in ("one", "two"):
        monkeypatch.setattr(progress, "_here", {})
        monkeypatch.setenv("FTCOURSE_PROGRESS", str(tmp_path / machine / "p.json"))
        progress.record("0.1", "right" if machine == "one" else "wrong")
        progress.record("0.2" if machine == "one" else "0.3", "hint")
        if machine == "one":
            assert progress.export(tmp_path / "mine.json") == 2
    assert progress.merge(tmp_path / "mine.json") == 2  # 0.1 is right now, and 0.2 is new
    assert progress.merge(tmp_path / "mine.json") == 0  # twice changes nothing
    assert entries(tmp_path / "two" / "p.json") == {
        "0.1": {"right": True, "tries": 1}, "0.2": {"hints": 1}, "0.3": {"hints": 1},
    }  # fmt: skip


def test_what_is_right_stays_right_and_the_larger_counts_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(tmp_path / "p.json"))
    for event in ("wrong", "wrong", "right", "solution"):
        progress.record("0.1", event)
    other = {"0.1": {"right": False, "tries": 1, "hints": 2}}
    (tmp_path / "other.json").write_text(json.dumps({"exercises": other}))
    progress.merge(tmp_path / "other.json")
    assert progress.state()["0.1"] == {"right": True, "tries": 3, "hints": 2, "solution": True}


def test_without_a_file_of_its_own_progress_is_added_to_this_session(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps({"exercises": {"0.1": {"right": True}}}))
    assert progress.merge(tmp_path / "p.json") == 1
    assert progress.state() == {"0.1": {"right": True}}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"exercises": 3}', "\xff\xfe"])
def test_a_file_without_progress_is_refused_by_name_and_not_overwritten(tmp_path, text):
    file = tmp_path / "essay.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"essay\.json holds no progress"):
        progress.merge(file)
    with pytest.raises(FileExistsError, match="take another name"):
        progress.export(file)
    assert file.read_bytes() == text.encode("latin-1")


def test_the_command_hands_in_and_takes_back(tmp_path, monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(tmp_path / "p.json"))
    check.batches(4)
    file = tmp_path / "mine.json"
    said = CliRunner().invoke(app, ["progress", "--export", str(file)])
    assert said.exit_code == 0 and "exercises written: 1" in said.stdout
    progress.reset()
    said = CliRunner().invoke(app, ["progress", "--import", str(file)])
    assert "exercises added or changed: 1" in said.stdout and "1 of 4 right" in said.stdout


# --------------------------------------------------------- files from before two lessons were parted

OLD = {
    "4.5": {"right": True, "tries": 1}, "5.2": {"right": True, "tries": 2}, "5.3": {"right": False, "tries": 3},
    "5.4": {"hints": 1}, "5.5": {"right": True, "tries": 4}, "6.1": {"right": True, "tries": 5},
    "6.2": {"hints": 2}, "6.3": {"solution": True}, "6.4": {"right": True, "tries": 6}, "6.5": {"hints": 3},
    "7.1": {"right": True, "tries": 7}, "9.5": {"right": True, "tries": 8}, "15.5": {"right": True, "tries": 9},
}  # fmt: skip
NOW = dict(
    zip(
        [
            "4.5",
            "5.2",
            "6.1",
            "6.2",
            "6.3",
            "7.1",
            "8.1",
            "7.2",
            "8.2",
            "8.3",
            "9.1",
            "11.5",
            "17.5",
        ],
        OLD.values(),
        strict=True,
    )
)


@pytest.fixture
def old(tmp_path):
    file = tmp_path / "old.json"
    file.write_text(json.dumps({"format": 1, "exercises": OLD}))
    return file


def test_what_was_done_under_an_older_number_is_found_under_that_of_today(
    tmp_path, monkeypatch, old
):
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(old))
    assert progress.state() == NOW
    progress.record("5.3", "right")  # a new exercise under a number that another one had
    written = json.loads(old.read_text())
    assert written["format"] == 2
    assert written["exercises"] == {**NOW, "5.3": {"right": True, "tries": 1}}
    assert progress.state() == written["exercises"]  # and it is mapped once only
    progress.record("7.1", "wrong")
    assert progress.state() == written["exercises"]


def test_an_older_file_is_taken_in_under_the_numbers_of_today(tmp_path, monkeypatch, old):
    own = tmp_path / "p.json"
    monkeypatch.setenv("FTCOURSE_PROGRESS", str(own))
    progress.record("7.1", "wrong")  # of today: the step by hand
    said = CliRunner().invoke(app, ["progress", "--import", str(old)])
    assert said.exit_code == 0 and f"exercises added or changed: {len(NOW)}" in said.stdout
    assert progress.state() == NOW
    assert progress.merge(old) == 0
    file = tmp_path / "mine.json"
    progress.export(file)
    assert json.loads(file.read_text()) == {"format": 2, "exercises": NOW}
    assert progress.merge(file) == 0


def test_every_exercise_of_an_older_file_is_one_of_today():
    counts = {0: 3, 1: 5, 2: 6, **dict.fromkeys(range(3, 16), 5)}
    old = [f"{lesson}.{k + 1}" for lesson, count in counts.items() for k in range(count)]
    new = [progress._of_today(number) for number in old]
    today = {number for numbers in progress.exercises().values() for number in numbers}
    assert len(set(new)) == len(old) and set(new) <= today
    for odd in ("", "7", "x.1", "99", "7."):
        assert progress._of_today(odd) == odd
