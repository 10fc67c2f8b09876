"""Augmentation on HU: geometry by one affine resampling, then density, noise and window jitter. All in torch on [B, H, W]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def crops(hu: Tensor, mask: Tensor, size: int, generator: torch.Generator, centres: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rotated, scaled, mirrored square crops of `size` pixels at the scale of the input.

    hu, mask: [B, H, W] float32. `centres` [B, 2] (row, column) are where crops look, None the middle of the slice.
    """
    batch, height, width = hu.shape
    angle = (torch.rand(batch, generator=generator) - 0.5) * 2 * math.radians(20)
    scale = torch.exp((torch.rand(batch, generator=generator) - 0.5) * 2 * 0.18)
    mirror = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    if centres is None:
        centres = torch.tensor([[(height - 1) / 2, (width - 1) / 2]]).repeat(batch, 1)
        centres = centres + torch.randn(batch, 2, generator=generator) * 4
    step = torch.arange(size) - (size - 1) / 2
    dy, dx = torch.meshgrid(step, step, indexing="ij")
    dx = dx[None] * (scale * mirror)[:, None, None]
    dy = dy[None] * scale[:, None, None]
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    rows = centres[:, 0, None, None] + cos * dy + sin * dx
    cols = centres[:, 1, None, None] - sin * dy + cos * dx
    grid = torch.stack([(cols * 2 + 1) / width - 1, (rows * 2 + 1) / height - 1], dim=3)
    both = torch.stack([hu + 1024.0, mask], dim=1)
    both = F.grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return both[:, 0] - 1024.0, both[:, 1]


def density(hu: Tensor, generator: torch.Generator) -> Tensor:
    """A calibration offset, a gain and noise, per slice. Air stays air."""
    batch = hu.shape[0]
    offset = torch.randn(batch, 1, 1, generator=generator) * 1.5
    gain = 1 + torch.randn(batch, 1, 1, generator=generator) * 0.02
    sigma = torch.rand(batch, 1, 1, generator=generator) * 5.0
    noise = torch.randn(hu.shape, generator=generator) * sigma
    blurred = F.avg_pool2d(noise.unsqueeze(1), 3, 1, 1).squeeze(1) * 2.2
    coarse = torch.rand(batch, 1, 1, generator=generator) < 0.5
    return hu * torch.where(hu > -200, gain, torch.ones_like(gain)) + offset + torch.where(coarse, blurred, noise)


def sharpness(hu: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the slices are blurred a little: other kernels, and larger matrices resized to the network's size."""
    share = torch.rand(hu.shape[0], 1, 1, generator=generator)
    share = share * (torch.rand(hu.shape[0], 1, 1, generator=generator) < 0.5)
    blurred = F.avg_pool2d(F.pad(hu.unsqueeze(1), (1, 1, 1, 1), mode="replicate"), 3, 1).squeeze(1)
    return hu + share * (blurred - hu)


def windows(hu: Tensor, channels: list[dict], generator: torch.Generator | None) -> Tensor:
    """x [B, C, H, W] with level and width jittered by a few per cent (none without a generator). Slice offsets must be 0."""
    planes = []
    for channel in channels:
        level, width = channel["window"]["level"], channel["window"]["width"]
        if generator is not None:
            level = level + width * 0.02 * torch.randn(hu.shape[0], 1, 1, generator=generator)
            width = width * torch.exp(0.04 * torch.randn(hu.shape[0], 1, 1, generator=generator))
        planes.append(((hu - (level - width / 2)) / width).clamp(0, 1))
    return torch.stack(planes, dim=1)
