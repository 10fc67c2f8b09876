"""Checks a built `radnet` against PyTorch in float64, from DICOM to probabilities and scan scores.

    parity.py [--radnet target/release/radnet] [--only NAME ...] [--threads N] [--keep DIR]

Random DenseNet-121 and -169 at 256 and odd sizes, and the shapes of golden.py at other matrices; every series is written as DICOM, read
back by pydicom here and by `radnet` there. Prints a table; exits 1 when a tolerance is exceeded or `radnet` fails.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import golden
from radnet_reference import config as cfg
from radnet_reference import dicom, engine, preprocess, scan, weights
from radnet_reference.model import RadNet
from radnet_reference.random_model import random_hu, randomise

# The specification's tolerances of fp32 against the float64 oracle.
LOGIT_RELATIVE = 1e-3
PROBABILITY = 1e-4


def large(arch: str, size: list[int], **changes) -> dict:
    config = cfg.standard(arch)
    config["input"]["size"] = size
    return {**config, **changes}


def cases() -> dict[str, tuple[dict, list[int], int, str]]:
    """name: config, matrix of the DICOM series, slices, storage."""
    five = {"classes": golden.FIVE, "thresholds": {c: 0.5 for c in golden.FIVE}}
    table = {
        "densenet121": (large("densenet121", [256, 256]), [512, 512], 3, "F32"),
        "densenet121-odd-f16": (large("densenet121", [161, 203]), [200, 180], 2, "F16"),
        "densenet169": (large("densenet169", [256, 256]), [512, 512], 2, "F32"),
        "densenet169-gru-five": (large("densenet169", [128, 97], rnn=golden.rnn("gru", 40, 2), attention=golden.attention("softmax", 2), **five), [129, 131], 3, "BF16"),
    }
    for i, (name, case) in enumerate(golden.CASES.items()):
        height, width = case["size"]
        matrix = case.get("matrix", [height * 2 + 1 + i % 3, width + 13])
        table[name] = (golden.case_config(case), matrix, case["slices"], case.get("storage", "F32"))
    return table


def check(name: str, case: tuple, folder: Path, radnet: Path, threads: int | None, seed: int) -> dict:
    """One row of the table: the largest deviations, and whether they are within tolerance."""
    config, matrix, slices, storage = copy.deepcopy(case)
    spacing = (3.3, 3.1) if config["input"]["spacing_mm"] else (0.45, 0.47)
    dicom.write(random_hu(slices, *matrix, seed), folder / "series", spacing)
    series = dicom.read(folder / "series")
    x = preprocess.prepare(series.hu, config["input"], series.spacing, torch.float32)
    model = randomise(RadNet(config), x, seed, storage, golden.CASES.get(name, {}).get("hard", False))
    path = folder / "model.safetensors"
    weights.save(model, path, f"parity-{name}", "1", golden.INTENDED_USE, storage)
    with torch.no_grad():
        z32 = model(x).double().numpy()
        z = model.double()(preprocess.prepare(series.hu, config["input"], series.spacing, torch.float64)).numpy()
    started = time.monotonic()
    (found,) = engine.predict(radnet, [folder / "series"], path, threads=threads)
    return {**compare(config, series, z, found), "torch_dz": float(np.abs(z32 - z).max()), "seconds": time.monotonic() - started}


def compare(config: dict, series: dicom.Series, z: np.ndarray, found: dict) -> dict:
    """Largest |Δz|/max(1, |z|), |Δp| and |Δscore|, and the verdict."""
    uids = [s["sop_instance_uid"] for s in found["slices"]]
    if uids != series.sop_uids:
        raise engine.EngineError("slices differ in number or order")
    names, p = config["classes"], scan.sigmoid(z)
    z_found = np.array([[s["logit"][c] for c in names] for s in found["slices"]])
    p_found = np.array([[s["probability"][c] for c in names] for s in found["slices"]])
    expected = scan.decide(config, p)
    dz = float((np.abs(z_found - z) / np.maximum(1, np.abs(z))).max())
    dp = float(np.abs(p_found - p).max())
    ds = max(abs(found["scan"][c]["score"] - expected[c]["score"]) for c in names)
    flipped = [c for c in names if found["scan"][c]["positive"] != expected[c]["positive"] and abs(expected[c]["score"] - expected[c]["threshold"]) > PROBABILITY]
    return {"dz": dz, "dp": dp, "ds": ds, "ok": dz <= LOGIT_RELATIVE and dp <= PROBABILITY and ds <= PROBABILITY and not flipped}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--radnet", type=Path, default=engine.BUILT)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", type=Path, help="leave series and models here")
    args = parser.parse_args()
    table = {n: c for n, c in cases().items() if args.only is None or n in args.only}
    failures = 0
    print(f"{'model':24} {'size':>9} {'slices':>6} {'max dz':>9} {'(torch)':>9} {'max dp':>9} {'dscore':>9} {'s':>6}")
    for i, (name, case) in enumerate(table.items()):
        with tempfile.TemporaryDirectory() as scratch:
            folder = (args.keep or Path(scratch)) / name
            try:
                row = check(name, case, folder, args.radnet, args.threads, 500 + i)
            except (RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
                failures += 1
                print(f"{name:24} FAILED: {error}", flush=True)
                continue
        failures += not row["ok"]
        size = "x".join(map(str, case[0]["input"]["size"]))
        print(f"{name:24} {size:>9} {case[2]:>6} {row['dz']:9.1e} {row['torch_dz']:9.1e} {row['dp']:9.1e} {row['ds']:9.1e} {row['seconds']:6.1f} {'ok' if row['ok'] else 'EXCEEDED'}", flush=True)
    print(f"{len(table) - failures} of {len(table)} within tolerance (|dz| <= {LOGIT_RELATIVE}*max(1,|z|), |dp| <= {PROBABILITY})")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
