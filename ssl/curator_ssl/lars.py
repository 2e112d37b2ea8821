"""LARS: SGD whose step is scaled to the size of each weight, for large batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch

__all__ = ["LARS"]


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose step is scaled, tensor by tensor, to the size of the weights.

    Args:
        params: parameters or groups of them; groups with `scaled` False (norms and biases, as in SimCLR and BYOL)
            get plain SGD.
        lr: learning rate.
        momentum: of the update.
        trust: the share of a weight's norm that a step of rate 1 may change.

    Source: You et al., "Large Batch Training of Convolutional Networks", 2017.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.9, trust: float = 0.001) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "trust": trust, "weight_decay": 0.0, "scaled": True})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update from the gradients."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: torch.Tensor, group: dict[str, Any]) -> None:
        assert weight.grad is not None
        update = weight.grad + group["weight_decay"] * weight
        if group["scaled"]:
            size, change = weight.norm(), update.norm()
            scaled = group["trust"] * size / change
            # Weights or gradients of zeros: no ratio to scale by.
            update = update * torch.where((size > 0) & (change > 0), scaled, torch.ones_like(scaled))
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].mul_(group["momentum"]).add_(update)
        weight.sub_(state["momentum"], alpha=group["lr"])
