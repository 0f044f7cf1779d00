"""The planted mistakes: one small edit each, of the kinds named, and nothing that no test should pin."""

from __future__ import annotations

import ast
import json
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.test_reliability import ROOT, program


@pytest.fixture(scope="module")
def mutants():
    return program("mutants")


@pytest.fixture(scope="module")
def operators(mutants):
    return program("mutants_operators")


def planted(operators, text: str) -> set[tuple[str, str]]:
    source = textwrap.dedent(text).strip().encode()
    found = operators.mutants_of(source, "a.py")
    return {(m.kind, m.applied_to(source).decode()) for m in found}


@pytest.mark.parametrize(
    ("before", "kind", "after"),
    [
        ("a < b", "comparison", "(a <= b)"),
        ("a in b", "comparison", "(a not in b)"),
        ("a + b", "operator", "(a - b)"),
        ("a // b", "operator", "(a * b)"),
        ("a and b", "boolean", "(a or b)"),
        ("x = not a", "sign lost", "x = (a)"),
        ("x = -a", "sign lost", "x = (a)"),
        ("x = 1", "constant", "x = 2"),
        ("x = 0.5", "constant", "x = 1.0"),
        ("x = True", "constant", "x = False"),
        ("x = 'name'", "constant", "x = 'nameX'"),
        ("scheduler.step()", "statement removed", "pass"),
        ("a.b = c", "statement removed", "pass"),
        ("a += b", "statement removed", "pass"),
        ("def f():\n    return a", "statement removed", "def f():\n    return None"),
        ("if a < b: f(c)", "condition negated", "if (not (a < b)): f(c)"),
        ("[a for a in b if c]", "condition negated", "[a for a in b if (not (c))]"),
        ("f(a, b, c)", "arguments swapped", "(f(b, a, c))"),
        ("f(a, key=b)", "keyword forgotten", "(f(a))"),
        ("ü = 'ü' if a < b else 'ö'", "comparison", "ü = 'ü' if (a <= b) else 'ö'"),
    ],
)
def test_each_kind_of_mistake_is_planted(operators, before, kind, after):
    assert (kind, after) in planted(operators, before)


@pytest.mark.parametrize(
    "text",
    [
        '"""One word."""',
        "x: Literal['word']",
        "def f(a: 'Word' = b) -> 'Word': ...",
        "x = f'{a + 1} photos'",
        "import a",
        "__all__ = ['word']",
        "T = TypeVar('T')",
        "@frozen(True)\nclass A: ...",
        "zip(a, strict=True)",
        "np.minimum(a, b)",
        "if TYPE_CHECKING:\n    x = 1",
    ],
)
def test_what_no_test_should_pin_is_left_alone(operators, text):
    assert not {m for m in planted(operators, text) if m[0] != "statement removed"}


def test_of_a_raise_only_its_removal_is_planted(operators):
    assert planted(operators, "raise ValueError(f(a + 1, 'word'))") == {
        ("statement removed", "pass")
    }


def test_each_mutant_is_python_differs_from_the_file_and_has_a_key_of_its_own(operators):
    for path in sorted((ROOT / "ftcourse" / "training").glob("*.py")):
        source = path.read_bytes()
        found = operators.mutants_of(source, path.name)
        assert len({m.key for m in found}) == len(found)
        tree = ast.dump(ast.parse(source))
        for mutant in found[::10]:
            assert ast.dump(ast.parse(mutant.applied_to(source))) != tree, mutant


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3))
def test_a_key_stays_when_the_function_moves_within_its_file(operators, lines):
    text = b"def f(a):\n    return a + 1 + 1\n"
    keys = [m.key for m in operators.mutants_of(text, "a.py")]
    assert [m.key for m in operators.mutants_of(b"\n" * lines + text, "a.py")] == keys


def test_a_sample_is_the_same_for_a_seed_and_never_more_than_there_are(mutants):
    room = "evaluation/measures"
    keys = [m.key for m in mutants.chosen(room, 10, seed=3)]
    assert len(keys) == 10 and keys == [m.key for m in mutants.chosen(room, 10, seed=3)]
    assert keys != [m.key for m in mutants.chosen(room, 10, seed=4)]
    everyone = mutants.all_mutants(room)
    assert mutants.chosen(room, 0, seed=3) == mutants.chosen(room, 10**6, seed=3) == everyone


def test_each_room_and_its_tests_are_there(mutants):
    for room, tests in mutants.ROOMS.items():
        assert all(path.exists() for path in mutants.files_of(room)), room
        assert mutants.there(tests) == list(tests), room


def test_each_room_has_results_and_the_rooms_that_numbers_hang_on_are_among_them(mutants):
    rooms = {"data/splits", "evaluation/measures", "models/freezing"}
    rooms |= {
        f"training/{name}" for name in ("checkpoints", "feature_cache", "frozen_prefix", "loop")
    }
    rooms |= {f"training/{name}" for name in ("preflight", "runs", "stages")}
    results = json.loads(mutants.RESULTS.read_text(encoding="utf-8"))
    assert rooms <= set(results["rooms"]) == set(mutants.ROOMS)


def test_at_least_85_percent_are_noticed_in_each_room_and_the_others_have_a_reason(mutants):
    results = json.loads(mutants.RESULTS.read_text(encoding="utf-8"))
    why = mutants.reasons()
    for room, row in results["rooms"].items():
        assert row["killed"] + row["timeout"] + len(row["survived"]) == row["tried"]
        assert (row["killed"] + row["timeout"]) / row["tried"] >= 0.85, room
        assert not [mutants.told(m) for m in row["survived"] if m["key"] not in why], room
    page = mutants.RESULTS.with_suffix(".md").read_text(encoding="utf-8")
    assert page == mutants.page(results, why)
