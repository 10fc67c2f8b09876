"""The whole road in one command: phantoms, a tiny RADnet from nothing, held-out DICOM series judged by the engine and by PyTorch."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from datasets.kinds import open_entries
from datasets.source import label_arrays
from radnet_reference import dicom, engine, preprocess, scan, weights

from . import judge, parallel, run
from .settings import Settings, Stage1, Stage2, parse

ROOT = Path(__file__).resolve().parents[3]
SIZE = 128
MODEL = {
    "input": {"size": [SIZE, SIZE]},
    "backbone": {"init_features": 16, "growth_rate": 12, "block_config": [2, 4, 4]},
    "segmentation": [1, 2, 3],
    "rnn": {"kind": "lstm", "hidden": 32, "layers": 1, "bidirectional": True},
}
NAME, INTENDED_USE = "radnet-tiny", "Software testing only. Trained for minutes on synthetic phantoms; not for any use on patients."
TRAINING, VALIDATION, HELD_OUT = 1_000, 5_000, 8_000
LEAST_AUC, GREATEST_DP = 0.9, 1e-4


class RoadError(RuntimeError):
    """A program that failed, or gave something else than was asked."""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    training: int = 160
    validation: int = 24
    held_out: int = 40
    steps: int = 700
    epochs: int = 30


def settings(size: Size, seed: int) -> Settings:
    stage1 = Stage1(steps=size.steps, batch=16, lr=3e-3, ema=0.99, validate_every=max(1, size.steps // 4), validation_slices=400, calibrate_slices=256)
    stage2 = Stage2(epochs=size.epochs, batch=8, lr=4e-3)
    plain = parse({"model": MODEL, "seed": seed, "name": NAME, "intended_use": INTENDED_USE})
    return replace(plain, stage1=stage1, stage2=stage2, log_every=50, checkpoint_every=100)


def tiny(work: Path, phantom: Path | None, radnet: Path | None, size: Size, seed: int = 1) -> int:
    """Runs everything; 0 when the areas exceed LEAST_AUC and engine and PyTorch agree within GREATEST_DP."""
    phantom, radnet = (p.resolve() if p else build(name) for p, name in ((phantom, "radnet-phantom"), (radnet, "radnet")))
    started = time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    generate(phantom, work, size)
    group = parallel.start("cpu")
    phase(started, "phantoms are there")
    model = run.fit(settings(size, seed), [f"phantom:{work / 'training'}"], [f"phantom:{work / 'validation'}"], work / "run", group)
    phase(started, "trained and converted")
    figures = compare(radnet, model, work)
    figures["seconds"] = round(time.monotonic() - started)
    (work / "tiny.json").write_text(json.dumps(figures, indent=1) + "\n")
    passed = figures["slice_auc"] > LEAST_AUC and figures["scan_auc"] > LEAST_AUC and figures["dp"] <= GREATEST_DP and not figures["flipped"]
    print(
        f"{'PASS' if passed else 'FAIL'}: {figures['scans']} held-out DICOM series through the engine: slice AUC {figures['slice_auc']:.4f}, scan AUC "
        f"{figures['scan_auc']:.4f} (wanted > {LEAST_AUC}); engine against PyTorch: largest |dp| {figures['dp']:.1e} (wanted <= {GREATEST_DP:.0e}), "
        f"{figures['flipped']} verdicts differ; {figures['seconds']} s",
        flush=True,
    )
    return 0 if passed else 1


def phase(started: float, text: str) -> None:
    print(f"--- {text}, {time.monotonic() - started:.0f} s since the start", flush=True)


def build(program: str) -> Path:
    """A program of this repository, built by cargo."""
    if shutil.which("cargo") is None:
        raise FileNotFoundError(f"no cargo to build {program} with; give its path")
    package = ["-p", program] if program == "radnet-phantom" else ["--bin", program]
    subprocess.run(["cargo", "build", "--release", "--quiet", *package], cwd=ROOT, check=True)
    return ROOT / "target" / "release" / program


def generate(phantom: Path, work: Path, size: Size) -> None:
    """Arrays to train on; DICOM series with their truth to judge by, and their labels as `radnet evaluate` reads them. Nothing is made twice."""
    for name, first, count in (("training", TRAINING, size.training), ("validation", VALIDATION, size.validation)):
        missing = [s for s in range(first, first + count) if not (work / name / f"seed_{s:08}" / "meta.json").exists()]
        if missing:
            command(phantom, "export", "--seeds", f"{missing[0]}..{first + count}", "--size", SIZE, "--out", work / name)
    seeds = [s for s in range(HELD_OUT, HELD_OUT + size.held_out) if not (work / "heldout" / f"{s}-truth" / "truth.json").exists()]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda s: command(phantom, "series", "--seed", s, "--size", SIZE, "--out", work / "heldout" / str(s)), seeds))
    truths = [json.loads(path.read_text()) for path in sorted((work / "heldout").glob("*-truth/truth.json"))]
    rows = [f"{t['study_instance_uid']},{int(t['any'])}" for t in truths]
    (work / "heldout-labels.csv").write_text("\n".join(["id,label", *rows]) + "\n")


def command(program: Path, *arguments) -> str:
    """What a program prints; an error carries what it complained of."""
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RoadError(f"{program.name} {arguments[0]}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


@torch.no_grad()
def compare(radnet: Path, path: Path, work: Path) -> dict:
    """The engine's areas on the held-out series and its largest differences from PyTorch, which reads the same DICOM files."""
    model, _ = weights.load(path)
    entries = open_entries(f"phantom:{work / 'heldout'}")
    folders = [work / "heldout" / e.patient.removeprefix("phantom:") for e in entries]
    logits, slices, labels, rows = [], [], [], []
    for entry, folder, result in zip(entries, folders, engine.predict(radnet, folders, path)):
        name, series = folder.name, dicom.read(folder)
        if [s["sop_instance_uid"] for s in result["slices"]] != series.sop_uids:
            raise engine.EngineError(f"series {name}: engine and PyTorch see other slices")
        z = model(preprocess.prepare(series.hu, model.config["input"], series.spacing)).double().numpy()
        found = np.array([[s["logit"]["any"]] for s in result["slices"]])
        decided = scan.decide(model.config, scan.sigmoid(z))["any"]
        p = np.array([s["probability"]["any"] for s in result["slices"]])
        row = {"dz": float(np.abs(found - z).max()), "dp": float(np.abs(p - scan.sigmoid(z)[:, 0]).max())}
        row |= {"dscore": abs(result["scan"]["any"]["score"] - decided["score"]), "flipped": result["scan"]["any"]["positive"] != decided["positive"]}
        rows.append(row)
        truth = label_arrays(entry, entry.read().slice_ids, ["any"])
        logits.append(found), slices.append(truth[0]), labels.append(truth[1])
        print(f"series {name}: {len(z)} slices, truth {int(truth[1][0])}, engine {result['scan']['any']['score']:.4f}, PyTorch {decided['score']:.4f}, largest |dp| {row['dp']:.1e}", flush=True)
    areas = judge.whole(model.config, logits, slices, labels)
    worst = {k: max(r[k] for r in rows) for k in ("dz", "dp", "dscore")}
    return {"scans": len(rows), "slice_auc": areas["slice_auc"]["any"], "scan_auc": areas["scan_auc"]["any"], **worst, "flipped": sum(r["flipped"] for r in rows)}
