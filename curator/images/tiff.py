"""TIFFs of 16 bits a sample that Pillow gives back as something else."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.errors import Reason, SampleError

__all__ = ["is_white_zero", "read_planes"]

# Tags of TIFF 6.0.
_BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _STRIP_SIZES, _PLANAR, _TILE_WIDTH, _EXTRA_SAMPLES = (
    *(258, 259, 262, 273, 279, 284, 322, 338),
)
_WHITE_IS_ZERO, _RGB, _SEPARATE, _UNCOMPRESSED = 0, 2, 2, 1
_ALPHA = (1, 2)


def is_white_zero(image: Any) -> bool:
    """True for a TIFF whose 0 is white. Pillow turns such samples round, but not those of 16 bits."""
    return getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def read_planes(image: Any, data: bytes) -> NDArray[np.uint8] | None:
    """The high bytes of 16-bit colours that are stored plane by plane, which Pillow reads as 8 bits each.

    Args:
        image: the image as Pillow opened it.
        data: the bytes of its file.

    Returns:
        uint8 (3 or, with alpha, 4, height, width); None for any other image.

    Raises:
        SampleError: it is such an image, and no plain RGB in strips.
    """
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, (1,))
    if tags.get(_PLANAR) != _SEPARATE or set(bits) != {16} or len(bits) < 2 or tags.get(_COMPRESSION) != _UNCOMPRESSED:
        return None
    if tags.get(_PHOTOMETRIC) != _RGB or _TILE_WIDTH in tags:
        raise SampleError(Reason.DECODE_ERROR, "16-bit colours in separate planes, in tiles or not RGB")
    strips = zip(tags[_STRIPS], tags[_STRIP_SIZES], strict=True)
    joined = b"".join(data[start : start + size] for start, size in strips)
    samples = np.frombuffer(joined, "<u2" if data.startswith(b"II") else ">u2")
    alpha = len(bits) > 3 and (tags.get(_EXTRA_SAMPLES) or (0,))[0] in _ALPHA
    planes = samples.reshape(len(bits), image.height, image.width)[: 4 if alpha else 3]
    return (planes >> 8).astype(np.uint8)
