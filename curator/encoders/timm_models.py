"""Encoders of timm: `timm:MODEL`, such as `timm:resnet50.a1_in1k`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from torch import nn

from curator.encoders.encoder import Backbone
from curator.encoders.match_state_dict import load_weights
from curator.encoders.spec import EncoderSpec, near_names
from curator.encoders.weights import RANDOM, downloading, random_weights
from curator.errors import InputError
from curator.images import Preprocess

__all__ = ["load_timm", "timm_backbone", "timm_preprocess"]

_HUB = "hf-hub:"


def load_timm(spec: EncoderSpec, weights: str | None, image_size: int | None = None, seed: int = 0) -> Backbone:
    """Build a timm model without its classification head; see `curator.encoders.load.load_encoder`.

    Args:
        spec: the parsed name of the model.
        weights: see `load_encoder`.
        image_size: the height and width of its input; None for the model's own.
        seed: the seed of random weights.
    """
    import timm

    name = spec.model
    _check_name(name)
    if weights is None:
        with downloading(f"the weights of timm:{name}"):
            return timm_backbone(timm.create_model(name, pretrained=True, num_classes=0), name, image_size)
    describing = downloading(f"the description of timm:{name}", "name a model that timm knows itself")
    with describing if name.startswith(_HUB) else nullcontext(), random_weights(seed):
        model = timm.create_model(name, pretrained=False, num_classes=0)
    notes = load_weights(model, weights, ignore=_heads(model)) if weights != RANDOM else ()
    return replace(timm_backbone(model, name, image_size), notes=notes)


def timm_backbone(model: nn.Module, name: str, image_size: int | None = None) -> Backbone:
    """A timm model with the preprocessing that its own description asks for.

    Args:
        model: the model without its head. A transformer's position embeddings are resampled to another image size.
        name: the name of the model in timm.
        image_size: see `load_timm`.

    Raises:
        InputError: the preprocessing is not supported.
    """
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    config = resolve_model_data_config(model)
    architecture = name if name.startswith(_HUB) else name.partition(".")[0]
    preprocess, transform = timm_preprocess(config), create_transform(**config, is_training=False)
    if image_size is not None and preprocess.crop != (image_size, image_size):
        _resize_input(model, image_size, name)
        preprocess = preprocess.at_size(image_size)
        transform = preprocess.pil_transform
    return Backbone(model, preprocess, transform, f"timm:{architecture}", _heads(model))


def _resize_input(model: Any, image_size: int, name: str) -> None:
    if not model.pretrained_cfg.get("fixed_input_size"):
        return
    try:
        model.set_input_size(img_size=(image_size, image_size))
    except (AttributeError, AssertionError, ValueError) as error:
        message = f"it takes no images of {image_size} x {image_size} pixels ({error})"
        raise InputError(message, field="encoder", value=f"timm:{name}") from error


def timm_preprocess(config: Mapping[str, Any]) -> Preprocess:
    """The preprocessing of timm's evaluation transform for a data config.

    Source: `timm.data.transforms_factory.transforms_imagenet_eval`.

    Raises:
        InputError: crop mode `border`, or a model of non-square or non-RGB input.
    """
    channels, height, width = config["input_size"]
    mode = config["crop_mode"]
    if channels != 3 or mode not in ("center", "squash") or (mode == "center" and height != width):
        raise InputError(
            f"a timm model with crop mode {mode!r} and input {tuple(config['input_size'])} is not supported",
            advice="choose another model",
        )
    scaled = math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"])
    return Preprocess(
        resize=scaled if mode == "squash" else scaled[0],
        crop=(height, width),
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
    )


def _heads(model: Any) -> tuple[str, ...]:
    heads = model.pretrained_cfg.get("classifier") or ()
    return (heads,) if isinstance(heads, str) else tuple(heads)


def _check_name(name: str) -> None:
    import timm

    if name.startswith(_HUB):
        return
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = near_names(architecture, timm.list_models())
        raise InputError(f"unknown model{near}", field="encoder", value=f"timm:{name}")
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in tagged:
        raise InputError(f"unknown weights{near_names(name, tagged)}", field="encoder", value=f"timm:{name}")
