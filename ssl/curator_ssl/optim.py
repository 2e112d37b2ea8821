"""Optimizers by name. Cheap to import: torch comes with the optimizer that is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["OPTIMIZERS", "OptimizerKind", "make_optimizer"]

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
    "sgd": OptimizerKind(_sgd, lr=0.5, weight_decay=1e-4),
    "adamw": OptimizerKind(_adamw, lr=5e-4, weight_decay=0.05),
    "lars": OptimizerKind(_lars, lr=0.3, weight_decay=1e-6),
}


def make_optimizer(model: nn.Module, name: str, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """An optimizer over the parameters that are trained; norms and biases do not decay.

    Args:
        model: the network with its heads.
        name: one of `OPTIMIZERS`.
        lr: the learning rate, which the loop sets anew in every step.
        weight_decay: the decay of weights.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: Groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "scaled": False},
    ]
    return OPTIMIZERS[name].make(groups, lr)
