"""Encoders of torchvision: `torchvision:MODEL`, with the library's default weights of that model."""

from __future__ import annotations

from typing import Any

from torch import nn

from curator.encoders.encoder import Backbone
from curator.encoders.match_state_dict import load_weights
from curator.encoders.spec import EncoderSpec, near_names
from curator.encoders.weights import RANDOM, downloading, random_weights
from curator.errors import InputError
from curator.images import Preprocess

__all__ = ["load_torchvision", "torchvision_preprocess"]

# The preprocessing inside these models depends on the weights that they were built with.
_UNSUPPORTED = ("googlenet", "inception_v3")
# Models whose tensors depend on the input size.
_SIZED = ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14")


def load_torchvision(spec: EncoderSpec, weights: str | None, image_size: int | None = None, seed: int = 0) -> Backbone:
    """Build a torchvision classifier without its last linear layer; see `load.load_encoder`.

    The preprocessing is that of the default weights, whichever weights are loaded.

    Args:
        spec: the parsed name of the model.
        weights: see `load_encoder`.
        image_size: the height and width of its input; None for that of the default weights.
        seed: the seed of random weights.
    """
    from torchvision import models

    name = spec.model
    known = [model for model in models.list_models(module=models) if model not in _UNSUPPORTED]
    if name not in known:
        raise InputError(f"unknown model{near_names(name, known)}", field="encoder", value=f"torchvision:{name}")
    transform = models.get_model_weights(name).DEFAULT.transforms()
    preprocess = torchvision_preprocess(transform)
    sized = {}
    if image_size is not None and preprocess.crop != (image_size, image_size):
        preprocess = preprocess.at_size(image_size)
        transform = preprocess.pil_transform
        sized = {"image_size": image_size} if name in _SIZED else {}
    if weights is None:
        with downloading(f"the weights of torchvision:{name}"):
            model = models.get_model(name, weights="DEFAULT", **sized)
    else:
        with random_weights(seed):
            model = models.get_model(name, weights=None, **sized)
    head = _drop_head(model, name)
    notes = load_weights(model, str(weights), ignore=(head,)) if weights not in (None, RANDOM) else ()
    return Backbone(model, preprocess, transform, f"torchvision:{name}", (head,), notes)


def torchvision_preprocess(transform: Any) -> Preprocess:
    """The preprocessing of a preset `ImageClassification`.

    Source: `torchvision.transforms._presets.ImageClassification`.
    """
    (crop,), (resize,) = transform.crop_size, transform.resize_size
    return Preprocess(resize, (crop, crop), transform.interpolation.value, transform.mean, transform.std)


def _drop_head(model: nn.Module, name: str) -> str:
    """Replace the last linear layer by the identity. Returns the name of that layer."""
    linear: list[str] = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(
            "it has no linear layer to take the features before",
            field="encoder",
            value=f"torchvision:{name}",
            advice="choose another model",
        )
    parent, _, child = linear[-1].rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return linear[-1]
