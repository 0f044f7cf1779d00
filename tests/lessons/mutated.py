"""Small mistakes in the worked answers: those of `make mutants`, and another method of the same kind."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.mutants_operators import mutants_of

OTHER_METHOD = {
    "max": "min", "argmax": "argmin", "mean": "sum", "any": "all", "exp": "log", "softmax": "log_softmax",
    "train": "eval", "zeros": "ones", "zeros_like": "ones_like", "floor": "ceil", "maximum": "minimum",
    "clamp_min": "clamp_max",
}  # fmt: skip
OTHER_METHOD |= {after: before for before, after in OTHER_METHOD.items()}
NAME = re.compile(rf"\b({'|'.join(OTHER_METHOD)})\b(?=\()")


def defined(code: str, names: Mapping[str, Any]) -> Any:
    """What the code defines last, with these names there."""
    found = dict(names)
    exec(code, found)
    new = [k for k, v in found.items() if not k.startswith("__") and v is not names.get(k, found)]
    return found[new[-1]]


def mutants(worked: str) -> Iterator[tuple[str, str]]:
    """(how to tell it, code) of each mistake in one worked answer, without its comments."""
    code = ast.unparse(ast.parse(worked))
    for m in mutants_of(code.encode(), "answer"):
        nth = f" ({m.nth + 1})" if m.nth else ""
        yield f"{m.kind}: {m.before} -> {m.after}{nth}", m.applied_to(code.encode()).decode()
    for i, found in enumerate(NAME.finditer(code)):
        other = OTHER_METHOD[found[1]]
        yield (
            f"method {i + 1}: {found[1]} -> {other}",
            code[: found.start()] + other + code[found.end() :],
        )
