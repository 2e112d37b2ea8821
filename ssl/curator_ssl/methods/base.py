"""What the loop knows of a method, and what anyone who writes one subclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from curator_ssl.methods.options import NoOptions

__all__ = ["Method", "spread"]


class Method(nn.Module, ABC):
    """A method of self-supervised learning, as one module that the loop may wrap and save as a whole.

    Args:
        backbone: (B, 3, h, w) -> (B, dim).
        dim: columns of its features.
        options: an instance of `Options`.

    Attributes:
        Options: a dataclass of the method's own options, each with a type and a default: what a user may give as
            `method_option`.
        backbone: what is trained, and all that is kept in the end: features before any head.
    """

    Options: ClassVar[type[Any]] = NoOptions
    backbone: nn.Module

    @classmethod
    def check_packages(cls) -> None:
        """Refuse to begin where a package is missing that the method needs; called before any work.

        Raises:
            InputError: one is missing.
        """

    def __init__(self, backbone: nn.Module, dim: int, options: Any) -> None:
        super().__init__()
        self.backbone = backbone

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

    def chance(self, images: int) -> float | None:
        """The loss of a network to which all images look alike; None where the loss does not show that.

        Args:
            images: how many a step holds, over all ranks.
        """
        return None

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
