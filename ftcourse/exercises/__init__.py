"""Exercises that check themselves: each answers right, wrong or not attempted, and never raises.

A lesson imports its module and calls one exercise a question::

    from ftcourse.exercises import lesson01 as check

    top5 = check.top5(top5)     # the learner's function once it is right, a reference until then
    check.top5.hint()           # the first hint; called again, the second
    check.top5.solution()       # a worked answer

Checks look at behaviour, so that any right answer passes. Whatever the learner hands over, the check
prints plain text and returns something that the rest of the lesson can work with.
"""

from ftcourse.exercises import progress
from ftcourse.exercises.engine import Choice, Exercise, Function, Value, Wrong, same_value

__all__ = ["Choice", "Exercise", "Function", "Value", "Wrong", "progress", "same_value"]
