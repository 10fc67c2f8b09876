"""Phantoms: the arrays of `radnet-phantom export`, or the DICOM series of `radnet-phantom series` beside their truth."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from radnet_reference import dicom

from .source import TYPES, DataError, Entry, Labels, Volume


def entries(path: Path, cache: Path | None, workers: int) -> list[Entry]:
    """Every `seed_N` folder, and every folder SERIES that has its truth in SERIES-truth."""
    found = [_entry(meta, partial(read_export, meta.parent)) for meta in sorted(path.glob("seed_*/meta.json"))]
    for truth in sorted(path.glob("*-truth/truth.json")):
        series = truth.parent.with_name(truth.parent.name.removesuffix("-truth"))
        found.append(_entry(truth, partial(read_dicom, series, truth.parent), "dicom-"))
    if not found:
        raise DataError(path, "no seed_N/meta.json and no SERIES-truth/truth.json")
    return found


def _entry(meta_file: Path, read: partial, mark: str = "") -> Entry:
    meta = _meta(meta_file)
    labels = {str(s["index"]): slice_labels(s) for s in meta["slices"]}
    name = f"{meta['seed']}{'s' if meta['shift'] else ''}x{meta['shape'][1]}"
    scan = {t: int(t in meta["types"]) for t in TYPES}
    return Entry(f"phantom-{mark}{name}", f"phantom:{meta['seed']}", read, slice_labels=labels, scan_labels=scan)


def slice_labels(truth: dict) -> Labels:
    """Labels of one slice. A mask too small to be labelled says neither yes nor no: that type is left unknown, and so is `any` without another."""
    labels = {t: int(t in truth["types"]) for t in TYPES}
    for t, area in zip(TYPES, truth["area_mm2"]):
        if area > 0 and not labels[t]:
            del labels[t]
    return labels


def read_export(folder: Path) -> Volume:
    """The rendered slices; of a sampled export (`--sample`) these are a scan with wider steps."""
    meta = _meta(folder / "meta.json")
    shape = tuple(meta["shape"])
    hu, mask = (_array(folder / name, kind, shape) for name, kind in (("hu.i16", "<i2"), ("mask.u8", "u1")))
    return Volume(hu.astype(np.int16), tuple(meta["pixel_spacing_mm"]), [str(s["index"]) for s in meta["slices"]], (mask > 0).astype(np.uint8))


def read_dicom(series: Path, truth: Path) -> Volume:
    index = {i["sop_instance_uid"]: i["index"] for i in _meta(truth / "truth.json")["instances"]}
    read = dicom.read(series)
    order = [index[uid] for uid in read.sop_uids]
    mask = np.load(truth / "mask.npy")[order]
    return Volume(dicom.to_int16(read.hu), read.spacing, [str(i) for i in order], (mask > 0).astype(np.uint8))


def _meta(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise DataError(path, error.msg, error.lineno) from error


def _array(path: Path, kind: str, shape: tuple) -> np.ndarray:
    values = np.fromfile(path, dtype=kind)
    if values.size != np.prod(shape):
        raise DataError(path, f"{values.size} values, meta.json says {list(shape)}")
    return values.reshape(shape)
