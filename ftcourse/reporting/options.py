"""Arguments of Python, as the package's messages name them, in the words of the command line.

The package says `pass on_error="skip"`, for that is what a program writes; on the command line it is
`--on-error skip`. One rule turns the one into the other wherever the command line prints what the package said.
"""

from __future__ import annotations

import re

__all__ = ["OPTIONS", "in_options"]

# Arguments that some command has an option for, and those whose option has another name.
OPTIONS = (
    "augment", "backbone", "batch_size", "bf16", "class_weights", "columns", "config", "device", "early_stopping",
    "ema", "epochs", "folds", "force", "format", "groups", "keep_placeholders", "label_smoothing", "labels",
    "layout", "log", "mix", "num_workers", "on_error", "out", "resume", "seed", "size", "source", "split",
    "strategy", "time_budget", "weights",
)  # fmt: skip
RENAMED = {"num_workers": "workers", "source": "photos"}
# A stage has its own rate, and `--lr` is that of the last one: what a message says of a rate is no option.
FACTS = {"lr": "a learning rate of"}

COLUMN = re.compile(r'pass columns=\{"(\w+)": "?(NAME|None)"?\}')
VALUE = r"\"[^\"]*\"|'[^']*'|[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[A-Za-z_]+"
# not inside a name, a path or a list of columns: a file may be called `seed=1.jpg`
ARGUMENT = re.compile(
    rf"(?P<verb>\b(?:pass|load with) )?(?<![\w/\\.=&,-])(?P<name>[a-z_]\w*)=(?P<value>{VALUE})?"
    r"(?![\w/\\]|\.[\w.])"
)


def in_options(text: str) -> str:
    """The same message for a user of the command line; what no command has an option for stays as it is."""
    text = COLUMN.sub(_column, text)
    return ARGUMENT.sub(_option, text).replace("choose another size", "choose another --size")


def _column(found: re.Match[str]) -> str:
    role, name = found.groups()
    return f"use --columns {role}={'' if name == 'None' else name}"


def _option(found: re.Match[str]) -> str:
    name, value = found["name"], found["value"] or ""
    if name in FACTS:
        return f"{found['verb'] or ''}{FACTS[name]} {value}".rstrip()
    if name not in OPTIONS:
        return found[0]
    plain = value[1:-1] if re.fullmatch(r"[\"'][\w.+-]+[\"']", value) else value
    option = f"--{RENAMED.get(name, name).replace('_', '-')}"
    verb = "use " if found["verb"] else ""
    if not value:  # named without one, as in `(source=)`; or its value is no plain one, and follows
        follows = found.string[found.end() : found.end() + 1] not in ("", *" ,;:).")
        return f"{verb}{option}" + " " * follows
    return f"{verb}{option}" if plain == "True" else f"{verb}{option} {plain}"
