from __future__ import annotations

import pytest
import torch
from torch import nn

from curator_ssl.lars import LARS
from curator_ssl.optim import OPTIMIZERS, make_optimizer


def gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, 4)


class TestLARS:
    @pytest.mark.parametrize("decay", [0.0, 0.01])
    def test_like_the_formula(self, decay: float) -> None:
        """You et al., algorithm 1, for a weight; a bias gets plain SGD with momentum."""
        model = layer()
        optimizer = make_optimizer(model, "lars", 0.5, decay)
        weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
        moved, moved_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        for step in range(3):
            gradients(model, step)
            update = model.weight.grad + decay * weight
            moved = 0.9 * moved + 0.001 * weight.norm() / update.norm() * update
            moved_bias = 0.9 * moved_bias + model.bias.grad
            weight, bias = weight - 0.5 * moved, bias - 0.5 * moved_bias
            optimizer.step()
        torch.testing.assert_close(model.weight.detach(), weight)
        torch.testing.assert_close(model.bias.detach(), bias)

    def test_weights_of_zeros_still_move(self) -> None:
        weight = nn.Parameter(torch.zeros(3, 3))
        weight.grad = torch.ones(3, 3)
        LARS([weight], lr=0.1).step()
        assert weight.isfinite().all() and weight.abs().min() > 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_norms_and_biases_do_not_decay(name: str) -> None:
    model = nn.Sequential(layer(), nn.LayerNorm(4))
    groups = make_optimizer(model, name, 0.1, 0.3).param_groups
    decays = {id(weight): group["weight_decay"] for group in groups for weight in group["params"]}
    assert [decays[id(weight)] for weight in model.parameters()] == [0.3, 0.0, 0.0, 0.0]
