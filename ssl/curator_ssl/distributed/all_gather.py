"""Tensors of all ranks, with the right gradients; without a process group, just one's own."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

__all__ = ["all_gather", "all_gather_plain", "rank", "sum_over_ranks", "world_size"]


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if dist.is_initialized() else 0


def all_gather(rows: torch.Tensor) -> torch.Tensor:
    """(B, D) on every rank -> (B x ranks, D), by rank. Gradients of all ranks flow back to the rows' own."""
    if world_size() == 1:
        return rows
    gathered: torch.Tensor = _AllGather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


def all_gather_plain(values: torch.Tensor) -> torch.Tensor:
    """As `all_gather`, for what has no gradient, such as numbers of images."""
    return values if world_size() == 1 else torch.cat(_all(values.contiguous()))


def sum_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over ranks, without gradient."""
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def _all(tensor: torch.Tensor) -> list[torch.Tensor]:
    received = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(received, tensor)
    return received


class _AllGather(torch.autograd.Function):
    """all_gather, whose backward sums what every rank's loss says about these rows.

    torch.distributed.all_gather alone cuts the gradient: candidates of other ranks would not be pushed.
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        ctx.rows = len(rows)
        return torch.cat(_all(rows.contiguous()))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]
