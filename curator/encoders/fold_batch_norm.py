"""Fold batch norms into the convolutions before them.

In evaluation mode a batch norm is a fixed scale and shift. As a step of its own it reads and writes every
activation once more, which takes a CPU as much time as the convolutions of a small network.
"""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

__all__ = ["fold_batch_norms"]

# A right fold rounds differently (1e-5 was measured); a wrong one is off by the size of the features.
_TOLERANCE = 1e-2


@torch.no_grad()
def fold_batch_norms(model: nn.Module, size: tuple[int, int]) -> tuple[nn.Module, int]:
    """Fold every batch norm whose input is a convolution's output, if the features stay the same.

    Args:
        model: a model in evaluation mode, float32, on the CPU: (B, 3, h, w) -> (B, dim).
        size: the (height, width) of its input.

    Returns:
        the folded model, or the model as it was if folding changed the features; and dim.

    Raises:
        ValueError: the model does not give one row of features per image.
    """
    images = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(0))
    images = images.sub_(0.5).mul_(4)
    pairs, features = _observe(model, images)
    if not isinstance(features, torch.Tensor) or features.ndim != 2 or len(features) != len(images):
        raise ValueError("it does not give one row of features per image")
    dim = features.shape[1]
    if not pairs:
        return model, dim
    folded = copy.deepcopy(model)
    for conv_name, norm_name in pairs:
        _fold(folded, conv_name, norm_name)
    error = (folded(images) - features).norm() / features.norm()
    return (folded if error < _TOLERANCE else model), dim


def _observe(model: nn.Module, images: torch.Tensor) -> tuple[list[tuple[str, str]], torch.Tensor]:
    """The names of (convolution, batch norm) where the first one's output is the second one's input; and the features.

    They are observed in a forward pass, because the order in which modules are registered proves nothing.
    """
    outputs: dict[int, tuple[str, torch.Tensor]] = {}
    pairs: list[tuple[str, str]] = []
    hooks = []

    def remember(name: str, output: torch.Tensor) -> None:
        # While the tensor is held, its id is not given to another.
        outputs[id(output)] = (name, output)

    def match(name: str, image: torch.Tensor) -> None:
        if id(image) in outputs:
            pairs.append((outputs[id(image)][0], name))

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda m, i, output, name=name: remember(name, output)))
        elif _remainder(module) is not None:
            hooks.append(module.register_forward_pre_hook(lambda m, i, name=name: match(name, i[0])))
    try:
        features = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    uses = Counter(name for pair in pairs for name in pair)
    return [pair for pair in pairs if uses[pair[0]] == uses[pair[1]] == 1], features


def _remainder(module: nn.Module) -> nn.Module | None:
    """The module that remains when scale and shift of a batch norm are folded away; None for other modules."""
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None:
        return None
    if type(module) is nn.BatchNorm2d:
        return nn.Identity()
    # This norm of timm has the activation inside.
    if type(module).__name__ == "BatchNormAct2d":
        return nn.Sequential(module.get_submodule("drop"), module.get_submodule("act"))
    return None


def _fold(model: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    remainder = _remainder(norm)
    assert remainder is not None and norm.running_mean is not None and norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    conv.weight, conv.bias = weight.requires_grad_(False), bias.requires_grad_(False)
    parent, _, child = norm_name.rpartition(".")
    setattr(model.get_submodule(parent), child, remainder)
