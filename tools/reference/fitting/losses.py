"""What is minimised: slice labels where known, masks where drawn, and the scan's label through the model's own scan rule."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# A position of the feature map is blood for the attention when this share of it is.
ATTENTION_COVER = 0.01
BLOOD_WEIGHT = 4.0
# From the first head to the last: early maps see little context.
FIRST_HEAD, LAST_HEAD = 0.6, 1.4
LEAST_LOG = -30.0


def labels(z: Tensor, label: Tensor, known: Tensor, weight: Tensor) -> Tensor:
    """Mean cross-entropy [.., K] over what is known, classes weighted by `weight` [K]."""
    bce = F.binary_cross_entropy_with_logits(z, label, reduction="none")
    share = known * weight
    return (bce * share).sum() / share.sum().clamp(min=1e-6)


def head_weights(heads: int) -> list[float]:
    """One weight a segmentation head, with mean 1."""
    if heads == 1:
        return [1.0]
    return [FIRST_HEAD + (LAST_HEAD - FIRST_HEAD) * i / (heads - 1) for i in range(heads)]


def segmentation(logits: Tensor, mask: Tensor, has_mask: Tensor) -> Tensor:
    """Cross-entropy with blood weighted up and soft Dice, at the head's resolution [B, h, w]; 0 without a mask in the batch."""
    target = F.adaptive_avg_pool2d(mask.unsqueeze(1), logits.shape[1:]).squeeze(1)
    there = has_mask.view(-1, 1, 1)
    bce = F.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(BLOOD_WEIGHT, device=logits.device), reduction="none")
    p = torch.sigmoid(logits) * there
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + (target * there).sum() + 1)
    count = has_mask.sum().clamp(min=1)
    return 2 * (bce * there).mean(dim=(1, 2)).sum() / count + 0.5 * dice * (has_mask.sum() > 0)


def attention(energy: Tensor, kind: str, mask: Tensor, has_mask: Tensor) -> Tensor:
    """Energies [B, A, h, w] towards the mask.

    sigmoid: each position is blood or not. softmax: the distribution towards the mask's, only of slices with blood, since it cannot be empty.
    """
    cover = F.adaptive_avg_pool2d(mask.unsqueeze(1), energy.shape[2:])
    if kind == "sigmoid":
        target = (cover / ATTENTION_COVER).clamp(0, 1).expand_as(energy)
        bce = F.binary_cross_entropy_with_logits(energy, target, reduction="none").mean(dim=(1, 2, 3))
        return (bce * has_mask).sum() / has_mask.sum().clamp(min=1)
    total = cover.sum(dim=(2, 3), keepdim=True)
    target = cover / total.clamp(min=1e-6)
    there = has_mask * (total.flatten() > 0)
    log_p = torch.log_softmax(energy.flatten(2), dim=2).view_as(energy)
    cross = -(target * log_p).sum(dim=(2, 3)).mean(dim=1)
    return (cross * there).sum() / there.sum().clamp(min=1)


def scan_logs(rule: dict, z: Tensor) -> tuple[Tensor, Tensor]:
    """log s and log(1 − s) per class of a scan's score s from its slice logits z [S, K], as model.md's rule defines s; differentiable."""
    if rule["rule"] == "consecutive":
        best = z.unfold(0, min(rule["n"], len(z)), 1).amin(dim=2).amax(dim=0)
        return F.logsigmoid(best), F.logsigmoid(-best)
    if rule["rule"] == "mean_top_k":
        top = z.topk(min(rule["k"], len(z)), dim=0).values
        count = torch.log(torch.tensor(float(len(top)), device=z.device))
        return F.logsigmoid(top).logsumexp(dim=0) - count, F.logsigmoid(-top).logsumexp(dim=0) - count
    absent = F.logsigmoid(-z).sum(dim=0).clamp(max=-1e-7)
    return torch.log(-torch.expm1(absent)), absent.clamp(min=LEAST_LOG)


def scan(rule: dict, z: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of the scan's score, mean over the classes whose scan label [K] is known (0 when none is)."""
    known = ~torch.isnan(label)
    if not known.any():
        return z.sum() * 0
    present, absent = scan_logs(rule, z)
    truth = torch.nan_to_num(label)
    return -(truth * present + (1 - truth) * absent)[known].mean()
