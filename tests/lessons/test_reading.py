"""What a reader of each lesson meets, and that the rules of authoring/reading.py notice what breaks them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "authoring"))
import reading  # noqa: E402


@pytest.mark.parametrize("notebook", reading.notebooks(ROOT), ids=lambda file: file.stem)
def test_a_lesson_shows_numbers_begins_soon_and_lists_what_it_claims(notebook):
    assert reading.wrong(ROOT, notebook) == []


def test_the_page_of_all_claims_is_made_from_those_of_the_lessons():
    page = (ROOT / "authoring" / "claims.md").read_text(encoding="utf-8")
    assert page == reading.claims_page(ROOT), "python authoring/reading.py --claims"


def write(root: Path, *cells: dict, claims: str = "") -> Path:
    for folder in ("lessons", "authoring/claims.d"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "authoring/claims.d/00.md").write_text(claims, encoding="utf-8")
    file = root / "lessons" / "00_a.ipynb"
    file.write_text(json.dumps({"cells": list(cells)}), encoding="utf-8")
    return file


def prose(text: str) -> dict:
    return {"cell_type": "markdown", "source": text}


def code(source: str, printed: str = "", tags: tuple[str, ...] = ()) -> dict:
    outputs = [{"output_type": "stream", "text": [printed]}] if printed else []
    return {
        "cell_type": "code",
        "source": source,
        "outputs": outputs,
        "metadata": {"tags": list(tags)},
    }


@pytest.mark.parametrize(
    ("line", "bare"),
    [
        ("accuracy above 0.7: True", True),
        ("E: moves: True   as it should: 3", True),
        ("the same answer:     False", True),
        ("accuracy 0.86", False),
        ("{'augment': True}", False),
        ("BatchNorm(track_running_stats=True)", False),
    ],
)
def test_a_claim_that_is_only_true_is_found_and_a_setting_is_none(tmp_path, line, bare):
    assert reading.bare_truths(write(tmp_path, code("f()", line))) == [line] * bare


def test_words_are_counted_up_to_the_first_cell_that_answers(tmp_path):
    opening, silent = code('opening.show("00")', "tier pocket"), code("import torch")
    before = [
        prose("# A title\n\none two three"),
        opening,
        silent,
        prose("- **four** $$x^2$$ five"),
    ]
    for action in (code("print(1)", "1"), code("def f(): ...", tags=("exercise",))):
        assert reading.before_action(write(tmp_path, *before, action, prose("never"))) == 7


def test_each_rule_is_told_with_what_broke_it(tmp_path):
    row = "| it is so | A place | `benchmarks/none.py`, its command | 3 |"
    cells = [prose("word " * 251), code("fig, ax = plt.subplots()", "well: True")]
    told = "\n".join(reading.wrong(tmp_path, write(tmp_path, *cells, claims=row)))
    for part in (
        "prints 'well: True'", "251 words before", "figure by hand: 'fig, ax", "no heading 'A place'",
        "no file benchmarks/none.py",
    ):  # fmt: skip
        assert part in told
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "none.py").touch()
    fine = [prose("## A place, and more"), code("print(0.3)", "0.3")]
    assert reading.wrong(tmp_path, write(tmp_path, *fine, claims=row)) == []
    assert "lists no claim" in reading.wrong(tmp_path, write(tmp_path, *fine))[0]


def test_a_cell_that_draws_shows_its_picture(tmp_path):
    drawing = code("ft.plot_bars({})\nassert True")
    file = write(tmp_path, drawing)
    assert reading.without_picture(file) == ["ft.plot_bars({})"]
    drawing["outputs"] = [{"output_type": "display_data", "data": {"image/png": "..."}}]
    assert reading.without_picture(write(tmp_path, drawing)) == []
    asked = code("if full:\n    ft.plot_bars({})")
    assert reading.without_picture(write(tmp_path, asked)) == []
