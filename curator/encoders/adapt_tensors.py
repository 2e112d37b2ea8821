"""The same network, written in another way: tensors of a file brought to the form of the model that takes them.

DINOv2's own training saves what no library's model has: blocks in chunks, LayerScale in models that are built without
it, and position embeddings of the size that it was trained at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch

__all__ = ["adapt_tensors", "without_chunks", "without_wrappers"]

Tensors = Mapping[str, torch.Tensor]

# What wrappers of modules put into names: torch.compile, activation checkpointing, FSDP.
_WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
# FSDP cuts the blocks of a transformer into chunks, in which each keeps its number: blocks.1.5 is block 5.
_CHUNKED = re.compile(r"(^|.*\.)blocks\.\d+\.(\d+\..+)")
# LayerScale, and the layers whose output it scales.
_SCALED = {"ls1.gamma": ("attn.proj",), "ls2.gamma": ("mlp.fc2", "mlp.w3")}
# Two names of the same layers of a gated MLP: DINOv2's, and timm's.
_RENAMED = {".mlp.w12.": ".mlp.fc1.", ".mlp.w3.": ".mlp.fc2."}
_POSITIONS = ("pos_embed", "pos_embedding", "positional_embedding")


def without_wrappers(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The tensors without the names of wrappers, wherever these stand in a name.

    >>> list(without_wrappers({"_orig_mod.layer1._orig_mod.weight": torch.zeros(1)}))
    ['layer1.weight']
    """
    names = {name: ".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in tensors}
    if len(set(names.values())) < len(names):
        return dict(tensors)
    return {names[name]: value for name, value in tensors.items()}


def without_chunks(tensors: Tensors) -> dict[str, torch.Tensor] | None:
    """The tensors with the blocks out of their chunks; None where there are no chunks."""
    names = {name: _CHUNKED.sub(r"\1blocks.\2", name) for name in tensors}
    if all(name == new for name, new in names.items()) or len(set(names.values())) < len(names):
        return None  # EfficientNet has blocks.0.0 and blocks.1.0, which are two
    return {names[name]: value for name, value in tensors.items()}


def adapt_tensors(tensors: Tensors, own: Tensors) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Bring tensors to the form of a model's.

    Args:
        tensors: the tensors of a file, under the model's names as far as they are known there.
        own: the tensors of the model; only their names and shapes are looked at.

    Returns:
        the tensors, and a line for each thing that was done to them.
    """
    adapted = {_renamed(name, own): value for name, value in tensors.items()}
    notes = []
    if _fold_layer_scale(adapted, own):
        notes.append("LayerScale is folded into the layers before it, as the architecture has none")
    for name, value in adapted.items():
        if name.rpartition(".")[2] in _POSITIONS and name in own and value.shape != own[name].shape:
            resampled = _resample(value, own[name].shape)
            if resampled is not None:
                adapted[name], sides = resampled
                notes.append("position embeddings are resampled from {0} x {0} to {1} x {1} patches".format(*sides))
    return adapted, notes


def _renamed(name: str, own: Tensors) -> str:
    for before, after in _RENAMED.items():
        if before in name and name not in own:
            return name.replace(before, after)
    return name


def _fold_layer_scale(tensors: dict[str, torch.Tensor], own: Tensors) -> bool:
    """Multiply scales into the layers whose outputs they scale, where the model has no scales. Changes `tensors`."""
    found = [name for name in tensors if name.endswith(tuple(_SCALED)) and name not in own]
    for name in found:
        block, short = name[: -len("ls1.gamma")], name[-len("ls1.gamma") :]
        layer = next((layer for layer in _SCALED[short] if f"{block}{layer}.weight" in tensors), None)
        if layer is None:
            return False
        scale = tensors.pop(name).float()
        for kind, shape in (("weight", (-1, 1)), ("bias", (-1,))):
            if (scaled := tensors.get(f"{block}{layer}.{kind}")) is not None:
                tensors[f"{block}{layer}.{kind}"] = (scaled.float() * scale.reshape(shape)).to(scaled.dtype)
    return bool(found)


def _resample(value: torch.Tensor, shape: torch.Size) -> tuple[torch.Tensor, tuple[int, int]] | None:
    """Position embeddings (1, prefix + side², dim) or (prefix + side², dim) at another side, the prefix as it was.

    As timm's `resample_abs_pos_embed`: bicubic, antialiased, in float32. None where the shapes are of no square grids.
    """
    if value.ndim != len(shape) or value.shape[-1] != shape[-1] or value.ndim not in (2, 3):
        return None
    # The tokens before the grid (class, registers) are as many on both sides, and few.
    for prefix in range(6):
        before, after = (math.isqrt(max(0, count - prefix)) for count in (value.shape[-2], shape[-2]))
        if before > 1 and before**2 == value.shape[-2] - prefix and after**2 == shape[-2] - prefix:
            break
    else:
        return None
    flat = value.reshape(value.shape[-2:])
    grid = flat[prefix:].float().reshape(1, before, before, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, (after, after), mode="bicubic", antialias=True)
    tokens = grid.permute(0, 2, 3, 1).reshape(after**2, -1).to(value.dtype)
    return torch.cat([flat[:prefix], tokens]).reshape(shape), (before, after)
