"""What every data set gives: entries that name a scan and its patient, know its labels, and read its volume on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# The names every reader maps its labels to; a model's `classes` choose among them.
TYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")
CLASSES = ("any", *TYPES)

Labels = Mapping[str, int]


class DataError(ValueError):
    """A data set that cannot be read as it is: the file, the line where there is one, and what is wrong there."""

    def __init__(self, path: Path | str, message: str, line: int | None = None):
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")


@dataclass
class Volume:
    """One scan as stored: hu int16 [S, rows, cols] ordered and oriented as the engine does (model.md, rule 2).

    spacing: (row, column) mm or None. slice_ids: what the data set's slice labels are keyed by. mask: uint8 [S, rows, cols], 1 where there
    is blood, or None where nobody drew any.
    """

    hu: np.ndarray
    spacing: tuple[float, float] | None
    slice_ids: list[str]
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Entry:
    """A scan that can be read. `key` is unique over all data sets and fit for a file name; `patient` decides the split.

    A class that a label object does not hold is unknown, not absent. `read` is picklable, so that processes can share the work.
    """

    key: str
    patient: str
    read: Callable[[], Volume]
    slice_labels: Mapping[str, Labels] | None = None
    scan_labels: Labels | None = None


def with_any(labels: Labels) -> Labels:
    """Adds `any` where the types imply it: one type is there, or all five are known and none is."""
    if "any" in labels:
        return labels
    known = [labels[t] for t in TYPES if t in labels]
    if any(known):
        return {**labels, "any": 1}
    return {**labels, "any": 0} if len(known) == len(TYPES) else labels


def label_arrays(entry: Entry, slice_ids: Sequence[str], classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Slice labels [S, K] and scan labels [K] in the order of `classes`: 0, 1, or NaN where unknown.

    Without slice labels, a scan without a finding has no slice with it. Without a scan label, a slice with a finding makes the scan have
    it, and all slices without it clear the scan.
    """
    slices = np.full((len(slice_ids), len(classes)), np.nan, dtype=np.float32)
    if entry.slice_labels is not None:
        for s, name in enumerate(slice_ids):
            labels = with_any(entry.slice_labels.get(name, {}))
            slices[s] = [labels.get(c, np.nan) for c in classes]
    given = with_any(entry.scan_labels or {})
    scan = np.array([given.get(c, np.nan) for c in classes], dtype=np.float32)
    for k in range(len(classes)):
        if np.isnan(scan[k]):
            scan[k] = 1.0 if (slices[:, k] == 1).any() else np.nan if np.isnan(slices[:, k]).any() else 0.0
        if scan[k] == 0 and entry.slice_labels is None:
            slices[:, k] = 0.0
    return slices, scan
