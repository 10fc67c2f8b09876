"""Models that make the engine's inner stages visible through its public program: their logits are what a stage computes.

A RADnet cut after block b, its last norm an identity, without attention or recurrence, with the identity as classifier, gives the mean over
positions of ReLU(x) per channel of that block; with the norm negated, of ReLU(−x): together every value of the block takes part. Means
average rounding errors, so a stage's Δ is smaller than that of its single values.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from torch import Tensor

from radnet_reference import config as cfg
from radnet_reference.model import RadNet


@dataclass(frozen=True)
class Probe:
    """`model`'s logits are the stage's values."""

    stage: str
    model: RadNet


def probes(model: RadNet) -> Iterator[Probe]:
    """From the first block to the logits."""
    blocks = len(model.config["backbone"]["block_config"])
    for b in range(1, blocks + 1):
        for sign, mark in ((1.0, "+"), (-1.0, "-")):
            yield Probe(f"block{b} {mark}", _cut(model, b, sign))
    yield Probe("features", _with(model, attention={"kind": "none"}, rnn={"kind": "none"}))
    if model.attention is not None:
        yield Probe("pooled", _with(model, rnn={"kind": "none"}))
    if model.rnn is not None:
        yield Probe("recurrence", _with(model))
    yield Probe("logits", model)


def expected(stage: str, stages: dict[str, Tensor]) -> Tensor:
    """What a probe's logits must be [S, ..], from the intermediate results of one pass through the whole model."""
    if stage.startswith("block"):
        name, sign = stage.split()
        return torch.relu(stages[name] if sign == "+" else -stages[name]).mean(dim=(2, 3))
    if stage == "features":
        return stages["features"].mean(dim=(2, 3))
    return stages["rnn" if stage == "recurrence" else stage]


def _with(model: RadNet, **changes) -> RadNet:
    """The model with another tail and the identity as classifier."""
    config = copy.deepcopy(model.config) | changes | {"segmentation": []}
    return _identity(config, model)


def _cut(model: RadNet, blocks: int, sign: float) -> RadNet:
    config = copy.deepcopy(model.config) | {"attention": {"kind": "none"}, "rnn": {"kind": "none"}, "segmentation": []}
    config["backbone"]["block_config"] = config["backbone"]["block_config"][:blocks]
    cut = _identity(config, model)
    norm = cut.features["norm5"]
    with torch.no_grad():
        norm.weight.fill_(sign * math.sqrt(1 + norm.eps))
        norm.bias.zero_(), norm.running_mean.zero_(), norm.running_var.fill_(1)
    return cut


def _identity(config: dict, model: RadNet) -> RadNet:
    width = cfg.classifier_input(config)
    config["classes"] = [f"c{i}" for i in range(width)]
    config["thresholds"] = {c: 0.5 for c in config["classes"]}
    probe = RadNet(config)
    given, own = model.state_dict(), probe.state_dict()
    for name, tensor in own.items():
        if name in given and given[name].shape == tensor.shape:
            tensor.copy_(given[name])
    with torch.no_grad():
        probe.classifier.weight.copy_(torch.eye(width))
        probe.classifier.bias.zero_()
    return probe.eval()
