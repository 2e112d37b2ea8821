"""Batch norm over the rows of all ranks, on any backend."""

from __future__ import annotations

import torch
from torch import nn

from curator_ssl.gather import gather

__all__ = ["GlobalBatchNorm"]

EPSILON = 1e-5


class GlobalBatchNorm(nn.Module):
    """Every column with mean 0 and variance 1 over all ranks' rows, then scaled and shifted by what is learned.

    For heads: it has no running statistics, since a head is never used without its batch. torch's
    synchronised norm needs GPUs, and norms of each rank alone would make the result depend on how the
    batch is cut, and tell from a rank's statistics which rows belong together.

    Args:
        dim: columns.

    Source: "Global BN" in Chen et al., ICML 2020, section 2.2. Cost: the rows of all ranks on every rank.

    >>> GlobalBatchNorm(1)(torch.tensor([[1.0], [3.0]])).round().tolist()
    [[-1.0], [1.0]]
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, dim) of any precision -> float32 (B, dim)."""
        rows = rows.float()
        variance, mean = torch.var_mean(gather(rows), dim=0, correction=0)
        return (rows - mean) * torch.rsqrt(variance + EPSILON) * self.weight + self.bias
