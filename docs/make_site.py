"""Build the site: lessons with their stored outputs, guides, measurements and the reference.

    python docs/make_site.py            docs/_build/html, in seconds; nothing is run and nothing fetched
    python docs/make_site.py --check    only look at the links of what is there (docs/check_links.py)

Sphinx wants its sources below one folder, and the site wants its front page on top. So the documents are first
copied to docs/_build/source, each to where it is in the repository (links between them hold), and docs/site/ over
them. Needs the extra `docs`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
BUILD = ROOT / "docs" / "_build"
COPIED = (  # what is shown as it is
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE",
    "lessons/*.ipynb", "solutions/*.ipynb", "docs/*.md", "docs/images/**/*",
    "benchmarks/results/*", "ftcourse/models/pocket/*.md", "ftcourse/data/texts/*.md",
)  # fmt: skip


def stage(root: Path, target: Path) -> list[Path]:
    """Copy the documents to `target`, made anew; returns the files, relative to it."""
    files = {
        path.relative_to(root): path
        for pattern in COPIED
        for path in sorted(root.glob(pattern))
        if path.is_file()
    }
    own = root / "docs" / "site"
    files |= {
        path.relative_to(own): path
        for path in sorted(own.rglob("*"))
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    shutil.rmtree(target, ignore_errors=True)
    made = {
        Path("reference/command_line.md"): command_line(),
        Path("guides/questions.md"): questions(root),
    }
    for relative in {*files, *made}:
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
    for relative, path in files.items():
        shutil.copy2(path, target / relative)
    for relative, text in made.items():
        (target / relative).write_text(text, encoding="utf-8")
    return sorted({*files, *made})


def questions(root: Path) -> str:
    """The page of all questions: the lessons' sections "Common questions", in order."""
    lines = [
        "# Common questions",
        "",
        "Each lesson ends with questions that people ask at that point. Here are all of them.",
        "",
    ]
    for file in sorted((root / "lessons").glob("*.ipynb")):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        title = next(text for text in texts if text.startswith("# ")).split("\n")[0][2:]
        asked = re.search(r"^## Common questions\n(.*?)(?=^## |\Z)", "\n".join(texts), re.M | re.S)
        if asked is None:
            raise ValueError(f"{file} has no section '## Common questions'")
        answers = re.sub(r"\]\((?!https?:)", "](../lessons/", asked[1].strip())
        lines += [f"## {title}", "", answers, "", f"Lesson: [{title}](../lessons/{file.name})", ""]
    return "\n".join(lines)


def command_line() -> str:
    """The page of `ftcourse` and its commands, as Markdown: what `--help` says."""
    from typer.testing import CliRunner

    from ftcourse.cli import app

    app.rich_markup_mode = None  # no boxes around it
    lines = ["# Command line", "", app.info.help or "", "", ERRORS, ""]
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        shown = CliRunner().invoke(
            app, [name, "--help"], prog_name="ftcourse", terminal_width=90, env={"COLUMNS": "90"}
        )
        lines += [f"## {name}", "", "```text", shown.output.strip(), "```", ""]
    return "\n".join(lines)


ERRORS = """\
Errors are one sentence on stderr, with exit code 2; `FTCOURSE_DEBUG=1` shows the traceback. This is what
`ftcourse COMMAND --help` says."""


def build(html: Path, source: Path, doctrees: Path) -> int:
    """Run Sphinx; warnings are errors. Returns its exit code."""
    from sphinx.cmd.build import main as sphinx

    options = ["-q", "-W", "--keep-going", "-j", "auto", "-d", str(doctrees)]
    options += ["-c", str(ROOT / "docs" / "site"), "-D", f"repository={ROOT}"]
    return sphinx([*options, str(source), str(html)])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="only check the links of what is there"
    )
    parser.add_argument(
        "--out", type=Path, default=BUILD, help="folder for html/ and what makes it"
    )
    a = parser.parse_args(argv)
    html, source, start = a.out / "html", a.out / "source", time.perf_counter()
    if not a.check:
        stage(ROOT, source)
        for old in (html, a.out / "doctrees"):  # a page that is not made again does not warn again
            shutil.rmtree(old, ignore_errors=True)
        if code := build(html, source, a.out / "doctrees"):
            return code
        pages, seconds = len(list(html.rglob("*.html"))), time.perf_counter() - start
        print(f"{html / 'index.html'}: {pages} pages in {seconds:.0f} s")
    import check_links

    return check_links.main(["--site", str(html)])


if __name__ == "__main__":
    sys.exit(main())
