"""Slice vectors of whole scans: computed once and kept on disk (cached), or anew with gradients (end to end)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from radnet_reference.model import RadNet

from . import augment
from .cases import Case
from .parallel import Group
from .precision import Precision
from .settings import Augment


def volume(case: Case, config: dict, strength: Augment | None = None, generator: torch.Generator | None = None) -> Tensor:
    """x [S, C, H, W] of a scan. With a generator the scan is augmented as one: all slices move alike and share kernel, density and windows."""
    hu = torch.from_numpy(case.scan.hu().astype(np.float32)).unsqueeze(0)
    channels = config["input"]["channels"]
    if generator is not None:
        hu, _ = augment.move(hu, torch.zeros_like(hu[:, 0]), strength, generator)
        hu = augment.density(augment.kernel(hu, strength, generator), strength, generator)
    places = augment.offsets(channels)
    index = torch.arange(hu.shape[1])
    stack = torch.stack([hu[0, (index + o).clamp(0, len(index) - 1)] for o in places], dim=1)
    return augment.normalised(augment.windows(stack, places, channels, None, None), config["input"]).contiguous(memory_format=torch.channels_last)


def encode(model: RadNet, x: Tensor, chunk: int, precision: Precision) -> Tensor:
    """v [S, D] of x [S, C, H, W], `chunk` slices at a time. With gradients, a chunk's activations are computed again on the way back."""
    def part(piece: Tensor) -> Tensor:
        with precision.autocast():
            return model.pool(model.backbone(piece)[0])[0].float()

    pieces = [p.to(precision.device) for p in x.split(chunk)]
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(part, p, use_reentrant=False) for p in pieces])
    return torch.cat([part(p) for p in pieces])


def digest(model: RadNet) -> str:
    """Of everything that slice vectors depend on."""
    h = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if name.startswith(("features.", "attention.")) and tensor.is_floating_point():
            h.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return h.hexdigest()[:12]


class Store:
    """Slice vectors on disk, one file a scan, in a folder that the network's weights name."""

    def __init__(self, work: Path, model: RadNet):
        self.folder = work / f"vectors-{digest(model)}"

    @torch.no_grad()
    def fill(self, model: RadNet, cases: Sequence[Case], chunk: int, precision: Precision, group: Group, say) -> None:
        """Encodes what is missing; processes share the work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [c for c in cases if not self._path(c).exists()]
        group.barrier()
        if missing:
            say(f"encoding {len(missing)} scans")
        model.eval()
        for case in missing[group.rank :: group.world]:
            v = encode(model, volume(case, model.config), chunk, precision).cpu().numpy()
            partial = self._path(case).with_name(f".{case.key}.{os.getpid()}.npy")
            np.save(partial, v)
            os.replace(partial, self._path(case))
        group.barrier()

    def vectors(self, case: Case) -> Tensor:
        return torch.from_numpy(np.load(self._path(case)))

    def _path(self, case: Case) -> Path:
        return self.folder / f"{case.key}.npy"
