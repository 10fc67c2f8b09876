"""Mixed precision: which type the forward pass computes in, and the loss scaling that fp16 needs."""

from __future__ import annotations

import contextlib

import torch

from .settings import SettingsError


class Precision:
    """`kind` is auto, fp32, bf16 or fp16. bf16 is taken where the device has it, as it needs no scaling."""

    def __init__(self, kind: str, device: torch.device):
        if kind == "auto":
            kind = "fp32" if device.type == "cpu" else "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        if kind == "fp16" and device.type == "cpu":
            raise SettingsError("precision fp16 needs a GPU")
        self.kind, self.device = kind, device
        self.scaler = torch.amp.GradScaler(device.type, enabled=kind == "fp16")

    def autocast(self) -> contextlib.AbstractContextManager:
        if self.kind == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16 if self.kind == "bf16" else torch.float16)

    def step(self, loss: torch.Tensor, optimiser: torch.optim.Optimizer, clip: float) -> bool:
        """Backward, clipped by norm, and the optimiser's step. False when fp16 gradients overflowed and the step was left out."""
        optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimiser)
        parameters = [p for g in optimiser.param_groups for p in g["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        before = self.scaler.get_scale()
        self.scaler.step(optimiser)
        self.scaler.update()
        return self.scaler.get_scale() >= before
