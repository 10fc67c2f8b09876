"""From a HU volume to the network's input: geometry and channels of the specification, in the dtype of the volume given.

float32 is what the engine computes; float64 is the oracle.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def resize(hu: Tensor, size: tuple[int, int]) -> Tensor:
    """[S, rows, cols] → [S, *size]: bilinear, half-pixel centres, antialiased."""
    if tuple(hu.shape[1:]) == tuple(size):
        return hu
    return F.interpolate(hu.unsqueeze(1), size=size, mode="bilinear", align_corners=False, antialias=True).squeeze(1)


def resampled_extent(rows: int, cols: int, spacing: tuple[float, float], target: float) -> tuple[int, int]:
    """Rows and columns after resampling pixels of `spacing` (row, column) mm to `target` mm."""
    return tuple(max(1, math.floor(n * s / target + 0.5)) for n, s in zip((rows, cols), spacing))


def centre(hu: Tensor, size: tuple[int, int], outside: float) -> Tensor:
    """Centre-crops or pads [S, rows, cols] to `size`; the offset is floor((n − size)/2), negative where it pads."""
    out = torch.full((hu.shape[0], *size), outside, dtype=hu.dtype)
    source, target = [], []
    for n, m in zip(hu.shape[1:], size):
        offset = (n - m) // 2
        source.append(slice(max(offset, 0), max(offset, 0) + min(n, m)))
        target.append(slice(max(-offset, 0), max(-offset, 0) + min(n, m)))
    out[:, target[0], target[1]] = hu[:, source[0], source[1]]
    return out


def geometry(hu: Tensor, part: dict, spacing: tuple[float, float] | None) -> Tensor:
    """The volume at the network's size; `part` is the config's `input`, `spacing` the pixels' (row, column) mm."""
    size = tuple(part["size"])
    if part["spacing_mm"] is None:
        return resize(hu, size)
    if spacing is None:
        raise ValueError("input.spacing_mm is set and the series has no PixelSpacing")
    extent = resampled_extent(hu.shape[1], hu.shape[2], spacing, part["spacing_mm"])
    return centre(resize(hu, extent), size, part["outside_hu"])


def channels(hu: Tensor, part: dict) -> Tensor:
    """[S, H, W] HU → x [S, C, H, W]: windows of this slice and its neighbours, clamped to the series."""
    planes = []
    index = torch.arange(hu.shape[0])
    for channel, mean, std in zip(part["channels"], part["mean"], part["std"]):
        neighbour = hu[(index + channel["slice_offset"]).clamp(0, hu.shape[0] - 1)]
        level, width = channel["window"]["level"], channel["window"]["width"]
        v = ((neighbour - (level - width / 2)) / width).clamp(0, 1)
        planes.append((v - mean) / std)
    return torch.stack(planes, dim=1)


def prepare(hu: np.ndarray, part: dict, spacing: tuple[float, float] | None, dtype: torch.dtype = torch.float32) -> Tensor:
    """HU [S, rows, cols] → x in `dtype`. The HU values are rounded to float32 first, as the engine's volume holds them."""
    volume = torch.from_numpy(np.ascontiguousarray(hu, dtype=np.float32)).to(dtype)
    return channels(geometry(volume, part, spacing), part)
