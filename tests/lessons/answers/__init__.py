"""Answers to the exercises, one module a lesson: what a check must take, what it must refuse and why.

    NAMES       what the worked answers find in their lesson
    RIGHT       exercise -> at least six answers in different styles
    WRONG       exercise -> at least ten pairs (answer, words of what the check says of it)
    EQUIVALENT  exercise -> mutant of the worked answer that is right as well -> why
    OTHERWISE   text of a cell of the lesson in which a right answer may print something else -> why

`test_answers.py` gives them to the checks; `benchmarks/carried.py` runs each lesson on with the right ones.
"""
