"""What stage 1 minimises: the slice label, the segmentation heads at their own resolution, and the attention towards the mask."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from radnet_reference.model import RadNet

ATTENTION_COVER = 0.03
SEGMENTATION_WEIGHT = {1: 0.3, 2: 0.5, 3: 0.7}
ATTENTION_WEIGHT = 1.0
POINT_WEIGHT = 0.1


def slice_losses(model: RadNet, head: torch.nn.Module, x: Tensor, mask: Tensor, label: Tensor, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Terms by name (already weighted) and the slice logits [B].

    mask [B, H, W] in [0, 1]; label [B]; weight [B] is 0 for slices whose label is ambiguous.
    """
    feature_map, blocks = model.backbone(x)
    terms = {}
    for b, block in blocks.items():
        terms[f"seg{b}"] = SEGMENTATION_WEIGHT[b] * segmentation_loss(model.segmentation[str(b)](block).squeeze(1), mask)
    e = model.attention(feature_map).mean(dim=1)
    cover = attention_cover(mask, e, 2 ** (len(model.config["backbone"]["block_config"]) + 1))
    target = (cover / ATTENTION_COVER).clamp(0, 1)
    terms["att"] = ATTENTION_WEIGHT * F.binary_cross_entropy_with_logits(e, target)
    terms["point"] = POINT_WEIGHT * pointing_loss(e, cover)
    v, _ = model.pool(feature_map)
    z = head(v).squeeze(1)
    bce = F.binary_cross_entropy_with_logits(z, label, reduction="none")
    terms["slice"] = (bce * weight).sum() / weight.sum().clamp(min=1)
    return terms, z


def attention_cover(mask: Tensor, e: Tensor, cell: int) -> Tensor:
    """Share of bleeding pixels below each cell of the attention map [B, h, w]; a cell is `cell` pixels wide. Every pool rounds down: what is left at the edge has no cell."""
    return F.avg_pool2d(mask.unsqueeze(1), cell)[:, 0, : e.shape[1], : e.shape[2]]


def pointing_loss(e: Tensor, cover: Tensor) -> Tensor:
    """Cross entropy of the attention's softmax over cells against the share of the bleed that each cell holds; slices without a bleed do not count."""
    mass = cover.flatten(1)
    total = mass.sum(dim=1)
    target = mass / total.clamp(min=1e-6).unsqueeze(1)
    loss = -(target * F.log_softmax(e.flatten(1), dim=1)).sum(dim=1)
    bleeding = (total > 0).float()
    return (loss * bleeding).sum() / bleeding.sum().clamp(min=1)


def segmentation_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """BCE with bleeds weighted up, plus soft Dice over the batch, at the head's resolution [B, h, w]."""
    target = F.adaptive_avg_pool2d(mask.unsqueeze(1), logits.shape[1:]).squeeze(1)
    bce = F.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(4.0))
    p = torch.sigmoid(logits)
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return 2 * bce + 0.5 * dice


def verdict_logit(z: Tensor, n: int) -> Tensor:
    """The logit of a scan by the rule of runs of n, from those of its slices [S]: the best run's weakest slice."""
    return z.unfold(0, min(n, len(z)), 1).min(dim=1).values.max()
