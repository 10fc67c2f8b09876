"""Augmentation on HU: one affine resampling, then kernel, density and noise, then jittered windows. hu [B, O, H, W]: O neighbouring slices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .settings import Augment

AIR_HU = -1024.0
# Below this a value is air, which a change of the scanner's gain leaves alone.
TISSUE_HU = -200.0


def offsets(channels: Sequence[dict]) -> list[int]:
    """The distinct slice offsets of a model's channels."""
    return sorted({c["slice_offset"] for c in channels})


def _spread(batch: int, limit: float, generator: torch.Generator) -> Tensor:
    """Uniform in ±limit, [B]."""
    return (torch.rand(batch, generator=generator) * 2 - 1) * limit


def move(hu: Tensor, mask: Tensor, strength: Augment, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rotated, scaled, shifted, mirrored; the mask [B, H, W] moves along. What comes in from outside is air."""
    batch, _, height, width = hu.shape
    angle = _spread(batch, math.radians(strength.rotation_deg), generator)
    scale = torch.exp(_spread(batch, strength.scale, generator))
    mirror = torch.where(torch.rand(batch, generator=generator) < strength.mirror, -1.0, 1.0)
    shift = torch.randn(batch, 2, generator=generator) * 2 * strength.shift
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # In normalised coordinates a rotation has to know the shape of the slice.
    rows = torch.stack([cos * mirror, -sin * (height / width), shift[:, 0]], dim=1)
    cols = torch.stack([sin * mirror * (width / height), cos, shift[:, 1]], dim=1)
    grid = F.affine_grid(torch.stack([rows, cols], dim=1), [batch, 1, height, width], align_corners=False)
    both = torch.cat([hu - AIR_HU, mask.unsqueeze(1)], dim=1)
    both = F.grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return both[:, :-1] + AIR_HU, both[:, -1]


def kernel(hu: Tensor, strength: Augment, generator: torch.Generator) -> Tensor:
    """Other reconstruction kernels: a third of the slices smoother, a third sharper."""
    batch = hu.shape[0]
    share = torch.rand(batch, generator=generator) * strength.kernel
    choice = torch.randint(3, (batch,), generator=generator)
    share = (share * torch.tensor([0.0, 1.0, -0.5])[choice]).view(batch, 1, 1, 1)
    blurred = F.avg_pool2d(F.pad(hu, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return hu + share * (blurred - hu)


def density(hu: Tensor, strength: Augment, generator: torch.Generator) -> Tensor:
    """Offset, gain and noise of a scanner; half of the noise is coarse."""
    batch = hu.shape[0]
    one = (batch, 1, 1, 1)
    offset = torch.randn(one, generator=generator) * strength.offset_hu
    gain = 1 + torch.randn(one, generator=generator) * strength.gain
    noise = torch.randn(hu.shape, generator=generator) * (torch.rand(one, generator=generator) * strength.noise_hu)
    # The mean of nine independent values has a third of their spread.
    coarse = F.avg_pool2d(noise, 3, 1, 1) * 3
    noise = torch.where(torch.rand(one, generator=generator) < 0.5, coarse, noise)
    return hu * torch.where(hu > TISSUE_HU, gain, torch.ones_like(gain)) + offset + noise


def windows(hu: Tensor, places: Sequence[int], channels: Sequence[dict], strength: Augment | None, generator: torch.Generator | None) -> Tensor:
    """x [B, C, H, W]; `places` are the offsets along hu's second axis. Without a generator exactly the model's windows."""
    planes = []
    for channel in channels:
        level, width = channel["window"]["level"], channel["window"]["width"]
        if generator is not None:
            level = level + width * strength.level * torch.randn(hu.shape[0], 1, 1, generator=generator)
            width = width * torch.exp(strength.width * torch.randn(hu.shape[0], 1, 1, generator=generator))
        plane = hu[:, places.index(channel["slice_offset"])]
        planes.append(((plane - (level - width / 2)) / width).clamp(0, 1))
    return torch.stack(planes, dim=1)


def normalised(x: Tensor, part: dict) -> Tensor:
    """(v − mean) / std of model.md, rule 4; `part` is a config's `input`."""
    mean, std = (torch.tensor(part[k]).view(1, -1, 1, 1) for k in ("mean", "std"))
    return (x - mean) / std
