"""The figures of the model card and the augmentation mean what they say."""

import json
import math

import numpy as np
import pytest
import torch

from training import augment, data, losses, metrics, procedural


def test_auc_counts_pairs():
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 60), rng.integers(0, 9, 60)
    pairs = [(a > b) + 0.5 * (a == b) for a in score[label == 1] for b in score[label == 0]]
    assert metrics.auc(label, score) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert math.isnan(metrics.auc(np.ones(3), np.arange(3)))


def test_wilson_interval_of_the_papers_accuracy():
    low, high = metrics.wilson(63, 77)
    assert (round(low, 3), round(high, 3)) == (0.718, 0.888)
    assert metrics.wilson(0, 0) == (0.0, 1.0)


def test_dice():
    a, b = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert metrics.dice(a, b) == 0.5
    assert math.isnan(metrics.dice(a & False, b & False))


def test_crops_move_image_and_mask_together():
    """The mask stays where the image is bright, whatever the rotation, scale and mirror."""
    hu = torch.full((8, 64, 64), -1000.0)
    hu[:, 20:36, 30:44] = 60.0
    mask = (hu > 0).float()
    for centres in (None, torch.full((8, 2), 28.0)):
        moved, moved_mask = augment.crops(hu, mask, 48, torch.Generator().manual_seed(1), centres)
        assert (moved_mask > 0.99).any() and (moved[moved_mask > 0.999] > 55).all() and (moved[moved_mask < 0.001] < -990).all()


def test_windows_without_generator_are_the_specifications():
    hu = torch.tensor([[[-1000.0, 0.0, 20.0, 40.0, 80.0, 3000.0]]])
    x = augment.windows(hu, [{"slice_offset": 0, "window": {"level": 40.0, "width": 80.0}}], None)
    assert x.flatten().tolist() == [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]


def test_density_and_sharpness_keep_air_black_and_the_mean_of_brain():
    hu = torch.full((64, 48, 48), -1000.0)
    hu[:, 12:36, 12:36] = 35.0
    generator = torch.Generator().manual_seed(2)
    varied = augment.density(augment.sharpness(hu, generator), generator)
    assert varied.isfinite().all() and (varied[:, :8] < -900).all()
    assert abs(float(varied[:, 16:32, 16:32].mean()) - 35.0) < 2.0
    assert float(varied[:, 16:32, 16:32].std(dim=(1, 2)).max()) > 4.0


def test_attention_cells_are_as_wide_as_the_strides_make_them():
    """208 pixels are six cells of 32 and a rest that no cell sees, not six wider ones."""
    mask = torch.zeros(1, 208, 208)
    mask[0, 160:192, 32:64] = 1.0
    mask[0, 192:, :] = 1.0
    cover = losses.attention_cover(mask, torch.zeros(1, 6, 6), 32)
    assert cover[0, 5, 1] == 1.0 and cover.sum() == 1.0


def test_pointing_loss_wants_the_peak_on_the_bleed():
    cover = torch.zeros(2, 3, 3)
    cover[0, 1, 2] = 0.2
    right, wrong = torch.zeros(2, 3, 3), torch.zeros(2, 3, 3)
    right[0, 1, 2], wrong[0, 0, 0] = 9.0, 9.0
    assert losses.pointing_loss(right, cover) < 0.01 < 5 < losses.pointing_loss(wrong, cover)
    assert losses.pointing_loss(wrong[1:], cover[1:]) == 0


def test_tilted_heads_and_small_bleeds_are_drawn_more_often():
    mask = np.zeros((2, 32, 32), np.uint8)
    mask[1, :5, :5] = 1
    scan = lambda tilt: data.Scan(1, np.zeros((2, 32, 32), np.int16), mask, np.array([0.0, 1.0]), {"tilt_deg": tilt})
    assert [data.odds_of(scan(0.0), 0), data.odds_of(scan(0.0), 1), data.odds_of(scan(12.0), 0), data.odds_of(scan(12.0), 1)] == [1, 2, 2.5, 5]


def test_drawn_slices_follow_their_seed():
    (a, m), (b, n) = procedural.draw(3), procedural.draw(3)
    assert np.array_equal(a, b) and np.array_equal(m, n) and a.shape == (256, 256)
    assert not np.array_equal(a, procedural.draw(4)[0])


def test_larger_phantoms_are_resized_like_the_engine(tmp_path):
    folder = tmp_path / "seed_00000005"
    folder.mkdir()
    hu = np.arange(2 * 64 * 64, dtype=np.int16).reshape(2, 64, 64) % 200
    mask = np.zeros((2, 64, 64), np.uint8)
    mask[1, 10:20, 30:40] = 2
    hu.astype("<i2").tofile(folder / "hu.i16")
    mask.tofile(folder / "mask.u8")
    meta = {"seed": 5, "shape": [2, 64, 64], "any": True, "slices": [{"any": False}, {"any": True}]}
    (folder / "meta.json").write_text(json.dumps(meta))
    (scan,) = data.read_scans(tmp_path, 32, range(0, 10))
    assert scan.hu.shape == (2, 32, 32) and scan.positive and scan.label.tolist() == [0.0, 1.0]
    assert scan.mask[1].sum() == 25 and scan.mask[1, 5:10, 15:20].all() and not scan.mask[0].any()
