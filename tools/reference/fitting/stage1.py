"""Stage 1: the DenseNet with segmentation heads and attention on single slices. Its head on slice vectors serves training only."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from radnet_reference import config as cfg
from radnet_reference.model import RadNet

from . import augment, losses
from .average import Average
from .cases import Case
from .journal import Journal, shown
from .judge import slice_areas
from .parallel import Group
from .precision import Precision
from .schedule import rate
from .settings import Settings
from .slices import Batch, SliceSampler, SliceTable, ahead

VALIDATION_BATCH = 32


class SliceNet(nn.Module):
    """Those parts of a RadNet that see one slice, and a linear head. The recurrence is no part of it."""

    def __init__(self, model: RadNet):
        super().__init__()
        self._whole = (model,)
        self.features, self.segmentation = model.features, model.segmentation
        if model.attention is not None:
            self.attention = model.attention
        self.head = nn.Linear(cfg.slice_vector(model.config), len(model.config["classes"]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, dict[int, Tensor]]:
        """Slice logits [B, K], attention energies [B, A, h, w], logits of the segmentation heads [B, h, w]."""
        model = self._whole[0]
        feature_map, blocks = model.backbone(x)
        maps = {b: model.segmentation[str(b)](block).squeeze(1) for b, block in blocks.items()}
        energy = None if model.attention is None else model.attention(feature_map)
        return self.head(model.pool(feature_map)[0]), energy, maps


def initialise(model: RadNet) -> None:
    """For training from nothing: convolutions that keep the variance, attention that starts almost shut."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    if model.attention is not None:
        nn.init.constant_(model.attention.bias, -2.0)


class Stage1:
    """The state of stage 1 and its loop."""

    def __init__(self, model: RadNet, settings: Settings, group: Group, journal: Journal):
        self.settings, self.own, self.group, self.journal = settings, settings.stage1, group, journal
        self.net = SliceNet(model).to(group.device, memory_format=torch.channels_last)
        self.model = model
        self.precision = Precision(settings.precision, group.device)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=self.own.lr, weight_decay=self.own.weight_decay)
        self.average = Average(self.net, self.own.ema)
        self.class_weight = torch.tensor([self.own.class_weights.get(c, 1.0) for c in model.config["classes"]], device=group.device)
        self.step, self.rows, self.recent = 0, [], []

    def resume(self, identity: str) -> None:
        """Goes on from `stage1.pt`, where it exists."""
        state = self.journal.load("stage1", identity)
        if state is None:
            return
        self.net.load_state_dict(state["net"])
        self.average.load(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.precision.scaler.load_state_dict(state["scaler"])
        self.step, self.rows = state["step"], state["rows"]
        self.recent = state["recent"] if self.group.first else []
        self.journal.say(f"stage 1 goes on at step {self.step}")

    def save(self, identity: str) -> None:
        """A checkpoint; all processes call it, the first writes."""
        recent = [row for rows in self.group.gather(self.recent) for row in rows]
        state = {"recent": recent, "net": self.net.state_dict(), "average": self.average.state, "optimiser": self.optimiser.state_dict()}
        self.journal.save("stage1", {**state, "scaler": self.precision.scaler.state_dict(), "step": self.step, "rows": self.rows}, identity)

    def run(self, fitted: Sequence[Case], validation: Sequence[Case], identity: str) -> None:
        """All steps that are not done yet; leaves the averaged weights in the model."""
        self.resume(identity)
        if self.step < self.own.steps:
            self._loop(SliceTable(fitted), SliceTable(validation), identity)
            self.save(identity)
        self.average.exchange(self.net)
        if self.own.calibrate_slices:
            calibrate(self.net, SliceTable(fitted), self.model.config, self.own.calibrate_slices, self.settings.seed)
        if self.model.rnn is None:
            # Without recurrence, y is v: the head is the classifier.
            self.model.classifier.load_state_dict(self.net.head.state_dict())
        self.model.eval()

    def _loop(self, table: SliceTable, validation: SliceTable, identity: str) -> None:
        s, part = self.settings, self.model.config["input"]
        sampler = SliceSampler(table, part, s, self.group.rank, self.group.world)
        found = {c: int((table.label[:, k] == 1).sum()) for k, c in enumerate(self.model.config["classes"])}
        self.journal.say(f"stage 1: {len(table)} slices of {len(table.cases)} scans, with {found}; {self.precision.kind} on {self.group.device}")
        wrapped, started = self.group.wrap(self.net), time.monotonic()
        self.net.train()
        first = self.step
        for batch in ahead(sampler.make, first, self.own.steps, s.workers):
            learning = rate(self.step, self.own.steps, self.own.lr, self.own.final_lr, self.own.warmup)
            self.recent.append(self.update(wrapped, batch, learning))
            self.step += 1
            if self.step % s.log_every == 0 or self.step == self.own.steps:
                self._report(learning, (time.monotonic() - started) / (self.step - first))
            if len(validation) and (self.step % self.own.validate_every == 0 or self.step == self.own.steps):
                self._validate(validation)
            if self.step % s.checkpoint_every == 0:
                self.save(identity)

    def update(self, wrapped: nn.Module, batch: Batch, learning: float) -> dict[str, float]:
        """One step on a batch at a learning rate; the terms of the loss."""
        for g in self.optimiser.param_groups:
            g["lr"] = learning
        terms = self.terms(wrapped, batch)
        self.precision.step(sum(terms.values()), self.optimiser, self.own.clip)
        self.group.average_buffers(self.net)
        self.average.update(self.net, self.step)
        return {name: float(t.detach()) for name, t in terms.items()}

    def terms(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms of the loss. Masks count where they exist; every parameter takes part in every step."""
        device = self.group.device
        mask, has_mask, label, known = (t.to(device, non_blocking=True) for t in (batch.mask, batch.has_mask, batch.label, batch.known))
        with self.precision.autocast():
            z, energy, maps = net(batch.x.to(device, memory_format=torch.channels_last, non_blocking=True))
        terms = {"slice": losses.labels(z.float(), label, known, self.class_weight)}
        for (b, logits), weight in zip(maps.items(), losses.head_weights(len(maps))):
            terms[f"seg{b}"] = self.own.segmentation_weight * weight * losses.segmentation(logits.float(), mask, has_mask)
        if energy is not None:
            kind = self.model.config["attention"]["kind"]
            terms["att"] = self.own.attention_weight * losses.attention(energy.float(), kind, mask, has_mask)
        return terms

    def _report(self, learning: float, step_s: float) -> None:
        """Means since the last report, over all processes; the time left is said and not kept."""
        everyone = [row for rows in self.group.gather(self.recent) for row in rows]
        self.recent = []
        row = {"step": self.step, "lr": learning, **{k: float(np.mean([r[k] for r in everyone])) for k in everyone[0]}}
        self.rows.append(row)
        self.journal.log(self.rows, "stage1")
        self.journal.events("stage1", row)
        self.journal.say(f"stage 1 {shown(row)} | {step_s:.2f} s a step, {(self.own.steps - self.step) * step_s / 60:.1f} min left")

    @torch.no_grad()
    def _validate(self, table: SliceTable) -> None:
        """The averaged network on whole validation slices; processes share them."""
        chosen = np.random.default_rng(self.settings.seed).permutation(len(table))[: self.own.validation_slices]
        mine = chosen[self.group.rank :: self.group.world]
        self.average.exchange(self.net)
        self.net.eval()
        z = logits(self.net, table, self.model.config, mine, self.group.device, self.precision)
        self.net.train()
        self.average.exchange(self.net)
        parts = self.group.gather((z, table.label[mine].astype(np.float32)))
        label = np.concatenate([p[1] for p in parts])
        label[label == 255] = np.nan
        areas = slice_areas(self.model.config["classes"], label, np.concatenate([p[0] for p in parts]))
        row = {"step": self.step, **{f"auc {c}": float(a) for c, a in areas.items()}}
        self.rows.append(row)
        self.journal.events("stage1", row)
        self.journal.say(f"stage 1 validation {shown(row)}")


def logits(net: SliceNet, table: SliceTable, config: dict, chosen: np.ndarray, device: torch.device, precision: Precision) -> np.ndarray:
    """Slice logits [N, K] without augmentation."""
    found = [np.zeros((0, len(config["classes"])), np.float32)]
    for i in range(0, len(chosen), VALIDATION_BATCH):
        with precision.autocast():
            found.append(net(_plain(table, chosen[i : i + VALIDATION_BATCH], config).to(device))[0].float().cpu().numpy())
    return np.concatenate(found)


def _plain(table: SliceTable, chosen: np.ndarray, config: dict) -> Tensor:
    places = augment.offsets(config["input"]["channels"])
    x = augment.windows(table.load(chosen, places)[0], places, config["input"]["channels"], None, None)
    return augment.normalised(x, config["input"]).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def calibrate(net: SliceNet, table: SliceTable, config: dict, slices: int, seed: int) -> None:
    """Sets every norm's statistics to those of whole slices without augmentation: the plain mean over batches."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    net.train()
    chosen = np.random.default_rng(seed).permutation(len(table))[:slices]
    device = next(net.parameters()).device
    for i in range(0, max(1, len(chosen) - VALIDATION_BATCH + 1), VALIDATION_BATCH):
        net(_plain(table, chosen[i : i + VALIDATION_BATCH], config).to(device))
    net.eval()
    for norm in norms:
        norm.momentum = 0.1
