"""Writes tests/data/evaluate/*.json: data sets with what the reference packages say of them.

Run: pip install -r tools/evaluate-fixtures/requirements.txt && python tools/evaluate-fixtures/make.py
tests/evaluate_reference.rs compares the engine's figures with these.

Where each figure comes from:
  shares and Wilson intervals   statsmodels.stats.proportion.proportion_confint(method="wilson")
  F1, AUC, average precision    sklearn.metrics
  curves, Brier, log loss       sklearn.metrics; log loss of probabilities clipped to [1e-15, 1 - 1e-15]
  likelihood ratios             statsmodels.stats.proportion.confint_proportions_2indep(compare="ratio", method="log")
  AUC interval                  DeLong, DeLong and Clarke-Pearson (Biometrics 1988): none of the packages has it, so the published
                                structural components are summed naively here, O(mn), not in the engine's form
  calibration                   numpy, bins closed on the left (sklearn's calibration_curve closes them on the right)
  McNemar                       statsmodels.stats.contingency_tables.mcnemar(exact=True)
  Cohen's, Fleiss' kappa        sklearn.metrics.cohen_kappa_score, statsmodels.stats.inter_rater.fleiss_kappa
  bootstrap                     numpy: percentiles of 20,000 resamples (loosely compared)
What is undefined (0/0, or infinite) is null.
"""

import json
import math
import pathlib
import warnings

import numpy as np
from scipy.stats import norm
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "evaluate"
RSNA = ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any"]
warnings.filterwarnings("ignore")


def share(k, n):
    if n == 0:
        return {"value": None, "ci95": None}
    return {"value": k / n, "ci95": [float(v) for v in proportion_confint(k, n, alpha=0.05, method="wilson")]}


def table(truth, decision):
    tp, fp = int(np.sum(truth & decision)), int(np.sum(~truth & decision))
    fn, tn = int(np.sum(truth & ~decision)), int(np.sum(~truth & ~decision))
    f1 = metrics.f1_score(truth, decision, zero_division=np.nan)
    return {
        "tp": tp, "fp": fp, "fn": fn, "tn": tn,
        "accuracy": share(tp + tn, tp + fp + fn + tn), "sensitivity": share(tp, tp + fn), "specificity": share(tn, tn + fp),
        "ppv": share(tp, tp + fp), "npv": share(tn, tn + fn), "f1": None if math.isnan(f1) else float(f1),
    }


def likelihood_ratio(a, n, b, m):
    if n == 0 or m == 0 or b == 0:
        return {"value": None, "ci95": None}
    if a == 0:
        return {"value": 0.0, "ci95": None}
    ci = confint_proportions_2indep(a, n, b, m, compare="ratio", method="log")
    return {"value": (a / n) / (b / m), "ci95": [float(v) for v in ci]}


def delong(truth, p):
    x, y = p[truth], p[~truth]
    m, n = len(x), len(y)
    if m == 0 or n == 0:
        return {"value": None, "ci95": None}
    psi = np.where(y[None, :] < x[:, None], 1.0, np.where(y[None, :] == x[:, None], 0.5, 0.0))
    auc = psi.mean()
    assert abs(auc - metrics.roc_auc_score(truth, p)) < 1e-12
    if auc in (0.0, 1.0):
        return {"value": float(auc), "ci95": [float(auc)] * 2, "degenerate": True}
    if m == 1 or n == 1:
        return {"value": float(auc), "ci95": None}
    v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
    s10 = np.sum((v10 - auc) ** 2) / (m - 1)
    s01 = np.sum((v01 - auc) ** 2) / (n - 1)
    half = norm.ppf(0.975) * math.sqrt(s10 / m + s01 / n)
    return {"value": float(auc), "ci95": [float(max(0, auc - half)), float(min(1, auc + half))]}


def log_loss(truth, p):
    return float(metrics.log_loss(truth, np.clip(p, 1e-15, 1 - 1e-15), labels=[False, True]))


def calibration(truth, p):
    edges = np.array([b / 10 for b in range(1, 10)])
    bins, ece = [], 0.0
    which = np.digitize(p, edges, right=False)
    for b in range(10):
        inside = which == b
        n = int(inside.sum())
        mean_p, rate = (float(p[inside].mean()), float(truth[inside].mean())) if n else (None, None)
        bins.append({"n": n, "mean_p": mean_p, "rate": rate})
        ece += n / len(p) * abs(mean_p - rate) if n else 0.0
    return {"bins": bins, "ece": ece}


def curves(truth, p):
    out = {"roc": None, "pr": None, "youden": None}
    if truth.any() and not truth.all():
        fpr, tpr, thresholds = metrics.roc_curve(truth, p, drop_intermediate=False)
        out["roc"] = [[float(a), float(b)] for a, b in zip(fpr, tpr)]
        negatives, positives = int((~truth).sum()), int(truth.sum())
        exact = np.rint(tpr * positives).astype(int) * negatives - np.rint(fpr * negatives).astype(int) * positives
        out["youden"] = float(thresholds[1:][np.argmax(exact[1:])])
    if truth.any():
        precision, recall, _ = metrics.precision_recall_curve(truth, p)
        # From the highest score down, without the point (0, 1) that sklearn adds.
        out["pr"] = [[float(r), float(q)] for r, q in zip(recall[:-1][::-1], precision[:-1][::-1])]
    return out


def bootstrap(truth, p, decision, seed=1):
    random = np.random.default_rng(seed)
    f1, ap = [], []
    for _ in range(20_000 if len(truth) < 300 else 4_000):
        at = random.integers(0, len(truth), len(truth))
        t, d, q = truth[at], decision[at], p[at]
        denominator = 2 * np.sum(t & d) + np.sum(t & ~d) + np.sum(~t & d)
        if denominator:
            f1.append(2 * np.sum(t & d) / denominator)
        if t.any():
            ap.append(average_precision(t, q))
    interval = lambda values: [float(v) for v in np.percentile(values, [2.5, 97.5])] if values else None
    return {"f1": interval(f1), "average_precision": interval(ap)}


def average_precision(t, p):
    """sklearn's sum, without its overhead; checked against it on every data set."""
    order = np.argsort(-p, kind="stable")
    t, p = t[order], p[order]
    last = np.append(np.nonzero(np.diff(p))[0], len(p) - 1)
    tp = np.cumsum(t)[last]
    return float(np.sum(np.diff(tp, prepend=0) * tp / (last + 1)) / tp[-1])


def kappa(a, b):
    value = metrics.cohen_kappa_score(a, b)
    return None if math.isnan(value) else float(value)


def readers(truth, decision, reads):
    out = []
    for name, r in reads.items():
        right, model = r == truth, decision == truth
        cells = [[np.sum(right & model), np.sum(right & ~model)], [np.sum(~right & model), np.sum(~right & ~model)]]
        out.append({"name": name, **table(truth, r), "mcnemar_p": float(mcnemar(cells, exact=True).pvalue), "kappa": kappa(r, decision)})
    names = list(reads)
    pairs = [{"a": a, "b": b, "kappa": kappa(reads[a], reads[b])} for i, a in enumerate(names) for b in names[i + 1:]]
    counts, _ = aggregate_raters(np.stack([reads[n] for n in names], axis=1).astype(int), n_cat=2)
    fleiss = fleiss_kappa(counts)
    return out, {"fleiss": None if math.isnan(fleiss) else float(fleiss), "pairs": pairs}


def judge(name, truth, p, threshold=0.5, reads=None):
    truth, p = np.asarray(truth, bool), np.asarray(p, float)
    decision = p >= threshold
    t = table(truth, decision)
    if truth.any():
        ap = float(metrics.average_precision_score(truth, p))
        assert abs(ap - average_precision(truth, p)) < 1e-12
    else:
        ap = None
    expected = {
        **t,
        "lr_positive": likelihood_ratio(t["tp"], t["tp"] + t["fn"], t["fp"], t["fp"] + t["tn"]),
        "lr_negative": likelihood_ratio(t["fn"], t["tp"] + t["fn"], t["tn"], t["fp"] + t["tn"]),
        "auc": delong(truth, p), "average_precision": ap,
        "brier": float(metrics.brier_score_loss(truth, p, pos_label=True)) if truth.any() else float(np.mean(p**2)),
        "log_loss": log_loss(truth, p), "calibration": calibration(truth, p), "bootstrap": bootstrap(truth, p, decision),
    }
    if len(truth) <= 200:
        expected.update(curves(truth, p))
    document = {"truth": truth.astype(int).tolist(), "scores": p.tolist(), "threshold": threshold}
    if reads:
        reads = {n: np.asarray(r, bool) for n, r in reads.items()}
        document["reads"] = {n: r.astype(int).tolist() for n, r in reads.items()}
        expected["readers"], expected["kappa"] = readers(truth, decision, reads)
    write(name, {**document, "expected": expected})


def rsna(name, n, random):
    truth = {c: random.random(n) < 0.15 for c in RSNA[:5]}
    truth["any"] = np.any([truth[c] for c in RSNA[:5]], axis=0)
    scores = {c: np.round(np.clip(0.6 * truth[c] + 0.5 * random.random(n), 0, 1), 4) for c in RSNA}
    scores["any"][:2] = [0.0, 1.0]
    weights = [2.0 if c == "any" else 1.0 for c in RSNA]
    per_class = [log_loss(truth[c], scores[c]) for c in RSNA]
    write(name, {
        "ids": [f"ID_{i:09x}" for i in range(n)],
        "truth": {c: truth[c].astype(int).tolist() for c in RSNA}, "scores": {c: scores[c].tolist() for c in RSNA},
        "expected": {"log_loss": float(np.average(per_class, weights=weights)), "auc": delong(truth["any"], scores["any"])},
    })


def write(name, document):
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    (OUT / f"{name}.json").write_text(text + "\n")
    print(name, len(text))


def noisy(random, truth, spread):
    return np.clip(0.5 + 0.25 * (2.0 * truth - 1) + spread * random.standard_normal(len(truth)), 0, 1)


def main():
    random = np.random.default_rng(20261124)
    # The one table that fits the paper's figures: TP 39, FP 9, FN 5, TN 24.
    truth = np.repeat([1, 0, 1, 0], [39, 9, 5, 24])
    p = np.where(np.repeat([1, 1, 0, 0], [39, 9, 5, 24]) == 1, 0.5 + 0.5 * random.random(77), 0.5 * random.random(77))
    flip = lambda rate: np.where(random.random(len(truth)) < rate, 1 - truth, truth)
    judge("paper77", truth, np.round(p, 4), 0.5, {"R1": flip(0.1), "R2": flip(0.2), "R3": flip(0.3)})
    truth = (random.random(120) < 0.4).astype(int)
    judge("readers", truth, noisy(random, truth, 0.3), 0.4, {"a": flip(0.05), "b": flip(0.4), "c": truth, "d": np.zeros(120, int)})
    truth = (random.random(200) < 0.5).astype(int)
    judge("ties", truth, np.round(noisy(random, truth, 0.35), 1), 0.3)
    judge("small", [1, 0, 1, 0, 0, 1], [0.8, 0.7, 0.6, 0.3, 0.2, 0.1])
    truth = (random.random(1000) < 0.02).astype(int)
    judge("imbalanced", truth, np.round(noisy(random, truth, 0.2), 3), 0.6)
    judge("all_positive", [1] * 8, [0.1, 0.9, 0.5, 0.5, 0.7, 0.3, 0.2, 1.0])
    judge("all_negative", [0] * 8, [0.1, 0.9, 0.5, 0.5, 0.7, 0.3, 0.2, 0.0])
    judge("perfect", [1, 1, 1, 0, 0, 0, 0], [0.9, 0.8, 0.75, 0.4, 0.3, 0.2, 0.0], 0.5, {"x": [1] * 3 + [0] * 4, "y": [1] * 3 + [0] * 4})
    judge("inverted", [1, 1, 0, 0, 0], [0.1, 0.2, 0.8, 0.9, 0.7])
    judge("one_positive", [1] + [0] * 9, [0.5, 0.9, 0.1, 0.2, 0.3, 0.4, 0.45, 0.35, 0.05, 0.6])
    judge("chance", [1, 0] * 10, [0.5] * 20)
    judge("nothing_called", [1, 0, 1, 0, 0], [0.4, 0.3, 0.2, 0.1, 0.0], 0.9)
    edges = [b / 10 for b in range(11)] + [0.3 - 1e-16, 0.7 + 1e-16, 0.95, 1e-17]
    judge("edges", [i % 2 for i in range(len(edges))], edges, 0.1)
    rsna("rsna", 60, random)


if __name__ == "__main__":
    main()
