"""Two random views of an image."""

from __future__ import annotations

import hashlib
import struct

import torch
from torchvision.transforms import v2

from curator.images import MAX_ASPECT

__all__ = ["TwoViews", "sample_seed"]


class TwoViews:
    """SimCLR's augmentation as the paper uses it: crop, flip, colour jitter, grey.

    Crops cover 0.2 to 1 of the image; jitter is 0.8 / 0.8 / 0.8 / 0.2 with probability 0.8; grey has 0.2.

    Args:
        image_size: side of a view in pixels.
    """

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size
        self._transform = v2.Compose(
            [
                v2.RandomResizedCrop(image_size, scale=(0.2, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
                v2.RandomGrayscale(p=0.2),
            ]
        )

    def __call__(self, pixels: torch.Tensor, seed: int) -> torch.Tensor:
        """uint8 (3, H, W) -> uint8 (2, 3, image_size, image_size); the same for the same pixels and seed."""
        height, width = pixels.shape[-2:]
        longest = MAX_ASPECT * min(height, width)
        pixels = v2.functional.center_crop(pixels, [min(height, longest), min(width, longest)])
        with torch.random.fork_rng(devices=[]):
            # `torch.manual_seed` also notes a stack trace for GPUs that start later: a tenth of the time here.
            torch.default_generator.manual_seed(seed)
            return torch.stack([self._transform(pixels), self._transform(pixels)])


def sample_seed(seed: int, number: int, sample: int) -> int:
    """The seed of a sample's views in the pass `number`, 63 bits."""
    digest = hashlib.blake2b(struct.pack("<qqq", seed, number, sample), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
