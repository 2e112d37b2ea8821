"""SimCLR: two views of an image attract, all other images of the step repel.

Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
"""

from __future__ import annotations

import torch
from torch import nn

from curator_ssl.losses import nt_xent_loss
from curator_ssl.methods.base import Method, spread
from curator_ssl.methods.options import SimCLROptions

__all__ = ["SimCLR"]


class SimCLR(Method):
    """A two-layer projection head without norms (the paper's) over the backbone, and NT-Xent.

    Args:
        backbone: (B, 3, h, w) -> (B, dim).
        dim: columns of its features.
        options: temperature and size of the projection.
    """

    Options = SimCLROptions

    def __init__(self, backbone: nn.Module, dim: int, options: SimCLROptions) -> None:
        super().__init__(backbone, dim, options)
        self.temperature = options.temperature
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, options.projection))

    def forward(
        self, first: torch.Tensor, second: torch.Tensor, images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Method.forward`."""
        # Both views in one pass: batch norms see all of them, and the kernels twice the work.
        projected = self.head(self.backbone(torch.cat([first, second])))
        first_projected, second_projected = projected.chunk(2)
        loss = nt_xent_loss(first_projected, second_projected, self.temperature, images)
        return loss, spread(first_projected.detach())
