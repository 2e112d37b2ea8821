"""Load an encoder by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator.encoders.spec import ENCODERS, parse_spec
from curator.errors import Another, InputError

if TYPE_CHECKING:
    from curator.encoders.encoder import Backbone, Encoder

__all__ = ["default_batch_size", "load_backbone", "load_encoder"]

# Measured for EfficientNet-Lite0: on two cores 32 is the fastest, 64 slower again.
_BATCH_SIZES = {"cpu": 32, "cuda": 256}


def load_encoder(
    spec: str,
    *,
    weights: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
) -> Encoder:
    """Load an encoder, ready to use.

    Args:
        spec: `lite0`, `timm:MODEL`, `torchvision:MODEL`, `open_clip:MODEL/PRETRAINED`,
            `open_clip:hf-hub:ORG/REPO`, `checkpoint:PATH[@ARCHITECTURE]`, or anyone's own: the name of an entry point
            of the group `curator.encoders`, or `PACKAGE.MODULE:NAME`, both with or without `:ARGUMENT`.
        weights: a local file (what `torch.save` wrote, or safetensors), `random` for weights that are
            random but the same in every process, or None for the family's own.
        device: `auto` (the GPU if there is one), `cpu` or `cuda`.
        precision: `auto` (bf16 where the hardware calculates in it), `fp32` or `bf16`.
        batch_size: images a forward pass, at least 32; None for 32 on a CPU and 256 on a GPU.

    Raises:
        InputError: no such encoder, device or precision; weights that cannot be had or do not fit; a
            preprocessing that cannot be reproduced.
    """
    parse_spec(spec)

    from curator.encoders.device import resolve_device, resolve_precision
    from curator.encoders.encoder import MIN_BATCH_SIZE, Encoder

    if batch_size is not None and batch_size < MIN_BATCH_SIZE:
        raise InputError(
            f"at least {MIN_BATCH_SIZE} are needed, since smaller batches round differently with the number of threads",
            field="batch_size",
            value=batch_size,
        )
    on = resolve_device(device)
    resolved = resolve_precision(precision, on)
    backbone = load_backbone(spec, weights)
    size = batch_size or default_batch_size(on.type)
    try:
        return Encoder(spec, backbone, device=on, precision=resolved, batch_size=size)
    except ValueError as error:
        raise InputError(str(error), field="encoder", value=spec, advice=Another("encoder")) from error


def default_batch_size(device: str) -> int:
    """Images of a forward pass where nobody says how many, by the kind of device (`cpu` or `cuda`)."""
    return _BATCH_SIZES[device]


def load_backbone(spec: str, weights: str | None = None) -> Backbone:
    """The model of an encoder as its library built it, on the CPU, for whoever trains it further.

    Args:
        spec: see `load_encoder`.
        weights: see `load_encoder`.

    Raises:
        InputError: no such encoder, or weights that cannot be had or do not fit.
    """
    from curator.encoders.encoder import Backbone

    parsed = parse_spec(spec)
    backbone = ENCODERS.find(spec)(parsed, weights)
    if not isinstance(backbone, Backbone):
        raise InputError("what it names gives no curator.encoders.encoder.Backbone", field="encoder", value=spec)
    return backbone
