"""Copies of photos, as they are found on the web: stored anew, made smaller, mirrored, and cut at the edges."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image, ImageOps

Alter = Callable[[Image.Image], bytes]


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """The bytes of a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def scaled(image: Image.Image, share: float) -> Image.Image:
    """An image with this share of its width and height."""
    return image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, share: float) -> Image.Image:
    """The middle, with this share of the width and of the height."""
    left, top = image.width * (1 - share) / 2, image.height * (1 - share) / 2
    return image.crop((round(left), round(top), round(image.width - left), round(image.height - top)))


COPIES: dict[str, Alter] = {
    "quality 90": lambda image: jpeg(image, 90),
    "quality 70": lambda image: jpeg(image, 70),
    "quality 50": lambda image: jpeg(image, 50),
    "quality 40": lambda image: jpeg(image, 40),
    "scaled 75%": lambda image: jpeg(scaled(image, 0.75)),
    "scaled 50%": lambda image: jpeg(scaled(image, 0.5)),
    "mirrored": lambda image: jpeg(ImageOps.mirror(image)),
    "cut by 5%": lambda image: jpeg(cropped(image, 0.95)),
    "cut by 10%": lambda image: jpeg(cropped(image, 0.9)),
}


def write_copies(path: Path, originals: Mapping[str, Image.Image], alterations: Mapping[str, Alter]) -> None:
    """Write a shard with an altered copy of each original for each alteration, keys `ORIGINAL-ALTERATION`."""
    with tarfile.open(path, "w") as tar:
        for kind, alter in alterations.items():
            for key, image in originals.items():
                data = alter(image)
                info = tarfile.TarInfo(f"{key}-{kind.replace(' ', '_')}.jpg")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
