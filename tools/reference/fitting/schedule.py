"""The learning rate: a short linear warm-up, then half a cosine."""

from __future__ import annotations

import math


def rate(step: int, steps: int, peak: float, final: float, warmup: float) -> float:
    """At `step` of `steps`."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * done))
