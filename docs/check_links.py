"""Check the links: of the repository's Markdown and notebooks, and of the built site.

    python docs/check_links.py                              README, guides, tables, lessons, solutions
    python docs/check_links.py --site docs/_build/html      the same, and every page of the site
    python docs/check_links.py --external                   list the addresses outside, which are not visited

A link within must lead to a file that is there, and its `#anchor` to a place in it. An address outside is only
looked at for its form: nothing is fetched. A page of the site may *load* nothing from outside (scripts, styles,
fonts, pictures), so that it is whole without a network.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (
    "*.md", "docs/*.md", "benchmarks/**/*.md", "ftcourse/**/*.md", "lessons/*.ipynb", "solutions/*.ipynb",
)  # fmt: skip
LOADS = {("script", "src"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("link", "href")}
UNLOADED = {
    "canonical",
    "next",
    "prev",
    "search",
    "index",
    "author",
    "license",
}  # rel= of <link>: no loading


class Page(HTMLParser):
    """What an HTML page links to, what it loads, and which anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        for name in ("href", "src"):
            if not given.get(name):
                continue
            loads = (tag, name) in LOADS and not UNLOADED & set(given.get("rel", "").split())
            (self.loads if loads else self.links).append(given[name])
        self.loads += re.findall(r"url\(['\"]?([^'\")]+)", given.get("style", ""))


def site_problems(site: Path) -> tuple[list[str], set[str]]:
    """One line for each link of the site that leads nowhere or loads from outside; and the addresses outside."""
    files = [f for f in sorted(site.rglob("*.html")) if "_static" not in f.relative_to(site).parts]
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in files}
    lines, outside = [], set()
    for file, page in pages.items():
        where = file.relative_to(site).as_posix()
        for link in page.links + page.loads:
            if urlsplit(link).scheme == "data":
                continue
            if _is_outside(link):
                outside.add(link)
                if link in page.loads:
                    lines.append(f"{where} loads {link} from outside")
                elif why := form(link):
                    lines.append(f"{where} links to {link}: {why}")
            elif why := _missing(link, file, lambda f: pages[f].anchors if f in pages else None):
                lines.append(f"{where} links to {link}: {why}")
    for file in sorted(site.rglob("*.css")):
        text = file.read_text(encoding="utf-8")
        for link in re.findall(r"(?:url\(|@import )['\"]?(?!data:)([^'\")\s;]+)", text):
            if _is_outside(link):
                lines.append(f"{file.relative_to(site).as_posix()} loads {link} from outside")
    return lines, outside


def repository_problems(root: Path) -> tuple[list[str], set[str]]:
    """The same for the documents of the repository, as they are read there."""
    lines, outside = [], set()
    for file in documents(root):
        where = file.relative_to(root).as_posix()
        for link in markdown_links(text_of(file)):
            if _is_outside(link):
                outside.add(link)
                why = form(link)
            else:
                why = _missing(link, file, anchors_of)
            if why:
                lines.append(f"{where} links to {link}: {why}")
    return lines, outside


def documents(root: Path) -> list[Path]:
    return [f for pattern in DOCUMENTS for f in sorted(root.glob(pattern))]


def text_of(file: Path) -> str:
    """The Markdown of a document; of a notebook, that of its Markdown cells."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def markdown_links(text: str) -> Iterator[str]:
    """Targets of `[text](target)`, `[name]: target`, `<https://...>`, and of HTML; what is in code is left out."""
    text = _without_blocks(text)
    text = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.S)
    patterns = (
        r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)",
        r"^\[[^\]]+\]:\s+<?(\S+?)>?\s*$",
        r"<(https?://[^>\s]+)>",
        r"<(?:a|img)\b[^>]*?(?:href|src)=\"([^\"]+)\"",
    )
    for pattern in patterns:
        yield from re.findall(pattern, text, flags=re.M)


def _without_blocks(text: str) -> str:
    """Markdown without its blocks of code."""
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.M | re.S)


@cache
def anchors_of(file: Path) -> frozenset[str] | None:
    """Anchors of the headings of a document, as GitHub names them; None where there are no headings to link to."""
    if file.suffix not in {".md", ".ipynb"}:
        return None
    text = _without_blocks(text_of(file))
    return frozenset(slug(title) for title in re.findall(r"^#{1,6} +(.+?) *#*$", text, flags=re.M))


def slug(title: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
    return re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")


def form(link: str) -> str | None:
    """What is wrong with the form of an address outside, or None."""
    parts = urlsplit(link)
    if parts.scheme == "mailto":
        return (
            None if re.fullmatch(r"[^@\s]+@[^@\s]+\.\w+", parts.path) else "not an e-mail address"
        )
    if parts.scheme != "https":
        return f"begins with {parts.scheme or '//'}, not https"
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc):
        return f"{parts.netloc!r} is no host"
    return None


def _is_outside(link: str) -> bool:
    return bool(urlsplit(link).scheme) or link.startswith("//")


def _missing(link: str, file: Path, anchors) -> str | None:
    parts = urlsplit(link)
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if target.is_dir() and (target / "index.html").exists():
        target /= "index.html"
    if not target.exists():
        return "no such file"
    known = anchors(target)
    if parts.fragment and known is not None and unquote(parts.fragment) not in known:
        return f"no such anchor in {target.name}"
    return None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--site", type=Path, help="the folder of the built site")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--external", action="store_true", help="list the addresses outside")
    a = parser.parse_args(argv)
    lines, outside = repository_problems(a.root)
    if a.site:
        if not (a.site / "index.html").exists():
            parser.error(f"{a.site} is no built site; run: make docs")
        found, more = site_problems(a.site.resolve())
        lines, outside = lines + found, outside | more
    for line in lines:
        print(line, file=sys.stderr)
    if a.external:
        print(*sorted(outside), sep="\n")
    print(f"links: {len(lines)} broken; {len(outside)} addresses outside, not visited")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
