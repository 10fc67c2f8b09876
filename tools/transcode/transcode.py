#!/usr/bin/env python3
"""Transcode CT slices into every transfer syntax that RADnet reads, and write down what pydicom makes of them.

    transcode.py OUT                                   the small synthetic slices (committed as tests/data/transfer)
    transcode.py OUT --slice FILE [--slice FILE ...]   a slice of your own, in every syntax
    transcode.py OUT --files DIR [--files DIR ...]     foreign DICOM files as they are (pydicom's test files)

OUT gets the DICOM files, their Hounsfield units as .npy and cases.json, which tests/transfer_syntaxes.rs reads:
RADNET_TRANSCODED=OUT cargo test --release --test transfer_syntaxes -- --nocapture
"""
import argparse
import copy
import json
import subprocess
import sys
import tempfile
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import openjpeg
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian,
                         JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit, UID)

ROOT = "1.2.826.0.1.3680043.10.1462.1"


def stored_values(ds: Dataset) -> np.ndarray:
    """Stored values by BitsStored, HighBit and PixelRepresentation: pydicom's pixels, with the unused bits taken out."""
    whole = ds
    if ds.HighBit != ds.BitsStored - 1:
        # pydicom takes the low bits whatever HighBit says: let it give whole words.
        whole = copy.deepcopy(ds)
        whole.BitsStored, whole.HighBit, whole.PixelRepresentation = ds.BitsAllocated, ds.BitsAllocated - 1, 0
    raw = whole.pixel_array.astype(np.int64)
    low = int(ds.HighBit) + 1 - int(ds.BitsStored)
    value = (raw >> low) & ((1 << int(ds.BitsStored)) - 1)
    if ds.PixelRepresentation == 1:
        value = np.where(value >> (int(ds.BitsStored) - 1), value - (1 << int(ds.BitsStored)), value)
    return value


def hounsfield(ds: Dataset) -> np.ndarray:
    """Arithmetic 1 of the model format: float64, rounded once, padding to -1024 unless it is tissue, clamped."""
    stored = stored_values(ds)
    slope, intercept = float(ds.RescaleSlope), float(ds.RescaleIntercept)
    hu = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    if "PixelPaddingValue" in ds:
        def sign(v):
            v = int.from_bytes(v, "little") if isinstance(v, bytes) else int(v)
            return (v & 0xFFFF) - 0x10000 if ds.PixelRepresentation == 1 and v & 0x8000 else v & 0xFFFF
        value = sign(ds.PixelPaddingValue)
        limit = sign(ds.get("PixelPaddingRangeLimit", ds.PixelPaddingValue))
        if value * slope + intercept <= -500:
            hu[(stored >= min(value, limit)) & (stored <= max(value, limit))] = -1024
    hu = np.clip(hu, -1024, 3071)
    return hu.astype(np.int16) if (hu == np.rint(hu)).all() else hu


def head(rows: int, cols: int, seed: int) -> np.ndarray:
    """Hounsfield units of a crude head: skull, brain, ventricle, noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:cols]
    r = np.hypot((y - rows / 2) / (rows * 0.42), (x - cols / 2) / (cols * 0.36))
    hu = np.full((rows, cols), -1000.0)
    hu[r < 1.0], hu[r < 0.88] = 1100.0, 34.0
    hu[np.hypot((y - rows / 2) / (rows * 0.12), (x - cols / 2) / (cols * 0.07)) < 1] = 6.0
    return np.rint(hu + rng.normal(0, 4, hu.shape)).astype(np.int64)


def synthetic(name: str, stored: np.ndarray, bits: tuple, signed: bool, slope: str, intercept: str, padding=None) -> Dataset:
    """A CT slice with the given stored values; `bits` is allocated, stored, high bit."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
    number = sum(name.encode())
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"{ROOT}.1.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.2", f"{ROOT}.3.{number}"
    ds.Modality, ds.ImageType, ds.SeriesDescription = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], name
    ds.Manufacturer, ds.PatientName, ds.PatientID = "RADnet", "Synthetic", "0"
    ds.InstanceNumber, ds.SliceThickness = 1, "5"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = ["-120", "-120", "10.5"], ["1", "0", "0", "0", "1", "0"]
    ds.PixelSpacing, ds.SamplesPerPixel, ds.PhotometricInterpretation = ["0.5", "0.5"], 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits
    ds.PixelRepresentation = int(signed)
    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    if padding is not None:
        ds.add_new("PixelPaddingValue", "SS" if signed else "US", padding)
    words = (stored << (bits[2] + 1 - bits[1])) & ((1 << bits[0]) - 1)
    data = words.astype({8: "<u1", 16: "<u2", 32: "<u4"}[bits[0]]).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OW" if bits[0] > 8 else "OB"
    return ds


def slices() -> dict:
    """Synthetic slices of the layouts that CT is stored in; odd sides meet codec blocks and row ends."""
    signed, unsigned = head(43, 35, 1), head(32, 48, 2)
    padded = signed.copy()
    padded[:3] = -2000
    overlay = unsigned + 1024
    overlay = (overlay & 0xFFF) | ((np.arange(overlay.size).reshape(overlay.shape) % 3 == 0) << 12)
    return {
        "s16": synthetic("s16", padded, (16, 16, 15), True, "1", "0", -2000),
        "u12": synthetic("u12", unsigned + 1024, (16, 12, 11), False, "1", "-1024"),
        "s13": synthetic("s13", padded, (16, 13, 12), True, "1", "0"),
        "overlay12": overlay_slice(overlay),
        "high12": synthetic("high12", unsigned + 1024, (16, 12, 15), False, "1", "-1024"),
        "u8": synthetic("u8", np.clip((signed + 1024) // 16, 0, 255), (8, 8, 7), False, "16", "-1024"),
        "s32": synthetic("s32", signed * 10, (32, 32, 31), True, "0.1", "0.25"),
    }


def overlay_slice(words: np.ndarray) -> Dataset:
    """Twelve stored bits with an overlay plane in bit 12, as old scanners wrote."""
    ds = synthetic("overlay12", words, (16, 16, 15), False, "1", "-1024")
    ds.BitsStored, ds.HighBit = 12, 11
    return ds


def native(ds: Dataset, syntax: UID) -> Dataset:
    """The same slice in a native syntax."""
    out = copy.deepcopy(ds)
    out.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian and ds.BitsAllocated > 8:
        out.PixelData = np.frombuffer(ds.PixelData, f"<u{ds.BitsAllocated // 8}").byteswap().tobytes()
    return out


def encapsulated(ds: Dataset, syntax: UID, stream: bytes, fragments: int = 1, table: bool = True) -> Dataset:
    """The same slice around a codestream of one frame."""
    out = copy.deepcopy(ds)
    out.file_meta.TransferSyntaxUID = syntax
    out.PixelData = encapsulate([stream], fragments_per_frame=fragments, has_bot=table)
    out["PixelData"].VR = "OB"
    out["PixelData"].is_undefined_length = True
    return out


def jpeg2000(ds: Dataset, lossless: bool, signed: bool | None = None, **options) -> bytes:
    """A JPEG 2000 codestream; `signed` overrides the sign that the codestream states."""
    array = stored_values(ds)
    signed = bool(ds.PixelRepresentation) if signed is None else signed
    if not signed:
        array = array & ((1 << ds.BitsStored) - 1)
    size = 1 if ds.BitsStored <= 8 else 2
    array = array.astype(f"<{'i' if signed else 'u'}{size}")
    if not lossless:
        options.setdefault("signal_noise_ratios", [70])
    return openjpeg.utils.encode_buffer(array.tobytes(), ds.Columns, ds.Rows, 1, ds.BitsStored, signed, photometric_interpretation=2,
                                        use_mct=False, **options)


def dcmtk(tool: str, options: list, source: Path, target: Path) -> bool:
    """Runs one dcmtk tool; false when it will not do this slice."""
    done = subprocess.run([tool, *options, str(source), str(target)], capture_output=True, text=True)
    if done.returncode:
        print(f"  {tool} {' '.join(options)}: {(done.stderr or done.stdout).strip().splitlines()[-1:]}", file=sys.stderr)
    return done.returncode == 0


class Cases:
    """The files written, each with the pixels it has to give."""

    def __init__(self, out: Path):
        self.out, self.cases, self.arrays = out, [], {}
        out.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, tolerance: float, source: np.ndarray | None, note: str):
        """Reads a file back with pydicom; `source` is what a lossless file has to equal."""
        path = self.out / f"{name}.dcm"
        ds = pydicom.dcmread(path, force=True)
        hu = hounsfield(ds)
        if source is not None and not (tolerance == 0 and np.array_equal(hu, source)):
            sys.exit(f"{path}: pydicom does not give the source's pixels")
        key = (hu.dtype.str, hu.shape, hu.tobytes())
        if key not in self.arrays:
            self.arrays[key] = f"{name}.npy"
            np.save(self.out / self.arrays[key], hu)
        syntax = str(ds.file_meta.get("TransferSyntaxUID", ""))
        self.cases.append({"file": path.name, "hu": self.arrays[key], "tolerance": tolerance, "transfer_syntax": syntax, "note": note})

    def write(self, name: str, ds: Dataset, tolerance: float, source: np.ndarray | None, note: str):
        ds.save_as(self.out / f"{name}.dcm", enforce_file_format=True)
        self.add(name, tolerance, source, note)

    def close(self):
        (self.out / "cases.json").write_text(json.dumps(self.cases, indent=1) + "\n")
        print(f"{len(self.cases)} files in {self.out}")


def every_syntax(cases: Cases, name: str, ds: Dataset, brief: bool):
    """One slice in every syntax that can carry it; `brief` leaves out what differs only in how the same bytes are wrapped."""
    truth = hounsfield(ds)
    for tag, syntax in [("explicit", ExplicitVRLittleEndian), ("implicit", ImplicitVRLittleEndian), ("big", ExplicitVRBigEndian),
                        ("deflated", DeflatedExplicitVRLittleEndian)][: 1 if brief else 4]:
        if syntax == ExplicitVRBigEndian and isinstance(ds, FileDataset):
            continue  # pydicom does not swap what it has read; dcmconv below does.
        cases.write(f"{name}-{tag}", native(ds, syntax), 0, truth, "pydicom")
    plain = cases.out / f"{name}-explicit.dcm"
    with tempfile.TemporaryDirectory() as scratch:
        copied = Path(scratch) / "plain.dcm"
        copied.write_bytes(plain.read_bytes())
        runs = [("big-dcmtk", "dcmconv", ["+tb"]), ("deflated-dcmtk", "dcmconv", ["+td"]), ("sequences", "dcmconv", ["+te", "-e"]), ("rle", "dcmcrle", [])]
        if ds.BitsAllocated <= 16:
            runs += [("jpeg70", "dcmcjpeg", ["+e1"]), ("jpeg70-fragments", "dcmcjpeg", ["+e1", "-ot", "+fs", "1"])]
            runs += [(f"jpeg57-p{p}", "dcmcjpeg", ["+el", "+sv", str(p)]) for p in range(1, 8)]
        if ds.BitsAllocated == 32:
            # dcmtk swaps OW in words of 16 bits, pydicom in words of 32.
            runs = [r for r in runs if r[0] != "big-dcmtk"]
        if brief:
            runs = [r for r in runs if r[0] in ("rle", "jpeg70", "jpeg57-p7")]
        for tag, tool, options in runs:
            if dcmtk(tool, options, copied, cases.out / f"{name}-{tag}.dcm"):
                cases.add(f"{name}-{tag}", 0, truth, " ".join([tool, *options]))
        # Lossy: dcmtk maps pixels and rescale anew, and pydicom reads what it wrote; decoders may differ by one stored value.
        if ds.BitsAllocated == 16 and ds.HighBit == ds.BitsStored - 1:
            lossy = cases.out / f"{name}-jpeg51-12bit.dcm"
            if dcmtk("dcmcjpeg", ["+ee", "+bt", "+q", "90"], copied, lossy) and with_rescale(lossy, ds):
                cases.add(f"{name}-jpeg51-12bit", lossy_step(lossy), None, "dcmcjpeg +ee +bt")
    if ds.BitsStored <= 16 and ds.HighBit == ds.BitsStored - 1:
        jpeg2000_cases(cases, name, ds, truth)
    if ds.BitsAllocated == 16 and not brief:
        # Baseline carries 8 bits: the slice in steps of 16 HU.
        every_8bit(cases, name, synthetic(name, np.clip((truth.astype(np.int64) + 1024) // 16, 0, 255), (8, 8, 7), False, "16", "-1024"))
    if ds.BitsAllocated == 8:
        every_8bit(cases, name, ds)


def every_8bit(cases: Cases, name: str, ds: Dataset):
    """Baseline JPEG, whole and without its end marker."""
    stream = BytesIO()
    Image.fromarray(ds.pixel_array).save(stream, "JPEG", quality=92)
    for tag, code in [("jpeg50", stream.getvalue()), ("jpeg50-no-eoi", stream.getvalue()[:-2])]:
        cases.write(f"{name}-{tag}", encapsulated(ds, JPEGBaseline8Bit, code), float(ds.RescaleSlope), None, "Pillow, 8 bits")


def jpeg2000_cases(cases: Cases, name: str, ds: Dataset, truth: np.ndarray):
    stream = jpeg2000(ds, True)
    cases.write(f"{name}-j2k90", encapsulated(ds, JPEG2000Lossless, stream), 0, truth, "OpenJPEG")
    cases.write(f"{name}-j2k90-fragments", encapsulated(ds, JPEG2000Lossless, stream, 3, False), 0, truth, "OpenJPEG, three fragments, empty table")
    if ds.BitsAllocated > ds.BitsStored or ds.BitsStored == 16:
        crossed = jpeg2000(ds, True, signed=not ds.PixelRepresentation) if ds.PixelRepresentation else None
        if crossed and ds.BitsStored < 16:
            cases.write(f"{name}-j2k90-crossed", encapsulated(ds, JPEG2000Lossless, crossed), 0, truth, "the codestream says unsigned, the header signed")
    cases.write(f"{name}-j2k91", encapsulated(ds, JPEG2000, jpeg2000(ds, False)), 2 * float(ds.RescaleSlope), None, "OpenJPEG, 9-7 transform")


def with_rescale(path: Path, source: Dataset) -> bool:
    """dcmtk's lossy encoder applies the rescale and drops it: says so in the file, on a slope that keeps it in range."""
    ds = pydicom.dcmread(path)
    if "RescaleSlope" not in ds:
        low, high = hounsfield(source).min(), hounsfield(source).max()
        ds.RescaleSlope, ds.RescaleIntercept = f"{(int(high) - int(low)) / 4095:.6f}", str(int(low))
    ds.pop("PixelPaddingValue", None)
    ds.save_as(path)
    return True


def lossy_step(path: Path) -> float:
    """Two stored values in Hounsfield units: one for each decoder's rounding."""
    return 2 * float(pydicom.dcmread(path, stop_before_pixels=True).RescaleSlope) + 0.01


def foreign(cases: Cases, folders: list):
    """Files of others, as they are; those without a rescale (not CT) get one, since only pixels are compared."""
    readable = {str(s) for s in [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]}
    readable |= {f"1.2.840.10008.1.2.{s}" for s in ["5", "4.50", "4.51", "4.57", "4.70", "4.90", "4.91"]}
    for path in sorted(p for f in folders for p in Path(f).rglob("*") if p.is_file()):
        try:
            ds = pydicom.dcmread(path, force=True)
            syntax = str(ds.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
            if ds.get("SamplesPerPixel") != 1 or ds.get("NumberOfFrames", 1) not in (None, 1) or syntax not in readable or "PixelData" not in ds:
                continue
            if not ds.PhotometricInterpretation.startswith("MONOCHROME") or ds.BitsAllocated not in (8, 16, 32):
                continue
            name = f"{path.parent.name}-{path.stem}".replace(" ", "_")
            rescaled = "RescaleSlope" in ds and "RescaleIntercept" in ds
            (cases.out / f"{name}.dcm").write_bytes(path.read_bytes())
            if not rescaled:
                ds.RescaleSlope, ds.RescaleIntercept = "1", "0"
                ds.save_as(cases.out / f"{name}.dcm")
            lossy = syntax.rsplit(".", 1)[1] in ("50", "51", "91")
            cases.add(name, 2 * abs(float(ds.RescaleSlope)) if lossy else 0, None, "as found" if rescaled else "rescale added")
        except Exception as error:  # noqa: BLE001: files that pydicom does not read are no cases
            print(f"  {path.name}: {type(error).__name__}: {error}"[:160], file=sys.stderr)


def main():
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--slice", type=Path, action="append", default=[])
    parser.add_argument("--files", type=Path, action="append", default=[])
    args = parser.parse_args()
    cases = Cases(args.out)
    sources = {p.stem: pydicom.dcmread(p) for p in args.slice}
    if not args.slice and not args.files:
        sources = slices()
    for name, ds in sources.items():
        every_syntax(cases, name, ds, brief=not args.slice and name not in ("s16", "u12"))
    foreign(cases, args.files)
    cases.close()


if __name__ == "__main__":
    main()
