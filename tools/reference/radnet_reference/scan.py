"""From slice probabilities to the scan's score, in float64."""

from __future__ import annotations

import numpy as np


def sigmoid(z: np.ndarray) -> np.ndarray:
    """σ without overflow."""
    z = np.asarray(z, dtype=np.float64)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def score(rule: dict, p: np.ndarray) -> float:
    """The score of one class from its slice probabilities p [S], S ≥ 1, inferior to superior."""
    p = np.asarray(p, dtype=np.float64)
    if rule["rule"] == "consecutive":
        n = min(rule["n"], len(p))
        return float(max(p[i : i + n].min() for i in range(len(p) - n + 1)))
    if rule["rule"] == "mean_top_k":
        return float(np.sort(p)[::-1][: rule["k"]].mean())
    return float(1 - np.prod(1 - p))


def decide(config: dict, p: np.ndarray) -> dict[str, dict]:
    """Per class the score, threshold and whether the scan is positive; p is [S, K]."""
    result = {}
    for k, name in enumerate(config["classes"]):
        s = score(config["scan"], p[:, k])
        threshold = config["thresholds"][name]
        result[name] = {"score": s, "threshold": threshold, "positive": s >= threshold}
    return result
