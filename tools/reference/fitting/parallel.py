"""One process or many (torchrun): the rank's device, sums over ranks, and who writes. NCCL on GPUs, gloo on CPUs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

# The others wait while the first process prepares a data set, or a share of the validation takes longer.
PATIENCE = timedelta(days=2)


@dataclass(frozen=True)
class Group:
    """This process among all."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over all processes; the module itself when alone."""
        if self.world == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        # Buffers are averaged after each step instead: every process keeps the statistics of all slices seen.
        return nn.parallel.DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)

    @torch.no_grad()
    def average_buffers(self, module: nn.Module) -> None:
        """Gives every process the mean of all processes' floating-point buffers."""
        buffers = [b for b in module.buffers() if b.is_floating_point()]
        if self.world == 1 or not buffers:
            return
        flat = torch.cat([b.flatten() for b in buffers])
        dist.all_reduce(flat)
        flat /= self.world
        for buffer, values in zip(buffers, flat.split([b.numel() for b in buffers])):
            buffer.copy_(values.view_as(buffer))

    def gather(self, value: object) -> list:
        """The values of all processes, on every process."""
        if self.world == 1:
            return [value]
        values: list = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Waits for all."""
        if self.world > 1:
            dist.barrier()

    def close(self) -> None:
        if self.world > 1:
            dist.destroy_process_group()


def start(device: str = "auto") -> Group:
    """The group that torchrun's environment describes; one process without it."""
    world, rank, local = (int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0)))
    cuda = torch.cuda.is_available() if device == "auto" else device == "cuda"
    place = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(place)
    if world > 1:
        dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    return Group(rank, world, place)
