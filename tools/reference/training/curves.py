"""The training curves as one PNG."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def draw(slices: list[dict], scans: list[dict], out: Path) -> None:
    """Stage 1's terms and batch AUC by step; stage 2's losses and validation figures by epoch."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.6))
    steps = [row["step"] for row in slices]
    for term in ("seg1", "seg2", "seg3", "att", "slice"):
        axes[0].plot(steps, [row[term] for row in slices], label=term, lw=1)
    axes[0].set(title="stage 1: weighted losses", xlabel="step", yscale="log")
    axes[1].plot(steps, [row["auc"] for row in slices], lw=1)
    axes[1].set(title="stage 1: AUC within training batches", xlabel="step", ylim=(0.5, 1.0))
    for row, following in zip(slices, slices[1:]):
        if row["phase"] != following["phase"]:
            for axis in axes[:2]:
                axis.axvline(following["step"], color="grey", lw=0.6)
            axes[1].text(following["step"], 0.52, f" {following['phase']}", fontsize=7)
    epochs = [row["epoch"] for row in scans]
    for name in ("train", "validation", "slice_auc", "accuracy"):
        axes[2].plot(epochs, [row[name] for row in scans], label=name, lw=1)
    axes[2].set(title="stage 2: whole scans", xlabel="epoch")
    axes[0].legend(fontsize=7)
    axes[2].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    plt.close(figure)


def draw_tail(epochs: list[dict], out: Path) -> None:
    """The tail's losses, and what it does on the validation scans, by epoch."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    at = [row["epoch"] for row in epochs]
    for axis, names, title in ((axes[0], ("train", "validation"), "tail: loss"), (axes[1], ("slice_auc", "auc_1", "auc_2", "best_1", "best_2"), "tail: validation scans")):
        for name in names:
            axis.plot(at, [row[name] for row in epochs], label=name, lw=1)
        axis.set(title=title, xlabel="epoch")
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    plt.close(figure)
