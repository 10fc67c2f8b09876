"""What a run leaves: checkpoints, the log, curves, TensorBoard events, progress lines. Only the first process has one that writes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch

from .parallel import Group


class ResumeError(ValueError):
    """A checkpoint that does not belong to this run."""


class Journal:
    """The work folder of a run."""

    def __init__(self, work: Path, group: Group, tensorboard: bool = True):
        self.work, self.group, self.started = work, group, time.monotonic()
        work.mkdir(parents=True, exist_ok=True)
        self._events = _writer(work / "tensorboard") if group.first and tensorboard else None

    def say(self, text: str) -> None:
        if self.group.first:
            print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def save(self, name: str, state: dict, identity: str) -> None:
        """Replaces the checkpoint at once or not at all."""
        if not self.group.first:
            return
        path = self.work / f"{name}.pt"
        partial = path.with_suffix(".partial")
        torch.save({**state, "identity": identity}, partial)
        os.replace(partial, path)

    def load(self, name: str, identity: str) -> dict | None:
        """The checkpoint, or None. One written under other settings or data is an error."""
        path = self.work / f"{name}.pt"
        if not path.exists():
            return None
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state.pop("identity") != identity:
            raise ResumeError(f"{path} was written under other settings or data; take another folder, or remove it to start over")
        return state

    def log(self, rows: list[dict], stage: str) -> None:
        """Rewrites `STAGE.log.json`, one row a line."""
        if self.group.first:
            partial = self.work / f"{stage}.log.partial"
            partial.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
            os.replace(partial, self.work / f"{stage}.log.json")

    def events(self, stage: str, row: dict) -> None:
        """One row to TensorBoard, where it is installed."""
        if self._events:
            for name, value in row.items():
                if isinstance(value, float):
                    self._events.add_scalar(f"{stage}/{name}", value, row["step"])
            self._events.flush()


def _writer(folder: Path):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def shown(row: dict) -> str:
    """A progress line of a row's numbers."""
    return " ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
