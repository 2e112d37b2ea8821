"""Two random views of each image of a batch: crop, flip, colours, as a few products of matrices.

torchvision's transforms take one image at a time, in some forty small operations for its hue alone. Here crop, resize
and flip are one matrix for the rows of an image and one for its columns, and all changes of colour are one 3 x 3
matrix, so a batch costs four products: a tenth of the time at 32 px.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence

import numpy as np
import torch

__all__ = ["SOURCE_SCALE", "TwoViews", "sample_seed"]

# Images are cropped from squares of so many times the side of a view: the smallest crops then hardly grow.
SOURCE_SCALE = 2
# The share of the image that a crop covers, and its width / height. The paper's crops begin at 0.2; see
# benchmarks/NOTES.md for what 0.15 is worth.
AREA = (0.15, 1.0)
LOG_RATIO = math.log(4 / 3)
FLIPPED, JITTERED = 0.5, 0.8
# Brightness, contrast and saturation are multiplied by 1 plus or minus so much; hue turns by this share of a circle.
# The paper's 0.8 and 0.2, and a fifth of the views in grey, teach a network to leave colours out of account: on few
# images that took many times as many steps, and food was then found worse than by random weights (benchmarks/NOTES.md).
STRENGTH, HUE = 0.2, 0.02
# How bright red, green and blue are to the eye (ITU-R BT.601), and the axes of colour in which hue is an angle (YIQ).
LUMA = (0.299, 0.587, 0.114)
YIQ = (LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
# Numbers that a view draws: area, ratio, left, top, flip, jitter, brightness, contrast, saturation, hue.
DRAWS = 10
# Images that are changed at a time, so that what is at hand stays in the cache.
CHUNK = 32


class TwoViews:
    """SimCLR's augmentation with gentle colours: crop, flip, colour jitter.

    Crops cover 0.15 to 1 of the image; jitter is 0.2 / 0.2 / 0.2 / 0.02 with probability 0.8. Colours change in one
    order, and are cut off at black and white once, in the end.

    Args:
        image_size: side of a view in pixels.
    """

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size

    def __call__(self, images: torch.Tensor, aspects: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Make two views of each image; the views of an image are a function of its pixels and its seed alone.

        Args:
            images: uint8 (B, 3, S, S), squares whatever the images were.
            aspects: float32 (B,), width / height of the images.
            seeds: of each image.

        Returns:
            uint8 (2, B, 3, image_size, image_size).
        """
        draws = np.stack([np.random.default_rng(seed).random((2, DRAWS)) for seed in seeds])
        drawn = torch.from_numpy(draws.astype(np.float32))
        views = [
            self._views(images[first : first + CHUNK], aspects[first : first + CHUNK], drawn[first : first + CHUNK])
            for first in range(0, len(images), CHUNK)
        ]
        return torch.cat(views, dim=1)

    def _views(self, images: torch.Tensor, aspects: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """As `__call__`, with the numbers that were drawn: (B, 2, DRAWS) in [0, 1)."""
        count, side, source = len(images), self.image_size, images.shape[-1]
        rows, columns = _crops(drawn, aspects, side, source)
        by_row = images.float().permute(0, 2, 1, 3).reshape(count, source, 3 * source)
        cut = torch.bmm(rows.reshape(count, 2 * side, source), by_row).reshape(2 * count, side * 3, source)
        cropped = torch.bmm(cut, columns.reshape(2 * count, side, source).transpose(1, 2))
        pixels = cropped.reshape(2 * count, side, 3, side).permute(0, 2, 1, 3).reshape(2 * count, 3, side * side)
        coloured = _recolour(pixels, drawn.reshape(2 * count, DRAWS))
        whole = coloured.clamp_(0, 255).round_().to(torch.uint8)
        return whole.reshape(count, 2, 3, side, side).transpose(0, 1)


def sample_seed(seed: int, number: int, sample: int) -> int:
    """The seed of a sample's views in the pass `number`, 63 bits."""
    digest = hashlib.blake2b(struct.pack("<qqq", seed, number, sample), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _crops(drawn: torch.Tensor, aspects: torch.Tensor, side: int, source: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrices that cut rows and columns out of squares and resize them: two of float32 (B, 2, side, source)."""
    area, ratio, left, top, flip = drawn[..., :5].unbind(-1)
    area = AREA[0] + (AREA[1] - AREA[0]) * area
    # Width / height of a crop inside the square that the image was squeezed into.
    ratio = torch.exp((2 * ratio - 1) * LOG_RATIO) / aspects[:, None]
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    # A crop that would not fit keeps its shape and covers less.
    fit = torch.maximum(width, height).clamp(min=1)
    width, height = width / fit, height / fit
    rows = _resize(top * (1 - height), height, side, source)
    columns = _resize(left * (1 - width), width, side, source)
    return rows, torch.where((flip < FLIPPED)[..., None, None], columns.flip(2), columns)


def _resize(start: torch.Tensor, length: torch.Tensor, side: int, source: int) -> torch.Tensor:
    """Weights of `source` pixels in each of `side` pixels that cover [start, start + length) of them, antialiased.

    Bilinear, and where a new pixel covers more than one the triangle grows with it, as in Pillow.
    """
    scale = (length * source / side)[..., None, None]
    centre = start[..., None, None] * source + (torch.arange(side) + 0.5)[:, None] * scale - 0.5
    weights = (1 - (torch.arange(source) - centre).abs() / scale.clamp(min=1)).clamp_(min=0)
    return weights / weights.sum(-1, keepdim=True)


def _recolour(pixels: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Jitter: float32 (B, 3, P) in 0 to 255 -> the same, not yet cut off."""
    is_jittered = drawn[:, 5, None] < JITTERED
    factors = torch.where(is_jittered, 1 + STRENGTH * (2 * drawn[:, 6:9] - 1), torch.ones(()))
    brightness, contrast, saturation = factors.unbind(1)
    angle = torch.where(is_jittered[:, 0], 2 * math.pi * HUE * (2 * drawn[:, 9] - 1), torch.zeros(()))

    luma = torch.tensor(LUMA)
    # In YIQ saturation is a length, and hue an angle: both leave greys as they are.
    turn = torch.zeros(len(drawn), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -saturation * angle.sin(), saturation * angle.sin()
    yiq = torch.tensor(YIQ)
    matrix = (brightness * contrast)[:, None, None] * (torch.linalg.inv(yiq) @ turn @ yiq)
    # Contrast is the distance from the mean brightness of the crop.
    mean = torch.einsum("c,bc->b", luma, pixels.mean(2))
    return torch.baddbmm(((1 - contrast) * brightness * mean)[:, None, None], matrix, pixels)
