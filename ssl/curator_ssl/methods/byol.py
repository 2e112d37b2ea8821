"""BYOL: a network predicts what its own slow average says of another view; no negatives.

Source: Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020. Heads and schedule are lightly's.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from curator.plugins import require_package
from curator_ssl.distributed import sum_over_ranks, world_size
from curator_ssl.methods.base import Method, spread
from curator_ssl.methods.options import BYOLOptions

__all__ = ["BYOL"]


class BYOL(Method):
    """Online and target networks with lightly's heads.

    Args:
        backbone: (B, 3, h, w) -> (B, dim).
        dim: columns of its features.
        options: momentum and sizes of the heads.

    """

    Options = BYOLOptions

    @classmethod
    def check_packages(cls) -> None:
        """See `Method.check_packages`."""
        require_package("lightly", "train", field="method", value="byol")

    def __init__(self, backbone: nn.Module, dim: int, options: BYOLOptions) -> None:
        super().__init__(backbone, dim, options)
        from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead

        self.momentum = options.momentum
        self.projector = BYOLProjectionHead(dim, options.hidden, options.projection)
        self.predictor = BYOLPredictionHead(options.projection, options.hidden, options.projection)
        self.target = copy.deepcopy(nn.Sequential(self.backbone, self.projector)).requires_grad_(False)

    def forward(
        self, first: torch.Tensor, second: torch.Tensor, images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Method.forward`."""
        views = torch.cat([first, second])
        predicted = self.predictor(self.projector(self.backbone(views)))
        with torch.no_grad():
            projected = self.target(views)
        first_projected, second_projected = projected.chunk(2)
        across = torch.cat([second_projected, first_projected])
        distance = 2 - 2 * functional.cosine_similarity(predicted.float(), across.float(), dim=1)
        weight = (images >= 0).repeat(2).float()
        total = sum_over_ranks(weight.sum()).clamp(min=1)
        return (distance * weight).sum() * world_size() / total, spread(first_projected)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the target towards the online network; the momentum rises to 1 over the run."""
        from lightly.utils.scheduler import cosine_schedule

        steps = 1 << 20
        momentum = cosine_schedule(min(int(progress * steps), steps - 1), steps, self.momentum, 1.0)
        online = [*self.backbone.parameters(), *self.projector.parameters()]
        for slow, fast in zip(self.target.parameters(), online, strict=True):
            slow.lerp_(fast, 1 - momentum)
