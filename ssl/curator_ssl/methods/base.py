"""What the loop knows of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Method", "spread"]


class Method(nn.Module, ABC):
    """A method of self-supervised learning, as one module that the loop may wrap and save as a whole.

    Attributes:
        backbone: what is trained, and all that is kept in the end: features before any head.
    """

    backbone: nn.Module

    @abstractmethod
    def forward(
        self, first: torch.Tensor, second: torch.Tensor, images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of a batch, and how widely its embeddings are spread.

        Args:
            first: one view of each image, float32 (B, 3, h, w).
            second: the other view.
            images: int64 (B,), which image each row shows; a step may hold one twice. Negative rows fill the
                batch in place of bad samples and must not count.

        Returns:
            The loss, such that its mean over ranks is the loss of all their batches together, and
            `spread` of the embeddings, without gradient.
        """

    def after_step(self, progress: float) -> None:
        """Called after every optimiser step with the share of the run that is done, 0 to 1."""


@torch.no_grad()
def spread(embeddings: torch.Tensor) -> torch.Tensor:
    """How widely embeddings are spread: 1 where directions are uniform, 0 where all are the same (collapse).

    The standard deviation of each coordinate of the normalised rows, averaged, times sqrt(dim).
    Source: Chen and He, "Exploring Simple Siamese Representation Learning", section 4.1.
    """
    unit = functional.normalize(embeddings.float(), dim=1)
    return torch.mul(unit.std(dim=0, unbiased=False).mean(), unit.shape[1] ** 0.5)
