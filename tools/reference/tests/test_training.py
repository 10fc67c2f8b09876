"""The figures of the model card and the augmentation mean what they say."""

import json
import math

import numpy as np
import pytest
import torch

from radnet_reference import config as cfg
from radnet_reference.model import RadNet
from training import augment, data, losses, metrics, procedural, tail


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


def test_log_loss_and_the_verdict_of_runs():
    assert metrics.log_loss(np.array([0.8, 0.3, 0.0]), np.array([True, False, True])) == pytest.approx((-math.log(0.8) - math.log(0.7) - math.log(1e-6)) / 3)
    z = torch.tensor([3.0, -1.0, 1.0, 2.0])
    assert [float(losses.verdict_logit(z, n)) for n in (1, 2, 3, 9)] == [3.0, 1.0, -1.0, -1.0]


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


def small_scan(slices: int, thickness: float = 3.0, seed: int = 7) -> data.Scan:
    """A disc with a bleed of 36 pixels in its fourth slice."""
    rng = np.random.default_rng(seed)
    hu = np.full((slices, 64, 64), -1000, np.int16)
    hu[:, 8:56, 8:56] = 35 + rng.integers(-5, 6, (slices, 48, 48))
    mask = np.zeros_like(hu, dtype=np.uint8)
    mask[3, 20:26, 20:26] = 1
    hu[mask > 0] = 70
    area = [[36.0 if i == 3 else 0.0, 0.0] for i in range(slices)]
    meta = {"any": True, "min_label_area_mm2": 30.0, "slices": [{"thickness_mm": thickness, "area_mm2": a} for a in area]}
    return data.Scan(seed, hu, mask, np.array([float(i == 3) for i in range(slices)], np.float32), meta)


def tiny_model() -> RadNet:
    config = cfg.standard()
    config["input"]["size"] = [64, 64]
    config["backbone"] |= {"init_features": 8, "growth_rate": 4, "block_config": [1, 1, 2]}
    config["segmentation"], config["rnn"]["hidden"] = [], 8
    torch.manual_seed(1)
    return RadNet(config).eval().requires_grad_(False)


def test_joined_slices_are_means_of_two_and_labelled_by_their_mean_area():
    scan = small_scan(7)
    view = tail.joined(tail.plain(scan), scan)
    assert view.hu.shape[0] == 3 and torch.equal(view.hu[1], torch.from_numpy((scan.hu[2].astype(np.float32) + scan.hu[3]) / 2))
    assert view.label.tolist() == [0, 0, 0] and view.mask[1].max() == 0.5
    scan.meta["slices"][2]["area_mm2"] = [24.0, 0.0]
    assert tail.joined(tail.plain(scan), scan).label.tolist() == [0, 1, 0]


def test_a_varied_scan_is_turned_as_one():
    """The same place of all slices goes to the same place."""
    scan = small_scan(5, thickness=5.0)
    scan.mask[:] = scan.mask[3]
    view = tail.varied(scan)
    assert view.hu.shape == (5, 64, 64) and view.label.tolist() == scan.label.tolist()
    assert all(torch.equal(view.mask[0], m) for m in view.mask) and not torch.equal(view.mask[0], torch.from_numpy(scan.mask[0]).float())


def test_the_tail_goes_on_where_the_maps_end(tmp_path):
    """From cached maps come the logits of the whole network."""
    model, scan = tiny_model(), small_scan(5)
    (maps,) = tail.cached([scan], [("plain", tail.plain)], lambda hu: tail.head_maps(model, hu), tmp_path)
    (again,) = tail.cached([scan], [("plain", tail.plain)], lambda hu: pytest.fail("made twice"), tmp_path)
    x = augment.windows(torch.from_numpy(scan.hu.astype(np.float32)), model.config["input"]["channels"], None)
    assert np.allclose(tail.logits(model, [maps])[0], model(x)[:, 0].numpy(), atol=2e-3) and torch.equal(maps.x, again.x)
    assert maps.positive and maps.cover.shape == (5, 4, 4)


def test_the_tail_learns_and_leaves_the_rest_alone(tmp_path):
    model = tiny_model()
    scans = [small_scan(5, seed=i) for i in range(8)]
    for scan in scans[::2]:
        scan.hu[scan.mask > 0], scan.label[:], scan.mask[:] = 35, 0, 0
    before = {k: v.clone() for k, v in model.state_dict().items()}
    maps = tail.cached(scans, [("plain", tail.plain)], lambda hu: tail.head_maps(model, hu), tmp_path)
    log = tail.train(model, maps, maps, 12, 1, (1e-2, 1e-2))
    assert min(row["validation"] for row in log) < log[0]["validation"]
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert any(k.startswith("features.denseblock3") for k in changed) and any(k.startswith("rnn") for k in changed)
    kept = ("features.conv0", "features.denseblock1", "features.denseblock2", "features.transition")
    assert not any(k.startswith(kept) or "running" in k for k in changed)
