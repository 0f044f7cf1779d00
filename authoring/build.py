"""Make lessons/ and solutions/ from authoring/NN_name.py, the one source of both.

    python authoring/build.py               rebuild what changed, execute it, store the outputs
    python authoring/build.py --only 01     only this lesson
    python authoring/build.py --force       also what has not changed (after a change in ftcourse/; in the lesson's
                                            own module of exercises it is seen)
    python authoring/build.py --check       write nothing; fail where a notebook has drifted

A source is a jupytext py:percent file; `make lesson NAME=my_topic` begins one. Cells tagged `exercise` go to
lessons/ only, cells tagged `solution` to solutions/ only, all others to both. A comment `# alt: ...` at the top
of a code cell is taken out of it and becomes the text alternative of its figure. A lesson that wants a GPU on
Colab says so in jupytext's header, as `accelerator: GPU` and `colab: {gpuType: T4}` under `jupyter:`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib
import io
import json
import os
import re
import sys
import time
from pathlib import Path
from types import ModuleType

import jupytext
import nbformat
from nbclient import NotebookClient
from nbconvert.preprocessors import TagRemovePreprocessor
from PIL import Image

from ftcourse.plots.palette import few_colours

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = {"lessons": "solution", "solutions": "exercise"}  # folder -> the tag it leaves out
LARGE_PICTURE = 150_000  # characters of base64
MAX_BYTES = 1_500_000
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}

BADGE = (
    "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{slug}/blob/main/{path})"
)
# Colab has torch and most of what the package imports, in versions that fit its GPUs. So the package comes without
# its dependencies, and then the few that are not there; a line whose module is there does nothing.
BOOTSTRAP = """\
# On Colab this gets the course, and leaves its PyTorch as it is. On your own machine it does nothing.
import importlib.util


def absent(module):
    return importlib.util.find_spec(module) is None


if absent("ftcourse"):
    %pip install -q --no-deps "ftcourse @ git+{repository}"
{missing}
importlib.invalidate_caches()

from ftcourse.exercises import opening

opening.colab()\
"""
INSTALL = 'if absent("{module}"):\n    %pip install -q {what}'
NOT_ON_COLAB = {
    "torchmetrics": "--no-deps torchmetrics lightning-utilities",
    "imagehash": "--no-deps ImageHash",
}


def repository(root: Path) -> str | None:
    """The address in pyproject.toml's `[project.urls] Repository`, the one place that has it."""
    file = root / "pyproject.toml"
    if not file.exists():
        return None
    urls = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}).get("urls", {})
    address = urls.get("Repository")
    return address.removesuffix("/").removesuffix(".git") if address else None


def notebook(source: Path, folder: str, address: str | None = None) -> nbformat.NotebookNode:
    """One variant of a lesson, without outputs; `folder` is "lessons" or "solutions"."""
    nb = jupytext.read(source, fmt="py:percent")
    asked = {"colab": {}, **nb.metadata}  # what the source's header asks of Colab
    nb, _ = TagRemovePreprocessor(remove_cell_tags={VARIANTS[folder]}).preprocess(nb, {})
    if address is not None:
        nb.cells[:0] = _colab_cells(address, f"{folder}/{source.stem}.ipynb", needs(nb))
    _set_ids(nb, source.stem[:2])
    for cell in nb.cells:
        _take_alt(cell)
        cell.metadata = nbformat.from_dict(
            {key: cell.metadata[key] for key in ("tags", "alt", "jupyter") if key in cell.metadata}
        )
    colab = {"provenance": [], "toc_visible": True, **asked["colab"]}
    nb.metadata = nbformat.from_dict(
        {
            **({"accelerator": asked["accelerator"]} if "accelerator" in asked else {}),
            "colab": colab,
            "ftcourse": {"source_hash": source_hash(nb)} | questions_hash(nb) | needs(nb),
            "kernelspec": KERNELSPEC,
            "language_info": {"name": "python"},
        }
    )
    nb.nbformat, nb.nbformat_minor = 4, 5
    return nb


def needs(nb: nbformat.NotebookNode) -> dict[str, list[str]]:
    """{"needs": the modules that the lesson asks for with `opening.need("a", "b", extra=...)`}, if it does."""
    calls = re.findall(r"^opening\.need\(([^)]*)\)", "\n".join(c.source for c in nb.cells), re.M)
    names = [name for call in calls for name in re.findall(r"\"(\w+)\"", call.split("extra")[0])]
    return {"needs": names} if names else {}


def _colab_cells(
    address: str, path: str, needs: dict[str, list[str]]
) -> list[nbformat.NotebookNode]:
    wanted = {name: f'"{requirement(name)}"' for name in needs.get("needs", ())}
    lines = [
        INSTALL.format(module=name, what=what) for name, what in (NOT_ON_COLAB | wanted).items()
    ]
    source = BOOTSTRAP.format(repository=address, missing="\n".join(lines))
    cells = [nbformat.v4.new_code_cell(source)]
    if address.startswith("https://github.com/"):
        slug = address.removeprefix("https://github.com/")
        cells.insert(0, nbformat.v4.new_markdown_cell(BADGE.format(slug=slug, path=path)))
    return cells


def _questions(cells: list[nbformat.NotebookNode]) -> ModuleType | None:
    """The module of the lesson's exercises, which its code imports as `check`."""
    code = "\n".join(c.source for c in cells if c.cell_type == "code")
    imported = re.search(r"^from ftcourse\.exercises import (\w+) as check$", code, re.M)
    return importlib.import_module(f"ftcourse.exercises.{imported[1]}") if imported else None


def questions_hash(nb: nbformat.NotebookNode) -> dict[str, str]:
    """{"questions_hash": sha256 of the module of exercises}, whose words are in the outputs; {} without one."""
    module = _questions(nb.cells)
    if module is None or module.__file__ is None:
        return {}
    text = Path(module.__file__).read_text(encoding="utf-8")
    return {"questions_hash": hashlib.sha256(text.encode()).hexdigest()}


def _other_questions(nb: nbformat.NotebookNode, old: nbformat.NotebookNode) -> bool:
    """Were the outputs of `old` made with other exercises? (An older notebook does not say.)"""
    then, now = (n.metadata.get("ftcourse", {}).get("questions_hash") for n in (old, nb))
    return then is not None and then != now


def requirement(module: str, root: Path = ROOT) -> str:
    """What pip is asked for to get this module: the extra's line of pyproject.toml, else the module's name."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = module.replace("_", "-")
    for line in (line for lines in project["optional-dependencies"].values() for line in lines):
        if re.split(r"[^\w-]", line)[0] == name:
            return line
    return name


def _take_alt(cell: nbformat.NotebookNode) -> None:
    """Move a leading comment "# alt: ..." (and its indented lines) into the cell's metadata."""
    found = (
        re.match(r"# alt: (.+\n(?:#   .+\n)*)", cell.source) if cell.cell_type == "code" else None
    )
    if found:
        cell.metadata["alt"] = " ".join(found[1].replace("\n#", " ").split())
        cell.source = cell.source[found.end() :]


def _set_ids(nb: nbformat.NotebookNode, prefix: str) -> None:
    """An id made from the cell's source: an edited cell changes its own id and no other's."""
    seen: dict[str, int] = {}
    for cell in nb.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        count = seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = f"{prefix}-{digest}" + (f"-{count}" if count > 1 else "")


def source_cells(nb: nbformat.NotebookNode) -> list:
    """What must not drift: type, id, source and metadata of each cell."""
    return [(c.cell_type, c.id, c.source, dict(c.metadata)) for c in nb.cells]


def source_hash(nb: nbformat.NotebookNode) -> str:
    """sha256 of the source cells; in the notebook it says which source its outputs belong to."""
    text = json.dumps(source_cells(nb), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def execute(nb: nbformat.NotebookNode, cwd: Path, timeout: int = 600) -> None:
    """Run all cells in a fresh kernel in the notebook's folder; keep outputs, drop the rest."""
    metadata = nb.metadata
    os.environ.setdefault("FTCOURSE_PROGRESS", "off")  # building is not learning
    os.environ.setdefault("PYTHONHASHSEED", "0")
    cwd.mkdir(parents=True, exist_ok=True)
    NotebookClient(
        nb,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=40"],  # ipykernel >= 7.3 warns of plain TCP
        resources={"metadata": {"path": str(cwd)}},
    ).execute()
    nb.metadata = metadata
    nb.metadata.pop("widgets", None)  # the state of views, which no stored output shows
    for cell in nb.cells:
        if cell.cell_type == "code":
            _clean_outputs(cell)


def _clean_outputs(cell: nbformat.NotebookNode) -> None:
    """Keep of widgets what can be shown without a kernel; give figures their alt text."""
    widget = "application/vnd.jupyter.widget-view+json"
    for out in cell.outputs:
        if out.get("data", {}).pop(widget, None) is not None and set(out.data) <= {"text/plain"}:
            out.data.clear()  # a bare ipywidget: its text is only a name
    cell.outputs = [out for out in cell.outputs if out.get("data", True)]
    for out in cell.outputs:
        if len(out.get("data", {}).get("image/png", "")) > LARGE_PICTURE:
            out.data["image/png"] = _smaller(out.data["image/png"])
        if "alt" in cell.metadata and "image/png" in out.get("data", {}):
            out.metadata["image/png"] = {"alt": cell.metadata["alt"]}


def _smaller(picture: str) -> str:
    """A PNG, base64, in few colours; as it was, if that is not smaller."""
    stored = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        few_colours(image).save(stored, "PNG", optimize=True)
    return min(picture, base64.b64encode(stored.getvalue()).decode() + "\n", key=len)


def take_outputs(nb: nbformat.NotebookNode, target: Path) -> bool:
    """Give `nb` the outputs of `target`, if that ran the same code: a change of words needs no kernel."""
    if not target.exists():
        return False
    old = nbformat.read(target, as_version=4)
    if old.metadata.get("ftcourse", {}).get("source_hash") != source_hash(old):
        return False  # they may be of another source
    if _other_questions(nb, old):
        return False
    theirs, ours = ([c for c in n.cells if c.cell_type == "code"] for n in (old, nb))
    if [(c.id, c.source, dict(c.metadata)) for c in theirs] != [
        (c.id, c.source, dict(c.metadata)) for c in ours
    ] or any(c.execution_count is None for c in theirs):
        return False
    for cell, ran in zip(ours, theirs, strict=True):
        cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    nb.metadata["language_info"] = old.metadata["language_info"]  # the kernel's own words
    if "questions_hash" not in old.metadata["ftcourse"]:
        nb.metadata["ftcourse"].pop(
            "questions_hash", None
        )  # with which they were made is not known
    return True


def problem(nb: nbformat.NotebookNode, target: Path) -> str | None:
    """Why the committed notebook `target` is not what its source says, or None."""
    if not target.exists():
        return "is missing"
    old = nbformat.read(target, as_version=4)
    if source_cells(old) != source_cells(nb):
        return "differs from its source"
    if old.metadata.get("ftcourse", {}).get("source_hash") != source_hash(nb):
        return "has outputs of another source"
    if _other_questions(nb, old):
        return "has outputs of other exercises"
    if any(old.metadata.get(key) != nb.metadata.get(key) for key in ("accelerator", "colab")):
        return "has other metadata than its source asks for"
    if any(c.cell_type == "code" and c.execution_count is None for c in old.cells):
        return "was not executed"
    if target.stat().st_size > MAX_BYTES:
        return f"has {target.stat().st_size:,} bytes, above {MAX_BYTES:,}"
    return None


def orphans(root: Path) -> list[Path]:
    """Notebooks that no source makes."""
    stems = {source.stem for source in sources(root)}
    return [f for d in VARIANTS for f in sorted((root / d).glob("*.ipynb")) if f.stem not in stems]


def sources(root: Path, only: str | None = None) -> list[Path]:
    found = sorted((root / "authoring").glob("[0-9][0-9]_*.py"))
    return [f for f in found if only is None or f.stem.startswith(only)]


def build(root: Path, only: str | None = None, force: bool = False) -> list[Path]:
    """Write the notebooks that are not what their sources say; returns their paths."""
    written, address = [], repository(root)
    for source in sources(root, only):
        for folder in VARIANTS:
            nb, target = notebook(source, folder, address), root / folder / f"{source.stem}.ipynb"
            if not force and problem(nb, target) is None:
                continue
            start = time.perf_counter()
            if force or not take_outputs(nb, target):
                execute(nb, target.parent)
            nbformat.validate(nb)
            nbformat.write(nb, target)
            seconds, size = time.perf_counter() - start, target.stat().st_size
            print(f"wrote {target.relative_to(root)}: {seconds:.0f} s, {size:,} bytes", flush=True)
            written.append(target)
    return written


def check(root: Path, only: str | None = None) -> list[str]:
    """One line for each notebook that has drifted."""
    lines, address = [], repository(root)
    for source in sources(root, only):
        for folder in VARIANTS:
            target = root / folder / f"{source.stem}.ipynb"
            why = problem(notebook(source, folder, address), target)
            if why:
                lines.append(f"{target.relative_to(root)} {why}; run: make lessons")
    if only is None:
        lines += [f"{f.relative_to(root)} has no source in authoring/" for f in orphans(root)]
    return lines


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="NN", help="only the lesson whose name starts so")
    parser.add_argument("--force", action="store_true", help="rebuild what has not changed, too")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on drift")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    a = parser.parse_args(argv)
    if a.only is not None and not sources(a.root, a.only):
        parser.error(f"no source authoring/{a.only}*.py")
    if a.check:
        lines = check(a.root, a.only)
        for line in lines:
            print(line, file=sys.stderr)
        return bool(lines)
    build(a.root, a.only, a.force)
    return 0


if __name__ == "__main__":
    sys.exit(main())
