"""Each solution runs as it is stored, and goes on in the same way with a right answer of another style.

One other answer to each exercise; `make carried` tries all. A run takes a minute or two, so the tests carry them
through lessons in which many cells work with what was answered; of the others they ask that nothing has changed.
"""

from __future__ import annotations

import pytest

from benchmarks import carried

EACH_TIME = ("02", "03", "04", "10", "16")


@pytest.mark.parametrize("number", EACH_TIME)
def test_a_lesson_goes_on_with_right_answers_of_another_style(number):
    assert carried.run(number, variant=1) == ""


@pytest.mark.parametrize("number", [n for n in carried.lessons() if n not in EACH_TIME])
def test_another_lesson_has_the_code_that_they_were_last_carried_through(number):
    last = carried.stored()["last_carried"].get(number)
    command = f"python benchmarks/carried.py --only {number} --variant 1"
    assert last == carried.code(number), f"lesson {number} or its answers have changed: {command}"


def test_a_changed_cell_or_answer_is_another_code(tmp_path, monkeypatch):
    monkeypatch.setattr(carried, "ROOT", tmp_path)
    monkeypatch.setattr(carried, "ANSWERS", tmp_path)
    for folder in ("solutions", "answers"):
        (tmp_path / folder).mkdir()
    lesson, answers = tmp_path / "solutions" / "30_x.ipynb", tmp_path / "answers" / "lesson30.py"
    answers.write_text("RIGHT = {}")
    seen = set()
    for words, line in (("some words", "x = 1"), ("others", "x = 1"), ("others", "x = 2")):
        cells = [
            carried.nbformat.v4.new_markdown_cell(words),
            carried.nbformat.v4.new_code_cell(line),
        ]
        carried.nbformat.write(carried.nbformat.v4.new_notebook(cells=cells), lesson)
        seen.add(carried.code("30"))
    answers.write_text("RIGHT = {'a': [1]}")
    seen.add(carried.code("30"))
    assert len(seen) == 3
