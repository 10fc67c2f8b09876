"""Runs a built `radnet predict` and gives back its results."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

# Where cargo leaves the program.
BUILT = Path(__file__).resolve().parents[3] / "target" / "release" / "radnet"


class EngineError(RuntimeError):
    """The program failed, or judged something else than it was given."""


def predict(
    radnet: Path, series: Sequence[Path], model: Path, device: str = "cpu", precision: str = "fp32", threads: int | None = None, maps: Path | None = None
) -> list[dict]:
    """One result a series folder, in the order given. The engine's cache of packed weights stays out of it: these models are met once."""
    command = [str(radnet), "predict", *map(str, series), "--model", str(model), "--device", device, "--precision", precision, "--json", "-"]
    command += ["--threads", str(threads)] if threads else []
    command += ["--maps", str(maps)] if maps else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, env={**os.environ, "RADNET_CACHE_DIR": ""})
    if done.returncode != 0:
        raise EngineError(f"{radnet.name}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    results = json.loads(done.stdout)["results"]
    if len(results) != len(series) or any(r["status"] != "ok" for r in results):
        raise EngineError(f"expected {len(series)} results: {json.dumps(results)[:300]}")
    return results
