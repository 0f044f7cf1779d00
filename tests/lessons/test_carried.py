"""One right answer of another style to each exercise, and the whole lesson goes on with it as with ours.

All of them are carried by `make carried`; its results are in benchmarks/results/carried.md.
"""

from __future__ import annotations

import pytest

from benchmarks import carried


@pytest.mark.parametrize("number", carried.lessons())
def test_a_lesson_goes_on_with_right_answers_of_another_style(number):
    assert carried.run(number, variant=1) == ""
