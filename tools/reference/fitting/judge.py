"""Areas under ROC curves per class, of slices and of scans by the model's rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radnet_reference import scan as rules
from training.metrics import auc


def slice_areas(classes: Sequence[str], label: np.ndarray, z: np.ndarray) -> dict[str, float]:
    """AUC per class over slices with a known label; classes seen with one value only are left out. label, z: [N, K]."""
    areas = {}
    for k, name in enumerate(classes):
        known = ~np.isnan(label[:, k])
        area = auc(label[known, k], z[known, k])
        if not np.isnan(area):
            areas[name] = area
    return areas


def scan_scores(config: dict, logits: Sequence[np.ndarray]) -> np.ndarray:
    """Scores [N, K] of scans from their slice logits [S, K]."""
    return np.array([[rules.score(config["scan"], p[:, k]) for k in range(p.shape[1])] for p in map(rules.sigmoid, logits)])


def whole(config: dict, logits: Sequence[np.ndarray], slices: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> dict:
    """Both, of whole scans: logits and slice labels [S, K], scan labels [K]."""
    classes = config["classes"]
    return {
        "scans": len(logits),
        "slice_auc": slice_areas(classes, np.concatenate(slices), np.concatenate(logits)),
        "scan_auc": slice_areas(classes, np.stack(labels), scan_scores(config, logits)),
    }


def balanced_thresholds(config: dict, logits: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> dict[str, float]:
    """Per class the middle of the thresholds with the best balanced accuracy, to two digits; 0.5 where it is among them or nothing can be told."""
    scores, truth = scan_scores(config, logits), np.stack(labels)
    chosen = {}
    for k, name in enumerate(config["classes"]):
        positive, negative = scores[truth[:, k] == 1, k], scores[truth[:, k] == 0, k]
        chosen[name] = 0.5
        if len(positive) and len(negative):
            candidates = np.arange(5, 96) / 100
            right = np.array([((positive >= t).mean() + (negative < t).mean()) / 2 for t in candidates])
            best = candidates[right >= right.max() - 1e-9]
            if not (np.abs(best - 0.5) < 1e-9).any():
                chosen[name] = float(best[len(best) // 2])
    return chosen
