"""An exercise, typed by hand: waiting, wrong, right; and what becomes of it afterwards."""

from __future__ import annotations

import pytest

from tests.browser.conftest import RESULTS, ROOT

pytestmark = pytest.mark.browser

WRONG = """\
def accuracy(logits, targets):
    return (logits.argmax(dim=1) == targets).float().sum()"""
RIGHT = """\
def accuracy(logits, targets):
    answers = logits.max(1).indices
    return (answers == targets).sum().item() / len(targets)"""


@pytest.fixture(scope="module")
def lesson(server):
    lab = server.open(ROOT / "lessons" / "00_start_here.ipynb")
    lab.run_cell(0)
    return lab


def answer(lab, stub: str, source: str | None, check: str) -> str:
    """Type the answer into the cell that has `stub`, run it and its check; what the check says."""
    i = lab.index(stub)
    if source is not None:
        lab.type(i, source)
    lab.run_cell(i)
    j = lab.index(check)
    lab.run_cell(j)
    return lab.output(j)


def test_a_function_waits_then_is_wrong_then_right(lesson):
    stub, check = "def accuracy(logits", "accuracy = check.accuracy(accuracy)"
    said = answer(lesson, stub, None, check)
    assert said.startswith("⏳ 0.1 waits for your answer") and "Hint:" not in said
    said = answer(lesson, stub, WRONG, check)
    assert said.startswith("❌ 0.1 not yet: it counts the right answers")
    assert "divide by the number of photos" in said and "Traceback" not in said
    lesson.screenshot(RESULTS / "exercise_wrong.png")
    said = answer(lesson, stub, RIGHT, check)
    assert said.startswith("✅ 0.1 right.")
    lesson.screenshot(RESULTS / "exercise_right.png")


def test_a_program_that_fails_draws_a_sentence_and_no_traceback(lesson):
    stub, check = "def accuracy(logits", "accuracy = check.accuracy(accuracy)"
    said = answer(
        lesson, stub, "def accuracy(logits, targets):\n    return logits.nothing()", check
    )
    assert said.startswith("❌ 0.1 not yet") and "Traceback" not in said
    assert (
        lesson.cell(lesson.index(check)).locator('[data-mime-type$="jupyter.error"]').count() == 0
    )


def test_a_choice_is_wrong_then_right_and_the_summary_counts_it(lesson):
    stub, check = "answer = None", "answer = check.which_split(answer)"
    said = answer(lesson, stub, 'answer = "c"', check)
    assert said.startswith("❌ 0.3 not yet: the winner on the test split is partly the luckiest")
    said = answer(lesson, 'answer = "c"', 'answer = "b"', check)
    assert said.startswith("✅ 0.3 right.")
    summary = lesson.index("progress.summary")
    lesson.run_cell(summary)
    assert lesson.output(summary).split() == ["lesson", "00", "●○●○", "2", "of", "4", "right"]
    board = lesson.index("widgets.progress_board()")
    lesson.run_cell(board)
    lesson.wait_for_text("Go on with exercise 0.2")  # 0.1 and 0.3 are done
    lesson.picture(board, RESULTS / "progress_board.png")
