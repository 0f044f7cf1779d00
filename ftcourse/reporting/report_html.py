"""`report.html`: the report as one file with its pictures inside, to open in a browser or to send."""

from __future__ import annotations

import base64
import html
from pathlib import Path

from markdown_it import MarkdownIt

from ftcourse.training.checkpoints import write_atomic

__all__ = ["html_of", "write_html"]

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
img { max-width: 100%; max-height: 44rem; height: auto; background: #fff; }
.table { overflow: auto; max-height: 32rem; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #8884; vertical-align: top; }
td { max-width: 24rem; overflow-wrap: anywhere; }
th { position: sticky; top: 0; background: Canvas; }
pre { overflow: auto; padding: .8rem; background: #8881; }
@media print { .table { max-height: none; } }
"""


def html_of(markdown: str, folder: Path, title: str) -> str:
    """A page of Markdown as HTML that needs no other file: pictures of `folder` are put into it.

    HTML in the text is shown, not obeyed. A picture that is not there keeps its words.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in (inner for outer in tokens for inner in outer.children or []):
        if token.type == "image":
            file = folder / Path(str(token.attrs["src"])).name
            if file.is_file():
                data = base64.b64encode(file.read_bytes()).decode("ascii")
                token.attrs["src"] = f"data:image/png;base64,{data}"
    body = reader.renderer.render(tokens, reader.options, {})
    body = body.replace("<table>", '<div class="table"><table>').replace(
        "</table>", "</table></div>"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n{body}</html>\n"
    )


def write_html(run: Path, markdown: str, title: str) -> Path:
    """Write `report.html` into a run's folder, where the pictures are."""
    return write_atomic(
        run / "report.html", html_of(markdown, run, title).encode(errors="backslashreplace")
    )
