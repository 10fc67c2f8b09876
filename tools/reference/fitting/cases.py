"""Scans ready to train on: volumes in the cache joined with the labels of their data set, divided by patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.cache import Cache, Prepared
from datasets.kinds import open_entries
from datasets.source import DataError, Entry, label_arrays
from datasets.split import is_held_out


@dataclass(frozen=True)
class Case:
    """A prepared scan; slices [S, K] and scan [K] hold 0, 1, or NaN where unknown."""

    scan: Prepared
    slices: np.ndarray
    labels: np.ndarray

    @property
    def key(self) -> str:
        return self.scan.key


def join(entries: Sequence[Entry], cache: Cache, classes: Sequence[str]) -> list[Case]:
    """The cases whose volume is in the cache, sorted by key."""
    cases = []
    for entry in sorted(entries, key=lambda e: e.key):
        scan = cache.open(entry.key)
        if scan is not None:
            cases.append(Case(scan, *label_arrays(entry, scan.slice_ids, classes)))
    return cases


def read(texts: Sequence[str], folder: Path, workers: int, config: dict, say: Callable[[str], None]) -> tuple[list[Entry], Cache]:
    """The entries of some data sets, prepared under `folder`."""
    entries = [e for text in texts for e in open_entries(text, folder, workers)]
    if len({e.key for e in entries}) != len(entries):
        raise DataError(" ".join(texts), "the same scan is given twice")
    cache = Cache(folder, config["input"])
    failures = cache.prepare(entries, workers, say)
    if failures:
        say(f"{len(failures)} of {len(entries)} scans could not be read and are left out")
    return entries, cache


def divide(entries: Sequence[Entry], share: float, seed: int) -> tuple[list[Entry], list[Entry]]:
    """(training, validation), patient-wise."""
    held = [is_held_out(e.patient, seed, share) for e in entries]
    return [e for e, h in zip(entries, held) if not h], [e for e, h in zip(entries, held) if h]
