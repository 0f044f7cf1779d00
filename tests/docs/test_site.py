"""The site: it shows every lesson and every public name, its links hold, and it loads nothing from outside."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ftcourse as ft
from ftcourse import tasks, widgets

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"
sys.path.insert(0, str(ROOT / "docs"))

import check_links  # noqa: E402

NEEDED = ("sphinx", "myst_nb", "sphinx_book_theme", "ziamath")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]


@pytest.mark.parametrize("folder", ["lessons", "solutions"])
def test_the_site_takes_its_lists_of_lessons_from_the_folders(folder):
    text = (SITE / folder / "index.md").read_text(encoding="utf-8")
    assert re.search(r"```\{toctree\}\n(:\w+:.*\n)*:glob:\n\n\[0-9\]\*\n```", text)


def documented() -> list[str]:
    text = "\n".join(f.read_text(encoding="utf-8") for f in (SITE / "reference").glob("*.rst"))
    return re.findall(r"^\.\. auto(?:class|function):: ([\w.]+)$", text, flags=re.M)


def test_the_reference_has_every_public_name_and_no_other():
    public = {f"ftcourse.{name}" for name in ft.__all__}
    public |= {f"ftcourse.widgets.{name}" for name in widgets.__all__}
    public |= {f"ftcourse.tasks.{name}" for name in tasks.__all__}
    names = documented()
    assert sorted(set(names)) == sorted(names), "a name is there twice"
    assert public - set(names) == set()
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_the_reference_shows_a_picture_of_every_plot_on_light_and_dark_paper():
    text = (SITE / "reference" / "plots.rst").read_text(encoding="utf-8")
    pictures = re.findall(r"^\.\. image:: /(\S+)\n   :class: (\S+)\n   :alt: \S", text, flags=re.M)
    assert {kind for _, kind in pictures} == {"only-light", "only-dark"}
    assert len(pictures) >= 2 * sum(name.startswith("plot_") for name in ft.__all__)
    assert all((ROOT / path).exists() for path, _ in pictures)


def test_no_link_in_the_repositorys_documents_is_broken():
    lines, outside = check_links.repository_problems(ROOT)
    assert lines == [] and outside


# -- the check of links must be able to fail ---


def test_a_broken_link_in_markdown_is_named(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "there.md").write_text("# A title: *with* `code`!\n")
    (tmp_path / "README.md").write_text(
        "[a](docs/there.md#a-title-with-code) [b](docs/absent.md) [c](docs/there.md#nowhere)\n"
        "`[code](absent)` [ref]\n\n```md\n[fenced](absent.md)\n```\n\n[ref]: docs/gone.md\n<http://plain.example>"
    )
    lines, outside = check_links.repository_problems(tmp_path)
    assert lines == [
        "README.md links to docs/absent.md: no such file",
        "README.md links to docs/there.md#nowhere: no such anchor in there.md",
        "README.md links to docs/gone.md: no such file",
        "README.md links to http://plain.example: begins with http, not https",
    ]
    assert outside == {"http://plain.example"}


def test_a_broken_link_and_a_load_from_outside_are_named_on_a_page(tmp_path):
    (tmp_path / "other.html").write_text('<h1 id="top">Other</h1>')
    (tmp_path / "index.html").write_text(
        '<a href="other.html#top">1</a><a href="other.html#no">2</a><img src="no.png"><a href="https://ok.example/x">3</a>'
        '<script src="https://far.example/x.js"></script><link rel="stylesheet" href="//far.example/x.css">'
    )
    (tmp_path / "site.css").write_text(
        "@import 'https://far.example/font.css'; b {background: url(data:x)}"
    )
    lines, outside = check_links.site_problems(tmp_path)
    assert lines == [
        "index.html links to other.html#no: no such anchor in other.html",
        "index.html links to no.png: no such file",
        "index.html loads https://far.example/x.js from outside",
        "index.html loads //far.example/x.css from outside",
        "site.css loads https://far.example/font.css from outside",
    ]
    assert "https://ok.example/x" in outside


def test_a_relative_link_between_notebooks_is_checked(tmp_path):
    (tmp_path / "lessons").mkdir()
    cell = '{"cells": [{"cell_type": "markdown", "source": ["Next: [two](02.ipynb)"]}]}'
    (tmp_path / "lessons" / "01.ipynb").write_text(cell)
    assert check_links.repository_problems(tmp_path)[0] == [
        "lessons/01.ipynb links to 02.ipynb: no such file"
    ]


# -- the built site ---


@pytest.mark.skipif(bool(missing), reason=f"the site needs {', '.join(missing)}: make docs")
def test_the_site_builds_without_a_warning_and_its_links_hold(tmp_path):
    run = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_site.py"), "--out", str(tmp_path)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "links: 0 broken" in run.stdout
    html = tmp_path / "html"
    lesson = (html / "lessons" / "02_replace_the_head.html").read_text(encoding="utf-8")
    assert '<svg role="img" aria-label=' in lesson and "$$" not in lesson
    assert not re.search(r"<script[^>]*(mathjax|require)", lesson, flags=re.I)
    assert "finetune" in (html / "searchindex.js").read_text(encoding="utf-8")
    for folder in ("lessons", "solutions"):
        page = (html / folder / "index.html").read_text(encoding="utf-8")
        listed = dict.fromkeys(re.findall(r'href="(\d\d_\w+)\.html"', page))
        assert list(listed) == sorted(f.stem for f in (ROOT / folder).glob("*.ipynb"))
