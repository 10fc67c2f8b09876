"""CQ500: folders `CQ500CT12 CQ500CT12/…/series/*.dcm` and `reads.csv` with three readers. Labels are per scan only.

A study holds several series of one head. Chosen is one that a reader would look at: no localizer, no contrast, no bone kernel, slices
near READING_MM; so the network is trained on slices like those of the other sets.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pydicom

from radnet_reference import dicom

from .headers import Header, read_headers
from .source import DataError, Entry, Labels, Volume
from .table import binary, rows

READERS = ("R1", "R2", "R3")
COLUMNS = {"ICH": "any", "EDH": "epidural", "IPH": "intraparenchymal", "IVH": "intraventricular", "SAH": "subarachnoid", "SDH": "subdural"}
READING_MM = 5.0
FEWEST_SLICES = 8
_FOLDER = re.compile(r"^CQ500[-_ ]?CT[-_ ]?(\d+)", re.IGNORECASE)
_BONE = re.compile(r"bone", re.IGNORECASE)
_CONTRAST = re.compile(r"post|contrast|angio|cta\b", re.IGNORECASE)
_PLAIN = re.compile(r"pre[ _-]*contrast|non[ _-]*contrast|plain", re.IGNORECASE)


def read_labels(path: Path) -> dict[int, Labels]:
    """Scan number to labels: the majority of three reads."""
    wanted = [f"{reader}:{column}" for column in COLUMNS for reader in READERS]
    labels: dict[int, Labels] = {}
    for line, (name, *values) in rows(path, ("name", *wanted)):
        number = scan_number(name)
        if number is None:
            raise DataError(path, f"name {name!r} is not CQ500-CT-<n>", line)
        if number in labels:
            raise DataError(path, f"{name} is there twice", line)
        votes = [binary(path, line, column, value) for column, value in zip(wanted, values)]
        labels[number] = {c: int(sum(votes[3 * k : 3 * k + 3]) >= 2) for k, c in enumerate(COLUMNS.values())}
    return labels


def scan_number(name: str) -> int | None:
    """12 of `CQ500-CT-12`, `CQ500CT12 CQ500CT12`."""
    found = _FOLDER.match(name)
    return int(found.group(1)) if found else None


def entries(path: Path, cache: Path | None, workers: int) -> list[Entry]:
    """One entry a study that has a folder and reads."""
    table = next((f for f in (path / "reads.csv", path.parent / "reads.csv") if f.exists()), path / "reads.csv")
    labels = read_labels(table)
    found = []
    for folder in sorted(f for f in path.rglob("CQ500*") if f.is_dir() and scan_number(f.name) is not None):
        number = scan_number(folder.name)
        if scan_number(folder.parent.name) is not None:
            continue
        if number not in labels:
            raise DataError(folder, f"{table} has no reads of scan {number}")
        kept = cache / f"headers-cq500-{number}.csv" if cache else None
        found.append(Entry(f"cq500-{number}", f"cq500:{number}", partial(read_study, folder, kept), scan_labels=labels[number]))
    if not found:
        raise DataError(path, "no folders CQ500CT<n>")
    return found


def read_study(folder: Path, kept: Path | None = None) -> Volume:
    """The chosen series of one study."""
    files = sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())
    headers = read_headers(folder, files, kept, 1)
    series = choose(headers)
    if series is None:
        raise DataError(folder, "no plain head series of 8 slices or more")
    datasets = [pydicom.dcmread(folder / h.file) for h in headers if h.series == series]
    read = dicom.assemble(datasets)
    return Volume(dicom.to_int16(read.hu), read.spacing, read.sop_uids)


def choose(headers: list[Header]) -> str | None:
    """The UID of the series nearest to what readers look at; None when nothing is usable."""
    groups: dict[str, list[Header]] = {}
    for h in headers:
        kinds = h.image_type.upper().split("\\")
        if h.modality in ("CT", "") and "LOCALIZER" not in kinds and kinds[1:2] != ["SECONDARY"]:
            groups.setdefault(h.series, []).append(h)
    usable = {uid: members for uid, members in groups.items() if len(members) >= FEWEST_SLICES and not _contrast(members[0])}
    return min(usable, key=lambda uid: _rank(uid, usable[uid]), default=None)


def _contrast(h: Header) -> bool:
    name = f"{h.description} {Path(h.file).parent}"
    return bool(h.contrast) or (bool(_CONTRAST.search(name)) and not _PLAIN.search(name))


def _rank(uid: str, members: list[Header]) -> tuple:
    h = members[0]
    bone = bool(_BONE.search(f"{h.description} {Path(h.file).parent} {h.kernel}"))
    try:
        distance = abs(float(h.thickness) - READING_MM)
    except ValueError:
        distance = READING_MM
    return bone, round(distance, 2), -len(members), uid
