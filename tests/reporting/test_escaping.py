"""Whatever classes and files are called, pages show it and do nothing else."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ftcourse.reporting.escaping import fenced, markdown, one_line
from ftcourse.reporting.model_card import model_card
from ftcourse.reporting.report_page import page
from tests.shapes import photos, run

HOSTILE = [
    "<img src=x onerror=alert(1)>", "cats\n\n# Owned heading\n\n| a | b |", "a|b", "`code`", "```\n",
    "*bold* _it_ ~~no~~", "[click](javascript:alert(1))", "![x](http://example.org/x.png)", "<!-- ",
    "&lt;b&gt; &amp;", "# heading", "- item", "1. one", "> quote", "\\", "a\\", "\x1b[2J", "\r", "\u202egpj.exe",
    "\udcff.jpg", "$x$", "---", "===", "<script>", "sea_horse", "__init__", " ", "é", "蜂", "a  b", "\t", "+ plus",
    "0) zero", "\u2028",
]  # fmt: skip
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def kinds(text: str) -> list[str]:
    """The kinds of all elements of a page, in order: headings, cells, links, HTML, ..."""
    found = []
    for token in PARSER.parse(text):
        found.append(token.type)
        found += [t.type for t in token.children or [] if t.type not in ("text", "text_special")]
    return found


def shown(text: str) -> str:
    (inline,) = [t for t in PARSER.parse(text) if t.type == "inline"][:1]
    return "".join(t.content for t in inline.children)


names = (
    st.sampled_from(HOSTILE)
    | st.text(max_size=30)
    | st.text("<>[]()!*_`#|\\&;-+=~1. a\n", max_size=30)
)


@settings(max_examples=400, deadline=None)
@given(names)
def test_any_name_is_shown_as_it_is_in_a_sentence_a_list_a_heading_and_a_table(name):
    safe, plain = markdown(name), one_line(name)
    assert shown(f"So {safe} is") == f"So {plain} is"
    places = ["So {} is", "# {}: 2 classes", "| a | b |\n| --- | --- |\n| {} | 1 |"]
    if plain.strip():
        assert shown(f"- {safe}") == plain.strip()
        places.append("- {}")
    for place in places:
        assert kinds(place.format(safe)) == kinds(place.format("x"))


@settings(deadline=None)
@given(st.text(max_size=40) | st.text("`\n x", max_size=40))
def test_no_text_ends_the_block_of_code_that_it_is_in(text):
    assert [k for k in kinds(fenced(text) + "\n\nafter")][:2] == ["fence", "paragraph_open"]


def renamed(value, names):
    if isinstance(value, dict):
        return {names.get(k, k): renamed(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [renamed(v, names) for v in value]
    return names.get(value, value) if isinstance(value, str) else value


@pytest.fixture
def report(run):
    found = json.loads((run / "report.json").read_text())
    found["data_notes"] = ["note of circle"]
    found["audit"] = {
        "findings": [{"severity": "info", "kind": "k", "message": "m", "files": ["circle"]}]
    }
    found["worst"] = [
        {"file": "circle", "true": "circle", "predicted": "square", "probability": 0.9, "index": 0}
    ]
    found["test"]["confusion"] = [[1, 1, 0], [0, 2, 0], [0, 0, 2]]
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_pages_have_the_same_elements_whatever_the_classes_and_files_are_called(report, name):
    other = renamed(report, {"circle": name})
    other["name"], other["source"], other["data_notes"] = name, name, [f"note of {name}"]
    other["command"] = f"ftcourse train '{name}'"
    for make in (page, model_card):
        texts = [make(copy.deepcopy(one)) for one in (report, other)]
        if make is model_card:
            texts = [text.split("\n---\n", 1)[1] for text in texts]  # without the header of YAML
        assert kinds(texts[1]) == kinds(texts[0])


def test_ordinary_names_are_written_as_ever():
    for name in (
        "circle",
        "sea_horse",
        "great pyrenees",
        "café",
        "colt's foot",
        "b-52",
        "photos/cats/003.jpg",
    ):
        assert markdown(name) == name
