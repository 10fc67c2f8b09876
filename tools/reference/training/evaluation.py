"""Figures of a finished model on held-out scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from radnet_reference import scan as rules
from radnet_reference.model import RadNet

from . import augment
from .data import Scan
from .metrics import auc, dice, wilson

SMALL_MM2 = 200.0


@torch.no_grad()
def look(model: RadNet, scan: Scan) -> dict:
    """One scan through the DenseNet: slice vectors, Dice, and per bleeding slice where attention and segmentation point."""
    size = tuple(model.config["input"]["size"])
    v, hits, overlaps = [], [], []
    for i in range(0, len(scan.hu), 4):
        hu = torch.from_numpy(scan.hu[i : i + 4].astype(np.float32))
        x = augment.windows(hu, model.config["input"]["channels"], None).contiguous(memory_format=torch.channels_last)
        feature_map, blocks = model.backbone(x)
        pooled, a = model.pool(feature_map)
        v.append(pooled)
        segmented = torch.stack([model.segmentation_map(b, block) for b, block in blocks.items()]).mean(dim=0)[:, 0]
        attended = F.interpolate(a.mean(dim=1, keepdim=True), size=size, mode="bilinear", align_corners=False)[:, 0]
        mask = torch.from_numpy(scan.mask[i : i + 4]) > 0
        overlaps.append((segmented >= 0.5, mask))
        hits += [pointing(m, at, seg) for m, at, seg, y in zip(mask, attended, segmented, scan.label[i : i + 4]) if y > 0]
    found, truth = (torch.cat([o[k] for o in overlaps]).numpy() for k in (0, 1))
    return {"v": torch.cat(v), "hits": hits, "dice": dice(truth, found) if scan.positive else None}


def cached_look(model: RadNet, scan: Scan, cache: Path) -> dict:
    """`look`, kept in `cache`, so that a killed run goes on where it was and several processes can share the work."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{scan.seed:08}.pt"
    if not path.exists():
        partial = path.with_suffix(".partial")
        torch.save(look(model, scan), partial)
        partial.replace(path)
    return torch.load(path, weights_only=True)


def pointing(mask: torch.Tensor, attended: torch.Tensor, segmented: torch.Tensor) -> dict:
    """Whether the peaks lie on the bleed or within 8 pixels of it; and how often a random point of the same margin would."""
    near = F.max_pool2d(mask[None, None].float(), 17, 1, 8)[0, 0] > 0
    return {
        "attention": bool(near.flatten()[attended.argmax()]),
        "segmentation": bool(near.flatten()[segmented.argmax()]),
        "chance": float(near.float().mean()),
    }


@torch.no_grad()
def evaluate(model: RadNet, scans: list[Scan], cache: Path) -> dict:
    """All figures that the model card quotes."""
    results = []
    for scan in scans:
        seen = cached_look(model, scan, cache)
        z = model.sequence(seen["v"].unsqueeze(0))[0, :, 0].numpy()
        results.append({**seen, "z": z, "score": rules.score(model.config["scan"], rules.sigmoid(z))})
    return summarise(scans, results, model.config["thresholds"]["any"])


def summarise(scans: list[Scan], results: list[dict], threshold: float) -> dict:
    """Counts with Wilson intervals, areas under curves, pointing game and Dice."""
    truth = np.array([s.positive for s in scans])
    score = np.array([r["score"] for r in results])
    called = score >= threshold
    labels = np.concatenate([s.label for s in scans])
    hits = [h for r in results for h in r["hits"]]
    overlaps = [r["dice"] for r in results if r["dice"] is not None]
    counts = {"tp": int((called & truth).sum()), "fp": int((called & ~truth).sum()), "fn": int((~called & truth).sum()), "tn": int((~called & ~truth).sum())}

    def rate(k: int, n: int) -> dict:
        return {"value": k / n if n else None, "of": [k, n], "ci95": wilson(k, n)}

    by_type = {}
    for kind in scans[0].meta["codes"]:
        having = np.array([kind in s.meta["types"] for s in scans])
        by_type[kind] = rate(int((called & having).sum()), int(having.sum()))
    return {
        "scans": len(scans),
        "slices": len(labels),
        **counts,
        "accuracy": rate(int((called == truth).sum()), len(scans)),
        "sensitivity": rate(counts["tp"], int(truth.sum())),
        "specificity": rate(counts["tn"], int((~truth).sum())),
        "scan_auc": auc(truth, score),
        "slice_auc": auc(labels, np.concatenate([r["z"] for r in results])),
        "sensitivity_by_type": by_type,
        "pointing": {k: float(np.mean([h[k] for h in hits])) for k in ("attention", "segmentation", "chance")} if hits else None,
        "bleeding_slices": len(hits),
        "dice": {"mean": float(np.mean(overlaps)), "median": float(np.median(overlaps))} if overlaps else None,
        "per_scan": [{"seed": s.seed, "positive": s.positive, "types": s.meta["types"], "score": r["score"]} for s, r in zip(scans, results)],
    }
