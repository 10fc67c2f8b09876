"""Seeded random models that behave like trained ones: norms that fit their data, logits of ordinary size, features that differ by slice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from .model import RadNet
from .weights import STORAGE


def random_hu(slices: int, rows: int, cols: int, seed: int) -> np.ndarray:
    """int16 HU [S, rows, cols]: a noisy ellipse of brain with dense blobs, a bright rim, air around; different in each slice."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:cols]
    radius = np.hypot((y - rows / 2 + 0.5) / (0.45 * rows), (x - cols / 2 + 0.5) / (0.42 * cols))
    hu = np.full((slices, rows, cols), -1000.0)
    for s in range(slices):
        brain = 34 + 6 * np.sin(x / 3 + s) + 5 * np.cos(y / 4 - s)
        for _ in range(3):
            cy, cx, r = rng.uniform(0.3, 0.7) * rows, rng.uniform(0.3, 0.7) * cols, rng.uniform(0.03, 0.12) * rows
            brain += rng.uniform(-40, 60) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * r * r))
        hu[s][radius < 1] = brain[radius < 1]
        rim = (radius >= 0.9) & (radius < 1.02)
        hu[s][rim] = rng.uniform(600, 1500)
    hu += rng.normal(0, 6, hu.shape)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def randomise(model: RadNet, x: Tensor, seed: int, storage: str = "F32", hard_gammas: bool = False) -> RadNet:
    """Fills the module from `seed`, fits its norms to the scan x and rounds every tensor to the storage type.

    `hard_gammas` makes many γ negative, some zero and some so small that −β/γ leaves float32's or float16's range.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        _fill(module, generator, hard_gammas)
    _fit_norms(model, x)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Channels that hardly vary on one small scan would be amplified into an ill-conditioned network.
            module.running_var.clamp_(min=float(0.2 * module.running_var.mean()) + 1e-3)
            module.running_mean.add_(0.1 * module.running_var.sqrt() * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.mul_(torch.empty_like(module.running_var).uniform_(0.7, 1.4, generator=generator))
    _scale_outputs(model, x)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.to(STORAGE[storage]).to(torch.float32))
    return model.eval()


@torch.no_grad()
def _fill(module: nn.Module, generator: torch.Generator, hard_gammas: bool) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        fan_in = module.weight[0].numel()
        module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        if module.bias is not None:
            module.bias.normal_(0, 0.2, generator=generator)
    elif isinstance(module, (nn.LSTM, nn.GRU)):
        for name, p in module.named_parameters():
            p.normal_(0, 0.3 if "bias" in name else 1.2 / p.shape[1] ** 0.5, generator=generator)
    elif isinstance(module, nn.BatchNorm2d):
        n = module.weight.shape[0]
        module.weight.normal_(1, 0.3, generator=generator)
        module.bias.normal_(0, 0.3, generator=generator)
        if hard_gammas:
            choice = torch.rand(n, generator=generator)
            module.weight[choice < 0.45] *= -1
            module.weight[choice < 0.15] = 0
            tiny = (choice > 0.8) & (choice < 0.95)
            module.weight[tiny] = torch.tensor([1e-30, -1e-30, 3e-39, -2e-8, 1e-4])[torch.arange(int(tiny.sum())) % 5]


@torch.no_grad()
def _fit_norms(model: RadNet, x: Tensor) -> None:
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    model.train()
    # A scan of one slice may leave maps of one pixel, which have no variance: the norms are fitted to noisy copies.
    noisy = torch.cat([x, x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)), x.flip(3)])
    model(noisy, stages={})
    model.eval()
    for norm in norms:
        norm.momentum = 0.1


@torch.no_grad()
def _scale_outputs(model: RadNet, x: Tensor) -> None:
    """Attention energies of standard deviation 2 and logits of standard deviation 1.5 around a small offset."""
    if model.attention is not None:
        energy = model.attention(model.backbone(x)[0])
        if energy.numel() > model.attention.out_channels:
            model.attention.weight.mul_(2 / (energy.std() + 0.1))
    z = model(x)
    spread = z.std() if z.numel() > 1 else z.abs().mean()
    model.classifier.weight.mul_(1.5 / (spread + 1e-2))
    model.classifier.bias.zero_()
    z = model(x)
    model.classifier.bias.copy_(-z.mean(dim=0) + torch.linspace(-0.4, 0.6, z.shape[1]))
