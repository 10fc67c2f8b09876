"""Batches of single slices. What a step sees follows from seed, step and process alone, so that a resumed run sees what an unbroken one would."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import augment
from .cases import Case
from .settings import Settings, SettingsError

UNKNOWN = 255


@dataclass
class Batch:
    """x [B, C, H, W]; mask [B, H, W] in [0, 1]; has_mask [B]; label [B, K], and known [B, K] where it is one."""

    x: Tensor
    mask: Tensor
    has_mask: Tensor
    label: Tensor
    known: Tensor


class SliceTable:
    """All slices that show a head and whose label is known for some class: where they are and what they are."""

    def __init__(self, cases: Sequence[Case]):
        self.cases = list(cases)
        keep = [np.flatnonzero(c.scan.head & ~np.isnan(c.slices).all(axis=1)) for c in self.cases]
        self.case = np.concatenate([np.full(len(k), i, np.int32) for i, k in enumerate(keep)]) if keep else np.zeros(0, np.int32)
        self.index = np.concatenate(keep).astype(np.int16) if keep else np.zeros(0, np.int16)
        labels = [np.where(np.isnan(c.slices[k]), UNKNOWN, c.slices[k]).astype(np.uint8) for c, k in zip(self.cases, keep)]
        self.label = np.concatenate(labels) if labels else np.zeros((0, 1), np.uint8)

    def __len__(self) -> int:
        return len(self.index)

    def load(self, chosen: np.ndarray, offsets: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """hu [B, O, H, W] float32 of the slices at each offset, mask [B, H, W], has_mask [B]."""
        hu, masks, has = [], [], []
        for i in chosen:
            scan, s = self.cases[self.case[i]].scan, int(self.index[i])
            volume = scan.hu()
            hu.append(volume[[min(max(s + o, 0), len(volume) - 1) for o in offsets]])
            mask = scan.mask()
            masks.append(np.zeros(volume.shape[1:], np.uint8) if mask is None else mask[s])
            has.append(mask is not None)
        return torch.from_numpy(np.stack(hu).astype(np.float32)), torch.from_numpy(np.stack(masks)).float() / 255, torch.tensor(has)


class SliceSampler:
    """Draws balanced batches and cuts out this process's share of each."""

    def __init__(self, table: SliceTable, part: dict, settings: Settings, rank: int = 0, world: int = 1):
        """`part` is the config's `input`; the process is `rank` of `world`."""
        self.batch, self.positive_share = settings.stage1.batch, settings.stage1.positive_share
        if self.batch % world:
            raise SettingsError(f"stage1.batch {self.batch} does not divide among {world} processes")
        self.table, self.part, self.strength = table, part, settings.augment
        self.seed, self.rank, self.world = settings.seed, rank, world
        self.offsets = augment.offsets(part["channels"])
        found = table.label == 1
        self.positive = [np.flatnonzero(found[:, k]) for k in range(found.shape[1]) if found[:, k].any()]
        self.negative = np.flatnonzero(~found.any(axis=1))
        if not self.positive or not len(self.negative):
            raise SettingsError("stage 1 needs slices labelled with and without a finding; without them set stage1.steps to 0 and train stage 2 end to end")

    def chosen(self, step: int) -> np.ndarray:
        """The slices of this process at a step."""
        rng = np.random.default_rng([self.seed, step])
        bleeding = rng.random(self.batch) < self.positive_share
        kinds = rng.integers(len(self.positive), size=self.batch)
        places = rng.random(self.batch)
        pools = [self.positive[k] if b else self.negative for k, b in zip(kinds, bleeding)]
        drawn = np.array([pool[int(p * len(pool))] for pool, p in zip(pools, places)])
        return drawn[self.rank :: self.world]

    def make(self, step: int) -> Batch:
        """The batch of this process at a step."""
        chosen = self.chosen(step)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) * 1009 + self.rank)
        hu, mask, has_mask = self.table.load(chosen, self.offsets)
        hu, mask = augment.move(hu, mask, self.strength, generator)
        hu = augment.density(augment.kernel(hu, self.strength, generator), self.strength, generator)
        x = augment.normalised(augment.windows(hu, self.offsets, self.part["channels"], self.strength, generator), self.part)
        label = self.table.label[chosen]
        known = torch.from_numpy(label != UNKNOWN).float()
        return Batch(x, mask, has_mask.float(), torch.from_numpy(label == 1).float(), known)


def ahead(make, first: int, last: int, threads: int) -> Iterator:
    """make(first) … make(last − 1) in order, a few made ahead by threads."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        waiting: deque = deque()
        following = iter(range(first, last))
        for step in following:
            waiting.append(pool.submit(make, step))
            if len(waiting) > 2 * max(1, threads):
                break
        while waiting:
            ready = waiting.popleft().result()
            step = next(following, None)
            if step is not None:
                waiting.append(pool.submit(make, step))
            yield ready
