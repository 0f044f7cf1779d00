"""No message that the command line prints names an argument that it has no option for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer

import ftcourse
from ftcourse.cli import app
from ftcourse.reporting.options import OPTIONS, RENAMED, in_options

COMMANDS = typer.main.get_command(app).commands
ALL = {option for one in COMMANDS.values() for p in one.params for option in p.opts}

# -- what messages name ------------------------------------------------------------------------

# Rooms whose messages the command line never shows: what programs and lessons call.
NOT_SHOWN = (
    "bugs", "exercises", "plots", "widgets", "tasks", "results", "data/insects", "data/texts", "models/cost.py",
    "models/features.py", "training/lr_finder.py", "reporting/options.py", "reporting/report_html.py",
)  # fmt: skip
# Arguments in messages about what only a program can have written: its stages, its model, its loader.
OF_PROGRAMS = {
    "batch_size",
    "drop_last",
    "layer_decay",
    "num_classes",
    "only",
    "optimizer",
    "requires_grad",
    "schedule",
    "shuffle",
    "stages",
    "strict",
    "train",
    "warmup",
    "weight_decay",
}
OF_PROGRAMS |= {"transform", "train_transform"}
# No arguments: the head of an HTTP request, a variable of the environment, and what columns are for.
OF_PROGRAMS |= {"bytes", "FTCOURSE_DEBUG", "file", "label"}


def texts():
    """Each text of the package that is no docstring; what an f-string fills in is `x`."""
    package = Path(ftcourse.__file__).parent
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package).as_posix()
        if name.startswith(NOT_SHOWN):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        inside = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
        inside |= {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "'x'" for v in node.values]
                yield f"{name}, line {node.lineno}", "".join(map(str, parts))
            elif isinstance(getattr(node, "value", None), str) and id(node) not in inside:
                yield f"{name}, line {node.lineno}", node.value


def named(text):
    return set(re.findall(r"(?<![\w/\\.&-])([A-Za-z_]\w*)=(?!=)", text))


def test_no_message_names_an_argument_that_is_no_option():
    left = {where: named(in_options(text)) - OF_PROGRAMS for where, text in texts()}
    assert {where: names for where, names in left.items() if names} == {}


def test_each_option_that_the_rule_writes_is_one_of_a_command():
    written = {f"--{RENAMED.get(name, name).replace('_', '-')}" for name in OPTIONS}
    assert written <= ALL


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('remove it or pass on_error="skip" (or not)', "remove it or use --on-error skip (or not)"),
        ("load with keep_placeholders=True", "use --keep-placeholders"),
        ("give their folder (source=)", "give their folder (--photos)"),
        (r"groups='^(a\d)': fits none", r"--groups '^(a\d)': fits none"),
        ("groups=^(a): fits none", "--groups ^(a): fits none"),
        ("label_smoothing=1.5: too much", "--label-smoothing 1.5: too much"),
        ("num_workers=-1: at least 0", "--workers -1: at least 0"),
        ("with --columns label=kind,split=, not", "with --columns label=kind,split=, not"),
        ('pass columns={"label": "NAME"}', "use --columns label=NAME"),
        ("with lr=1e-05.", "with a learning rate of 1e-05."),
        ("seed=1.jpg: cannot be decoded", "seed=1.jpg: cannot be decoded"),
        ("a/seed=1/b: no such folder", "a/seed=1/b: no such folder"),
        ("a/seed=1: no such folder", "a/seed=1: no such folder"),
        ("Stage(train='head')", "Stage(train='head')"),
        (
            "DataLoader(x, batch_size=..., shuffle=True)",
            "DataLoader(x, batch_size=..., shuffle=True)",
        ),
    ],
)
def test_an_argument_becomes_its_option_and_a_name_of_a_file_stays(said, expected):
    assert in_options(said) == expected
