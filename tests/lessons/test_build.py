"""The pipeline on fixture notebooks: authoring/NN_name.py -> lessons/ and solutions/."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from ftcourse.exercises import opening

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("build", ROOT / "authoring" / "build.py")
assert spec is not None and spec.loader is not None
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

SOURCE = """\
# %% [markdown]
# # A lesson

# %% tags=["exercise"]
def double(x):
    raise NotImplementedError

# %% tags=["solution"]
def double(x):
    return 2 * x

# %%
# alt: a straight
#   line
import os

print("progress", os.environ["FTCOURSE_PROGRESS"], "in", os.path.basename(os.getcwd()))

# %% tags=["nbval-ignore-output"]
print("done")

# %% tags=["nbval-ignore-output"]
print("done")
"""
PYPROJECT = (
    '[project]\nname = "x"\n[project.urls]\nRepository = "https://github.com/some/where.git"\n'
)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "authoring").mkdir()
    (tmp_path / "authoring" / "01_first.py").write_text(SOURCE)
    (tmp_path / "authoring" / "build.py").write_text("# not a lesson\n")
    return tmp_path


@pytest.fixture
def no_kernel(monkeypatch):
    """Pretend to execute: most tests need no kernel, which takes seconds to start."""

    def execute(nb, cwd, timeout=0):
        cwd.mkdir(exist_ok=True)
        for i, cell in enumerate(c for c in nb.cells if c.cell_type == "code"):
            cell.execution_count = i + 1

    monkeypatch.setattr(build, "execute", execute)


def variants(root):
    source = root / "authoring" / "01_first.py"
    return build.notebook(source, "lessons"), build.notebook(source, "solutions")


def test_the_lesson_has_the_stub_and_the_solution_has_the_answer(root):
    lesson, solution = variants(root)
    assert "raise NotImplementedError" in lesson.cells[1].source
    assert "return 2 * x" in solution.cells[1].source
    assert len(lesson.cells) == len(solution.cells) == 5


def test_cell_ids_are_stable_and_unique_and_an_edit_changes_one(root):
    before = [c.id for c in variants(root)[0].cells]
    assert before == [c.id for c in variants(root)[0].cells]
    assert len(set(before)) == len(before)
    source = root / "authoring" / "01_first.py"
    source.write_text(SOURCE.replace("# # A lesson", "# # The lesson"))
    after = [c.id for c in variants(root)[0].cells]
    assert after[0] != before[0] and after[1:] == before[1:]


def test_metadata_keeps_tags_and_alt_text_and_nothing_else(root):
    lesson, _ = variants(root)
    assert set(lesson.metadata) == {"colab", "ftcourse", "kernelspec", "language_info"}
    assert lesson.cells[2].metadata == {"alt": "a straight line"}
    assert lesson.cells[2].source.startswith("import os")
    assert lesson.cells[3].metadata == {"tags": ["nbval-ignore-output"]}


HEADER = """\
# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     gpuType: T4
# ---

"""


def test_a_header_asks_colab_for_a_gpu_and_a_lesson_without_one_does_not(root):
    plain, _ = variants(root)
    assert "accelerator" not in plain.metadata and "gpuType" not in plain.metadata.colab
    (root / "authoring" / "01_first.py").write_text(HEADER + SOURCE)
    for nb in variants(root):
        assert nb.metadata.accelerator == "GPU"
        assert nb.metadata.colab == {"provenance": [], "toc_visible": True, "gpuType": "T4"}
        assert nb.cells[0].source == plain.cells[0].source


def test_check_finds_a_notebook_without_the_gpu_that_its_source_asks_for(root, no_kernel):
    build.build(root)
    (root / "authoring" / "01_first.py").write_text(HEADER + SOURCE)
    assert "other metadata" in build.check(root)[0]
    build.build(root)
    assert build.check(root) == []


def test_no_badge_and_no_installation_without_a_repository_address(root):
    lesson, _ = variants(root)
    assert build.repository(root) is None
    assert not any("colab" in c.source or "pip" in c.source for c in lesson.cells)


def test_the_badge_points_at_the_repository_named_in_pyproject(root, no_kernel):
    (root / "pyproject.toml").write_text(PYPROJECT)
    build.build(root)
    lesson = nbformat.read(root / "lessons" / "01_first.ipynb", 4)
    assert "/github/some/where/blob/main/lessons/01_first.ipynb" in lesson.cells[0].source
    assert "git+https://github.com/some/where" in lesson.cells[1].source
    assert "--no-deps" in lesson.cells[1].source


def test_a_second_build_writes_nothing_and_an_edit_rebuilds_both(root, no_kernel):
    assert len(build.build(root)) == 2
    assert build.build(root) == []
    assert len(build.build(root, force=True)) == 2
    source = root / "authoring" / "01_first.py"
    source.write_text(SOURCE.replace("2 * x", "x + x"))
    assert [p.parent.name for p in build.build(root)] == ["solutions"]


def test_a_change_of_words_keeps_the_outputs_and_needs_no_kernel(root, no_kernel, monkeypatch):
    build.build(root)
    target = root / "lessons" / "01_first.ipynb"
    nb = nbformat.read(target, 4)
    nb.cells[2].outputs = [nbformat.v4.new_output("stream", text="kept\n")]
    nbformat.write(nb, target)
    monkeypatch.setattr(build, "execute", None)  # would fail
    source = root / "authoring" / "01_first.py"
    source.write_text(SOURCE.replace("# # A lesson", "# # The lesson"))
    assert len(build.build(root)) == 2 and build.check(root) == []
    built = nbformat.read(target, 4)
    assert built.cells[0].source == "# The lesson" and built.cells[2].outputs[0].text == "kept\n"


def test_a_change_of_code_and_force_both_run_the_notebook_again(root, no_kernel):
    build.build(root)
    target = root / "lessons" / "01_first.ipynb"
    for change, force in ((SOURCE.replace('"done"', '"ready"'), False), (SOURCE, True)):
        nb = nbformat.read(target, 4)
        nb.cells[2].outputs = [nbformat.v4.new_output("stream", text="old\n")]
        nbformat.write(nb, target)
        (root / "authoring" / "01_first.py").write_text(change)
        build.build(root, force=force)
        assert nbformat.read(target, 4).cells[2].outputs == []


def test_no_hint_stands_in_a_lesson_before_it_is_asked_for(root):
    """A fold that somebody opens cannot be counted, so the hints come from the checks alone."""
    for source in sorted((build.ROOT / "authoring").glob("[0-9][0-9]_*.py")):
        module = importlib.import_module(f"ftcourse.exercises.lesson{source.stem[:2]}")
        text = " ".join(c.source for c in build.notebook(source, "lessons").cells)
        for exercise in (e for e in vars(module).values() if hasattr(e, "hints")):
            assert not any(hint in text for hint in exercise.hints), exercise.number


def test_a_change_in_the_exercises_runs_their_lesson_again(root, no_kernel, monkeypatch):
    exercises = root / "lesson77.py"
    exercises.write_text("")
    module = type(sys)("ftcourse.exercises.lesson77")
    module.__file__ = str(exercises)
    monkeypatch.setitem(sys.modules, "ftcourse.exercises.lesson77", module)
    source = root / "authoring" / "02_checks.py"
    source.write_text("# %%\nfrom ftcourse.exercises import lesson77 as check\n")
    build.build(root)
    assert build.check(root) == [] == build.build(root)
    exercises.write_text("# another hint")
    assert build.check(root, "02")[0].endswith("has outputs of other exercises; run: make lessons")
    ran = []
    monkeypatch.setattr(build, "execute", lambda nb, cwd: ran.append(cwd.name))
    build.build(root)
    assert ran == ["lessons", "solutions"]


def test_a_notebook_that_does_not_say_with_which_exercises_it_ran_is_left_as_it_is(root, no_kernel):
    source = root / "authoring" / "02_checks.py"
    source.write_text(
        "# %% [markdown]\n# A\n# %%\nfrom ftcourse.exercises import lesson00 as check\n"
    )
    build.build(root)
    target = root / "lessons" / "02_checks.ipynb"
    nb = nbformat.read(target, 4)
    del nb.metadata.ftcourse["questions_hash"]
    nbformat.write(nb, target)
    assert build.check(root) == []
    source.write_text(source.read_text().replace("# A", "# B"))
    build.build(root)
    assert "questions_hash" not in nbformat.read(target, 4).metadata.ftcourse


def test_only_takes_one_lesson(root, no_kernel):
    (root / "authoring" / "02_second.py").write_text("# %%\n1 + 1\n")
    assert {p.stem for p in build.build(root, only="02")} == {"02_second"}


def test_check_is_silent_after_a_build_and_names_what_drifted(root, no_kernel, capsys):
    assert build.main(["--check", "--root", str(root)]) == 1
    assert "lessons/01_first.ipynb is missing" in capsys.readouterr().err
    build.build(root)
    assert build.main(["--check", "--root", str(root)]) == 0
    target = root / "lessons" / "01_first.ipynb"
    nb = nbformat.read(target, 4)
    nb.cells[0].source = "# Edited by hand"
    nbformat.write(nb, target)
    assert build.check(root) == [
        "lessons/01_first.ipynb differs from its source; run: make lessons"
    ]


def test_check_finds_outputs_of_another_source_and_cells_not_run(root, no_kernel):
    build.build(root)
    target = root / "lessons" / "01_first.ipynb"
    nb = nbformat.read(target, 4)
    nb.metadata.ftcourse.source_hash = "0"
    nbformat.write(nb, target)
    assert "outputs of another source" in build.check(root)[0]
    nb = build.notebook(root / "authoring" / "01_first.py", "lessons")
    nbformat.write(nb, target)
    assert "was not executed" in build.check(root)[0]


def test_check_finds_a_notebook_without_a_source(root, no_kernel):
    build.build(root)
    (root / "authoring" / "01_first.py").unlink()
    lines = build.check(root)
    assert lines[0] == "lessons/01_first.ipynb has no source in authoring/"


def test_check_finds_a_notebook_that_is_too_large(root, no_kernel, monkeypatch):
    build.build(root)
    monkeypatch.setattr(build, "MAX_BYTES", 100)
    assert "above 100" in build.check(root)[0]


def test_an_unknown_lesson_number_is_named(root, capsys):
    with pytest.raises(SystemExit):
        build.main(["--only", "99", "--root", str(root)])
    assert "authoring/99*.py" in capsys.readouterr().err


def test_execution_stores_outputs_and_runs_in_the_notebooks_folder(root, monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", "off")
    build.build(root)
    text = (root / "lessons" / "01_first.ipynb").read_text()
    nb = nbformat.reads(text, 4)
    assert nb.cells[2].outputs[0].text == "progress off in lessons\n"
    assert [c.execution_count for c in nb.cells if c.cell_type == "code"] == [1, 2, 3, 4]
    assert str(root) not in text
    assert build.check(root) == []


def test_the_committed_notebooks_are_what_their_sources_say():
    assert build.check(ROOT) == []


def test_what_a_lesson_needs_is_in_its_metadata(root, no_kernel):
    call = 'opening.need("transformers", "peft", extra="text")\n'
    (root / "authoring" / "02_text.py").write_text(f"# %%\n{call}\n# %%\nprint(1)\n")
    build.build(root)
    metadata = nbformat.read(root / "lessons" / "02_text.ipynb", as_version=4).metadata
    assert metadata["ftcourse"]["needs"] == ["transformers", "peft"]
    first = nbformat.read(root / "lessons" / "01_first.ipynb", as_version=4).metadata
    assert "needs" not in first["ftcourse"]


def test_nbval_skips_a_notebook_whose_needs_are_not_met_and_says_why(tmp_path):
    cells = [nbformat.v4.new_code_cell("import no_such_module", execution_count=1)]
    metadata = {"ftcourse": {"needs": ["no_such_module"]}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "99_text.ipynb"
    )
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "--nbval", "-rs", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0 and "1 skipped" in done.stdout, done.stdout
    assert "99_text.ipynb needs no_such_module: pip install -e '.[dev]'" in done.stdout


def test_a_missing_package_is_one_clear_line_in_a_notebook():
    opening.need("json", extra="text")
    with pytest.raises(opening.Missing) as caught:
        opening.need("json", "no_such_module", extra="text")
    shown = caught.value._render_traceback_()
    assert len(shown) == 1 and "pip install no-such-module" in shown[0]


def test_of_a_widget_the_still_form_is_stored_and_a_bare_one_leaves_nothing():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}

    def shown(data):
        return nbformat.v4.new_output("display_data", data=data)

    cell = nbformat.v4.new_code_cell(
        outputs=[
            shown({**view, "text/plain": "IntSlider(value=0)"}),
            shown({**view, "text/plain": "a table", "text/html": "<table></table>"}),
            nbformat.v4.new_output("stream", text="words"),
        ]
    )
    build._clean_outputs(cell)
    kept = [sorted(out.get("data", {"stream": 0})) for out in cell.outputs]
    assert kept == [["text/html", "text/plain"], ["stream"]]


def test_a_large_picture_is_stored_in_few_colours_and_a_small_one_as_it_was():
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    kept = []
    for side in (300, 20):
        stored = io.BytesIO()
        Image.fromarray(noise[:side, :side]).save(stored, "PNG")
        text = base64.b64encode(stored.getvalue()).decode() + "\n"
        out = nbformat.v4.new_output("display_data", {"image/png": text})
        build._clean_outputs(nbformat.v4.new_code_cell("f()", outputs=[out]))
        kept.append((text, out.data["image/png"]))
    (large, smaller), (small, same) = kept
    assert same == small and len(smaller) < 0.7 * len(large)
    with Image.open(io.BytesIO(base64.b64decode(smaller))) as picture:
        assert picture.size == (300, 300) and len(picture.convert("RGB").getcolors()) <= 256
