"""docs/architecture.md says what is so: the floors of import-linter, the folders, the functions that it names."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ftcourse"
PAGE = ROOT / "docs" / "architecture.md"
sys.path.insert(0, str(ROOT / "docs"))
sys.path.insert(0, str(ROOT / "docs" / "site"))

from picture import floors_of, svg  # noqa: E402

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def contract() -> dict:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    return next(c for c in settings["importlinter"]["contracts"] if c["type"] == "layers")


FLOORS = [[name.strip() for name in layer.split("|")] for layer in contract()["layers"]]
TEXT = PAGE.read_text(encoding="utf-8")
DIAGRAM = re.findall(r"```mermaid\n(.*?)```", TEXT, re.S)
ROWS = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", TEXT, re.M)


def test_the_picture_has_the_floors_of_the_contract_in_their_order():
    assert len(DIAGRAM) == 1
    assert [wings for _, wings in floors_of(DIAGRAM[0])] == FLOORS


def test_the_table_has_a_row_for_each_wing_in_the_order_of_the_contract():
    assert [wing for wing, *_ in ROWS] == [wing for floor in FLOORS for wing in floor]


def test_each_wing_may_call_the_floor_below_it_and_no_other_is_said():
    below = dict(zip([w for floor in FLOORS for w in floor], _below(), strict=True))
    assert {wing: may for wing, _, _, may in ROWS} == below


def _below() -> list[str]:
    says = [", ".join(f"`{wing}`" for wing in floor) for floor in FLOORS[1:]]
    says = [*(f"{words} and below" for words in says[:-1]), says[-1], "nothing"]
    return [words for floor, words in zip(FLOORS, says, strict=True) for _ in floor]


def test_every_folder_and_module_of_the_package_is_a_wing_of_the_page_and_no_other():
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    modules = {p.stem for p in PACKAGE.glob("*.py")} - {"__init__"}
    assert {wing for wing, *_ in ROWS} == folders | modules


def test_the_imports_that_the_contract_excuses_are_named():
    for line in contract()["ignore_imports"]:
        room = line.split(" -> ")[0].removeprefix("ftcourse.")
        assert f"`{room}`" in TEXT, f"docs/architecture.md does not name {room}: {line}"


def test_each_function_that_the_page_links_is_in_the_file_that_it_links():
    links = re.findall(r"\[`(\w+)`\]\(\.\./([\w/]+\.py)\)", TEXT)
    assert len(links) > 20
    for name, file in links:
        body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
        defined = {n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        assert name in defined, f"docs/architecture.md: {file} has no {name}"


def test_the_site_draws_the_picture_with_a_box_for_each_wing():
    drawn = svg(DIAGRAM[0])
    assert re.findall(r'<text class="wing"[^>]*>(\w+)</text>', drawn) == [
        wing for floor in FLOORS for wing in floor
    ]
    assert drawn.startswith('<svg role="img" aria-label="') and "http" not in drawn.replace(
        "http://www.w3.org/2000/svg", ""
    )


def test_a_picture_that_the_site_cannot_draw_is_an_error_that_names_the_line():
    try:
        floors_of("flowchart TB\n    a[one] -.-> b{two}\n")
    except ValueError as err:
        assert "a[one] -.-> b{two}" in str(err)
    else:
        raise AssertionError("it drew something")
