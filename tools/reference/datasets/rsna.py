"""RSNA Intracranial Hemorrhage Detection 2019: a folder of single slices and `stage_2_train.csv`, labelled per slice.

PATH holds the CSV and, anywhere below, the files `ID_xxxxxxxxx.dcm` it names; unlabelled files (the test set) are passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pydicom

from radnet_reference import dicom

from .headers import read_headers
from .source import CLASSES, DataError, Entry, Labels, Volume
from .table import binary, rows

LABEL_FILES = ("stage_2_train.csv", "stage_1_train.csv")
# Its pixel data end too early.
TRUNCATED = "ID_6431af929"


class SliceLabels(Mapping[str, Labels]):
    """Labels by image, packed into two bits a class: 750,000 dictionaries would not fit."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def put(self, image: str, kind: str, value: int) -> bool:
        """Sets one label; False when it contradicts what is there."""
        place = 2 * CLASSES.index(kind)
        before = self._known.get(image, 0)
        seen = (before >> place) & 3
        if seen and (seen >> 1) != value:
            return False
        self._known[image] = before | ((1 | value << 1) << place)
        return True

    def __getitem__(self, image: str) -> Labels:
        bits = self._known[image]
        return {c: (bits >> 2 * k + 1) & 1 for k, c in enumerate(CLASSES) if (bits >> 2 * k) & 1}

    def __iter__(self):
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def read_labels(path: Path) -> SliceLabels:
    """`ID,Label` rows. Rows that repeat a label are one; rows that contradict each other are an error."""
    labels = SliceLabels()
    for line, (name, value) in rows(path, ("ID", "Label")):
        image, _, kind = name.rpartition("_")
        if not image or kind not in CLASSES:
            raise DataError(path, f"ID {name!r} does not end in one of {', '.join(CLASSES)}", line)
        if image != TRUNCATED and not labels.put(image, kind, binary(path, line, "Label", value)):
            raise DataError(path, f"{name} is labelled 0 and 1", line)
    if not labels:
        raise DataError(path, "no labels")
    return labels


def entries(path: Path, cache: Path | None, workers: int) -> list[Entry]:
    """One entry a series. `cache` keeps the table of headers."""
    table = next((path / name for name in LABEL_FILES if (path / name).exists()), None)
    if table is None:
        raise DataError(path, f"no {' or '.join(LABEL_FILES)}")
    labels = read_labels(table)
    files = sorted(str(f.relative_to(path)) for f in path.rglob("*.dcm") if f.stem in labels)
    if not files:
        raise DataError(path, "none of the labelled images is there as ID.dcm")
    groups: dict[tuple[str, str, str], list[Path]] = {}
    kept = cache / f"headers-{_digest(str(path.resolve()))}.csv" if cache else None
    for header in read_headers(path, files, kept, workers):
        groups.setdefault((header.patient, header.study, header.series), []).append(path / header.file)
    return [
        Entry(f"rsna-{ids[2]}-{_digest('|'.join(ids))}", f"rsna:{ids[0]}", partial(read_series, members), slice_labels=labels)
        for ids, members in sorted(groups.items())
    ]


def read_series(files: list[Path]) -> Volume:
    """The slices of one series, ordered by position."""
    by_uid = {}
    datasets = []
    for file in files:
        ds = pydicom.dcmread(file)
        by_uid[str(ds.SOPInstanceUID)] = file.stem
        datasets.append(unwrap_twelve_bits(ds))
    series = dicom.assemble(datasets)
    return Volume(dicom.to_int16(series.hu), series.spacing, [by_uid[uid] for uid in series.sop_uids])


def unwrap_twelve_bits(ds: pydicom.Dataset) -> pydicom.Dataset:
    """Some unsigned 12-bit slices carry an intercept near 0 and values that wrapped around: air, stored as −1000 modulo 4096.

    Their values are moved by 1000 modulo 4096 under an intercept of −1000, which puts air at the bottom again. The engine does not do
    this: it takes a file at its word.
    """
    if ds.BitsStored == 12 and ds.PixelRepresentation == 0 and float(ds.RescaleIntercept) > -100:
        stored = (ds.pixel_array.astype("int32") + 1000) % 4096
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        ds.PixelData = stored.astype("<u2").tobytes()
        ds.RescaleIntercept = -1000
    return ds


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
