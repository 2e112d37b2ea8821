"""The network that is trained: any timm or torchvision image model, without its classifier."""

from __future__ import annotations

import torch

from curator.encoders import OWN_ARCHITECTURES, RANDOM, Backbone, build_backbone, load_weights
from curator.errors import Another, InputError
from curator.io import absolute, storage

__all__ = ["check_backbone", "feature_dim", "full_name", "make_backbone"]


def full_name(arch: str) -> str:
    """An architecture as `build_backbone` takes it; a bare name is timm's where timm knows it.

    >>> full_name("resnet18"), full_name("torchvision:resnet18")
    ('timm:resnet18', 'torchvision:resnet18')
    """
    if ":" in arch or arch in OWN_ARCHITECTURES:
        return arch
    import timm

    return f"timm:{arch}" if timm.is_model(arch.partition(".")[0]) else f"torchvision:{arch}"


def check_backbone(architecture: str, image_size: int, weights: str = RANDOM) -> None:
    """Find before any image is read, and without memory for a model, what `make_backbone` would refuse at once.

    Raises:
        InputError: no such model, none for such images, or no such file of weights.
    """
    try:
        with torch.device("meta"):
            build_backbone(architecture, image_size)
    except InputError as error:
        raise error.about("arch") from error
    if weights != RANDOM and not storage.exists(absolute(weights)):
        raise InputError("no such file", field="weights", value=weights)


def make_backbone(architecture: str, image_size: int, seed: int, weights: str = RANDOM) -> Backbone:
    """A model for training.

    Args:
        architecture: see `curator.encoders.build_backbone`.
        image_size: side of its input.
        seed: of its random weights.
        weights: a file to load, see `curator.encoders.weights.read_weights`, or `random`.

    Raises:
        InputError: no such model, or weights that do not fit.
    """
    backbone = build_backbone(architecture, image_size, seed)
    if weights != RANDOM:
        load_weights(backbone.model, weights, ignore=backbone.heads)
    return backbone


@torch.no_grad()
def feature_dim(backbone: Backbone) -> int:
    """Columns of a backbone's features.

    Raises:
        InputError: it does not give one row an image.
    """
    model = backbone.model.eval()
    features = model(torch.zeros(2, 3, *backbone.preprocess.crop))
    if features.ndim != 2:
        raise InputError(
            "it does not give one row of features for each image",
            field="arch",
            value=backbone.architecture,
            advice=Another("arch"),
        )
    return int(features.shape[1])
