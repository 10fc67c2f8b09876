"""Scans at the network's size on disk: int16 HU and masks, memory-mapped, so that training never holds a data set in memory.

One folder per geometry (size, spacing, outside value), three files a scan: KEY.npy [S, H, W] int16, KEY.mask.npy [S, H, W] uint8 with
coverage in 1/255 (only where a mask exists), KEY.json, written last. Labels are not kept here: they come from the data set each time.
HU are rounded to whole numbers after resizing; windows are applied when a batch is made.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from radnet_reference import preprocess

from .source import Entry, Volume

# A slice with fewer pixels than this above HEAD_HU shows no head.
HEAD_HU, HEAD_SHARE = -200, 0.02
OPEN_FILES = 128


@dataclass(frozen=True)
class Prepared:
    """A scan in the cache; `head` says which slices show one."""

    key: str
    slice_ids: list[str]
    head: np.ndarray
    has_mask: bool
    folder: Path

    def hu(self) -> np.ndarray:
        """int16 [S, H, W], mapped."""
        return _mapped(str(self.folder / f"{self.key}.npy"))

    def mask(self) -> np.ndarray | None:
        """uint8 [S, H, W], mapped: 255 where the pixel is all blood."""
        return _mapped(str(self.folder / f"{self.key}.mask.npy")) if self.has_mask else None


@lru_cache(OPEN_FILES)
def _mapped(path: str) -> np.ndarray:
    return np.load(path, mmap_mode="r")


class Cache:
    """The folder for one geometry; `part` is a config's `input`."""

    def __init__(self, root: Path, part: dict):
        self.part = {k: part[k] for k in ("size", "spacing_mm", "outside_hu")}
        digest = hashlib.sha256(json.dumps(self.part, sort_keys=True).encode()).hexdigest()[:12]
        self.folder = root / f"scans-{digest}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def open(self, key: str) -> Prepared | None:
        """A prepared scan, or None."""
        path = self.folder / f"{key}.json"
        if not path.exists():
            return None
        known = json.loads(path.read_text())
        return Prepared(key, known["slice_ids"], np.array(known["head"], bool), known["mask"], self.folder)

    def prepare(self, entries: list[Entry], workers: int, say: Callable[[str], None] = print) -> dict[str, str]:
        """Prepares what is missing. A scan that cannot be read does not stop the others: key and reason are returned."""
        todo = [e for e in entries if not (self.folder / f"{e.key}.json").exists()]
        if not todo:
            return {}
        say(f"preparing {len(todo)} of {len(entries)} scans at {self.part['size'][0]} x {self.part['size'][1]} with {workers} processes")
        failures, started = {}, time.monotonic()
        for done, (key, problem) in enumerate(self._run(todo, workers), start=1):
            if problem:
                failures[key] = problem
                say(f"left out {key}: {problem}")
            if done % max(100, len(todo) // 20) == 0:
                say(f"prepared {done} of {len(todo)}, {time.monotonic() - started:.0f} s")
        return failures

    def _run(self, todo: list[Entry], workers: int):
        if workers < 2:
            for entry in todo:
                yield entry.key, _store(self.folder, self.part, entry.key, entry.read)
            return
        with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            waiting = {pool.submit(_store, self.folder, self.part, e.key, e.read): e.key for e in todo}
            for future in as_completed(waiting):
                yield waiting[future], future.result()


def fit(volume: Volume, part: dict) -> tuple[np.ndarray, np.ndarray | None]:
    """HU int16 and mask coverage uint8 [S, H, W]: the model's own geometry, the mask through the same filter."""
    hu = preprocess.geometry(torch.from_numpy(volume.hu.astype(np.float32)), part, volume.spacing)
    mask = None
    if volume.mask is not None:
        share = preprocess.geometry(torch.from_numpy(volume.mask.astype(np.float32)), {**part, "outside_hu": 0.0}, volume.spacing)
        mask = np.rint(share.clamp(0, 1).numpy() * 255).astype(np.uint8)
    return np.clip(np.rint(hu.numpy()), -1024, 3071).astype(np.int16), mask


def _store(folder: Path, part: dict, key: str, read: Callable[[], Volume]) -> str | None:
    """Why it failed, or None. Whatever a reader of foreign files raises ends here and is reported."""
    try:
        volume = read()
        hu, mask = fit(volume, part)
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    _save(folder / f"{key}.npy", hu)
    if mask is not None:
        _save(folder / f"{key}.mask.npy", mask)
    head = ((hu > HEAD_HU).mean(axis=(1, 2)) > HEAD_SHARE).tolist()
    partial = folder / f".{key}.json.{os.getpid()}"
    partial.write_text(json.dumps({"slice_ids": volume.slice_ids, "head": head, "mask": mask is not None}))
    os.replace(partial, folder / f"{key}.json")
    return None


def _save(path: Path, values: np.ndarray) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.npy")
    np.save(partial, values)
    os.replace(partial, path)
