"""PhysioNet CT-ICH: NIfTI volumes with masks and slice labels.

    ct_scans/NNN.nii   masks/NNN.nii   hemorrhage_diagnosis_raw_ct.csv

SliceNumber counts from 1 along the stored third axis.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import nibabel
import numpy as np

from .source import DataError, Entry, Labels, Volume, with_any
from .table import binary, rows

TABLE = "hemorrhage_diagnosis_raw_ct.csv"
COLUMNS = {
    "Epidural": "epidural",
    "Intraparenchymal": "intraparenchymal",
    "Intraventricular": "intraventricular",
    "Subarachnoid": "subarachnoid",
    "Subdural": "subdural",
}
HU_MIN, HU_MAX = -1024, 3071
# Array axes in the direction of LPS: columns to the left, rows to posterior, slices to superior.
ENGINE_AXES = ("L", "P", "S")


def read_labels(path: Path) -> dict[int, dict[str, Labels]]:
    """Patient number to slice number to labels. A slice marked No_Hemorrhage and with a type is an error."""
    labels: dict[int, dict[str, Labels]] = {}
    for line, (patient, number, healthy, *types) in rows(path, ("PatientNumber", "SliceNumber", "No_Hemorrhage", *COLUMNS)):
        try:
            patient_number, slice_number = int(patient), int(number)
        except ValueError as error:
            raise DataError(path, f"PatientNumber {patient!r} or SliceNumber {number!r} is not a number", line) from error
        row = {c: binary(path, line, column, value) for (column, c), value in zip(COLUMNS.items(), types)}
        if any(row.values()) == bool(binary(path, line, "No_Hemorrhage", healthy)):
            raise DataError(path, "No_Hemorrhage contradicts the types", line)
        slices = labels.setdefault(patient_number, {})
        if slices.setdefault(str(slice_number), with_any(row)) != with_any(row):
            raise DataError(path, f"slice {slice_number} of patient {patient_number} has two different rows", line)
    return labels


def entries(path: Path, cache: Path | None, workers: int) -> list[Entry]:
    """One entry a volume in ct_scans."""
    labels = read_labels(path / TABLE)
    found = []
    for scan in sorted((path / "ct_scans").glob("*.nii*")):
        name = scan.name.split(".")[0]
        if not name.isdigit() or int(name) not in labels:
            raise DataError(scan, f"{TABLE} has no rows of patient {name}")
        mask = next((path / "masks" / f"{name}{end}" for end in (".nii", ".nii.gz") if (path / "masks" / f"{name}{end}").exists()), None)
        found.append(Entry(f"ctich-{name}", f"ctich:{name}", partial(read_volume, scan, mask), slice_labels=labels[int(name)]))
    if not found:
        raise DataError(path / "ct_scans", "no NNN.nii")
    return found


def read_volume(scan: Path, mask: Path | None) -> Volume:
    """One volume in the engine's orientation; the mask follows its own affine and must describe the same voxels."""
    image = _load(scan)
    hu, order, spacing = oriented(image, scan)
    drawn = None
    if mask is not None:
        other = _load(mask)
        if other.shape != image.shape or not np.allclose(other.affine, image.affine, atol=0.01):
            raise DataError(mask, f"shape or affine differs from {scan.name}")
        drawn = (oriented(other, mask)[0] > 0).astype(np.uint8)
    return Volume(np.clip(np.rint(hu), HU_MIN, HU_MAX).astype(np.int16), spacing, [str(k + 1) for k in order], drawn)


def oriented(image: nibabel.Nifti1Image, path: Path) -> tuple[np.ndarray, range, tuple[float, float]]:
    """Values [S, rows, cols] flipped and transposed to the engine's axes, never interpolated; the stored slice of each; (row, column) mm.

    A volume whose third axis is not the one towards the head is an error: its slices are not axial.
    """
    if len(image.shape) != 3:
        raise DataError(path, f"{len(image.shape)} dimensions, not 3")
    now = nibabel.orientations.io_orientation(image.affine)
    wanted = nibabel.orientations.axcodes2ornt(ENGINE_AXES)
    change = nibabel.orientations.ornt_transform(now, wanted)
    if int(change[2][0]) != 2:
        raise DataError(path, "the third axis is not axial")
    values = nibabel.orientations.apply_orientation(np.asanyarray(image.dataobj, dtype=np.float32), change)
    count = image.shape[2]
    order = range(count - 1, -1, -1) if change[2][1] < 0 else range(count)
    zooms = image.header.get_zooms()
    first = int(change[0][0])
    across, down = (zooms[0], zooms[1]) if first == 0 else (zooms[1], zooms[0])
    return np.ascontiguousarray(values.transpose(2, 1, 0)), order, (float(down), float(across))


def _load(path: Path) -> nibabel.Nifti1Image:
    try:
        return nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, OSError) as error:
        raise DataError(path, str(error)) from error
