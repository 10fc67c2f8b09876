"""Figures for the model card."""

from __future__ import annotations

import math

import numpy as np


def auc(label: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half; NaN with one class only."""
    label = np.asarray(label) > 0
    positives, negatives = int(label.sum()), int((~label).sum())
    if positives == 0 or negatives == 0:
        return math.nan
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((rank[label].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def wilson(successes: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The 95 % score interval of a proportion; (0, 1) when n is 0."""
    if n == 0:
        return 0.0, 1.0
    p, d = successes / n, 1 + z * z / n
    centre, half = (p + z * z / (2 * n)) / d, z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    return max(0.0, centre - half), min(1.0, centre + half)


def dice(truth: np.ndarray, found: np.ndarray) -> float:
    """2|A∩B| / (|A|+|B|) of two boolean volumes; NaN when both are empty."""
    total = int(truth.sum()) + int(found.sum())
    return math.nan if total == 0 else 2 * int((truth & found).sum()) / total


def log_loss(score: np.ndarray, truth: np.ndarray) -> float:
    """Mean log loss of scores in [0, 1]; one that is wrong beyond 1e-6 counts as that."""
    return float(-np.log(np.clip(np.where(truth, score, 1 - score), 1e-6, 1)).mean())
