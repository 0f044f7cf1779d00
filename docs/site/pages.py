"""What the site does with the repository's own documents: a note on each lesson, links that lead somewhere.

The documents are written to be read in the repository, and are shown here as they are. Where they link to code,
the site links to its page of that code; where they link to a folder, to the page that stands for it; a file that
has no page is named without a link.
"""

from __future__ import annotations

import importlib
import inspect
import json
import posixpath
import re
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from picture import drawn
from sphinx import addnodes

FOLDERS = {"lessons": "lessons/index", "solutions": "solutions/index"}
PLACES = FOLDERS | {"benchmarks/results": "guides/measured"}  # what stands for a folder
LESSON = """\
:::{{admonition}} A notebook, and what its cells printed
:class: tip
To work through it, run `make lab` and open `lessons/{name}.ipynb`. The exercises are open here;
[in the solutions](../solutions/{name}.ipynb) they are solved.
:::"""
SOLUTION = """\
:::{{admonition}} The exercises are solved here
:class: tip
Try them first: [the lesson](../lessons/{name}.ipynb).
:::"""


def add_note(app: Any, docname: str, source: list[str]) -> None:
    """Put a note below the title of each lesson, and call the solutions so."""
    folder, _, name = docname.rpartition("/")
    if folder not in FOLDERS or name == "index":
        return
    notebook = json.loads(source[0])
    texts = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    for cell in texts:  # a fork's lessons begin with a Colab badge, a picture from the network
        cell["source"] = re.sub(r"!\[([^]]*)\]\(https://[^)]*\)", r"\1", "".join(cell["source"]))
    first = next(cell for cell in texts if cell["source"].startswith("# "))
    title, _, rest = first["source"].partition("\n")
    note = (LESSON if folder == "lessons" else SOLUTION).format(name=name)
    solved = ", solved" if folder == "solutions" else ""
    first["source"] = f"{title}{solved}\n\n{note}\n{rest}"
    source[0] = json.dumps(notebook)


def draw(app: Any, docname: str, source: list[str]) -> None:
    """Draw the mermaid of a document, as GitHub does."""
    source[0] = drawn(source[0])


@cache
def pages_of_code(repository: str) -> set[str]:
    """The files of the package that have a page here: those in which what the reference documents is written."""
    pages = Path(repository, "docs", "site", "reference").glob("*.rst")
    text = "\n".join(file.read_text(encoding="utf-8") for file in pages)
    documented = []
    for kind, name in re.findall(r"^\.\. auto(\w+):: ([\w.]+)$", text, re.M):
        module = importlib.import_module(name if kind == "module" else name.rpartition(".")[0])
        names = module.__all__ if kind == "module" else [name.rpartition(".")[2]]
        documented += [getattr(module, one) for one in names]
    written = {one.__module__ for one in documented if hasattr(one, "__qualname__")}
    files = (Path(inspect.getfile(importlib.import_module(name))) for name in written)
    root = Path(repository).resolve()
    return {file.resolve().relative_to(root).as_posix() for file in files}


def follow(app: Any, doctree: nodes.document) -> None:
    """Turn links to files of the repository that are no pages into links to what stands for them, or into text."""
    page = app.env.docname
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node.get("reftype") != "myst":
            continue
        if node.get("refdomain") == "doc" and node["reftarget"] == "README":
            node["reftarget"] = "index"  # the front page is made of it
        if node.get("refdomain"):
            continue
        target = node["reftarget"].split("#")[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        if not target or not (Path(app.config.repository) / path).exists():
            continue  # Sphinx will say that there is no such thing
        if path in pages_of_code(app.config.repository):
            uri = app.builder.get_relative_uri(
                page, "_modules/" + path.removesuffix(".py").removesuffix("/__init__")
            )
        elif path in PLACES:
            uri = app.builder.get_relative_uri(page, PLACES[path])
        else:
            node.replace_self(nodes.inline("", "", *node.children[0].children))
            continue
        node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))


def as_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text to read in an editor; two of their habits mean something else to Sphinx.

    An indented block after a line that ends with ":" is code, and a word that ends with "_" is a word.
    """
    text = "\n".join(lines)
    text = re.sub(r"^( *)(.*[^:\n]):\n\n(?=\1 +\S)", r"\1\2::\n\n", text, flags=re.M)
    text = re.sub(r"(`[^`]*`)|(\w)_(?![\w`])", lambda m: m[1] or rf"{m[2]}\_", text)
    lines[:] = text.split("\n")


def repair_source_page(
    app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let a page of code link back to the names as they are documented, of the package or of the module.

    viewcode takes one of the two for all names of a module.
    """
    if not pagename.startswith("_modules/ftcourse/"):
        return
    module = pagename.removeprefix("_modules/").replace("/", ".")
    known = app.env.get_domain("py").objects

    def right(match: re.Match[str]) -> str:
        wrong = match[
            1
        ]  # "ftcourse.Audit", or "ftcourse.training.stages.Stage": the end is what counts
        tails = [wrong.removeprefix(start + ".") for start in (module, "ftcourse")]
        names = [f"{start}.{tail}" for start in ("ftcourse", module) for tail in tails]
        return f'#{next((name for name in names if name in known), wrong)}"'

    context["body"] = re.sub(r'#(ftcourse\.[\w.]+)"', right, context["body"])


def setup(app: Any) -> dict[str, Any]:
    app.add_config_value("repository", "", "env")
    app.connect("source-read", add_note)
    app.connect("source-read", draw)
    app.connect("doctree-read", follow)
    app.connect("autodoc-process-docstring", as_rst, priority=100)
    app.connect("html-page-context", repair_source_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
