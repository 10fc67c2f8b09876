"""The figures and pictures of the demo model's card, from the engine's own answers on held-out phantoms.

    card.py --model FILE --out DIR [--radnet target/release/radnet] [--phantom target/release/radnet-phantom] [--seeds 9000..9077]

Writes the phantoms as DICOM series with shifted settings, lets `radnet evaluate --run` judge them, and asks `radnet predict --maps` of every
scan where attention and segmentation point. What is there already is not made again, so a killed run goes on where it was.

OUT gets `labels.csv`, `evaluation.json`, `evaluation.html`, `maps.json` (per scan), `card.json` (the figures) and contact sheets of every
scan that was judged wrongly, and of the surest right ones, under `pictures/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from training.metrics import auc, dice, wilson

# The pointing game allows this distance between the peak and the object (Zhang et al., Top-down Neural Attention by Excitation Backprop, 2016).
TOLERANCE_PX = 15


def write_series(phantom: Path, seeds: range, out: Path) -> None:
    """DICOM under `out/series/SEED`, truth under `out/truth/SEED`."""
    for seed in seeds:
        folder, truth = out / "series" / str(seed), out / "truth" / str(seed)
        if (truth / "truth.json").exists():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        truth.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([phantom, "series", "--seed", str(seed), "--shift", "--out", folder, "--truth", truth], check=True)


def truth_of(out: Path, seed: int) -> dict:
    return json.loads((out / "truth" / str(seed) / "truth.json").read_text())


def evaluate(radnet: Path, model: Path, seeds: range, out: Path) -> dict:
    """`radnet evaluate --run` on all series."""
    with (out / "labels.csv").open("w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["id", "label"])
        rows.writerows([seed, int(truth_of(out, seed)["any"])] for seed in seeds)
    command = [radnet, "evaluate", "--labels", out / "labels.csv", "--run", out / "series", "--model", model, "--id", "folder"]
    command += ["--save", out / "results.jsonl", "--json", out / "evaluation.json", "--report", out / "evaluation.html"]
    subprocess.run(command, check=True)
    return json.loads((out / "evaluation.json").read_text())


def maps_of(radnet: Path, model: Path, seed: int, out: Path) -> dict:
    """One scan's answers, where its maps point, and its contact sheet under `out/sheets`."""
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        answer = Path(scratch) / "answer.json"
        command = [radnet, "predict", out / "series" / str(seed), "--model", model, "--maps", Path(scratch) / "maps", "--json", answer]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        result = json.loads(answer.read_text())["results"][0]
        files = {kind: next((Path(scratch) / "maps").glob(f"*_{kind}")) for kind in ("attention.npy", "segmentation.npy", "contact-sheet.png")}
        (out / "sheets").mkdir(exist_ok=True)
        shutil.copy(files["contact-sheet.png"], out / "sheets" / f"{seed}.png")
        attention = np.load(files["attention.npy"]).mean(axis=1)
        segmentation = np.load(files["segmentation.npy"]).mean(axis=1)
    truth = truth_of(out, seed)
    mask = np.load(out / "truth" / str(seed) / "mask.npy") > 0
    if [i["sop_instance_uid"] for i in truth["instances"]] != [s["sop_instance_uid"] for s in result["slices"]]:
        raise SystemExit(f"seed {seed}: the engine's slices are not those of the truth, in its order")
    labels = [s["any"] for s in truth["slices"]]
    return {
        "seed": seed,
        "types": truth["types"],
        "label": bool(truth["any"]),
        "score": result["scan"]["any"]["score"],
        "slice_label": labels,
        "slice_p": [s["probability"]["any"] for s in result["slices"]],
        "pointing": [pointing(mask[i], attention[i], segmentation[i]) for i, bleeding in enumerate(labels) if bleeding],
        "dice": dice(mask, segmentation >= 0.5) if truth["any"] else None,
    }


def pointing(mask: np.ndarray, attention: np.ndarray, segmentation: np.ndarray) -> dict:
    """Whether the middle of the attention's strongest cell, and the segmentation's strongest pixel, lie on the bleed give or take the
    tolerance; whether that cell holds any of the bleed; and how often a pixel drawn from the head would be within the tolerance."""
    rows, cols = np.nonzero(mask)
    height, width = mask.shape
    cell = np.array([height / attention.shape[0], width / attention.shape[1]])
    peak = np.array(np.unravel_index(attention.argmax(), attention.shape))
    top, left = peak * cell
    inside = (rows >= top) & (rows < top + cell[0]) & (cols >= left) & (cols < left + cell[1])
    return {
        "attention": near(rows, cols, (peak + 0.5) * cell - 0.5),
        "attention_cell": bool(inside.any()),
        "segmentation": near(rows, cols, np.unravel_index(segmentation.argmax(), segmentation.shape)),
        "chance": float(np.mean([near(rows, cols, point) for point in np.ndindex(height // 8, width // 8) for point in [np.array(point) * 8.0 + 3.5]])),
    }


def near(rows: np.ndarray, cols: np.ndarray, point) -> bool:
    return bool(((rows - point[0]) ** 2 + (cols - point[1]) ** 2).min() <= TOLERANCE_PX**2)


def figures(evaluation: dict, scans: list[dict]) -> dict:
    """What the card quotes."""
    threshold = evaluation["threshold"]

    def rate(hits: list[bool]) -> dict:
        k, n = int(sum(hits)), len(hits)
        return {"k": k, "n": n, "value": k / n if n else None, "ci95": wilson(k, n)}

    points = [p for s in scans for p in s["pointing"]]
    overlaps = [s["dice"] for s in scans if s["dice"] is not None]
    kinds = sorted({t for s in scans for t in s["types"]})
    return {
        "scans": len(scans),
        "slices": sum(len(s["slice_label"]) for s in scans),
        "threshold": threshold,
        **{k: evaluation[k] for k in ("tp", "fp", "fn", "tn", "accuracy", "sensitivity", "specificity", "ppv", "f1", "auc")},
        "slice_auc": auc(np.concatenate([s["slice_label"] for s in scans]), np.concatenate([s["slice_p"] for s in scans])),
        "found_by_type": {kind: rate([s["score"] >= threshold for s in scans if kind in s["types"]]) for kind in kinds},
        "pointing": {kind: rate([p[kind] for p in points]) for kind in ("attention", "attention_cell", "segmentation")},
        "pointing_chance": float(np.mean([p["chance"] for p in points])),
        "dice": {"mean": float(np.mean(overlaps)), "median": float(np.median(overlaps)), "scans": len(overlaps)},
        "wrong": [{k: s[k] for k in ("seed", "label", "types", "score")} for s in scans if (s["score"] >= threshold) != s["label"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--radnet", type=Path, default=Path("target/release/radnet"))
    parser.add_argument("--phantom", type=Path, default=Path("target/release/radnet-phantom"))
    parser.add_argument("--seeds", default="9000..9077")
    args = parser.parse_args()
    first, last = map(int, args.seeds.split(".."))
    seeds = range(first, last)
    args.out.mkdir(parents=True, exist_ok=True)
    write_series(args.phantom, seeds, args.out)
    evaluation = evaluate(args.radnet, args.model, seeds, args.out)
    cache = args.out / "maps.json"
    scans = json.loads(cache.read_text()) if cache.exists() else []
    for seed in seeds[len(scans) :]:
        scans.append(maps_of(args.radnet, args.model, seed, args.out))
        cache.write_text(json.dumps(scans))
        print(f"{len(scans)}/{len(seeds)} seed {seed}: {'bleed' if scans[-1]['label'] else 'none'}, score {scans[-1]['score']:.3f}", flush=True)
    result = figures(evaluation, scans)
    (args.out / "card.json").write_text(json.dumps(result, indent=1))
    pictures = args.out / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    for wrong in result["wrong"]:
        shutil.copy(args.out / "sheets" / f"{wrong['seed']}.png", pictures / f"wrong-{wrong['seed']}.png")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
