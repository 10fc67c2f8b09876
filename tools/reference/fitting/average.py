"""The exponential moving average of a module's weights and buffers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """Follows `module`; the decay grows from 0.1 to `decay`, so that the first steps are soon forgotten."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """After the optimiser's step number `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            mean = self.state[name]
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def load(self, state: dict[str, Tensor]) -> None:
        for name, value in state.items():
            self.state[name].copy_(value)

    @torch.no_grad()
    def exchange(self, module: nn.Module) -> None:
        """Swaps the averaged values and the module's own; twice is nothing."""
        for name, value in module.state_dict().items():
            own = value.clone()
            value.copy_(self.state[name])
            self.state[name].copy_(own)
