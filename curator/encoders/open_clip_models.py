"""Image towers of open_clip: `open_clip:MODEL/PRETRAINED` or `open_clip:hf-hub:ORG/REPO`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from curator.encoders.encoder import Backbone
from curator.encoders.match_state_dict import load_matching
from curator.encoders.spec import EncoderSpec, near_names
from curator.encoders.weights import RANDOM, WeightsOrigin, downloading, random_weights, read_weights
from curator.errors import InputError
from curator.images import Preprocess
from curator.plugins import require_package

__all__ = ["create_whole", "load_open_clip", "open_clip_preprocess"]

_HUB = "hf-hub:"


def load_open_clip(spec: EncoderSpec, weights: str | None) -> Backbone:
    """Build an open_clip model and keep its image tower; see `curator.encoders.load.load_encoder`."""
    require_package("open_clip", "", field="encoder", value=f"open_clip:{spec.model}")
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    hub = spec.model.startswith(_HUB)
    settings = {} if hub else _check_name(spec, weights)
    with _quietly():
        model = _create(spec, weights, settings)
    if weights not in (None, RANDOM):
        _load_tower(model, str(weights))
    config = dict(model.visual.preprocess_cfg)
    if weights is not None and not hub:
        # The tag says which preprocessing its weights need, also where the weights come from a file.
        config = open_clip.transform.merge_preprocess_dict(config, {**settings, "size": config["size"]})
    transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    return Backbone(model.visual, open_clip_preprocess(config), transform, f"open_clip:{spec.model}")


def create_whole(spec: EncoderSpec, weights: str | None) -> Any:
    """The model with both of its towers.

    Raises:
        InputError: see `load_encoder`; or the weights are a file that does not hold both towers.
    """
    from open_clip.convert import convert_state_dict

    settings = {} if spec.model.startswith(_HUB) else _check_name(spec, weights)
    with _quietly():
        model = _create(spec, weights, settings)
    if weights not in (None, RANDOM):
        load_matching(
            model, convert_state_dict(model, read_weights(str(weights))), WeightsOrigin("weights", str(weights))
        )
    return model


def open_clip_preprocess(config: Mapping[str, Any]) -> Preprocess:
    """The preprocessing of open_clip's evaluation transform for a preprocess config.

    Source: `open_clip.transform.image_transform`.

    Raises:
        InputError: resize mode `longest`, which pads, or `shortest` to a shape that is not square.
    """
    size, mode = config["size"], config["resize_mode"]
    height, width = (size, size) if isinstance(size, int) else size
    if mode not in ("shortest", "squash") or (mode == "shortest" and height != width):
        raise InputError(
            f"an open_clip model with resize mode {mode!r} to {height} x {width} is not supported",
            advice="choose another model",
        )
    return Preprocess(
        resize=(height, width) if mode == "squash" else height,
        crop=(height, width),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        mean=config["mean"],
        std=config["std"],
    )


def _check_name(spec: EncoderSpec, weights: str | None) -> dict[str, Any]:
    """open_clip's description of the tag; empty where no tag is named, which needs weights of a file."""
    import open_clip

    name = f"open_clip:{spec.model}"
    if spec.model not in open_clip.list_models():
        near = near_names(spec.model, open_clip.list_models())
        raise InputError(f"unknown model{near}", field="encoder", value=name)
    tags = open_clip.list_pretrained_tags_by_model(spec.model)
    if not spec.pretrained and weights is None:
        advice = f"name the weights, as in {name}/TAG; it has {', '.join(tags) or 'none'}"
        raise InputError("no weights are named", field="encoder", value=name, advice=advice)
    if not spec.pretrained:
        return {}
    settings: dict[str, Any] = open_clip.get_pretrained_cfg(spec.model, spec.pretrained)
    if not settings:
        raise InputError(
            f"unknown weights{near_names(spec.pretrained, tags)}; it has {', '.join(tags) or 'none'}",
            field="encoder",
            value=f"{name}/{spec.pretrained}",
        )
    return settings


def _create(spec: EncoderSpec, weights: str | None, settings: Mapping[str, Any]) -> Any:
    import open_clip

    name = "open_clip:" + "/".join(part for part in (spec.model, spec.pretrained) if part)
    if weights is None:
        guard = downloading(f"the weights of {name}")
    elif spec.model.startswith(_HUB):
        guard = downloading(f"the description of {name}", "name a model that open_clip knows itself")
    else:
        guard = _building(name)
    with guard, random_weights():
        return open_clip.create_model(
            spec.model,
            pretrained=spec.pretrained if weights is None else None,
            load_weights=weights is None,
            require_pretrained=weights is None,
            pretrained_image=False,
            pretrained_text=False,
            # With the other activation the weights would load too, and give worse embeddings.
            force_quick_gelu=bool(settings.get("quick_gelu")),
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without warnings and log lines, for instance that a model is random whose weights are loaded next."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextmanager
def _building(name: str) -> Iterator[None]:
    """Some text towers need a package or a download of their own to be built, though they are not kept."""
    try:
        yield
    except Exception as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"open_clip cannot build it ({detail})", field="encoder", value=name) from error


def _load_tower(model: Any, path: str) -> None:
    """Load a whole CLIP checkpoint's image tower, or a file that holds just the tower."""
    from open_clip.convert import convert_state_dict

    tensors: dict[str, torch.Tensor] = convert_state_dict(model, read_weights(path))
    prefix = "visual."
    tower = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    load_matching(model.visual, tower or tensors, WeightsOrigin("weights", path))
