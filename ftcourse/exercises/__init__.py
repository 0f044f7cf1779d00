"""Exercises that check themselves: each answers right, wrong or waiting, and never raises.

A lesson imports its module and calls one exercise a question::

    from ftcourse.exercises import lesson01 as check

    top5 = check.top5(top5)     # the learner's function once it is right, a reference until then
    check.top5.hint()           # the first hint; called again, the second
    check.top5.solution()       # a worked answer

Checks look at behaviour, so that any right answer passes. Whatever the learner hands over, the check
prints plain text and returns something that the rest of the lesson can work with.
"""

from ftcourse.exercises import progress
from ftcourse.exercises.drawn import Draw
from ftcourse.exercises.engine import Choice, Exercise, Formula, Function, Value
from ftcourse.exercises.verdicts import Wrong, agrees, same_value

__all__ = ["Choice", "Draw", "Exercise", "Formula", "Function", "Value", "Wrong"]
__all__ += ["agrees", "progress", "same_value"]
