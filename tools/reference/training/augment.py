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
    scale = torch.exp((torch.rand(batch, generator=generator) - 0.5) * 2 * 0.22)
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
    """A calibration offset, a gain, a slow drift across the image, streaks in some slices, and noise of three grains. Air stays air."""
    batch = hu.shape[0]
    rand = lambda *shape: torch.rand(*shape, generator=generator)
    randn = lambda *shape: torch.randn(*shape, generator=generator)
    offset = randn(batch, 1, 1) * 2.0
    gain = 1 + randn(batch, 1, 1) * 0.025
    drift = F.interpolate(randn(batch, 1, 3, 3) * (rand(batch, 1, 1, 1) * 3.5), size=hu.shape[1:], mode="bicubic", align_corners=True).squeeze(1)
    sigma = rand(batch, 1, 1) ** 1.5 * 9.0
    white = randn(*hu.shape)
    blurred = F.avg_pool2d(white.unsqueeze(1), 3, 1, 1) * 2.2
    coarse = F.avg_pool2d(blurred, 3, 1, 1).squeeze(1) * 1.7
    kind = rand(batch, 1, 1)
    noise = torch.where(kind < 0.4, white, torch.where(kind < 0.8, blurred.squeeze(1), coarse)) * sigma
    return hu * torch.where(hu > -200, gain, torch.ones_like(gain)) + offset + noise + (drift + _streaks(hu, generator)) * (hu > -200)


def _streaks(hu: Tensor, generator: torch.Generator) -> Tensor:
    """Waves across a sixth of the slices, as motion and hardening leave them."""
    batch, height, width = hu.shape
    angle, phase = (torch.rand(2, batch, 1, 1, generator=generator) * 2 * math.pi).unbind(0)
    length = 8 + torch.rand(batch, 1, 1, generator=generator) * 40
    strength = torch.rand(batch, 1, 1, generator=generator) * 6 * (torch.rand(batch, 1, 1, generator=generator) < 1 / 6)
    rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return strength * torch.sin((torch.cos(angle) * rows + torch.sin(angle) * cols) * (2 * math.pi) / length + phase)


def sharpness(hu: Tensor, generator: torch.Generator) -> Tensor:
    """Of ten slices five are blurred, up to twice over, and two sharpened: other kernels, and larger matrices resized to the network's size."""
    kind = torch.rand(hu.shape[0], 1, 1, generator=generator)
    share = torch.rand(hu.shape[0], 1, 1, generator=generator)
    blur = lambda x: F.avg_pool2d(F.pad(x.unsqueeze(1), (1, 1, 1, 1), mode="replicate"), 3, 1).squeeze(1)
    once = blur(hu)
    twice = once + share * (blur(once) - once)
    softened = torch.where(kind < 0.25, twice, hu + share * (once - hu))
    return torch.where(kind < 0.5, softened, torch.where(kind > 0.8, hu - 0.5 * share * (once - hu), hu))


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
