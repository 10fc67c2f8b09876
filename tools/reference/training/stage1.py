"""Stage 1: the DenseNet with its segmentation heads and attention on single slices. Resumes after a kill."""

from __future__ import annotations

import copy
import json
import math
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from radnet_reference.model import RadNet

from . import augment
from .data import Sampler, Slices
from .losses import slice_losses
from .metrics import auc

CHECKPOINT_EVERY_S = 90
LOG_EVERY = 20


@dataclass
class Phase:
    """A stretch of training at one input size, measured in seconds of training so that it ends on time on a busy machine."""

    name: str
    crop: int
    whole: bool
    batch: int
    budget_s: float
    lr: float
    final_lr: float = 0.0
    # Parts of `features` that keep what they learned: their weights and norms stand still.
    frozen: tuple[str, ...] = ()


@dataclass
class Progress:
    """Where training is; saved with every checkpoint."""

    phase: int = 0
    spent_s: float = 0.0
    step: int = 0
    log: list[dict] = field(default_factory=list)


class Trainer:
    """Model, slice head, optimiser and the exponential moving average of the weights."""

    def __init__(self, config: dict, work: Path, seed: int):
        torch.manual_seed(seed)
        self.work, self.seed, self.config = work, seed, config
        self.model = RadNet(config).to(memory_format=torch.channels_last)
        for module in self.model.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
        torch.nn.init.constant_(self.model.attention.bias, -2.0)
        self.head = torch.nn.Linear(self.model.features["norm5"].num_features, 1)
        self.both = torch.nn.ModuleDict({"model": self.model, "head": self.head})
        self.average = copy.deepcopy(self.both).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.both.parameters(), lr=1e-3, weight_decay=1e-2)
        self.progress = Progress()

    def load(self, path: Path, weights_only: bool = False) -> None:
        """Continues from a checkpoint; with `weights_only` only takes the averaged weights and starts counting anew."""
        state = torch.load(path, weights_only=True)
        if weights_only:
            self.both.load_state_dict(state["average"])
        else:
            self.both.load_state_dict(state["both"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.progress = Progress(**json.loads(state["progress"]))
        self.average.load_state_dict(state["average"])

    def save(self, path: Path) -> None:
        state = {
            "both": self.both.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": json.dumps(asdict(self.progress)),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def run(self, phases: list[Phase], slices: Slices, checkpoint: Path) -> None:
        """All phases that are not done yet."""
        while self.progress.phase < len(phases):
            phase = phases[self.progress.phase]
            self._run_phase(phase, Sampler(slices, phase.crop, phase.whole, phase.batch, self.seed + 1000 * self.progress.step + self.progress.phase), checkpoint)
            self.progress.phase += 1
            self.progress.spent_s = 0.0
            self.save(checkpoint)

    def _run_phase(self, phase: Phase, sampler: Sampler, checkpoint: Path) -> None:
        generator = torch.Generator().manual_seed(self.seed + self.progress.step)
        saved, recent = time.monotonic(), []
        self.both.train()
        for name, part in self.model.features.named_children():
            part.train(name not in phase.frozen).requires_grad_(name not in phase.frozen)
        while self.progress.spent_s < phase.budget_s:
            started = time.monotonic()
            rate = _rate(phase, self.progress.spent_s / phase.budget_s)
            recent.append(self._step(sampler, generator, rate))
            self.progress.step += 1
            self.progress.spent_s += time.monotonic() - started
            if self.progress.step % LOG_EVERY == 0:
                self._report(phase, rate, recent)
                recent = []
            if time.monotonic() - saved > CHECKPOINT_EVERY_S:
                self.save(checkpoint)
                saved = time.monotonic()

    def _step(self, sampler: Sampler, generator: torch.Generator, rate: float) -> dict:
        batch = sampler.next()
        x = augment.windows(batch.hu, self.config["input"]["channels"], generator).contiguous(memory_format=torch.channels_last)
        terms, z = slice_losses(self.model, self.head, x, batch.mask, batch.label, batch.weight)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        torch.nn.utils.clip_grad_norm_(self.both.parameters(), 5.0)
        self.optimiser.step()
        self._update_average()
        keep = batch.weight > 0
        return {**{k: float(t.detach()) for k, t in terms.items()}, "z": z.detach()[keep].numpy(), "label": batch.label[keep].numpy()}

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(0.99, (1 + self.progress.step) / (10 + self.progress.step))
        for mean, value in zip(self.average.state_dict().values(), self.both.state_dict().values()):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def _report(self, phase: Phase, rate: float, recent: list[dict]) -> None:
        names = [k for k in recent[0] if k not in ("z", "label")]
        row = {k: float(np.mean([r[k] for r in recent])) for k in names}
        row["auc"] = auc(np.concatenate([r["label"] for r in recent]), np.concatenate([r["z"] for r in recent]))
        row |= {"step": self.progress.step, "phase": phase.name, "spent_s": self.progress.spent_s, "lr": rate}
        self.progress.log.append(row)
        shown = " ".join(f"{k} {row[k]:.3f}" for k in [*names, "auc"])
        print(f"{time.strftime('%H:%M:%S')} {phase.name} step {row['step']} {row['spent_s']:.0f}/{phase.budget_s:.0f} s lr {rate:.1e} {shown}", flush=True)


def _rate(phase: Phase, done: float) -> float:
    """A short warm-up, then half a cosine."""
    warm = min(1.0, done / 0.05 + 0.02)
    return warm * (phase.final_lr + (phase.lr - phase.final_lr) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


@torch.no_grad()
def calibrate_norms(model: RadNet, hu: np.ndarray, batch: int = 16) -> None:
    """Sets every norm's statistics to those of whole slices [N, H, W] in HU, without augmentation: the plain mean over batches."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for i in range(0, len(hu) - batch + 1, batch):
        x = augment.windows(torch.from_numpy(hu[i : i + batch].astype(np.float32)), model.config["input"]["channels"], None)
        _, blocks = model.backbone(x.contiguous(memory_format=torch.channels_last))
        for b, block in blocks.items():
            model.segmentation[str(b)](block)
    model.eval()
