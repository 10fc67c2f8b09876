"""The network as a torch module whose state dict carries exactly the tensor names of a model file.

Shapes: x [S, channels, H, W] is one scan, slices from inferior to superior; F [S, C, h, w]; v [S, A·C]; y [S, D]; z [S, K].
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import config as cfg


class DenseLayer(nn.Module):
    """norm1·ReLU·conv1 1×1 → norm2·ReLU·conv2 3×3."""

    def __init__(self, channels: int, growth: int, bn_size: int, eps: float):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels, eps=eps)
        self.conv1 = nn.Conv2d(channels, bn_size * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth, eps=eps)
        self.conv2 = nn.Conv2d(bn_size * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.conv1(F.relu(self.norm1(x)))
        return self.conv2(F.relu(self.norm2(middle)))


class DenseBlock(nn.Module):
    """Layers whose outputs are concatenated to their common input."""

    def __init__(self, layers: int, channels: int, growth: int, bn_size: int, eps: float):
        super().__init__()
        for i in range(layers):
            self.add_module(f"denselayer{i + 1}", DenseLayer(channels + i * growth, growth, bn_size, eps))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Transition(nn.Module):
    """norm·ReLU·conv 1×1·average pool 2×2, floor."""

    def __init__(self, channels: int, out: int, eps: float):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=eps)
        self.conv = nn.Conv2d(channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2, 2)


class SegmentationHead(nn.Module):
    """norm·ReLU·conv 1×1 to one logit per position."""

    def __init__(self, channels: int, eps: float):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=eps)
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x)))


class RadNet(nn.Module):
    """RADnet of one configuration."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = cfg.validate(config)
        backbone, eps = config["backbone"], config["backbone"]["bn_eps"]
        growth, bn_size, channels = backbone["growth_rate"], backbone["bn_size"], backbone["init_features"]
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        stages["conv0"] = nn.Conv2d(len(config["input"]["channels"]), channels, 7, stride=2, padding=3, bias=False)
        stages["norm0"] = nn.BatchNorm2d(channels, eps=eps)
        for b, layers in enumerate(backbone["block_config"], start=1):
            stages[f"denseblock{b}"] = DenseBlock(layers, channels, growth, bn_size, eps)
            channels += layers * growth
            if b < len(backbone["block_config"]):
                stages[f"transition{b}"] = Transition(channels, channels // 2, eps)
                channels //= 2
        stages["norm5"] = nn.BatchNorm2d(channels, eps=eps)
        self.features = nn.ModuleDict(stages)
        ends = cfg.block_channels(config)
        self.segmentation = nn.ModuleDict({str(b): SegmentationHead(ends[b - 1], eps) for b in config["segmentation"]})
        attention, rnn = config["attention"], config["rnn"]
        self.attention = None if attention["kind"] == "none" else nn.Conv2d(channels, attention["heads"], 1)
        self.rnn = None
        if rnn["kind"] != "none":
            kind = nn.LSTM if rnn["kind"] == "lstm" else nn.GRU
            self.rnn = kind(cfg.slice_vector(config), rnn["hidden"], rnn["layers"], batch_first=True, bidirectional=rnn["bidirectional"])
        self.classifier = nn.Linear(cfg.classifier_input(config), len(config["classes"]))

    def forward(self, x: Tensor, stages: dict[str, Tensor] | None = None) -> Tensor:
        """Logits z [S, K] of one scan. With `stages`, every intermediate result is left there by name."""
        feature_map, _ = self.backbone(x, stages)
        v, a = self.pool(feature_map)
        z = self.sequence(v.unsqueeze(0), stages).squeeze(0)
        if stages is not None:
            stages["features"], stages["pooled"], stages["logits"] = feature_map, v, z
            if a is not None:
                stages["attention"] = a
        return z

    def backbone(self, x: Tensor, stages: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[int, Tensor]]:
        """F, and the concatenated output of each block that carries a segmentation head."""
        blocks = {}
        x = F.max_pool2d(F.relu(self.features["norm0"](self.features["conv0"](x))), 3, 2, 1)
        if stages is not None:
            stages["stem"] = x
        for b in range(1, len(self.config["backbone"]["block_config"]) + 1):
            x = self.features[f"denseblock{b}"](x)
            if str(b) in self.segmentation:
                blocks[b] = x
            if stages is not None:
                stages[f"block{b}"] = x
            if f"transition{b}" in self.features:
                x = self.features[f"transition{b}"](x)
                if stages is not None:
                    stages[f"transition{b}"] = x
        if stages is not None:
            for b, block in blocks.items():
                stages[f"segmentation{b}"] = self.segmentation_map(b, block)
        return F.relu(self.features["norm5"](x)), blocks

    def segmentation_map(self, b: int, block: Tensor) -> Tensor:
        """[S, 1, H, W]: probability of hemorrhage per pixel of the network's input."""
        logits = self.segmentation[str(b)](block)
        return torch.sigmoid(F.interpolate(logits, size=tuple(self.config["input"]["size"]), mode="bilinear", align_corners=False))

    def pool(self, feature_map: Tensor) -> tuple[Tensor, Tensor | None]:
        """The slice vectors v, and the attention a [S, A, h, w] (None for the plain mean)."""
        if self.attention is None:
            return feature_map.mean(dim=(2, 3)), None
        e = self.attention(feature_map)
        if self.config["attention"]["kind"] == "softmax":
            a = torch.softmax(e.flatten(2), dim=2).view_as(e)
            pooled = torch.einsum("sahw,schw->sac", a, feature_map)
        else:
            a = torch.sigmoid(e)
            pooled = torch.einsum("sahw,schw->sac", a, feature_map) / (a.sum(dim=(2, 3)) + 1e-6).unsqueeze(2)
        return pooled.flatten(1), a

    def sequence(self, v: Tensor, stages: dict[str, Tensor] | None = None) -> Tensor:
        """Logits [B, S, K] of B scans of slice vectors [B, S, A·C]."""
        y = v
        if self.rnn is not None:
            y, _ = self.rnn(v)
            if stages is not None:
                stages["rnn"] = y.squeeze(0)
        return self.classifier(y)
