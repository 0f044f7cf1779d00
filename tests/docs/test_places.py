"""Every place that must know of a lesson knows it, and what `make lesson` begins is a lesson like the others."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "authoring"))

import new_lesson  # noqa: E402
import places  # noqa: E402

TEXTS = (
    "*.md",
    "docs/**/*.md",
    "authoring/*.py",
    "ftcourse/exercises/*.py",
    "tests/lessons/**/*.py",
)


def test_every_place_knows_every_lesson():
    found = places.missing(ROOT)
    assert not found, "\n".join(["", *map(str, found)])


@pytest.fixture
def root(tmp_path) -> Path:
    """The files that speak of lessons; of the notebooks lesson 00, and the names of the others."""
    for file in (f for pattern in TEXTS for f in ROOT.glob(pattern)):
        target = tmp_path / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    for folder in ("lessons", "solutions"):
        (tmp_path / folder).mkdir()
        for file in (ROOT / folder).glob("*.ipynb"):
            (tmp_path / folder / file.name).touch()
        shutil.copyfile(
            ROOT / folder / "00_start_here.ipynb", tmp_path / folder / "00_start_here.ipynb"
        )
    return tmp_path


SOURCE, README, GUIDE = "authoring/02_replace_the_head.py", "README.md", "docs/instructors.md"
BROKEN = [
    (SOURCE, 'lesson="02"', 'lesson="03"', "and is 02"),
    (SOURCE, "seconds=20", "seconds=25", "the lesson says 30 | 25 s"),
    (SOURCE, "minutes=30", "minutes=31", "its plan for two days says"),
    (SOURCE, "# # 2. R", "# # 3. R", "# # 2. Replace the head"),
    (SOURCE, "## Common questions", "## Q", "## Common questions"),
    (SOURCE, "**Next:** [3. ", "**Next:** [4. ", "[3. Freeze](03_freeze.ipynb)"),
    (SOURCE, "# **Next:**", "# **This was the last lesson.** **Next:**", "03 follows: take it out"),
    (SOURCE, "A trap", "«A trap»", "words of the template, in «», in lines "),
    (SOURCE, "import math", 'opening.need("x", extra="cam")', "02 needs the extra `cam`"),
    ("ftcourse/exercises/lesson02.py", "replace_the_head", "the_head", "lesson 02, replace_the_head."),
    (README, "| 02 | [Rep", "| 2 | [Rep", "| 02 | [Replace the head](lessons/02_replace_the_head.ipynb)"),
    (README, "lessons/02_replace_the_head.ipynb", "lessons/02_head.ipynb", "says 02_head of lesson 02"),
    (README, "| 02 | [Rep", "| 77 | [x](lessons/77_x.ipynb) | y |\n| 02 | [Rep", "no such lesson"),
    (README, "need the extra `text`", "need the extra `cam`", "need the extra `text`"),
    (README, "A course of notebooks", "A course of 99 notebooks", "says '99 notebooks' in line 3"),
    ("docs/site/index.md", "{{ lessons }} note", "twelve note", "says 'twelve notebooks' in line 3"),
    (GUIDE, "| 02 Replace", "| Replace", "below   | 01 Load"),
    (GUIDE, "| 00 to 0", "| 01 to 0", "its plan for"),
    (GUIDE, "01 (first half), 02", "01, 02", "plan for 90 minutes says 90"),
    ("lessons/00_start_here.ipynb", '"02 Replace the head ', '"', "lacks 02"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "words"), BROKEN)
def test_a_place_that_does_not_know_a_lesson_is_named_with_what_cures_it(
    root, file, old, new, words
):
    assert places.missing(root) == []
    text = (root / file).read_text(encoding="utf-8")
    assert old in text
    (root / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    found = [str(one) for one in places.missing(root)]
    assert any(words in one for one in found), found


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("ftcourse/exercises/lesson02.py", "ftcourse/exercises/lesson02.py: is not there"),
        ("tests/lessons/answers/lesson02.py", "tests/lessons/answers/lesson02.py: is not there"),
        ("solutions/02_replace_the_head.ipynb", "02_replace_the_head.ipynb: is not built yet"),
        (SOURCE, "lesson02.py: belongs to no source"),
    ],
)
def test_a_file_of_a_lesson_that_is_not_there_is_named(root, file, words):
    (root / file).unlink()
    assert any(words in str(one) for one in places.missing(root))


def test_a_lesson_is_begun_with_the_next_number_and_the_list_says_what_to_add(root, capsys):
    assert new_lesson.main(["a_new_thing", "--root", str(root)]) == 0
    said = capsys.readouterr().out
    number = len(places.lessons(ROOT))
    for file in (
        f"authoring/{number:02}_a_new_thing.py",
        f"ftcourse/exercises/lesson{number:02}.py",
        f"tests/lessons/answers/lesson{number:02}.py",
        f"authoring/claims.d/{number:02}.md",
    ):
        assert f"wrote {file}\n" in said
        assert "99" not in (root / file).read_text(encoding="utf-8")
    row = f"| {number:02} | [A new thing](lessons/{number:02}_a_new_thing.ipynb) |"
    for words in (
        row,
        f"| {number:02} A new thing | 30 | 10 s |",
        "is not built yet",
        "stored there lacks",
    ):
        assert words in said


def test_an_exercise_of_a_lesson_below_ten_has_a_number_without_a_zero():
    text = new_lesson._filled("# 99. My topic 99.1 lesson99 test_99_1 my_topic", 9, "a_thing")
    assert text == "# 9. A thing 9.1 lesson09 test_9_1 a_thing"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "write it in small letters"),
        ("My topic", "write it in small letters"),
        ("../x", "write it in small letters"),
        ("07_again", "the next lesson is"),
    ],
)
def test_a_name_that_is_none_is_refused_and_nothing_is_written(root, name, words, capsys):
    before = sorted(root.rglob("*"))
    with pytest.raises(SystemExit):
        new_lesson.main([name, "--root", str(root)])
    assert words in capsys.readouterr().err
    assert sorted(root.rglob("*")) == before


def test_what_is_there_is_not_overwritten(root, capsys):
    number = len(places.lessons(ROOT))
    (root / f"tests/lessons/answers/lesson{number:02}.py").write_text("mine")
    with pytest.raises(SystemExit):
        new_lesson.main(["topic", "--root", str(root)])
    assert "is there already" in capsys.readouterr().err
    assert not (root / f"authoring/{number:02}_topic.py").exists()
