"""The curves of a run as one PNG."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

_SILENT = ("step", "lr", "epoch", "scans")


def draw(stage1: list[dict], stage2: list[dict], out: Path) -> None:
    """Losses and areas of both stages by step."""
    figure, axes = plt.subplots(1, 4, figsize=(16, 3.6))
    for axis, rows, title, wanted in (
        (axes[0], stage1, "stage 1: weighted losses", lambda k: not k.startswith("auc ")),
        (axes[1], stage1, "stage 1: validation AUC of slices", lambda k: k.startswith("auc ")),
        (axes[2], stage2, "stage 2: losses", lambda k: k in ("train", "validation")),
        (axes[3], stage2, "stage 2: validation AUC", lambda k: k.startswith(("slice ", "scan "))),
    ):
        for name in dict.fromkeys(k for row in rows for k in row if k not in _SILENT and wanted(k)):
            points = [(row["step"], row[name]) for row in rows if name in row]
            axis.plot(*zip(*points), label=name, lw=1, marker="." if len(points) < 30 else None)
        axis.set(title=title, xlabel="step")
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    plt.close(figure)
