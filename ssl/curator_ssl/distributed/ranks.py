"""The processes of a run: one, or what `torchrun` or Ray Train started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["Ranks", "join", "synchronise_norms"]

# A rank may wait this long for the others: for the first batch, a checkpoint, a slow store.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: its number.
        count: how many there are.
        device: what it computes on.
        control: a group on the CPU for small agreements; None if it is alone.
    """

    rank: int
    count: int
    device: torch.device
    control: Any = None

    @property
    def is_first(self) -> bool:
        """The one that writes."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """True on all ranks if it is on one."""
        if self.control is None:
            return flag
        value = torch.tensor([int(flag)])
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self.control)
        return bool(value.item())

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, on all ranks."""
        if self.control is None:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self.control)
        return values


@contextmanager
def join(device: str) -> Iterator[Ranks]:
    """Take part in the group that `torchrun` or Ray Train started, if one did: nccl on GPUs, gloo on CPUs."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on = torch.device(f"cuda:{local}" if device == "cuda" else "cpu")
    if on.type == "cuda":
        torch.cuda.set_device(on)
    if count == 1:
        yield Ranks(0, 1, on)
        return
    backend = "nccl" if on.type == "cuda" else "gloo"
    # Ray Train makes the group, and ends it.
    given = dist.is_initialized()
    if not given:
        dist.init_process_group(backend, timeout=PATIENCE)
    try:
        control = dist.group.WORLD if backend == "gloo" else dist.new_group(backend="gloo", timeout=PATIENCE)
        yield Ranks(dist.get_rank(), count, on, control)
    finally:
        if not given:
            dist.destroy_process_group()


def synchronise_norms(model: torch.nn.Module) -> torch.nn.Module:
    """A model whose batch norms take their statistics over all ranks; parameters stay the same objects.

    By timm's converter: torch's own drops the activations that many timm models have inside their norms.
    """
    from timm.layers.norm_act import convert_sync_batchnorm

    converted: torch.nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted
