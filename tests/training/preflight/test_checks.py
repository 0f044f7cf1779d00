"""The list of checks: the table in the package's docstring is the registry."""

from __future__ import annotations

from ftcourse.training import preflight


def test_the_table_in_the_docstring_lists_every_check_in_the_order_they_run_in():
    rows = [
        line.split("  ") for line in (preflight.__doc__ or "").splitlines() if line[:4] == " " * 4
    ]
    table = [tuple(cell.strip() for cell in row if cell.strip()) for row in rows]
    names = [c.name + " (dear)" * c.dear for c in preflight.CHECKS]
    assert table[2:] == [
        (name, c.looks_at, c.costs) for name, c in zip(names, preflight.CHECKS, strict=True)
    ]
    assert len({c.name for c in preflight.CHECKS}) == len(preflight.CHECKS)
