"""The preprocessing of an encoder, on tensors: as the model's own PIL transform, and several times faster.

It has two steps, because they run in two places: `fit` runs for each image in the decoding threads and leaves
uint8 pixels of one shape, four times smaller to hand over; `normalise` runs for a batch on the device.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from PIL import Image

from curator.errors import InputError

__all__ = ["MAX_ASPECT", "Preprocess"]

# Beyond this ratio of the longer to the shorter side only the middle of an image is resized.
MAX_ASPECT = 20
_INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class Preprocess:
    """Resize with antialiasing, crop the centre, normalise.

    Attributes:
        resize: the shorter side in pixels, keeping the aspect, or exactly (height, width).
        crop: (height, width) of the centre that is kept: what the encoder takes.
        interpolation: `bilinear` or `bicubic`.
        mean: the means of red, green and blue, where white is 1.
        std: the standard deviations of red, green and blue.

    Raises:
        InputError: a value that cannot be reproduced here.

    >>> Preprocess(256, (224, 224), "bicubic", (0.5,) * 3, (0.5,) * 3).fit(torch.zeros(3, 90, 60)).shape
    torch.Size([3, 224, 224])
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int]
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.interpolation not in _INTERPOLATIONS:
            raise InputError(
                f"preprocessing with interpolation {self.interpolation!r} is not supported "
                f"(only {' and '.join(_INTERPOLATIONS)} are)",
                advice="choose another model",
            )
        # As plain Python numbers, whatever the model's library holds: they go into the identity.
        resize = int(self.resize) if isinstance(self.resize, int) else _pair(self.resize)
        object.__setattr__(self, "resize", resize)
        object.__setattr__(self, "crop", _pair(self.crop))
        object.__setattr__(self, "mean", _colours(self.mean))
        object.__setattr__(self, "std", _colours(self.std))

    def fit(self, pixels: torch.Tensor) -> torch.Tensor:
        """Resize and crop one image: uint8 (3, H, W) -> uint8 (3, *crop).

        If the longer side is more than `MAX_ASPECT` times the shorter one, only the middle is resized: the rest is
        outside the crop, and a strip of 1 x 10,000 pixels would grow to gigabytes.
        """
        # It takes as long to import as torch itself, and who only asks what an encoder is decodes nothing.
        from torchvision.transforms.v2 import InterpolationMode, functional

        if isinstance(self.resize, int):
            longest = MAX_ASPECT * min(pixels.shape[-2:])
            height, width = (min(side, longest) for side in pixels.shape[-2:])
            if (height, width) != pixels.shape[-2:]:
                pixels = functional.center_crop(pixels, [height, width])
        size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
        mode = InterpolationMode(self.interpolation)
        resized = functional.resize(pixels, size, interpolation=mode, antialias=True)
        cropped: torch.Tensor = functional.center_crop(resized, list(self.crop))
        return cropped

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """A batch for the encoder: uint8 (B, 3, *crop) -> float32, on the batch's device."""
        mean = torch.tensor(self.mean, device=batch.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=batch.device).view(3, 1, 1)
        return batch.float().div_(255).sub_(mean).div_(std)

    def at_size(self, side: int) -> Preprocess:
        """The same preprocessing for squares of `side` pixels, with the margin in proportion.

        >>> Preprocess(256, (224, 224), "bicubic", (0.5,) * 3, (0.5,) * 3).at_size(64).resize
        73
        """
        height, width = self.crop
        if isinstance(self.resize, int):
            return replace(self, resize=max(side, self.resize * side // min(height, width)), crop=(side, side))
        scaled = max(side, self.resize[0] * side // height), max(side, self.resize[1] * side // width)
        return replace(self, resize=scaled, crop=(side, side))

    def pil_transform(self, image: Image.Image) -> torch.Tensor:
        """The same preprocessing as libraries of models do it, slowly: PIL image -> float32 (3, *crop)."""
        from torchvision import transforms

        # A sequence with one number means the shorter side.
        size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
        steps = [
            transforms.Resize(size, transforms.InterpolationMode(self.interpolation)),
            transforms.CenterCrop(list(self.crop)),
            transforms.ToTensor(),
            transforms.Normalize(self.mean, self.std),
        ]
        transformed: torch.Tensor = transforms.Compose(steps)(image)
        return transformed

    def to_json(self) -> str:
        """All settings on one line, the same text for the same settings; `from_json` reads it."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Preprocess:
        """The settings that `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        for name in ("resize", "crop", "mean", "std"):
            fields[name] = tuple(fields[name]) if isinstance(fields[name], list) else fields[name]
        return Preprocess(**fields)

    @cached_property
    def identity(self) -> str:
        """The settings as text: embeddings of another identity cannot be compared."""
        return self.to_json()


def _pair(size: Sequence[int]) -> tuple[int, int]:
    height, width = size
    return int(height), int(width)


def _colours(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    if not all(math.isfinite(value) for value in (red, green, blue)):
        raise InputError(f"preprocessing with mean or std {values} is not supported", advice="choose another model")
    return red, green, blue
