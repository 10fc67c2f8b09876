"""Pre-processing and scan rules against their formulas written out naively."""

import math

import numpy as np
import pytest
import torch

from radnet_reference import dicom, preprocess, scan
from radnet_reference.random_model import random_hu


def triangle_resize(image: np.ndarray, size: int) -> np.ndarray:
    """Rows of `image` resized by the triangle filter whose support scales with the reduction."""
    n = image.shape[0]
    scale = n / size
    support = max(scale, 1.0)
    out = np.zeros((size, image.shape[1]))
    for i in range(size):
        centre = (i + 0.5) * scale
        w = np.array([max(0.0, 1 - abs((j + 0.5 - centre) / support)) for j in range(n)])
        out[i] = w @ image / w.sum()
    return out


@pytest.mark.parametrize("matrix, size", [((61, 83), (32, 37)), ((19, 23), (41, 37)), ((64, 96), (32, 32)), ((17, 90), (35, 32))])
def test_resize_is_the_antialiased_triangle_filter(matrix, size):
    hu = random_hu(1, *matrix, 5)[0].astype(np.float64)
    expected = triangle_resize(triangle_resize(hu, size[0]).T, size[1]).T
    found = preprocess.resize(torch.from_numpy(hu)[None], size)[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_resampled_extent_rounds_half_up():
    assert preprocess.resampled_extent(57, 49, (1.1, 1.3), 1.0) == (63, 64)
    assert preprocess.resampled_extent(5, 3, (0.5, 0.1), 1.0) == (3, 1)


def test_crop_and_pad_offsets_are_floors():
    hu = torch.arange(35.0).reshape(1, 5, 7)
    assert preprocess.centre(hu, (2, 4), -1.0)[0].tolist() == [[8, 9, 10, 11], [15, 16, 17, 18]]
    padded = preprocess.centre(hu, (8, 7), -1.0)[0]
    # floor((5 − 8)/2) = −2: two rows above, one below.
    assert padded[:2].eq(-1).all() and torch.equal(padded[2:7], hu[0]) and padded[7].eq(-1).all()


def test_neighbours_are_clamped_to_the_series():
    hu = torch.tensor([10.0, 20.0, 30.0]).reshape(3, 1, 1)
    window = {"level": 20.0, "width": 40.0}
    part = {"channels": [{"slice_offset": o, "window": window} for o in (-2, 0, 1)], "mean": [0.0, 0.5, 0.0], "std": [1.0, 0.25, 1.0]}
    x = preprocess.channels(hu, part)[:, :, 0, 0]
    assert x.tolist() == [[0.25, -1.0, 0.5], [0.25, 0.0, 0.75], [0.25, 1.0, 0.75]]


def test_scan_rules():
    p = np.array([0.1, 0.9, 0.8, 0.7, 0.2, 0.95])
    assert scan.score({"rule": "consecutive", "n": 3}, p) == 0.7
    assert scan.score({"rule": "consecutive", "n": 1}, p) == 0.95
    assert scan.score({"rule": "consecutive", "n": 9}, p) == 0.1
    assert scan.score({"rule": "mean_top_k", "k": 2}, p) == pytest.approx(0.925, abs=1e-15)
    assert scan.score({"rule": "mean_top_k", "k": 50}, p) == pytest.approx(p.mean(), abs=1e-15)
    assert scan.score({"rule": "noisy_or"}, np.array([0.5, 0.5])) == 0.75


def test_sigmoid_does_not_overflow():
    assert scan.sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]
    assert scan.sigmoid(np.array([-3.0]))[0] == pytest.approx(1 / (1 + math.exp(3)), abs=1e-16)


def test_dicom_round_trip(tmp_path):
    hu = random_hu(4, 20, 31, 9)
    dicom.write(hu, tmp_path, (0.5, 0.7))
    series = dicom.read(tmp_path)
    np.testing.assert_array_equal(series.hu, hu.astype(np.float32))
    assert series.spacing == (0.5, 0.7) and series.positions == sorted(series.positions)
