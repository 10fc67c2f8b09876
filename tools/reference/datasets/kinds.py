"""`KIND:PATH` on the command line."""

from __future__ import annotations

from pathlib import Path

from . import cq500, phantom, physionet, rsna
from .source import DataError, Entry

KINDS = {"rsna": rsna.entries, "cq500": cq500.entries, "ctich": physionet.entries, "phantom": phantom.entries}


def open_entries(text: str, cache: Path | None = None, workers: int = 1) -> list[Entry]:
    """The entries of one data set; `cache` keeps what is slow to find out."""
    kind, colon, path = text.partition(":")
    if not colon or kind not in KINDS:
        raise DataError(text, f"not KIND:PATH with KIND one of {', '.join(KINDS)}")
    if not Path(path).is_dir():
        raise DataError(path, "not a folder")
    return KINDS[kind](Path(path), cache, workers)
