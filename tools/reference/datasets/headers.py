"""DICOM headers of many files, read once by several processes and kept, so that a folder of 750,000 files is walked only the first time."""

from __future__ import annotations

import csv
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pydicom

TAGS = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "description": "SeriesDescription",
    "kernel": "ConvolutionKernel",
    "contrast": "ContrastBolusAgent",
    "image_type": "ImageType",
    "thickness": "SliceThickness",
    "modality": "Modality",
}
CHUNK = 256


@dataclass(frozen=True)
class Header:
    """What groups and choices need of one file; texts as written, empty where missing. `file` is relative to the folder; `patient` is a digest."""

    file: str
    patient: str = ""
    study: str = ""
    series: str = ""
    description: str = ""
    kernel: str = ""
    contrast: str = ""
    image_type: str = ""
    thickness: str = ""
    modality: str = ""


def read_headers(folder: Path, files: Iterable[str], kept: Path | None, workers: int, say: Callable[[str], None] = print) -> list[Header]:
    """Headers of `files` in `folder`; those in the table `kept` are not read again. Files that are no DICOM are left out."""
    known = _known(kept) if kept and kept.exists() else {}
    files = list(files)
    todo = [f for f in files if f not in known]
    if todo:
        if len(todo) > CHUNK:
            say(f"reading {len(todo)} DICOM headers under {folder}")
        chunks = [todo[i : i + CHUNK] for i in range(0, len(todo), CHUNK)]
        fresh: list[Header] = []
        if workers > 1 and len(chunks) > 1:
            with ProcessPoolExecutor(workers) as pool:
                for part in pool.map(_read_chunk, [folder] * len(chunks), chunks):
                    fresh += part
        else:
            fresh = [h for chunk in chunks for h in _read_chunk(folder, chunk)]
        known |= {h.file: h for h in fresh}
        if kept:
            _keep(kept, known.values())
    return [known[f] for f in files if f in known and known[f].series]


def _read_chunk(folder: Path, files: list[str]) -> list[Header]:
    return [_read(folder, f) for f in files]


def _read(folder: Path, file: str) -> Header:
    """An unreadable file gives a header without a series, which is remembered as such."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(folder / file, stop_before_pixels=True, specific_tags=list(TAGS.values()))
            values = {name: _text(ds.get(tag)) for name, tag in TAGS.items()}
    except (pydicom.errors.InvalidDicomError, OSError, ValueError, EOFError):
        return Header(file)
    values["patient"] = hashlib.sha256(values["patient"].encode()).hexdigest()[:16]
    return Header(file, **values)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, pydicom.multival.MultiValue):
        return "\\".join(map(str, value))
    return str(value).replace("\0", "").strip()


def _known(kept: Path) -> dict[str, Header]:
    with kept.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != [f.name for f in fields(Header)]:
            return {}
        return {row["file"]: Header(**row) for row in reader}


def _keep(kept: Path, headers: Iterable[Header]) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Header)])
        writer.writeheader()
        writer.writerows(asdict(h) for h in headers)
    os.replace(partial, kept)
