"""What stage 1 minimises: the slice label, the segmentation heads at their own resolution, and the attention towards the mask."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from radnet_reference.model import RadNet

ATTENTION_COVER = 0.01
SEGMENTATION_WEIGHT = {1: 0.3, 2: 0.5, 3: 0.7}
ATTENTION_WEIGHT = 0.5


def slice_losses(model: RadNet, head: torch.nn.Module, x: Tensor, mask: Tensor, label: Tensor, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Terms by name (already weighted) and the slice logits [B].

    mask [B, H, W] in [0, 1]; label [B]; weight [B] is 0 for slices whose label is ambiguous.
    """
    feature_map, blocks = model.backbone(x)
    terms = {}
    for b, block in blocks.items():
        terms[f"seg{b}"] = SEGMENTATION_WEIGHT[b] * segmentation_loss(model.segmentation[str(b)](block).squeeze(1), mask)
    e = model.attention(feature_map).mean(dim=1)
    cover = F.adaptive_avg_pool2d(mask.unsqueeze(1), e.shape[1:]).squeeze(1)
    target = (cover / ATTENTION_COVER).clamp(0, 1)
    terms["att"] = ATTENTION_WEIGHT * F.binary_cross_entropy_with_logits(e, target)
    v, _ = model.pool(feature_map)
    z = head(v).squeeze(1)
    bce = F.binary_cross_entropy_with_logits(z, label, reduction="none")
    terms["slice"] = (bce * weight).sum() / weight.sum().clamp(min=1)
    return terms, z


def segmentation_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """BCE with bleeds weighted up, plus soft Dice over the batch, at the head's resolution [B, h, w]."""
    target = F.adaptive_avg_pool2d(mask.unsqueeze(1), logits.shape[1:]).squeeze(1)
    bce = F.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(4.0))
    p = torch.sigmoid(logits)
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return 2 * bce + 0.5 * dice
