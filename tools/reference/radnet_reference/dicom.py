"""DICOM series to HU volumes by pydicom, following the specification's rules for Hounsfield units and orientation; and back, for parity runs.

Reads what parity.py and the data sets need: single-frame CT slices. The engine's own reader knows far more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

HU_MIN, HU_MAX = -1024.0, 3071.0
PADDING_HU, PADDING_LIMIT_HU = -1024.0, -500.0
DUPLICATE_MM = 0.01
MIN_AXIAL = 0.7


@dataclass
class Series:
    """hu float32 [S, rows, cols], inferior to superior, columns towards the patient's left, rows towards posterior; spacing (row, column) mm."""

    hu: np.ndarray
    spacing: tuple[float, float] | None
    positions: list[float]
    sop_uids: list[str]


def read(folder: Path) -> Series:
    """The CT series in a folder that holds one."""
    datasets = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            ds = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        kinds = list(ds.get("ImageType", []))
        if ds.get("Modality") == "CT" and "PixelData" in ds and "LOCALIZER" not in kinds and kinds[1:2] != ["SECONDARY"]:
            datasets.append(ds)
    if not datasets:
        raise ValueError(f"{folder}: no CT slices")
    return assemble(datasets)


def assemble(datasets: list[pydicom.Dataset]) -> Series:
    """Slices that were read already, ordered and oriented; the largest group of one geometry stays."""
    datasets = _largest_group(datasets)
    slices = sorted((_oriented(ds) for ds in datasets), key=lambda s: (s[0], s[1], s[2]))
    kept = [slices[0]]
    for candidate in slices[1:]:
        if candidate[0] - kept[-1][0] > DUPLICATE_MM:
            kept.append(candidate)
    return Series(np.stack([s[3] for s in kept]), kept[0][4], [s[0] for s in kept], [s[2] for s in kept])


def to_int16(hu: np.ndarray) -> np.ndarray:
    """HU rounded to whole numbers."""
    return np.rint(hu).astype(np.int16)


def hounsfield(ds: pydicom.Dataset) -> np.ndarray:
    """HU float32 of one slice as stored, clamped."""
    stored = ds.pixel_array.astype(np.float64)
    slope, intercept = float(ds.RescaleSlope), float(ds.RescaleIntercept)
    hu = (stored * slope + intercept).astype(np.float32)
    if "PixelPaddingValue" in ds:
        low = float(ds.PixelPaddingValue)
        high = float(ds.get("PixelPaddingRangeLimit", low))
        if low * slope + intercept <= PADDING_LIMIT_HU:
            hu[(stored >= min(low, high)) & (stored <= max(low, high))] = PADDING_HU
    return np.clip(hu, np.float32(HU_MIN), np.float32(HU_MAX))


def _largest_group(datasets: list) -> list:
    groups: dict[tuple, list] = {}
    for ds in datasets:
        key = (ds.SeriesInstanceUID, ds.Rows, ds.Columns, tuple(round(float(v), 3) for v in ds.ImageOrientationPatient))
        groups.setdefault(key, []).append(ds)
    return max(groups.values(), key=len)


def _oriented(ds: pydicom.Dataset) -> tuple:
    """(position_mm, instance number, SOP UID, HU with rows towards posterior and columns towards left, spacing)."""
    row, column = np.array(ds.ImageOrientationPatient[:3], float), np.array(ds.ImageOrientationPatient[3:], float)
    normal = np.cross(row, column)
    if normal[2] < 0:
        normal = -normal
    if normal[2] < MIN_AXIAL:
        raise ValueError(f"{ds.SOPInstanceUID}: not axial")
    hu = hounsfield(ds)
    spacing = tuple(float(v) for v in ds.PixelSpacing) if "PixelSpacing" in ds else None
    if abs(row[0]) < abs(row[1]):
        hu, row, column = hu.T, column, row
        spacing = spacing and spacing[::-1]
    if row[0] < 0:
        hu = hu[:, ::-1]
    if column[1] < 0:
        hu = hu[::-1]
    position = float(np.array(ds.ImagePositionPatient, float) @ normal)
    return position, int(ds.get("InstanceNumber") or 0), str(ds.SOPInstanceUID), np.ascontiguousarray(hu), spacing


def write(hu: np.ndarray, folder: Path, spacing: tuple[float, float], thickness: float = 5.0) -> None:
    """Writes int16 HU [S, rows, cols] as an axial series of unsigned 16-bit slices, in files whose names do not follow the order."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    count = hu.shape[0]
    for s, plane in enumerate(hu):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.Modality, ds.ImageType, ds.BodyPartExamined = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], "HEAD"
        ds.PatientName, ds.PatientID, ds.StudyDate, ds.StudyTime = "Parity^Random", "PARITY", "20200101", "120000"
        ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", 1, count - s
        ds.SliceThickness, ds.PixelSpacing = thickness, [spacing[0], spacing[1]]
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-120.0, -130.0, -40.0 + thickness * s]
        ds.ConvolutionKernel, ds.KVP = "H30s", 120
        ds.Rows, ds.Columns = plane.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
        ds.PixelData = (plane.astype(np.int32) + 1024).astype("<u2").tobytes()
        ds.save_as(folder / f"{(s * 7919) % 10007:05d}.dcm", enforce_file_format=True)
