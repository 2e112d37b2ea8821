"""Tensors of all ranks, with the right gradients; a process that is alone has its own only."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from curator_ssl.distributed.ranks import rank, world_size

__all__ = ["all_gather", "all_gather_plain", "sum_over_ranks"]


def all_gather(rows: torch.Tensor) -> torch.Tensor:
    """(B, D) on every rank -> (B x ranks, D), by rank. Gradients of all ranks flow back to the rows' own."""
    if world_size() == 1:
        return rows
    apply: Any = _AllGather.apply
    gathered: torch.Tensor = apply(rows)
    return gathered


def all_gather_plain(values: torch.Tensor) -> torch.Tensor:
    """As `all_gather`, for what has no gradient, such as numbers of images."""
    return values if world_size() == 1 else torch.cat(_of_all_ranks(values.contiguous()))


def sum_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over ranks, without gradient."""
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def _of_all_ranks(tensor: torch.Tensor) -> list[torch.Tensor]:
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
        return torch.cat(_of_all_ranks(rows.contiguous()))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]
