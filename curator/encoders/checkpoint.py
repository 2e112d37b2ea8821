"""Encoders in files: what the trainer saves, and `checkpoint:PATH` loads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from curator.encoders.encoder import Backbone
from curator.encoders.match_state_dict import find_match, load_matching
from curator.encoders.spec import EncoderSpec
from curator.encoders.weights import RANDOM, WeightsOrigin, find_tensors, load_file
from curator.errors import InputError, Leave
from curator.images import Preprocess
from curator.io import absolute, storage

__all__ = [
    "FORMAT",
    "OWN_ARCHITECTURES",
    "USUAL",
    "VERSION",
    "build_backbone",
    "copy_at_size",
    "load_checkpoint",
    "save_checkpoint",
]

FORMAT = "curator.encoder"
VERSION = 1
ARCHITECTURE = re.compile(r"(timm|torchvision):(.+)|(small_resnet|small_resnet_max)")
# Networks that are curator's own, to train: their names stand alone.
OWN_ARCHITECTURES = ("small_resnet",)
# The architectures that a file from elsewhere is compared with, in this order. ResNets have the same names in both
# libraries; torchvision's preprocessing is the one that papers on self-supervised learning evaluate with.
USUAL = (
    *(f"torchvision:resnet{layers}" for layers in (50, 18, 34, 101, 152)),
    *(f"torchvision:{name}" for name in ("wide_resnet50_2", "resnext50_32x4d", "efficientnet_b0", "vit_b_16")),
    *(f"torchvision:{name}" for name in ("mobilenet_v3_large", "convnext_tiny", "convnext_base")),
    *(f"timm:vit_{size}_patch16_224" for size in ("small", "base", "tiny", "large")),
    *(f"timm:vit_{size}_patch8_224" for size in ("small", "base")),
    *(f"timm:vit_{size}_patch14_dinov2" for size in ("small", "base", "large")),
    *(f"timm:{name}" for name in ("efficientnet_b0", "tf_efficientnet_lite0", "mobilenetv3_large_100")),
    *(f"timm:{name}" for name in ("convnext_tiny", "convnext_base", "swin_tiny_patch4_window7_224")),
)


def save_checkpoint(
    url: str,
    *,
    architecture: str,
    preprocess: Preprocess,
    state_dict: Mapping[str, torch.Tensor],
    meta: Mapping[str, Any],
) -> None:
    """Write an encoder as one file that `checkpoint:PATH` loads. Atomic, as `storage.write_file`.

    The file is what `torch.save` makes of
    `{"format": "curator.encoder", "version": 1, "architecture", "preprocess", "state_dict", "meta"}`,
    with nothing in it but tensors and plain values, so that `torch.load(weights_only=True)` reads it.

    Args:
        url: a local path, or anything fsspec writes.
        architecture: `timm:NAME`, `torchvision:NAME`, `small_resnet` or `small_resnet_max`.
        preprocess: the preprocessing of the encoder.
        state_dict: the tensors of the backbone under the library's own names, without the classifier.
        meta: what tells where the encoder came from, as plain values (numbers, text, lists, dicts).

    Raises:
        ValueError: the architecture is of another family, or there are no tensors.
    """
    if not ARCHITECTURE.fullmatch(architecture):
        raise ValueError(f"architecture {architecture!r} is none of timm:NAME, torchvision:NAME and small_resnet")
    if not state_dict:
        raise ValueError("no tensors to save")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": architecture,
        "preprocess": preprocess.to_json(),
        # Cloned, since torch.save writes the whole storage behind a view; contiguous, since safetensors takes nothing
        # else, and training leaves channels_last.
        "state_dict": {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in state_dict.items()
        },
        "meta": dict(meta),
    }
    with storage.write_file(absolute(url)) as path:
        torch.save(content, path)


def copy_at_size(source: str, url: str, side: int, architecture: str | None = None) -> None:
    """Copy a file of `save_checkpoint` and change the input of its encoder to squares of `side` pixels.

    Args:
        source: the file.
        url: of the copy.
        side: in pixels.
        architecture: another one with the same tensors; None for that of the file.

    Raises:
        InputError: there is no such file, or `save_checkpoint` did not write it.
    """
    origin = WeightsOrigin(None, source)
    loaded = load_file(source, origin)
    if not isinstance(loaded, Mapping) or loaded.get("format") != FORMAT:
        raise origin.error("it is not an encoder that curator trained")
    save_checkpoint(
        url,
        architecture=architecture or loaded["architecture"],
        preprocess=Preprocess.from_json(loaded["preprocess"]).at_size(side),
        state_dict=loaded["state_dict"],
        meta=loaded["meta"],
    )


def build_backbone(architecture: str, image_size: int | None = None, seed: int = 0) -> Backbone:
    """A model without its classifier, its weights random (the same in every process).

    Args:
        architecture: `timm:NAME`, `torchvision:NAME`, `small_resnet` or `small_resnet_max`.
        image_size: the height and width of its input; None for the model's own.
        seed: the seed of the weights.

    Raises:
        InputError: there is no such model.

    >>> build_backbone("timm:resnet18", image_size=64).preprocess.crop
    (64, 64)
    """
    match = ARCHITECTURE.fullmatch(architecture)
    if match is None:
        raise InputError(
            f"unknown architecture {architecture}", advice="give timm:NAME, torchvision:NAME or small_resnet"
        )
    # Imported on use: each of these libraries takes seconds.
    if match[1] == "timm":
        from curator.encoders.timm_models import load_timm as load
    elif match[1] == "torchvision":
        from curator.encoders.torchvision_models import load_torchvision as load
    else:
        from curator.encoders.small_resnet import load_small_resnet as load
    return load(EncoderSpec(match[1] or match[3], match[2] or ""), RANDOM, image_size, seed)


def load_checkpoint(spec: EncoderSpec, weights: str | None) -> Backbone:
    """Load what `save_checkpoint` wrote, or a file of tensors from elsewhere.

    A file from elsewhere does not name its architecture. It is the one in the spec
    (`checkpoint:PATH@timm:resnet18`), or the first of `USUAL` whose every tensor is there; the image size
    and preprocessing are those of that architecture. Prefixes, nesting and heads of common training
    scripts are understood: see `curator.encoders.match_state_dict`.

    Raises:
        InputError: there is no such file, it has another format or version, or its tensors do not match those of the
            architecture.
    """
    origin = WeightsOrigin("encoder", f"checkpoint:{spec.model}")
    if weights is not None:
        raise origin.error("it holds its own weights", advice=Leave("weights"))
    loaded = load_file(spec.model, origin)
    if not isinstance(loaded, Mapping) or loaded.get("format") != FORMAT:
        return _load_foreign(find_tensors(loaded, origin), spec.architecture, origin)
    if spec.architecture:
        raise origin.error("it names its architecture itself", advice=f"leave @{spec.architecture} away")
    return _load_own(loaded, origin)


def _load_own(loaded: Mapping[str, Any], origin: WeightsOrigin) -> Backbone:
    if loaded.get("version") != VERSION:
        raise origin.error(
            f"it has version {loaded.get('version')} of its format, known is {VERSION}",
            advice=("update curator", "train the encoder again"),
        )
    preprocess = Preprocess.from_json(loaded["preprocess"])
    backbone = build_backbone(loaded["architecture"], preprocess.crop[0])
    load_matching(backbone.model, loaded["state_dict"], origin, ignore=backbone.heads)
    return replace(backbone, preprocess=preprocess, pil_transform=preprocess.pil_transform)


def _load_foreign(tensors: Mapping[str, torch.Tensor], architecture: str, origin: WeightsOrigin) -> Backbone:
    backbone = build_backbone(architecture or _infer(tensors, origin))
    return replace(backbone, notes=load_matching(backbone.model, tensors, origin, ignore=backbone.heads))


def _infer(tensors: Mapping[str, torch.Tensor], origin: WeightsOrigin) -> str:
    nearest: tuple[float, str, str] = (-1.0, "", "")
    for architecture in USUAL:
        # On the meta device a model has shapes and no memory.
        with torch.device("meta"):
            backbone = build_backbone(architecture)
        match = find_match(backbone.model, tensors, backbone.heads)
        if not match.problems:
            return architecture
        nearest = max(nearest, (match.share, architecture, match.problems), key=lambda entry: entry[0])
    raise origin.error(
        f"its tensors match none of the usual architectures (nearest is {nearest[1]}, with {nearest[2]})",
        advice=f"name the architecture, as in {origin.name}@timm:resnet18",
    )
