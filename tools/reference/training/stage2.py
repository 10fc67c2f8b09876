"""Stage 2: the recurrence over whole scans, on slice vectors that stage 1's network gives once and for all."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from radnet_reference import scan as rules
from radnet_reference.model import RadNet

from . import augment
from .data import Scan
from .losses import verdict_logit
from .metrics import auc, log_loss


@dataclass
class Encoded:
    """A scan as slice vectors v [S, D], its slice labels [S] and verdict."""

    seed: int
    v: Tensor
    label: Tensor
    positive: bool


@torch.no_grad()
def encode(model: RadNet, scans: list[Scan], cache: Path, jitter: bool = False) -> list[Encoded]:
    """Slice vectors of scans. Each is kept in `cache`, so that a killed run goes on where it was and several processes can share the work.
    With `jitter` every second scan is noisier and duller than it was made, as stage 1 saw its slices."""
    cache.mkdir(parents=True, exist_ok=True)
    encoded = []
    for scan in scans:
        path = cache / f"{scan.seed:08}.pt"
        if not path.exists():
            partial = path.with_suffix(".partial")
            hu = torch.from_numpy(scan.hu.astype(np.float32))
            if jitter and scan.seed % 2:
                generator = torch.Generator().manual_seed(scan.seed)
                hu = augment.density(augment.sharpness(hu, generator), generator)
            torch.save(torch.cat([vectors(model, hu[i : i + 4]) for i in range(0, len(hu), 4)]), partial)
            partial.replace(path)
        encoded.append(Encoded(scan.seed, torch.load(path, weights_only=True), torch.from_numpy(scan.label), scan.positive))
    return encoded


def vectors(model: RadNet, hu: Tensor) -> Tensor:
    """Slice vectors of [S, H, W] HU, float32, at the network's size."""
    x = augment.windows(hu, model.config["input"]["channels"], None)
    return model.pool(model.backbone(x.contiguous(memory_format=torch.channels_last))[0])[0]


def train(model: RadNet, scans: list[Encoded], validation: list[Encoded], epochs: int, seed: int) -> list[dict]:
    """Fits `model.rnn` and `model.classifier`; keeps the weights of the epoch with the lowest validation loss. Returns the log."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    n = model.config["scan"]["n"]
    parameters = [p.requires_grad_(True) for p in (*model.rnn.parameters(), *model.classifier.parameters())]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=5e-2)
    mean_rate = float(torch.cat([s.label for s in scans]).mean())
    weight = torch.tensor(math.sqrt((1 - mean_rate) / max(mean_rate, 1e-3)))
    best, best_state, log = math.inf, None, []
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        losses = []
        for first in range(0, len(scans), 4):
            order = rng.permutation(len(scans))[first : first + 4]
            loss = sum(scan_loss(model, *_augmented(scans[i], rng), scans[i].positive, weight, n) for i in order) / len(order)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            losses.append(float(loss.detach()))
        row = {"epoch": epoch, "train": float(np.mean(losses)), **validate(model, validation, weight, n)}
        log.append(row)
        if row["validation"] < best:
            best, best_state = row["validation"], [p.detach().clone() for p in parameters]
        if epoch % 5 == 0 or epoch == epochs - 1:
            print(f"{time.strftime('%H:%M:%S')} scans epoch {epoch} " + " ".join(f"{k} {v:.3f}" for k, v in row.items() if k != "epoch"), flush=True)
    with torch.no_grad():
        for p, value in zip(parameters, best_state):
            p.copy_(value)
    return log


def _augmented(scan: Encoded, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Slices dropped here and there or every second one, features noised and dropped out."""
    v, label = scan.v, scan.label
    if rng.random() < 0.25 and len(v) > 24:
        first = int(rng.integers(2))
        v, label = v[first::2], label[first::2]
    elif rng.random() < 0.5:
        keep = rng.random(len(v)) > 0.08
        v, label = v[keep], label[keep]
    v = v * torch.from_numpy(rng.normal(1, 0.1, (1, v.shape[1])).astype(np.float32))
    return F.dropout(v, 0.4), label


def scan_loss(model: RadNet, v: Tensor, label: Tensor, positive: bool, weight: Tensor, n: int) -> Tensor:
    """Slice labels, and the scan's verdict through the rule itself: the best run's weakest slice."""
    z = model.sequence(v.unsqueeze(0))[0, :, 0]
    slices = F.binary_cross_entropy_with_logits(z, label, pos_weight=weight)
    return slices + 0.3 * F.binary_cross_entropy_with_logits(verdict_logit(z, n), torch.tensor(float(positive)))


@torch.no_grad()
def scan_log_loss(model: RadNet, scans: list[Encoded]) -> float:
    """Mean log loss of the scans' scores by the model's own rule."""
    scores = [rules.score(model.config["scan"], rules.sigmoid(model.sequence(s.v.unsqueeze(0))[0, :, 0].numpy())) for s in scans]
    return log_loss(np.array(scores), np.array([s.positive for s in scans]))


@torch.no_grad()
def validate(model: RadNet, scans: list[Encoded], weight: Tensor, n: int) -> dict:
    """Loss, slice AUC and scan accuracy at 0.5."""
    losses = [float(scan_loss(model, s.v, s.label, s.positive, weight, n)) for s in scans]
    z = [model.sequence(s.v.unsqueeze(0))[0, :, 0].numpy() for s in scans]
    scores = [rules.score(model.config["scan"], rules.sigmoid(one)) for one in z]
    right = np.mean([(score >= 0.5) == s.positive for score, s in zip(scores, scans)])
    labels = np.concatenate([s.label.numpy() for s in scans])
    return {"validation": float(np.mean(losses)), "slice_auc": auc(labels, np.concatenate(z)), "scan_auc": auc(np.array([s.positive for s in scans]), np.array(scores)), "accuracy": float(right)}
