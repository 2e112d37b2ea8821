"""An image encoder: uint8 pixels in, unit vectors out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from curator.encoders.fold_batch_norm import fold_batch_norms
from curator.images import Preprocess
from curator.types import unit_rows

__all__ = ["IDENTITY_FIELDS", "MIN_BATCH_SIZE", "Backbone", "Encoder", "hash_tensors"]

# Below it, kernels split the work by the number of threads and round differently.
MIN_BATCH_SIZE = 32
IDENTITY_FIELDS = ("architecture", "tensors", "preprocessing", "precision")


@dataclass(frozen=True)
class Backbone:
    """A model as its family hands it over, weights loaded, on the CPU.

    Attributes:
        model: float32 (B, 3, h, w) -> (B, dim), the features before the classification head.
        preprocess: the model's own preprocessing.
        pil_transform: the same as the model's library does it: PIL image -> float32 (3, h, w).
        architecture: family and model, without the weights, such as `timm:resnet50`.
        heads: names of the classifier's modules that the model has no more; weights may still hold them.
        notes: what was done to the weights so that they fit the model, a line each.
    """

    model: nn.Module
    preprocess: Preprocess
    pil_transform: Callable[[Image.Image], torch.Tensor]
    architecture: str
    heads: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Encoder:
    """Encodes batches of one fixed shape.

    The same pixels give the same bits whatever the number of threads, the other rows of the batch or the
    process, on the same kind of hardware and the same library versions.

    Args:
        spec: the encoder's name as the user gave it.
        backbone: the model and its preprocessing. The model is changed: batch norms are folded.
        device: where to run.
        precision: `fp32` or `bf16`.
        batch_size: images a forward pass, at least `MIN_BATCH_SIZE`.

    Attributes:
        dim: columns of an embedding.
        tensors_hash: sha256 of the model's tensors, as loaded; see `hash_tensors`.
        preprocess: see `Backbone`.
        pil_transform: see `Backbone`.
        architecture: see `Backbone`. Two architectures may hold the same tensors (open_clip's
            `ViT-B-32` and `ViT-B-32-quickgelu`), so the hash alone does not tell them apart.
        notes: see `Backbone`.
    """

    def __init__(self, spec: str, backbone: Backbone, *, device: torch.device, precision: str, batch_size: int) -> None:
        if batch_size < MIN_BATCH_SIZE:
            raise ValueError(f"batch size {batch_size} is below {MIN_BATCH_SIZE}")
        self.spec = spec
        self.architecture = backbone.architecture
        self.notes = backbone.notes
        self.preprocess = backbone.preprocess
        self.pil_transform = backbone.pil_transform
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        model = backbone.model.float().eval().requires_grad_(False)
        self.tensors_hash = hash_tensors(model)
        model, self.dim = fold_batch_norms(model, self.preprocess.crop)
        # Not all versions of torch declare `memory_format`.
        place: Callable[..., nn.Module] = model.to
        self._model = place(device, memory_format=torch.channels_last)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """The one shape of a batch: (batch size, 3, height, width)."""
        return (self.batch_size, 3, *self.preprocess.crop)

    @property
    def identity(self) -> dict[str, Any]:
        """What embeddings are a function of, besides the images and the kind of hardware: `IDENTITY_FIELDS`."""
        values = (self.architecture, self.tensors_hash, self.preprocess.identity, self.precision)
        return dict(zip(IDENTITY_FIELDS, values, strict=True))

    def encode(self, pixels: torch.Tensor) -> np.ndarray:
        """Embed a batch: uint8 (B, 3, h, w) -> float32 (B, dim), rows of unit length.

        A row that the model gives as not finite, or as zeros, comes back as NaN, for the caller to refuse.

        Raises:
            ValueError: the batch is not a uint8 tensor of `input_shape`. Pad the last one.
        """
        if tuple(pixels.shape) != self.input_shape or pixels.dtype != torch.uint8:
            raise ValueError(f"a batch of {pixels.dtype} {tuple(pixels.shape)}, needed is uint8 {self.input_shape}")
        return self.encode_normalised(self.preprocess.normalise(pixels.to(self.device)))

    def encode_normalised(self, batch: torch.Tensor) -> np.ndarray:
        """Embed what `Preprocess.normalise` or `pil_transform` gives: float32 (B, 3, h, w) -> (B, dim)."""
        batch = batch.to(device=self.device, memory_format=torch.channels_last)
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self.precision == "bf16":
                stack.enter_context(torch.autocast(self.device.type, torch.bfloat16))
            if self.device.type == "cuda":
                # fp32 is meant as such (cuDNN would take TF32), and the fastest kernel may differ by run.
                stack.enter_context(
                    torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
                )
            features = self._model(batch).float().cpu().numpy()
        unit, has_direction = unit_rows(features)
        unit[~has_direction] = np.nan
        return unit.astype(np.float32)


def hash_tensors(model: nn.Module) -> str:
    """Hex sha256 over the state dict of a model; see `hash_named_tensors`."""
    return hash_named_tensors(model.state_dict())


def hash_named_tensors(tensors: Mapping[str, Any]) -> str:
    """Hex sha256 over tensors sorted by name: name, dtype, shape and bytes of each.

    A file's own hash would not do: the same tensors saved twice under two names are different files.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
