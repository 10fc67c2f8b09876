"""Slices and scans in memory, and balanced sampling of batches."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from radnet_reference import preprocess

from . import augment, procedural

# Fewer bleeding pixels than this in a crop say neither yes nor no.
AMBIGUOUS_PIXELS = 12


@dataclass
class Slices:
    """Slices at the network's size."""

    hu: np.ndarray
    mask: np.ndarray
    label: np.ndarray
    # How often a slice is drawn beside the others of its kind; None: all alike.
    odds: np.ndarray | None = None


@dataclass
class Batch:
    """hu, mask [B, n, n]; label, weight [B] (weight 0: no verdict)."""

    hu: Tensor
    mask: Tensor
    label: Tensor
    weight: Tensor


def drawn(count: int, cache: Path, seed: int = 0) -> Slices:
    """`count` procedural slices, kept in `cache`."""
    if not cache.exists():
        with Pool(2) as pool:
            pairs = pool.map(procedural.draw, range(seed, seed + count), chunksize=32)
        np.savez(cache, hu=np.stack([p[0] for p in pairs]), mask=np.stack([p[1] for p in pairs]))
    with np.load(cache) as f:
        hu, mask = f["hu"], f["mask"]
    return Slices(hu, mask, (mask.sum(axis=(1, 2)) >= AMBIGUOUS_PIXELS).astype(np.float32))


@dataclass
class Scan:
    """One exported phantom (radnet-phantom export): hu int16, mask uint8 [S, n, n], label [S]; its truth as written."""

    seed: int
    hu: np.ndarray
    mask: np.ndarray
    label: np.ndarray
    meta: dict

    @property
    def positive(self) -> bool:
        return bool(self.meta["any"])


def read_scan(folder: Path, size: int) -> Scan:
    """Reads one scan; a larger matrix is resized as the engine resizes, its mask by area with a threshold of one half."""
    meta = json.loads((folder / "meta.json").read_text())
    shape = tuple(meta["shape"])
    hu = np.fromfile(folder / "hu.i16", dtype="<i2").reshape(shape)
    mask = (np.fromfile(folder / "mask.u8", dtype=np.uint8).reshape(shape) > 0).astype(np.uint8)
    if shape[1:] != (size, size):
        resized = preprocess.resize(torch.from_numpy(hu.astype(np.float32)), (size, size))
        hu = np.rint(resized.numpy()).astype(np.int16)
        share = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(mask.astype(np.float32))[None], (size, size))[0]
        mask = (share.numpy() >= 0.5).astype(np.uint8)
    return Scan(meta["seed"], hu, mask, np.array([s["any"] for s in meta["slices"]], dtype=np.float32), meta)


def read_scans(folder: Path, size: int, seeds: range) -> list[Scan]:
    """The scans of those seeds that exist in the folder."""
    names = [folder / f"seed_{seed:08}" for seed in seeds]
    return [read_scan(path, size) for path in names if (path / "meta.json").exists()]


def slices_of(scans: list[Scan]) -> Slices:
    """All slices of all scans that show a head; empty air teaches nothing and is dropped."""
    kept = [(s.hu[i], s.mask[i], s.label[i]) for s in scans for i in range(len(s.hu)) if (s.hu[i] > -200).mean() > 0.02]
    odds = [odds_of(s, i) for s in scans for i in range(len(s.hu)) if (s.hu[i] > -200).mean() > 0.02]
    return Slices(np.stack([k[0] for k in kept]), np.stack([k[1] for k in kept]), np.array([k[2] for k in kept], dtype=np.float32), np.array(odds))


def odds_of(scan: Scan, index: int) -> float:
    """Tilted heads, whose skull base lies across the slices, and small bleeds are met more often than they occur."""
    area = scan.mask[index].sum() if scan.label[index] else np.inf
    return (2.5 if scan.meta["tilt_deg"] >= 6 else 1.0) * (2.0 if area < 150 else 1.0)


class Sampler:
    """Half of every batch from bleeding slices.

    `whole`: the middle of the slice, with the slice's own label. Else crops that look at the bleed or anywhere in the head, labelled by
    the bleeding pixels they hold.
    """

    def __init__(self, slices: Slices, crop: int, whole: bool, batch: int, seed: int, positive_share: float = 0.5):
        self.slices, self.crop, self.whole, self.batch, self.positive_share = slices, crop, whole, batch, positive_share
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.positive, self.negative = np.flatnonzero(slices.label > 0), np.flatnonzero(slices.label == 0)
        self.ahead = ThreadPoolExecutor(1)
        self.pending = self.ahead.submit(self._draw)

    def next(self) -> Batch:
        ready = self.pending.result()
        self.pending = self.ahead.submit(self._draw)
        return ready

    def _draw(self) -> Batch:
        bleeding = self.rng.random(self.batch) < self.positive_share
        index = np.where(bleeding, self._choose(self.positive), self._choose(self.negative))
        hu = torch.from_numpy(self.slices.hu[index].astype(np.float32))
        mask = torch.from_numpy(self.slices.mask[index].astype(np.float32))
        label = torch.from_numpy(self.slices.label[index].astype(np.float32))
        if self.whole:
            # A bleed too small to be labelled is no clean negative either.
            weight = ((label > 0) | (mask.amax(dim=(1, 2)) == 0)).float()
            hu, mask = augment.crops(hu, mask, self.crop, self.generator)
            return Batch(augment.density(augment.sharpness(hu, self.generator), self.generator), mask, label, weight)
        centres = torch.tensor(np.array([self._centre(i, b) for i, b in zip(index, bleeding)]), dtype=torch.float32)
        hu, mask = augment.crops(hu, mask, self.crop, self.generator, centres)
        area = mask.sum(dim=(1, 2))
        label = (area >= AMBIGUOUS_PIXELS).float()
        weight = ((area == 0) | (area >= AMBIGUOUS_PIXELS)).float()
        return Batch(augment.density(augment.sharpness(hu, self.generator), self.generator), mask, label, weight)

    def _choose(self, kind: np.ndarray) -> np.ndarray:
        odds = None if self.slices.odds is None else self.slices.odds[kind] / self.slices.odds[kind].sum()
        return self.rng.choice(kind, self.batch, p=odds)

    def _centre(self, index: int, bleeding: bool) -> np.ndarray:
        wanted = self.slices.mask[index] > 0 if bleeding and self.rng.random() < 0.75 else self.slices.hu[index] > -200
        where = np.flatnonzero(wanted)
        size = self.slices.hu.shape[2]
        point = self.rng.choice(where) if len(where) else size * size // 2 + size // 2
        jitter = self.rng.normal(0, self.crop / 8, 2)
        return np.array([point // size, point % size]) + jitter
