"""Optimizers and the learning rate. Cheap to import: torch comes with the optimizer that is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import nn

    from curator_ssl.config import TrainConfig

__all__ = ["OPTIMIZERS", "OptimizerKind", "learning_rate", "make_optimizer"]

MOMENTUM = 0.9
Groups: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True)
class OptimizerKind:
    """An optimizer to choose by name.

    Attributes:
        make: groups of parameters and a learning rate to the optimizer.
        lr: the default learning rate at 256 images a step.
        weight_decay: the default weight decay.
    """

    make: Callable[[Groups, float], torch.optim.Optimizer]
    lr: float
    weight_decay: float


def _sgd(groups: Groups, lr: float) -> torch.optim.Optimizer:
    from torch.optim import SGD

    return SGD(groups, lr=lr, momentum=MOMENTUM)


def _adamw(groups: Groups, lr: float) -> torch.optim.Optimizer:
    from torch.optim import AdamW

    return AdamW(groups, lr=lr)


def _lars(groups: Groups, lr: float) -> torch.optim.Optimizer:
    from curator_ssl.lars import LARS

    return LARS(groups, lr=lr, momentum=MOMENTUM)


OPTIMIZERS = {
    "sgd": OptimizerKind(_sgd, lr=0.1, weight_decay=1e-4),
    "adamw": OptimizerKind(_adamw, lr=5e-4, weight_decay=0.05),
    "lars": OptimizerKind(_lars, lr=0.3, weight_decay=1e-6),
}


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of a run, over the parameters that are trained; norms and biases do not decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: Groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "scaled": False},
    ]
    return OPTIMIZERS[config.optimizer].make(groups, config.peak_learning_rate)


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of a step: a linear rise over the ramp, then half a cosine down to 0.

    The peak is `TrainConfig.peak_learning_rate`, which grows with the batch.
    """
    peak, ramp = config.peak_learning_rate, config.lr_ramp
    if step < ramp:
        return peak * (step + 1) / ramp
    done = (step - ramp) / max(config.steps - ramp, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
