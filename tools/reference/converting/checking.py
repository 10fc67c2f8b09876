"""Runs a model file and its probes through the engine and through PyTorch on the same DICOM series, and says where they part."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from radnet_reference import dicom, engine, preprocess, scan, weights
from radnet_reference.model import RadNet
from radnet_reference.random_model import random_hu

from .probes import probes

# (|Δz| relative to max(1, |z|), |Δp|). fp32: the specification's tolerances against the float64 oracle; else its bound on |Δp|.
TOLERANCES = {"fp32": (1e-3, 1e-4), "fp16": (None, 1e-2), "bf16": (None, 1e-2)}
MADE_SLICES = 5
STORAGE_NAME = "probe"


@dataclass(frozen=True)
class Row:
    """One stage: its size, largest |Δ|, largest |Δ|/max(1, |value|), rms of the values, and whether it is within tolerance."""

    stage: str
    values: int
    delta: float
    relative: float
    rms: float
    ok: bool


def check(model_file: Path, series: Path | None, radnet: Path, say: Callable[[str], None] = print, device: str = "cpu", precision: str = "fp32") -> bool:
    """Prints a table and a verdict; without a series a random head is written as DICOM. Raises EngineError when the program fails."""
    model, _ = weights.load(model_file)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if series is None:
            series = folder / "series"
            write_series(model.config, series)
        rows = stages(model, series, radnet, folder, device, precision)
        rows += maps(model, model_file, series, radnet, folder, device, precision)
        decided = decisions(model, model_file, series, radnet, device, precision)
    say(f"{'stage':14} {'values':>8} {'rms':>10} {'max |d|':>10} {'relative':>10}")
    for row in rows:
        say(f"{row.stage:14} {row.values:>8} {row.rms:>10.3e} {row.delta:>10.1e} {row.relative:>10.1e} {'ok' if row.ok else 'EXCEEDED'}")
    dp, dscore, same = decided
    ok = all(r.ok for r in rows) and dp <= TOLERANCES[precision][1] and same
    say(f"{'AGREE' if ok else 'DISAGREE'} ({precision}, {device}): largest |dp| {dp:.1e}, |dscore| {dscore:.1e}, verdicts {'equal' if same else 'DIFFER'}")
    return ok


def write_series(config: dict, folder: Path) -> None:
    """A random head of another matrix than the network's, so that resizing takes part."""
    height, width = config["input"]["size"]
    target = config["input"]["spacing_mm"]
    spacing = (0.5 * target, 0.55 * target) if target else (0.5, 0.5)
    dicom.write(random_hu(MADE_SLICES, 2 * height + 1, 2 * width - 3, 7), folder, spacing)


@torch.no_grad()
def stages(model: RadNet, series: Path, radnet: Path, folder: Path, device: str, precision: str) -> list[Row]:
    """Each probe's logits against PyTorch in float64."""
    read = dicom.read(series)
    x = preprocess.prepare(read.hu, model.config["input"], read.spacing, torch.float64)
    rows = []
    for probe in probes(model):
        path = folder / "probe.safetensors"
        weights.save(probe.model, path, STORAGE_NAME, probe.stage, "a stage of another model, for comparison only")
        (found,) = engine.predict(radnet, [series], path, device, precision)
        if [s["sop_instance_uid"] for s in found["slices"]] != read.sop_uids:
            raise engine.EngineError("the engine sees other slices, or in another order")
        names = probe.model.config["classes"]
        values = np.array([[s["logit"][c] for c in names] for s in found["slices"]])
        expected = probe.model.double()(x).numpy()
        probe.model.float()
        rows.append(_row(probe.stage, values, expected, precision))
    return rows


@torch.no_grad()
def maps(model: RadNet, model_file: Path, series: Path, radnet: Path, folder: Path, device: str, precision: str) -> list[Row]:
    """The attention and segmentation maps of `--maps`, every value."""
    if model.attention is None and not model.config["segmentation"]:
        return []
    read = dicom.read(series)
    x = preprocess.prepare(read.hu, model.config["input"], read.spacing, torch.float64)
    engine.predict(radnet, [series], model_file, device, precision, maps=folder / "maps")
    exact = model.double()
    feature_map, blocks = exact.backbone(x)
    expected = {"attention": None if exact.attention is None else exact.pool(feature_map)[1].numpy()}
    size = tuple(model.config["input"]["size"])
    if blocks:
        upsampled = [F.interpolate(exact.segmentation[str(b)](blocks[b]), size=size, mode="bilinear", align_corners=False) for b in model.config["segmentation"]]
        expected["segmentation"] = torch.sigmoid(torch.cat(upsampled, dim=1)).numpy()
    model.float()
    rows = []
    for name, values in expected.items():
        if values is not None:
            (path,) = (folder / "maps").glob(f"*_{name}.npy")
            rows.append(_row(f"{name} map", np.load(path).astype(np.float64), values, precision))
    return rows


def _row(stage: str, found: np.ndarray, expected: np.ndarray, precision: str) -> Row:
    if found.shape != expected.shape:
        raise engine.EngineError(f"{stage}: the engine gives shape {list(found.shape)}, PyTorch {list(expected.shape)}")
    delta = np.abs(found - expected)
    relative = float((delta / np.maximum(1, np.abs(expected))).max())
    limit = TOLERANCES[precision][0]
    return Row(stage, expected.size, float(delta.max()), relative, float(np.sqrt((expected**2).mean())), limit is None or relative <= limit)


@torch.no_grad()
def decisions(model: RadNet, model_file: Path, series: Path, radnet: Path, device: str, precision: str) -> tuple[float, float, bool]:
    """Largest |Δp| of slices and |Δ| of scan scores, and whether the verdicts are equal (scores on their threshold aside)."""
    read = dicom.read(series)
    z = model.double()(preprocess.prepare(read.hu, model.config["input"], read.spacing, torch.float64)).numpy()
    model.float()
    (found,) = engine.predict(radnet, [series], model_file, device, precision)
    p, expected = scan.sigmoid(z), scan.decide(model.config, scan.sigmoid(z))
    names, bound = model.config["classes"], TOLERANCES[precision][1]
    dp = float(np.abs(np.array([[s["probability"][c] for c in names] for s in found["slices"]]) - p).max())
    dscore = max(abs(found["scan"][c]["score"] - expected[c]["score"]) for c in names)
    near = [abs(expected[c]["score"] - expected[c]["threshold"]) <= bound for c in names]
    same = all(n or found["scan"][c]["positive"] == expected[c]["positive"] for c, n in zip(names, near))
    return dp, dscore, same
