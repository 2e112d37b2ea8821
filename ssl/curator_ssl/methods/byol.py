"""BYOL: a network predicts what its own slow average says of another view; no negatives.

Source: Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020. Heads and schedule are lightly's.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from curator.errors import InputError
from curator_ssl.distributed.all_gather import sum_over_ranks, world_size
from curator_ssl.methods.base import Method, spread

__all__ = ["BYOL"]

MOMENTUM = 0.99
HIDDEN, OUT = 4096, 256


class BYOL(Method):
    """Online and target networks with lightly's heads.

    Args:
        backbone: (B, 3, h, w) -> (B, dim).
        dim: columns of its features.

    Raises:
        InputError: `lightly` is not installed.
    """

    def __init__(self, backbone: nn.Module, dim: int) -> None:
        super().__init__()
        try:
            from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
        except ImportError as error:
            raise InputError("--method byol needs lightly: pip install 'coreset-curator[train]'") from error
        self.backbone = backbone
        self.projector = BYOLProjectionHead(dim, HIDDEN, OUT)
        self.predictor = BYOLPredictionHead(OUT, HIDDEN, OUT)
        self.target = copy.deepcopy(nn.Sequential(self.backbone, self.projector)).requires_grad_(False)

    def forward(
        self, first: torch.Tensor, second: torch.Tensor, images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Method.forward`."""
        views = torch.cat([first, second])
        predicted = self.predictor(self.projector(self.backbone(views)))
        with torch.no_grad():
            projected = self.target(views)
        one, other = projected.chunk(2)
        distance = 2 - 2 * functional.cosine_similarity(predicted.float(), torch.cat([other, one]).float(), dim=1)
        weight = (images >= 0).repeat(2).float()
        total = sum_over_ranks(weight.sum()).clamp(min=1)
        return (distance * weight).sum() * world_size() / total, spread(one)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the target towards the online network; the momentum rises from 0.99 to 1 over the run."""
        from lightly.utils.scheduler import cosine_schedule

        steps = 1 << 20
        momentum = cosine_schedule(min(int(progress * steps), steps - 1), steps, MOMENTUM, 1.0)
        online = [*self.backbone.parameters(), *self.projector.parameters()]
        for slow, fast in zip(self.target.parameters(), online, strict=True):
            slow.lerp_(fast, 1 - momentum)
