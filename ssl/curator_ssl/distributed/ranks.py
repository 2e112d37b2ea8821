"""The processes of a run: one, or what `torchrun` or Ray Train started. Nothing else asks for a rank."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["PATIENCE", "RankGroup", "is_first", "is_launched", "join", "rank", "synchronise_norms", "world_size"]

# A rank may wait this long for the others: for the first batch, a checkpoint, a slow store.
PATIENCE = timedelta(minutes=30)


def rank() -> int:
    """The number of this process among those that train together; what started it says so before they are a group."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def is_launched() -> bool:
    """Whether `torchrun` or Ray Train started this process as one of several."""
    return "RANK" in os.environ


@dataclass(frozen=True)
class RankGroup:
    """What a process needs to train together with others.

    Attributes:
        device: what this process computes on.
        control: a group on the CPU for small agreements; None if the process is alone.
    """

    device: torch.device
    control: Any = None

    def any(self, flag: bool) -> bool:
        """True on all ranks if it is true on one of them."""
        if self.control is None:
            return flag
        value = torch.tensor([int(flag)])
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self.control)
        return bool(value.item())

    def all_gather(self, value: Any) -> list[Any]:
        """Every rank's value, by rank, on all ranks."""
        if self.control is None:
            return [value]
        values: list[Any] = [None] * world_size()
        dist.all_gather_object(values, value, group=self.control)
        return values


@contextmanager
def join(device: str) -> Iterator[RankGroup]:
    """Take part in the group that `torchrun` or Ray Train started, if one did: nccl on GPUs, gloo on CPUs.

    Args:
        device: `cpu` or `cuda`.
    """
    own_device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else "cpu")
    if own_device.type == "cuda":
        torch.cuda.set_device(own_device)
    if world_size() == 1:
        yield RankGroup(own_device)
        return
    backend = "nccl" if own_device.type == "cuda" else "gloo"
    # Ray Train makes the group, and ends it.
    is_given = dist.is_initialized()
    if not is_given:
        dist.init_process_group(backend, timeout=PATIENCE)
    try:
        control = dist.group.WORLD if backend == "gloo" else dist.new_group(backend="gloo", timeout=PATIENCE)
        yield RankGroup(own_device, control)
    finally:
        if not is_given:
            dist.destroy_process_group()


def synchronise_norms(model: torch.nn.Module) -> torch.nn.Module:
    """A model whose batch norms take their statistics over all ranks; parameters stay the same objects.

    By timm's converter: torch's own drops the activations that many timm models have inside their norms.
    """
    from timm.layers.norm_act import convert_sync_batchnorm

    converter: Any = convert_sync_batchnorm
    converted: torch.nn.Module = converter(model)
    return converted
