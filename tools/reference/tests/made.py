"""Tiny data sets in the real formats: random heads as RSNA, CQ500 and CT-ICH files, and phantom exports."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from datasets.source import CLASSES, TYPES
from radnet_reference.random_model import random_hu

SIZE = 40


def slice_file(path: Path, stored: np.ndarray, position: float, **attributes) -> None:
    """One axial CT slice; `stored` are the values before rescaling."""
    meta = FileMetaDataset()
    uid = attributes.pop("SOPInstanceUID")
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = CTImageStorage, uid, ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = CTImageStorage, uid, "CT"
    ds.Rows, ds.Columns = stored.shape
    ds.PixelSpacing, ds.ImageOrientationPatient, ds.ImagePositionPatient = [0.5, 0.6], [1, 0, 0, 0, 1, 0], [-100, -100, position]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    for name, value in attributes.items():
        setattr(ds, name, value)
    ds.PixelData = stored.astype("<u2" if ds.PixelRepresentation == 0 else "<i2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with pydicom.config.disable_value_validation():
        ds.save_as(path, enforce_file_format=True)


def rsna(root: Path, patients: int = 3, slices: int = 4) -> dict[str, np.ndarray]:
    """`stage_2_train.csv` with a BOM-free extra index column, duplicated rows and `any` in odd places; images in no order; HU by image."""
    rows, truth, number = [], {}, 0
    for patient in range(patients):
        hu = random_hu(slices, SIZE, SIZE, patient)
        for s in np.random.default_rng(patient).permutation(slices):
            image = f"ID_{number:09x}"
            number += 1
            truth[image] = hu[s]
            ids = {"PatientID": f"ID_p{patient}", "StudyInstanceUID": f"ID_st{patient}", "SeriesInstanceUID": f"ID_se{patient}"}
            slice_file(root / "stage_2_train" / f"{image}.dcm", hu[s], 5.0 * s - 40, SOPInstanceUID=image, **ids)
            labels = {t: int(patient == 1 and s >= 2 and t == "subdural") for t in TYPES}
            order = ["any", *TYPES] if number % 2 else [*TYPES[::-1], "any"]
            rows += [(f"{image}_{c}", max(labels.values()) if c == "any" else labels[c]) for c in order]
    rows += rows[:6]
    rows += [(f"ID_6431af929_{c}", 1) for c in CLASSES]
    (root / "stage_2_train" / "ID_6431af929.dcm").write_bytes(b"cut short")
    lines = [",ID,Label", *(f"{i},{name},{value}" for i, (name, value) in enumerate(rows))]
    (root / "stage_2_train.csv").write_text("\n".join(lines) + "\n")
    return truth


def cq500(root: Path, numbers: tuple[int, ...] = (1, 12)) -> None:
    """Per study a thin, a 5 mm, a bone and a contrast series and a localizer; scan 1 bleeds for readers 1 and 3."""
    columns = [f"R{r}:{c}" for r in (1, 2, 3) for c in ("ICH", "IPH", "IVH", "SDH", "EDH", "SAH", "Fracture")]
    lines = ["name,Category," + ",".join(columns)]
    series = {"CT THIN PLAIN": (20, 0.625, ""), "CT 5mm": (9, 5.0, ""), "CT BONE": (10, 5.0, ""), "CT POST CONTRAST": (12, 5.0, "Omnipaque")}
    for n in numbers:
        reads = {f"R{r}:{c}": int(n == 1 and r != 2 and c in ("ICH", "SDH")) for r in (1, 2, 3) for c in ("ICH", "SDH")}
        lines.append(f"CQ500-CT-{n},B1," + ",".join(str(reads.get(c, 0)) for c in columns))
        folder = root / f"CQ500CT{n} CQ500CT{n}" / "Unknown Study"
        for k, (name, (count, thickness, contrast)) in enumerate(series.items()):
            hu = random_hu(count, SIZE, SIZE, 10 * n + k)
            for s in range(count):
                uid = f"1.2.{n}.{k + 1}.{s + 1}"
                ids = {"StudyInstanceUID": f"1.2.{n}", "SeriesInstanceUID": f"1.2.{n}.{k + 1}", "SeriesDescription": name, "SliceThickness": thickness}
                ids |= {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "PatientID": f"CQ500CT{n}"} | ({"ContrastBolusAgent": contrast} if contrast else {})
                slice_file(folder / name / f"CT{s:06}.dcm", hu[s], thickness * s, SOPInstanceUID=uid, **ids)
        scout = {"StudyInstanceUID": f"1.2.{n}", "SeriesInstanceUID": f"1.2.{n}.9", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
        slice_file(folder / "SCOUT" / "CT000000.dcm", hu[0], 0.0, SOPInstanceUID=f"1.2.{n}.9.1", **scout)
    (root / "reads.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")


def ctich(root: Path, patients: tuple[int, ...] = (49, 50)) -> tuple[np.ndarray, np.ndarray]:
    """Volumes stored towards right, anterior and superior with masks; slice 3 of the first patient bleeds. Its HU and mask in the engine's order."""
    lines = ["PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,No_Hemorrhage,Fracture_Yes_No"]
    first = None
    for patient in patients:
        hu = random_hu(4, SIZE, SIZE + 4, patient)
        mask = np.zeros(hu.shape, np.uint8)
        if patient == patients[0]:
            mask[2, 10:20, 5:15] = 1
            first = hu, mask
        affine = np.diag([0.6, 0.5, 5.0, 1.0])
        for folder, values in (("ct_scans", hu.astype(np.float64)), ("masks", mask * 255.0)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values[:, ::-1, ::-1].transpose(2, 1, 0), affine), root / folder / f"{patient:03}.nii")
        for s in range(4):
            bleeds = int(patient == patients[0] and s == 2)
            lines.append(f"{patient},{s + 1},0,{bleeds},0,0,0,{1 - bleeds},0")
    (root / "hemorrhage_diagnosis_raw_ct.csv").write_text("\n".join(lines) + "\n")
    return first


def phantoms(root: Path, seeds: range, slices: int = 6, size: int = 48) -> None:
    """What `radnet-phantom export` writes: every third slice of a series; odd seeds carry a bright blob in their middle ones."""
    for seed in seeds:
        folder = root / f"seed_{seed:08}"
        folder.mkdir(parents=True)
        hu = np.clip(random_hu(slices, size, size, seed), -1024, 45 if seed % 2 == 0 else 3071)
        mask = np.zeros(hu.shape, np.uint8)
        if seed % 2:
            mask[2:5, 18:30, 20:32] = 5
            hu[mask > 0] = 75
        bleeding = [bool(m.any()) for m in mask]
        truth = [{"index": 3 * s, "any": b, "types": ["subdural"] * b, "area_mm2": [0, 0, 0, 0, 144.0 * b]} for s, b in enumerate(bleeding)]
        meta = {"seed": seed, "shift": False, "shape": list(hu.shape), "pixel_spacing_mm": [1.0, 1.0], "any": any(bleeding), "types": ["subdural"] * any(bleeding)}
        hu.astype("<i2").tofile(folder / "hu.i16")
        mask.tofile(folder / "mask.u8")
        (folder / "meta.json").write_text(json.dumps(meta | {"codes": list(TYPES), "slices": truth}))
