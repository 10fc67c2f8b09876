"""CSV files of labels, read strictly: a complaint names file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from .source import DataError


def rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(line number, the values of `columns` in that order) per row. A BOM, blanks around names and further columns are tolerated."""
    try:
        file = path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise DataError(path, error.strerror or str(error)) from error
    with file:
        reader = csv.reader(file)
        try:
            header = [name.strip() for name in next(reader, [])]
            missing = [c for c in columns if c not in header]
            if missing:
                raise DataError(path, f"no column {', '.join(missing)}; there are {', '.join(header) or 'none'}", 1)
            place = [header.index(c) for c in columns]
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise DataError(path, f"{len(row)} values under {len(header)} columns", reader.line_num)
                yield reader.line_num, [row[i].strip() for i in place]
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(path, str(error), reader.line_num) from error


def binary(path: Path, line: int, column: str, value: str) -> int:
    """0 or 1, also as written by a spreadsheet (`1.0`)."""
    if value in ("0", "0.0"):
        return 0
    if value in ("1", "1.0"):
        return 1
    raise DataError(path, f"{column} is {value!r}, not 0 or 1", line)
