"""SimCLR: two views of an image attract, all other images of the step repel.

Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from curator_ssl.distributed import all_gather, rank, world_size
from curator_ssl.losses import nt_xent_loss
from curator_ssl.methods.base import Method, spread
from curator_ssl.methods.options import SimCLROptions

__all__ = ["SimCLR"]


class SimCLR(Method):
    """A two-layer projection head with a batch norm over the backbone, and NT-Xent.

    Without the norm (as the paper has it) features of all images, which are positive and much alike at first, come
    through the head nearly as one direction, and a run takes longer to leave it (benchmarks/NOTES.md).

    Args:
        backbone: (B, 3, h, w) -> (B, dim).
        dim: columns of its features.
        options: temperature and size of the projection.
    """

    Options = SimCLROptions

    def __init__(self, backbone: nn.Module, dim: int, options: SimCLROptions) -> None:
        super().__init__(backbone, dim, options)
        self.temperature = options.temperature
        self.head = nn.Sequential(
            nn.Linear(dim, dim, bias=False),
            _NormOverRanks(dim),
            nn.ReLU(inplace=True),
            nn.Linear(dim, options.projection),
        )

    def chance(self, images: int) -> float | None:
        """Guessing among all other views of a step."""
        return math.log(2 * images - 1)

    def forward(
        self, first: torch.Tensor, second: torch.Tensor, images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Method.forward`."""
        # Both views in one pass: batch norms see all of them, and the kernels twice the work.
        projected = self.head(self.backbone(torch.cat([first, second])))
        first_projected, second_projected = projected.chunk(2)
        loss = nt_xent_loss(first_projected, second_projected, self.temperature, images)
        return loss, spread(first_projected.detach())


class _NormOverRanks(nn.BatchNorm1d):
    """A batch norm whose statistics are those of all ranks, on CPUs too: rows of a head are few enough to gather."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, D) on every rank -> the same, normalised over all of them."""
        if not self.training or world_size() == 1:
            return super().forward(rows)
        first = rank() * len(rows)
        return super().forward(all_gather(rows))[first : first + len(rows)]
