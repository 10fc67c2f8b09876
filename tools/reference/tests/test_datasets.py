"""The readers on tiny data in the real formats: order, orientation, labels, and what is said of broken files."""

import json

import nibabel
import numpy as np
import pydicom
import pytest

import made
from datasets import cq500, physionet, rsna, split
from datasets.cache import Cache
from datasets.kinds import open_entries
from datasets.source import CLASSES, DataError, Entry, label_arrays, with_any
from radnet_reference import config as cfg

RSNA_HEADER = "ID,Label\n"


def geometry(size: int = 32) -> dict:
    return {**cfg.standard()["input"], "size": [size, size]}


def test_rsna_slices_become_ordered_series_with_their_labels(tmp_path):
    truth = made.rsna(tmp_path / "set")
    entries = open_entries(f"rsna:{tmp_path / 'set'}", tmp_path / "cache", 1)
    assert len({e.patient for e in entries}) == 3 and not [e for e in entries if "ID_p" in e.patient]
    volume = entries[1].read()
    np.testing.assert_array_equal(volume.hu, np.stack([truth[i] for i in volume.slice_ids]))
    slices, scan = label_arrays(entries[1], volume.slice_ids, CLASSES)
    subdural = CLASSES.index("subdural")
    assert slices[:, 0].tolist() == slices[:, subdural].tolist() == [0, 0, 1, 1] and scan.tolist() == [1, 0, 0, 0, 0, 1]
    assert volume.spacing == (0.5, 0.6)
    again = open_entries(f"rsna:{tmp_path / 'set'}", tmp_path / "cache", 1)
    assert [e.key for e in again] == [e.key for e in entries]


def test_rsna_twelve_bit_slices_that_wrapped_are_unwrapped(tmp_path):
    hu = np.array([[-1000, -1, 0, 40, 1500]] * 3)
    made.slice_file(tmp_path / "a.dcm", hu % 4096, 0.0, SOPInstanceUID="1.2", PixelRepresentation=0, BitsStored=12, HighBit=11, RescaleIntercept=0)
    found = rsna.unwrap_twelve_bits(pydicom.dcmread(tmp_path / "a.dcm"))
    assert (found.pixel_array.astype(int) + int(found.RescaleIntercept) == hu).all()
    made.slice_file(tmp_path / "b.dcm", hu + 1024, 0.0, SOPInstanceUID="1.3", PixelRepresentation=0, BitsStored=12, HighBit=11, RescaleIntercept=-1024)
    assert (rsna.unwrap_twelve_bits(pydicom.dcmread(tmp_path / "b.dcm")).pixel_array.astype(int) - 1024 == hu).all()


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("ID\nID_1_any\n", r"t\.csv:1: no column Label"),
        (RSNA_HEADER + "ID_1_any,0\nID_1_any,1\n", r"t\.csv:3: ID_1_any is labelled 0 and 1"),
        (RSNA_HEADER + "ID_1_any,yes\n", r"t\.csv:2: Label is 'yes'"),
        (RSNA_HEADER + "ID_1_any,0\nID_1_haematoma,1\n", r"t\.csv:3: ID 'ID_1_haematoma'"),
        (RSNA_HEADER + "ID_1_any,0,7\n", r"t\.csv:2: 3 values under 2 columns"),
        ("", r"t\.csv:1: no column ID, Label"),
        (RSNA_HEADER, r"no labels"),
    ],
)
def test_broken_rsna_tables_are_named_by_line(tmp_path, text, complaint):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=complaint):
        rsna.read_labels(tmp_path / "t.csv")


def test_rsna_duplicates_bom_and_the_truncated_image(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffID,Label\nID_1_any,1\nID_1_any,1\nID_6431af929_any,1\n", encoding="utf-8")
    labels = rsna.read_labels(tmp_path / "t.csv")
    assert dict(labels) == {"ID_1": {"any": 1}}


def test_cq500_takes_the_majority_and_the_reading_series(tmp_path):
    made.cq500(tmp_path)
    entries = open_entries(f"cq500:{tmp_path}")
    assert [e.key for e in entries] == ["cq500-1", "cq500-12"]
    volume = entries[0].read()
    assert len(volume.hu) == 9 and volume.slice_ids[0].startswith("1.2.1.2.")
    slices, scan = label_arrays(entries[0], volume.slice_ids, CLASSES)
    assert scan[0] == 1 and scan[CLASSES.index("subdural")] == 1 and np.isnan(slices[:, 0]).all()
    slices, scan = label_arrays(entries[1], volume.slice_ids, CLASSES)
    assert (scan == 0).all() and (slices == 0).all()


def test_broken_cq500_tables_are_named_by_line(tmp_path):
    made.cq500(tmp_path)
    text = (tmp_path / "reads.csv").read_text(encoding="utf-8-sig")
    lines = text.splitlines()
    for broken, complaint in (
        (text + lines[1] + "\n", r"reads\.csv:4: CQ500-CT-1 is there twice"),
        (text.replace("CQ500-CT-12", "scan"), r"reads\.csv:3: name 'scan'"),
        (text.replace("R3:EDH", "R3:EHD"), r"reads\.csv:1: no column R3:EDH"),
    ):
        (tmp_path / "reads.csv").write_text(broken)
        with pytest.raises(DataError, match=complaint):
            cq500.entries(tmp_path, None, 1)


def test_ctich_is_turned_to_the_engines_orientation(tmp_path):
    hu, mask = made.ctich(tmp_path)
    entries = open_entries(f"ctich:{tmp_path}")
    volume = entries[0].read()
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_array_equal(volume.mask, mask)
    assert volume.spacing == (0.5, pytest.approx(0.6)) and volume.slice_ids == ["1", "2", "3", "4"]
    slices, scan = label_arrays(entries[0], volume.slice_ids, CLASSES)
    assert slices[:, 0].tolist() == [0, 0, 1, 0] and scan[CLASSES.index("intraparenchymal")] == 1


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LAI", "PLS", "ARI"])
def test_any_axial_nifti_orientation_gives_the_same_volume(tmp_path, codes):
    """The same head stored along other axes: same array, and slice numbers follow the stored third axis."""
    hu, _ = made.ctich(tmp_path)
    lps = nibabel.orientations.axcodes2ornt("LPS")
    image = nibabel.Nifti1Image(hu.transpose(2, 1, 0).astype(np.float32), np.diag([-0.6, -0.5, 5.0, 1.0]))
    image = image.as_reoriented(nibabel.orientations.ornt_transform(lps, nibabel.orientations.axcodes2ornt(tuple(codes))))
    nibabel.save(image, tmp_path / "x.nii")
    volume = physionet.read_volume(tmp_path / "x.nii", None)
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.spacing == (pytest.approx(0.5), pytest.approx(0.6))
    assert volume.slice_ids == (["4", "3", "2", "1"] if codes.endswith("I") else ["1", "2", "3", "4"])


def test_broken_ctich_files_are_named(tmp_path):
    made.ctich(tmp_path)
    table = tmp_path / physionet.TABLE
    text = table.read_text()
    for broken, complaint in (
        (text.replace("49,3,0,1", "49,3,0,0"), r"ct\.csv:4: No_Hemorrhage contradicts"),
        (text.replace("49,2,", "x,2,"), r"ct\.csv:3: PatientNumber 'x'"),
        (text + "49,1,1,0,0,0,0,0,0\n", r"ct\.csv:10: slice 1 of patient 49 has two different rows"),
        (text.replace("\n50,", "\n51,"), r"050\.nii: .* no rows of patient 050"),
    ):
        table.write_text(broken)
        with pytest.raises(DataError, match=complaint):
            physionet.entries(tmp_path, None, 1)
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3)), np.eye(4)), tmp_path / "masks" / "049.nii")
    with pytest.raises(DataError, match="shape or affine differs"):
        physionet.read_volume(tmp_path / "ct_scans" / "049.nii", tmp_path / "masks" / "049.nii")


def test_phantom_exports(tmp_path):
    made.phantoms(tmp_path, range(4, 6))
    even, odd = open_entries(f"phantom:{tmp_path}")
    volume = odd.read()
    slices, scan = label_arrays(odd, volume.slice_ids, ["subdural", "any"])
    assert slices[:, 1].tolist() == [0, 0, 1, 1, 1, 0] and scan.tolist() == [1, 1] and volume.mask[2].sum() == 144
    assert label_arrays(even, even.read().slice_ids, ["any"])[1].tolist() == [0]


def test_a_bleed_too_small_to_be_labelled_is_unknown():
    from datasets.phantom import slice_labels

    labels = slice_labels({"types": [], "area_mm2": [0, 12.0, 0, 0, 0]})
    assert "intraparenchymal" not in labels and "any" not in with_any(labels)
    assert with_any(slice_labels({"types": ["epidural"], "area_mm2": [50.0, 12.0, 0, 0, 0]}))["any"] == 1


def test_the_cache_holds_the_models_geometry_and_survives_bad_scans(tmp_path):
    made.phantoms(tmp_path / "set", range(4, 7))
    entries = open_entries(f"phantom:{tmp_path / 'set'}")
    (tmp_path / "set" / "seed_00000006" / "hu.i16").write_bytes(b"short")
    said = []
    cache = Cache(tmp_path / "cache", geometry())
    failures = cache.prepare(entries, 1, said.append)
    assert list(failures) == ["phantom-6x48"] and "hu.i16: 2 values" in failures["phantom-6x48"] and any("left out" in s for s in said)
    scan = cache.open(entries[1].key)
    assert isinstance(scan.hu(), np.memmap) and scan.hu().shape == (6, 32, 32) and scan.mask().dtype == np.uint8 and scan.head.all()
    # 144 of 48² pixels are blood: the coverage keeps the area.
    assert scan.mask()[2].sum() / 255 / 32**2 == pytest.approx(144 / 48**2, rel=0.02)
    assert cache.prepare(entries[:2], 1, said.append) == {} and cache.open("phantom-6x48") is None
    assert Cache(tmp_path / "cache", geometry(40)).open(entries[1].key) is None


def test_several_processes_prepare_the_same_cache(tmp_path):
    made.phantoms(tmp_path / "set", range(4))
    entries = open_entries(f"phantom:{tmp_path / 'set'}")
    one, two = Cache(tmp_path / "one", geometry()), Cache(tmp_path / "two", geometry())
    assert one.prepare(entries, 1, str) == two.prepare(entries, 2, str) == {}
    for e in entries:
        np.testing.assert_array_equal(one.open(e.key).hu(), two.open(e.key).hu())


def test_splits_are_patient_wise_and_stable():
    patients = [f"p{i}" for i in range(2000)]
    small = {p for p in patients[:1000] if split.is_held_out(p, 7, 0.2)}
    large = {p for p in patients if split.is_held_out(p, 7, 0.2)}
    assert small <= large and large & set(patients[:1000]) == small and 340 < len(large) < 460
    assert small <= {p for p in patients if split.is_held_out(p, 7, 0.3)} and small != {p for p in patients[:1000] if split.is_held_out(p, 8, 0.2)}


def test_scan_labels_reach_slices_only_without_slice_labels():
    entry = Entry("k", "p", lambda: None, slice_labels={"a": {"any": 0}}, scan_labels={"any": 0})
    slices, scan = label_arrays(entry, ["a", "b"], ["any"])
    assert slices[0, 0] == 0 and np.isnan(slices[1, 0]) and scan[0] == 0


def test_unknown_kinds_and_folders_are_named(tmp_path):
    for text in ("dicom:/x", "nothing", f"rsna:{tmp_path}/missing"):
        with pytest.raises(DataError):
            open_entries(text)
    (tmp_path / "seed_1").mkdir()
    (tmp_path / "seed_1" / "meta.json").write_text(json.dumps({})[:-1] + "\n\n,")
    with pytest.raises(DataError, match=r"meta\.json:\d"):
        open_entries(f"phantom:{tmp_path}")
