"""Stage 2: recurrence and classifier over whole scans, on kept slice vectors or end to end through the DenseNet."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radnet_reference.model import RadNet

from . import losses
from .average import Average
from .cases import Case
from .journal import Journal, shown
from .judge import whole
from .parallel import Group
from .precision import Precision
from .schedule import rate
from .settings import Settings, SettingsError
from .vectors import Store, encode, volume

THIN_LIMIT = 24


class ScanNet(nn.Module):
    """A RadNet on a batch of whole scans, as a list of slice vectors or of volumes."""

    def __init__(self, model: RadNet, end_to_end: bool, settings: Settings, precision: Precision):
        super().__init__()
        self._whole = (model,)
        self.settings, self.precision = settings.stage2, precision
        self.classifier = model.classifier
        if model.rnn is not None:
            self.rnn = model.rnn
        if end_to_end:
            self.features = model.features
            if model.attention is not None:
                self.attention = model.attention

    def forward(self, scans: list[Tensor]) -> list[Tensor]:
        """Logits [S, K] of each scan: v [S, D] or x [S, C, H, W]."""
        model = self._whole[0]
        vectors = [encode(model, x, self.settings.chunk, self.precision) if x.ndim == 4 else x.to(self.precision.device) for x in scans]
        if self.training:
            vectors = [F.dropout(v, self.settings.dropout) for v in vectors]
        y = nn.utils.rnn.pack_sequence(vectors, enforce_sorted=False)
        if model.rnn is not None:
            y = model.rnn(y)[0]
        padded, lengths = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        z = model.classifier(padded)
        return [z[i, :n] for i, n in enumerate(lengths.tolist())]


class Stage2:
    """The state of stage 2 and its loop."""

    def __init__(self, model: RadNet, settings: Settings, group: Group, journal: Journal):
        self.settings, self.own, self.group, self.journal, self.model = settings, settings.stage2, group, journal, model
        self.end_to_end = self.own.mode == "end_to_end"
        self.precision = Precision(settings.precision, group.device)
        model.to(group.device).requires_grad_(True)
        self.store = None if self.end_to_end else Store(journal.work, model)
        self.net = ScanNet(model, self.end_to_end, settings, self.precision)
        slow = [p for n, p in self.net.named_parameters() if n.startswith(("features.", "attention."))]
        fast = [p for n, p in self.net.named_parameters() if not n.startswith(("features.", "attention."))]
        groups = [{"params": fast, "peak": self.own.lr}] + ([{"params": slow, "peak": self.own.backbone_lr}] if slow else [])
        self.optimiser = torch.optim.AdamW(groups, weight_decay=self.own.weight_decay)
        self.average = Average(self.net, self.own.ema)
        self.step, self.rows, self.recent, self.best, self.best_state = 0, [], [], math.inf, None
        if self.own.batch % group.world:
            raise SettingsError(f"stage2.batch {self.own.batch} does not divide among {group.world} processes")

    def resume(self, identity: str) -> None:
        """Goes on from `stage2.pt`, where it exists."""
        state = self.journal.load("stage2", identity)
        if state is None:
            return
        self.net.load_state_dict(state["net"])
        self.average.load(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.precision.scaler.load_state_dict(state["scaler"])
        self.step, self.rows, self.best, self.best_state = state["step"], state["rows"], state["best"], state["best_state"]
        self.recent = state["recent"] if self.group.first else []
        self.journal.say(f"stage 2 goes on at step {self.step}")

    def save(self, identity: str) -> None:
        """A checkpoint; all processes call it, the first writes."""
        recent = [x for part in self.group.gather(self.recent) for x in part]
        state = {"net": self.net.state_dict(), "average": self.average.state, "optimiser": self.optimiser.state_dict()}
        state |= {"scaler": self.precision.scaler.state_dict(), "recent": recent, "step": self.step, "rows": self.rows}
        self.journal.save("stage2", {**state, "best": self.best, "best_state": self.best_state}, identity)

    def run(self, fitted: Sequence[Case], validation: Sequence[Case], identity: str) -> None:
        """All epochs that are not done yet; leaves the averaged weights of the best epoch in the model (of the last without validation scans)."""
        if self.store:
            self.store.fill(self.model, [*fitted, *validation], self.own.chunk, self.precision, self.group, self.journal.say)
        self.resume(identity)
        self.journal.say(f"stage 2 ({self.own.mode}): {len(fitted)} scans, {len(validation)} for validation")
        per_epoch = max(1, math.ceil(len(fitted) / self.own.batch))
        weight = self._positive_weight(fitted)
        wrapped = self.group.wrap(self.net)
        while self.step < self.own.epochs * per_epoch:
            self._epoch(wrapped, fitted, per_epoch, weight, identity)
            self._validate(validation, weight)
            self.save(identity)
        if self.best_state is not None:
            self.average.load(self.best_state)
        self.average.exchange(self.net)
        self.model.eval().requires_grad_(False)

    def _epoch(self, wrapped: nn.Module, fitted: Sequence[Case], per_epoch: int, weight: Tensor, identity: str) -> None:
        s, epoch, started = self.settings, self.step // per_epoch, time.monotonic()
        order = np.random.default_rng([s.seed, 2, epoch]).permutation(len(fitted))
        first = self.step
        # Norms keep stage 1's statistics: a scan's slices are no sample of all slices.
        self.net.train()
        _freeze_norms(self.net)
        while self.step < (epoch + 1) * per_epoch:
            place = (self.step - epoch * per_epoch) * self.own.batch
            mine = order[np.arange(place, place + self.own.batch) % len(order)][self.group.rank :: self.group.world]
            self.recent.append(self._update(wrapped, [fitted[i] for i in mine], weight, per_epoch))
            self.step += 1
            if self.step % s.checkpoint_every == 0:
                self.save(identity)
        losses_seen = [x for part in self.group.gather(self.recent) for x in part]
        self.recent = []
        self.rows.append({"epoch": epoch, "step": self.step, "train": float(np.mean(losses_seen)), "scans": float(len(fitted))})
        step_s = (time.monotonic() - started) / (self.step - first)
        left = (self.own.epochs * per_epoch - self.step) * step_s / 60
        self.journal.say(f"stage 2 epoch {epoch + 1} of {self.own.epochs}: train {np.mean(losses_seen):.4f} | {step_s:.2f} s a step, {left:.1f} min left")

    def _update(self, wrapped: nn.Module, cases: list[Case], weight: Tensor, per_epoch: int) -> float:
        rng = np.random.default_rng([self.settings.seed, 3, self.step, self.group.rank])
        # Dropout draws from torch's own generator: seeded by the step, it needs no saving.
        torch.manual_seed(int(rng.integers(2**62)))
        for g in self.optimiser.param_groups:
            g["lr"] = rate(self.step, self.own.epochs * per_epoch, g["peak"], self.own.final_lr, self.own.warmup)
        drawn = [self._drawn(case, rng) for case in cases]
        z = wrapped([d[0] for d in drawn])
        loss = self.loss(z, [d[1] for d in drawn], [c.labels for c in cases], weight)
        self.precision.step(loss, self.optimiser, self.own.clip)
        self.average.update(self.net, self.step)
        return float(loss.detach())

    def _drawn(self, case: Case, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
        """A scan as the network gets it, some of its slices left out: every second one of a thin scan, or a few anywhere."""
        if self.end_to_end:
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            inputs = volume(case, self.model.config, self.settings.augment, generator)
        else:
            inputs = self.store.vectors(case)
        keep = np.ones(len(inputs), bool)
        if rng.random() < 0.25 and len(inputs) > THIN_LIMIT:
            keep[int(rng.integers(2)) :: 2] = False
        elif rng.random() < 0.5:
            keep = rng.random(len(inputs)) > 0.08
        if not keep.any():
            keep[:] = True
        return inputs[torch.from_numpy(keep)], case.slices[keep]

    def loss(self, z: list[Tensor], slices: list[np.ndarray], labels: list[np.ndarray], weight: Tensor) -> Tensor:
        """Mean over scans of slice labels and the scan's label through the rule."""
        total = torch.zeros((), device=self.group.device)
        for one, truth, label in zip(z, slices, labels):
            truth_t = torch.from_numpy(truth).to(self.group.device)
            known = ~torch.isnan(truth_t)
            bce = F.binary_cross_entropy_with_logits(one, torch.nan_to_num(truth_t), pos_weight=weight, reduction="none")
            total = total + (bce * known).sum() / known.sum().clamp(min=1)
            total = total + self.own.scan_weight * losses.scan(self.model.config["scan"], one, torch.from_numpy(label).to(self.group.device))
        return total / len(z)

    def _positive_weight(self, cases: Sequence[Case]) -> Tensor:
        """Per class the root of the ratio of slices without to slices with, so that rare findings weigh more but not all."""
        counts = np.sum([[np.nansum(c.slices == 1, axis=0), np.nansum(c.slices == 0, axis=0)] for c in cases], axis=0)
        return torch.tensor(np.sqrt(np.clip(counts[1], 1, None) / np.clip(counts[0], 1, None)), dtype=torch.float32, device=self.group.device)

    @torch.no_grad()
    def _validate(self, cases: Sequence[Case], weight: Tensor) -> None:
        """Loss and areas of the averaged weights; keeps them when the loss is the lowest so far."""
        if not cases:
            return
        self.average.exchange(self.net)
        self.net.eval()
        mine = cases[self.group.rank :: self.group.world]
        z = [self.logits(c) for c in mine]
        lost = [float(self.loss([a], [c.slices], [c.labels], weight)) for a, c in zip(z, mine)]
        parts = self.group.gather((lost, [a.cpu().numpy() for a in z], [c.slices for c in mine], [c.labels for c in mine]))
        lost, logits, slices, labels = ([x for p in parts for x in p[i]] for i in range(4))
        areas = whole(self.model.config, logits, slices, labels)
        row = self.rows[-1]
        row["validation"] = float(np.mean(lost))
        row |= {f"slice {c}": float(a) for c, a in areas["slice_auc"].items()} | {f"scan {c}": float(a) for c, a in areas["scan_auc"].items()}
        if row["validation"] < self.best:
            self.best = row["validation"]
            self.best_state = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.average.exchange(self.net)
        self.journal.log(self.rows, "stage2")
        self.journal.events("stage2", row)
        self.journal.say(f"stage 2 validation {shown({k: v for k, v in row.items() if k not in ('epoch', 'step', 'train', 'scans')})}")

    @torch.no_grad()
    def logits(self, case: Case) -> Tensor:
        """z [S, K] of one scan, nothing augmented."""
        inputs = volume(case, self.model.config) if self.end_to_end else self.store.vectors(case)
        return self.net([inputs])[0]


def _freeze_norms(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
