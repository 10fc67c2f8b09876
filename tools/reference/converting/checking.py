"""Runs a model file and its probes through the engine and through PyTorch on the same DICOM series, and says where they part."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from radnet_reference import dicom, engine, preprocess, scan, weights
from radnet_reference.model import RadNet
from radnet_reference.random_model import random_hu

from .probes import expected, probes

# (|Δz| relative to max(1, |z|), |Δp|). fp32: the specification's tolerances against the float64 oracle; else its bound on |Δp|.
TOLERANCES = {"fp32": (1e-3, 1e-4), "fp16": (None, 1e-2), "bf16": (None, 1e-2)}
MADE_SLICES = 5


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
        run = Run(model, model_file, series, radnet, folder, device, precision)
        rows = [*run.stages(), *run.maps()]
        dp, dscore, same = run.decisions()
    say(f"{'stage':18} {'values':>8} {'rms':>10} {'max |d|':>10} {'relative':>10}")
    for row in rows:
        say(f"{row.stage:18} {row.values:>8} {row.rms:>10.3e} {row.delta:>10.1e} {row.relative:>10.1e} {'ok' if row.ok else 'EXCEEDED'}")
    ok = all(r.ok for r in rows) and dp <= TOLERANCES[precision][1] and same
    say(f"{'AGREE' if ok else 'DISAGREE'} ({precision}, {device}): largest |dp| {dp:.1e}, |dscore| {dscore:.1e}, verdicts {'equal' if same else 'DIFFER'}")
    return ok


def write_series(config: dict, folder: Path) -> None:
    """A random head of another matrix than the network's, so that resizing takes part."""
    height, width = config["input"]["size"]
    target = config["input"]["spacing_mm"]
    spacing = (0.5 * target, 0.55 * target) if target else (0.5, 0.5)
    dicom.write(random_hu(MADE_SLICES, 2 * height + 1, 2 * width - 3, 7), folder, spacing)


class Run:
    """One model on one series: PyTorch in float64 once, the engine once for the model and once a probe."""

    def __init__(self, model: RadNet, model_file: Path, series: Path, radnet: Path, folder: Path, device: str, precision: str):
        self.model, self.series, self.radnet, self.folder, self.device, self.precision = model, series, radnet, folder, device, precision
        read = dicom.read(series)
        self.uids = read.sop_uids
        x = preprocess.prepare(read.hu, model.config["input"], read.spacing, torch.float64)
        self.exact: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            model.double()(x, self.exact)
        model.float()
        self.own = self._predict(model_file, folder / "maps" if "attention" in self.exact or model.config["segmentation"] else None)

    def _predict(self, model_file: Path, maps: Path | None = None) -> dict:
        (found,) = engine.predict(self.radnet, [self.series], model_file, self.device, self.precision, maps=maps)
        if [s["sop_instance_uid"] for s in found["slices"]] != self.uids:
            raise engine.EngineError("the engine sees other slices, or in another order")
        return found

    def stages(self) -> Iterator[Row]:
        """Every probe's logits against the stage they show."""
        for probe in probes(self.model):
            path = self.folder / "probe.safetensors"
            weights.save(probe.model, path, "probe", probe.stage, "A stage of another model, for comparison only.")
            found, names = self._predict(path), probe.model.config["classes"]
            values = np.array([[s["logit"][c] for c in names] for s in found["slices"]])
            yield self._row(probe.stage, values, expected(probe.stage, self.exact).numpy())

    def maps(self) -> Iterator[Row]:
        """The attention and segmentation maps of `--maps`, every value."""
        if "attention" in self.exact:
            yield self._row("attention map", self._map("attention"), self.exact["attention"].numpy())
        heads = [self.exact[f"segmentation{b}"] for b in self.model.config["segmentation"]]
        if heads:
            yield self._row("segmentation map", self._map("segmentation"), torch.cat(heads, dim=1).numpy())

    def _map(self, name: str) -> np.ndarray:
        (path,) = (self.folder / "maps").glob(f"*_{name}.npy")
        return np.load(path).astype(np.float64)

    def _row(self, stage: str, found: np.ndarray, wanted: np.ndarray) -> Row:
        if found.shape != wanted.shape:
            raise engine.EngineError(f"{stage}: the engine gives shape {list(found.shape)}, PyTorch {list(wanted.shape)}")
        delta = np.abs(found - wanted)
        relative = float((delta / np.maximum(1, np.abs(wanted))).max())
        limit = TOLERANCES[self.precision][0]
        return Row(stage, wanted.size, float(delta.max()), relative, float(np.sqrt((wanted**2).mean())), limit is None or relative <= limit)

    def decisions(self) -> tuple[float, float, bool]:
        """Largest |Δp| of slices and |Δ| of scan scores, and whether the verdicts are equal (scores on their threshold aside)."""
        p, names = scan.sigmoid(self.exact["logits"].numpy()), self.model.config["classes"]
        wanted, given, bound = scan.decide(self.model.config, p), self.own["scan"], TOLERANCES[self.precision][1]
        dp = float(np.abs(np.array([[s["probability"][c] for c in names] for s in self.own["slices"]]) - p).max())
        dscore = max(abs(given[c]["score"] - wanted[c]["score"]) for c in names)
        near = [abs(wanted[c]["score"] - wanted[c]["threshold"]) <= bound for c in names]
        return dp, dscore, all(n or given[c]["positive"] == wanted[c]["positive"] for c, n in zip(names, near))
