"""Lessons as a learner opens them: they run, fit the window, and can be found one's way in."""

from __future__ import annotations

import re

import nbformat
import pytest

from tests.browser.conftest import RESULTS, ROOT

pytestmark = pytest.mark.browser
LESSONS = ("00_start_here", "01_load_a_pretrained_resnet", "03_freeze")

TOO_WIDE = """() => {
    const parts = ['.jp-Notebook', '.jp-WindowedPanel-outer', '.cm-scroller', '.jp-RenderedMarkdown',
                   '.jp-OutputArea-output', '.jp-OutputArea-child', '.jupyter-widgets'];
    const all = parts.flatMap(p => [...document.querySelectorAll('.jp-NotebookPanel ' + p)]);
    return all.filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1
                        && !['visible', 'hidden', 'clip'].includes(getComputedStyle(e).overflowX))
              .map(e => `${e.className}: ${e.scrollWidth} > ${e.clientWidth}: ${e.innerText.slice(0, 150)}`) }"""


@pytest.fixture(scope="module", params=LESSONS)
def lesson(server, request):
    """The lesson, opened without its stored outputs, and run from the top to the bottom."""
    lab = server.open(ROOT / "lessons" / f"{request.param}.ipynb")
    lab.name = request.param
    lab.run_all()
    lab.wait_for_all()
    lab.screenshot(RESULTS / f"{request.param}.png")
    return lab


def outputs(lab, kind: str) -> list[str]:
    found = lab.page.locator(
        f'.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.{kind}"]'
    )
    return found.all_inner_texts()


def headings(name: str) -> list[str]:
    """The headings in the notebook's Markdown, in order, as they are read."""
    cells = nbformat.read(ROOT / "lessons" / f"{name}.ipynb", 4).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    return [re.sub(r"[`*$\\]", "", h).strip() for h in re.findall(r"^#{1,6} +(.+)$", text, re.M)]


def test_every_cell_runs_without_an_error_or_a_warning(lesson):
    assert lesson.page.locator(".jp-OutputArea-output").count() > 5  # there is something to look at
    assert outputs(lesson, "error") == []
    assert outputs(lesson, "stderr") == []
    assert lesson.errors == []


def test_nothing_scrolls_sideways_at_1280_pixels(lesson):
    assert lesson.page.viewport_size["width"] == 1280
    assert lesson.page.evaluate(TOO_WIDE) == []


def test_unsolved_exercises_say_so_and_stop_nothing(lesson):
    text = "\n".join(outputs(lesson, "stdout"))
    assert "waits for your answer" in text and "✅" not in text and "Hint" not in text
    assert re.search(r"\d of \d right", text)  # the summary of progress at the end


def test_exercises_are_seen_at_once_and_not_by_colour_alone(lesson):
    found = lesson.page.locator(".jp-Notebook h3", has_text="Your turn")
    assert found.count() >= 3
    assert all("✏️ Your turn" in text for text in found.all_inner_texts())
    found.first.scroll_into_view_if_needed()
    lesson.screenshot(RESULTS / f"{lesson.name}_your_turn.png")


def test_the_table_of_contents_lists_every_heading(lesson):
    page = lesson.page
    if not page.locator(".jp-TableOfContents").is_visible():
        page.get_by_role("tab", name=re.compile("Table of Contents")).click()
    items = page.locator(".jp-TableOfContents .jp-tocItem-heading")
    items.first.wait_for()
    lesson.screenshot(RESULTS / f"{lesson.name}_contents.png")
    shown = [re.sub(r"[`*$\\]", "", text).strip() for text in items.all_inner_texts()]
    assert shown == headings(lesson.name)
    further = page.locator(".jp-TableOfContents .jp-tocItem-content", has_text="One step further")
    further.last.click()  # and it leads there
    page.locator(".jp-Notebook").get_by_role("heading", name="One step further").wait_for()
    page.wait_for_function(
        """() => [...document.querySelectorAll('.jp-Notebook h2')].some(
            h => h.textContent.startsWith('One step further') && h.getBoundingClientRect().top < innerHeight
                 && h.getBoundingClientRect().top > 0)"""
    )


def test_a_lesson_just_opened_shows_what_is_stored_and_a_table_where_a_widget_will_be(server):
    lab = server.open(ROOT / "lessons" / "03_freeze.ipynb", outputs=True)
    place = lab.index("widgets.freeze_explorer(model")
    assert "Freeze explorer (live in a running notebook)" in lab.output(place)
    assert lab.cell(place).locator("table tr").count() == 4  # a head, and three choices
    assert outputs(lab, "error") == []
