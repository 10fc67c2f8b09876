"""A whole run: data, stage 1, stage 2, thresholds, model file. Every part goes on where a killed one stopped."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from radnet_reference import weights
from radnet_reference.model import RadNet

from . import cases as sets
from . import judge
from .curves import draw
from .journal import Journal
from .parallel import Group
from .settings import Settings, SettingsError
from .stage1 import Stage1, initialise
from .stage2 import Stage2


def fit(settings: Settings, texts: Sequence[str], validation: Sequence[str], work: Path, group: Group, init: Path | None = None) -> Path:
    """Trains and writes `work/model.safetensors`; returns its path. `init` is a model file to start from."""
    journal = Journal(work, group)
    fitted, held = cases(settings, texts, validation, work, group, journal)
    identity = _identity(settings, fitted, held, init)
    model = starting_model(settings, init)
    if group.first:
        (work / "settings.json").write_text(json.dumps(asdict(settings), indent=1) + "\n")
        write_split(settings, fitted, held, work / "split.csv")
    first = Stage1(model, settings, group, journal)
    if settings.stage1.steps:
        first.run(fitted, held, identity)
    second = Stage2(model, settings, group, journal)
    second.run(fitted, held, identity)
    return _finish(settings, first, second, held, work, group)


def write_split(settings: Settings, fitted: list[sets.Case], held: list[sets.Case], path: Path) -> None:
    """Which scan went where, with its labels (empty where unknown)."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["scan", "part", *settings.config()["classes"]])
        for part, members in (("training", fitted), ("validation", held)):
            writer.writerows([c.key, part, *("" if np.isnan(v) else int(v) for v in c.labels)] for c in members)


def cases(settings: Settings, texts, validation, work: Path, group: Group, journal: Journal) -> tuple[list[sets.Case], list[sets.Case]]:
    """(training, validation). The first process prepares; the others find everything there."""
    config, folder = settings.config(), work / "cache"
    for turn in (True, False):
        if group.first == turn:
            entries, cache = sets.read(texts, folder, settings.workers, config, journal.say)
            further = sets.read(validation, folder, settings.workers, config, journal.say)[0] if validation else []
        group.barrier()
    fitted, held = sets.divide(entries, 0.0 if validation else settings.validation_share, settings.split_seed)
    found = tuple(sets.join(part, cache, config["classes"]) for part in (fitted, [*held, *further]))
    shared = {e.patient for e in fitted} & {e.patient for e in further}
    if shared:
        raise SettingsError(f"{len(shared)} patients are in training and validation")
    if not found[0]:
        raise SettingsError("no scans to train on")
    return found


def _identity(settings: Settings, fitted: list[sets.Case], held: list[sets.Case], init: Path | None) -> str:
    """What must be the same for a checkpoint to be continued: settings, scans with their labels, starting weights."""
    h = hashlib.sha256(settings.identity().encode())
    h.update(weights.sha256(init).encode() if init else b"")
    for case in (*fitted, *held):
        h.update(case.key.encode() + case.slices.tobytes() + case.labels.tobytes())
    return h.hexdigest()


def starting_model(settings: Settings, init: Path | None) -> RadNet:
    torch.manual_seed(settings.seed)
    if init is None:
        model = RadNet(settings.config())
        initialise(model)
        return model
    given, _ = weights.load(init)
    model = RadNet(settings.config())
    own, other = weights.tensors(model), weights.tensors(given)
    wrong = [k for k in own if k.startswith("features.") and (k not in other or other[k].shape != own[k].shape)]
    if wrong:
        raise SettingsError(f"{init} has no {wrong[0]} of this shape; its backbone must be that of the settings")
    with torch.no_grad():
        for name, tensor in own.items():
            if name in other and other[name].shape == tensor.shape:
                tensor.copy_(other[name])
    return model


def _finish(settings: Settings, first: Stage1, second: Stage2, held: list[sets.Case], work: Path, group: Group) -> Path:
    """Thresholds from the validation scans, the figures, the curves and the file."""
    model, out = second.model, work / "model.safetensors"
    if not group.first:
        group.barrier()
        return out
    summary: dict = {"validation_scans": len(held)}
    if held:
        second.net.eval()
        logits = [second.logits(c).cpu().numpy() for c in held]
        if "thresholds" not in settings.model:
            model.config["thresholds"] = judge.balanced_thresholds(model.config, logits, [c.labels for c in held])
        summary |= judge.whole(model.config, logits, [c.slices for c in held], [c.labels for c in held])
    summary["thresholds"] = model.config["thresholds"]
    weights.save(model.cpu(), out, settings.name, settings.version, settings.intended_use)
    draw(first.rows, second.rows, work / "curves.png")
    (work / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    second.journal.say(f"{out}: sha256 {weights.sha256(out)}; thresholds {summary['thresholds']}")
    group.barrier()
    return out
