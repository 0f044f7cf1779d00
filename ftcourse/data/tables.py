"""A table of photos: CSV, TSV, Parquet or a DataFrame, as columns of cells; `columns` finds their meaning."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["SUFFIXES", "Table", "cell", "is_frame", "is_table_name", "read_table", "table_of"]

SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})


@dataclass
class Table:
    """Columns of equal length; `rows` says of each cell where it stands, such as "line 7"."""

    name: str  # for messages
    columns: dict[str, list[Any]]
    rows: list[str]
    folder: Path  # what paths are relative to
    search: bool  # photos may lie in folders below that one

    def where(self, i: int) -> str:
        return f"{self.name}, {self.rows[i]}"

    def shown(self) -> str:
        return ", ".join(map(repr, self.columns))


def is_table_name(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def is_frame(source: Any) -> bool:
    """A DataFrame, of pandas or of Polars."""
    return hasattr(source, "columns") and hasattr(
        source, "iloc" if _pandas(source) else "iter_rows"
    )


def _pandas(source: Any) -> bool:
    return type(source).__module__.split(".")[0] == "pandas"


def cell(value: Any) -> str:
    """A cell as text without blanks around it; "" for None, NaN and NA."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return ""
    if isinstance(value, float) and value != value:
        return ""
    return str(value).strip()


def table_of(frame: Any) -> Table:
    """A DataFrame of pandas or Polars; its paths are relative to the current folder.

    Raises:
        ValueError: two columns have the same name.
    """
    names = [str(name) for name in frame.columns]
    _no_twins("the DataFrame", names)
    columns = {str(name): list(frame[name]) for name in frame.columns}
    rows = [f"row {i}" for i in range(len(frame))]
    return Table("the DataFrame", columns, rows, Path(), search=False)


def read_table(file: str | os.PathLike) -> Table:
    """A table in a file; its paths are relative to the file's folder, or below it.

    Lines of CSV are counted from 1, as editors do, with the header; rows of Parquet from 0.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: Parquet, and pyarrow is not installed.
        ValueError: it is no such table; the message names the file and the line.
    """
    file = Path(file).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    columns, rows = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    if not rows:
        raise ValueError(f"{file}: has no rows, so there are no photos")
    return Table(str(file), columns, rows, file.parent, search=True)


def _parquet(file: Path) -> tuple[dict[str, list[Any]], list[str]]:
    if not find_spec("pyarrow"):
        raise ImportError(
            f"{file}: Parquet needs the package pyarrow: pip install pyarrow, or save it as CSV"
        )
    try:
        read = import_module("pyarrow.parquet").read_table(file)
    except (ValueError, OSError) as err:  # pyarrow's own errors are of these kinds
        raise ValueError(f"{file}: is no Parquet file, or a damaged one ({_first(err)})") from err
    _no_twins(str(file), read.column_names)
    return read.to_pydict(), [f"row {i}" for i in range(read.num_rows)]


def _csv(file: Path) -> tuple[dict[str, list[Any]], list[str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            first = text.readline()
            text.seek(0)
            reader = csv.reader(text, delimiter=_delimiter(file, first), strict=True)
            header = [name.strip() for name in next(reader, [])]
            _no_twins(str(file), header)
            lines, rows, begins = [], [], reader.line_num + 1
            for line in reader:
                if any(field.strip() for field in line):
                    _same_width(file, begins, line, header)
                    lines.append(line)
                    rows.append(f"line {begins}")
                begins = reader.line_num + 1
    except UnicodeDecodeError as err:
        raise ValueError(f"{file}: is not in UTF-8 ({_first(err)}); save it as UTF-8") from err
    except csv.Error as err:
        raise ValueError(f"{file}, line {reader.line_num}: {_first(err)}") from err
    cells: Mapping[str, list[Any]] = {
        name: [line[k] for line in lines] for k, name in enumerate(header)
    }
    return dict(cells), rows


def _delimiter(file: Path, header: str) -> str:
    """Of a TSV the tab; of a CSV what there is most of in its header, for Excel writes semicolons in Europe."""
    if file.suffix.lower() == ".tsv":
        return "\t"
    return max(",;\t", key=header.count)


def _same_width(file: Path, number: int, line: list[str], header: list[str]) -> None:
    if len(line) != len(header):
        raise ValueError(
            f"{file}, line {number}: {len(line)} fields, but the header has {len(header)}; "
            f"a field that contains the delimiter must be in quotes"
        )


def _no_twins(name: str, header: list[str]) -> None:
    twins = sorted({one for one in header if header.count(one) > 1})
    if twins:
        raise ValueError(f"{name}: two columns are called {twins[0]!r}; rename one")


def _first(err: Exception) -> str:
    return (str(err).splitlines() or [type(err).__name__])[0][:120]
