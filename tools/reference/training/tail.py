"""The tail of the network over whole scans: the last block, the attention and the recurrence, end to end.

What comes before is left as it is, so its maps are computed once per view of a scan and kept; a step then costs a sixteenth of the whole network. The verdict
of a scan is part of the loss, through the scan's own rule, and the attention stays tied to the mask.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from radnet_reference import scan as rules
from radnet_reference.model import RadNet

from . import augment
from .data import Scan
from .losses import ATTENTION_COVER, pointing_loss, verdict_logit
from .metrics import auc

RUNS = (1, 2)
BATCH = 4
ATTENTION_WEIGHT = 0.5
POINT_WEIGHT = 0.1
SCAN_WEIGHT = 0.5
EMA = 0.99


@dataclass
class View:
    """A scan as it may look: hu and mask [S, H, W] (float32; the mask as shares of a voxel), label [S]."""

    hu: Tensor
    mask: Tensor
    label: Tensor


@dataclass
class Maps:
    """A view as the last block sees it: x [S, C, h, w] (float16), cover [S, h', w'] and label [S]."""

    seed: int
    x: Tensor
    cover: Tensor
    label: Tensor
    positive: bool


def plain(scan: Scan) -> View:
    """The scan as it is."""
    return View(torch.from_numpy(scan.hu.astype(np.float32)), torch.from_numpy(scan.mask.astype(np.float32)), torch.from_numpy(scan.label.astype(np.float32)))


def varied(scan: Scan) -> View:
    """The scan turned, scaled and mirrored as one, noisier or duller, and where its slices are thin in half of the cases joined to thick ones."""
    view, generator = plain(scan), torch.Generator().manual_seed(scan.seed)
    size = view.hu.shape[1]
    moved = [augment.crops(h[None], m[None], size, torch.Generator().manual_seed(scan.seed)) for h, m in zip(view.hu, view.mask)]
    hu, mask = (torch.cat([one[k] for one in moved]) for k in (0, 1))
    view = View(hu, mask, view.label)
    if scan.meta["slices"][0]["thickness_mm"] <= 4.0 and torch.rand(1, generator=generator) < 0.7:
        view = joined(view, scan)
    return View(augment.density(augment.sharpness(view.hu, generator), generator), view.mask, view.label)


def joined(view: View, scan: Scan) -> View:
    """Neighbours averaged two by two; what is left over at the top is dropped. A joined slice is labelled when the area of one type, averaged too, suffices."""
    pairs = len(view.hu) // 2
    mean = lambda x: (x[0 : 2 * pairs : 2] + x[1 : 2 * pairs : 2]) / 2
    area = mean(torch.tensor([s["area_mm2"] for s in scan.meta["slices"]]))
    return View(mean(view.hu), mean(view.mask), (area.amax(dim=1) >= scan.meta["min_label_area_mm2"]).float())


@torch.no_grad()
def head_maps(model: RadNet, hu: Tensor) -> Tensor:
    """The input of the last block [S, C, h, w] of [S, H, W] HU."""
    last = len(model.config["backbone"]["block_config"])
    stages: dict[str, Tensor] = {}
    maps = []
    for i in range(0, len(hu), 4):
        x = augment.windows(hu[i : i + 4], model.config["input"]["channels"], None)
        model.backbone(x.contiguous(memory_format=torch.channels_last), stages)
        maps.append(stages[f"transition{last - 1}"])
    return torch.cat(maps)


def cached(scans: list[Scan], looks: list[tuple[str, Callable[[Scan], View]]], maps: Callable[[Tensor], Tensor], cache: Path) -> list[Maps]:
    """The maps of every look at every scan, kept in `cache`, so that a killed run goes on where it was and several processes can share the work."""
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for scan in scans:
        for name, look in looks:
            path = cache / f"{scan.seed:08}-{name}.pt"
            if not path.exists():
                view = look(scan)
                x = maps(view.hu)
                partial = path.with_suffix(".partial")
                cell = view.mask.shape[1] // x.shape[2]
                torch.save({"x": x.half(), "cover": F.avg_pool2d(view.mask[:, None], cell)[:, 0], "label": view.label}, partial)
                partial.replace(path)
            saved = torch.load(path, weights_only=True)
            found.append(Maps(scan.seed, saved["x"], saved["cover"], saved["label"], bool(saved["label"].any())))
    return found


def forward(model: RadNet, x: Tensor, lengths: list[int], spoil: Callable[[Tensor], Tensor] = lambda v: v) -> tuple[list[Tensor], Tensor]:
    """Logits [S] of every scan in a batch [S₁ + S₂ + …, C, h, w], and the attention's logits; `spoil` acts on the slice vectors."""
    last = len(model.config["backbone"]["block_config"])
    y = model.features[f"denseblock{last}"](x.float().contiguous(memory_format=torch.channels_last))
    y = F.relu(model.features["norm5"](y))
    v = spoil(model.pool(y)[0])
    return [model.sequence(part[None])[0, :, 0] for part in v.split(lengths)], model.attention(y).mean(dim=1)


def verdict_logits(z: Tensor) -> Tensor:
    """The logit of the scan for each run length in `RUNS`."""
    return torch.stack([verdict_logit(z, n) for n in RUNS])


def loss(model: RadNet, batch: list[Maps], weight: Tensor, spoil: Callable[[Tensor], Tensor] = lambda v: v) -> Tensor:
    """Slice labels, verdicts, and the attention towards the mask: the mean over scans."""
    z, e = forward(model, torch.cat([m.x for m in batch]), [len(m.x) for m in batch], spoil)
    slices = torch.stack([F.binary_cross_entropy_with_logits(one, m.label, pos_weight=weight) for one, m in zip(z, batch)])
    verdicts = torch.stack([F.binary_cross_entropy_with_logits(verdict_logits(one), torch.full((len(RUNS),), float(m.positive))) for one, m in zip(z, batch)])
    cover = torch.cat([m.cover for m in batch])[:, : e.shape[1], : e.shape[2]]
    attention = F.binary_cross_entropy_with_logits(e, (cover / ATTENTION_COVER).clamp(0, 1))
    return slices.mean() + SCAN_WEIGHT * verdicts.mean() + ATTENTION_WEIGHT * attention + POINT_WEIGHT * pointing_loss(e, cover)


def fewer(maps: Maps, rng: np.random.Generator) -> Maps:
    """Some slices missing, in half of the cases."""
    keep = rng.random(len(maps.x)) > (0.08 if rng.random() < 0.5 else 0.0)
    keep = keep if keep.any() else ~keep
    return Maps(maps.seed, maps.x[keep], maps.cover[keep], maps.label[keep], bool(maps.label[keep].any()))


def spoiled(v: Tensor) -> Tensor:
    """Channels of all slices scaled a little, and dropped."""
    return F.dropout(v * (1 + 0.1 * torch.randn(1, v.shape[1])), 0.3)


def train(model: RadNet, fitted: list[Maps], validation: list[Maps], epochs: int, seed: int, rates: tuple[float, float] = (2e-4, 5e-4)) -> list[dict]:
    """Fits the last block, norm5 and the attention at the first rate, the recurrence and the classifier at the second; norms keep their statistics.
    Leaves the averaged weights of the epoch with the lowest validation loss. Returns the log."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    last = f"denseblock{len(model.config['backbone']['block_config'])}"
    groups = [
        [*model.features[last].parameters(), *model.features["norm5"].parameters(), *model.attention.parameters()],
        [*model.rnn.parameters(), *model.classifier.parameters()],
    ]
    model.eval()
    parameters = [p.requires_grad_(True) for group in groups for p in group]
    average = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.AdamW([{"params": g, "lr": r, "top": r} for g, r in zip(groups, rates)], weight_decay=3e-2)
    mean_rate = float(torch.cat([m.label for m in fitted]).mean())
    weight = torch.tensor(math.sqrt((1 - mean_rate) / max(mean_rate, 1e-3)))
    steps = epochs * math.ceil(len(fitted) / BATCH)
    best, best_state, log, step = math.inf, None, [], 0
    for epoch in range(epochs):
        losses, order = [], rng.permutation(len(fitted))
        for first in range(0, len(fitted), BATCH):
            for group in optimiser.param_groups:
                group["lr"] = group["top"] * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
            value = loss(model, [fewer(fitted[i], rng) for i in order[first : first + BATCH]], weight, spoiled)
            optimiser.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            decay = min(EMA, (1 + step) / (10 + step))
            for mean, p in zip(average, parameters):
                mean.lerp_(p.detach(), 1 - decay)
            losses.append(float(value.detach()))
            step += 1
            if step % 50 == 0:
                print(f"{time.strftime('%H:%M:%S')} tail step {step}/{steps} loss {np.mean(losses[-50:]):.3f}", flush=True)
        current = exchanged(parameters, average)
        row = {"epoch": epoch, "train": float(np.mean(losses)), **validate(model, validation, weight)}
        log.append(row)
        print(f"{time.strftime('%H:%M:%S')} tail epoch {epoch} " + " ".join(f"{k} {v:.3f}" for k, v in row.items() if k != "epoch"), flush=True)
        if row["validation"] < best:
            best, best_state = row["validation"], copy.deepcopy(average)
        exchanged(parameters, current)
    exchanged(parameters, best_state)
    for p in parameters:
        p.requires_grad_(False)
    return log


@torch.no_grad()
def exchanged(parameters: list[Tensor], values: list[Tensor]) -> list[Tensor]:
    """Sets parameters; returns what they were."""
    before = [p.detach().clone() for p in parameters]
    for p, value in zip(parameters, values):
        p.copy_(value)
    return before


def rule(n: int) -> dict:
    """The scan's rule with runs of n."""
    return {"rule": "consecutive", "n": n}


def scores(z: list[np.ndarray], n: int) -> np.ndarray:
    """The scans' scores by runs of n."""
    return np.array([rules.score(rule(n), rules.sigmoid(one)) for one in z])


@torch.no_grad()
def logits(model: RadNet, scans: list[Maps]) -> list[np.ndarray]:
    """Logits [S] of every scan."""
    return [forward(model, m.x, [len(m.x)])[0][0].numpy() for m in scans]


@torch.no_grad()
def validate(model: RadNet, scans: list[Maps], weight: Tensor) -> dict:
    """Loss, slice AUC, and for each run length the scan AUC and the best accuracy that a threshold gives."""
    z = logits(model, scans)
    positive = np.array([m.positive for m in scans])
    row = {
        "validation": float(np.mean([float(loss(model, [m], weight)) for m in scans])),
        "slice_auc": auc(np.concatenate([m.label.numpy() for m in scans]), np.concatenate(z)),
    }
    for n in RUNS:
        score = scores(z, n)
        row[f"auc_{n}"] = auc(positive, score)
        row[f"best_{n}"] = max(float(((score >= t) == positive).mean()) for t in score)
    row["accuracy"] = max(row[f"best_{n}"] for n in RUNS)
    return row
