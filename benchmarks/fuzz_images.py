"""Damaged images for `benchmarks.fuzz`: real photos in every format that is read, and what happens to their bytes."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from PIL import Image

from benchmarks.data import pool_sources
from curator.sources import read_source
from curator.types import RawSample

# Photos that everything is made from, and the longer side they are shrunk to, so that minutes are many inputs.
PHOTOS, LONGEST = 12, 128
# What headers say where somebody wants to see a decoder fail.
ODD_NUMBERS = (*range(4), 7, 127, 128, 255, 256, 4096, 9999, 32767, 32768, 65500, 65535, 1 << 20, (1 << 31) - 1)
# Where each format's header has numbers, sizes of images among them, by the mark before them.
SIZE_MARKS = (
    b"\xff\xc0",
    b"\xff\xc2",
    b"IHDR",
    b"GIF8",
    b"BM",
    b"VP8 ",
    b"VP8L",
    b"VP8X",
    b"ispe",
    b"\0\1\3\0",
    b"\1\1\3\0",
)


@dataclass(frozen=True)
class Encoded:
    """A sound image: its ending, and the bytes of the file."""

    ending: str
    data: bytes


def sound_images() -> list[Encoded]:
    """A few real photos, in every format and many of its kinds; the same in every run."""
    samples = (item for item in read_source(pool_sources()[0]) if isinstance(item, RawSample))
    photos = []
    for sample in islice(samples, PHOTOS):
        assert sample.image is not None and sample.image.data is not None
        photo = Image.open(io.BytesIO(sample.image.data)).convert("RGBA")
        photo.thumbnail((LONGEST, LONGEST))
        photos.append(photo)
    return [encoded for number, photo in enumerate(photos) for encoded in _kinds(photo, photos[number - 1])]


def _kinds(photo: Image.Image, other: Image.Image) -> Iterator[Encoded]:
    rgb, grey, indexed = photo.convert("RGB"), photo.convert("L"), photo.convert("RGB").quantize(64)
    wide = grey.convert("I").point(lambda value: value * 257).convert("I;16")
    exif = Image.Exif()
    exif[0x0112] = 6
    animation: dict[str, Any] = {"save_all": True, "append_images": [other.convert("RGB").resize(rgb.size)]}
    jpegs: list[dict[str, Any]] = [
        {},
        {"progressive": True},
        {"exif": exif, "subsampling": 0},
        {"restart_marker_rows": 1},
    ]
    saved: list[tuple[str, str, Image.Image, dict[str, Any]]] = [
        *(("jpg", "JPEG", rgb, options) for options in jpegs),
        ("jpg", "JPEG", grey, {}),
        ("jpg", "JPEG", rgb.convert("CMYK"), {}),
        *(("png", "PNG", image, {}) for image in (photo, rgb, grey, indexed, wide, photo.convert("LA"))),
        ("png", "PNG", indexed, {"transparency": 3}),
        ("png", "PNG", rgb, {"exif": exif, "icc_profile": bytes(200)}),
        ("png", "PNG", rgb, animation),
        ("webp", "WEBP", rgb, {"exif": exif}),
        ("webp", "WEBP", photo, {}),
        ("webp", "WEBP", photo, {"lossless": True}),
        ("webp", "WEBP", rgb, animation),
        *(
            ("tif", "TIFF", rgb, {"compression": name})
            for name in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg")
        ),
        *(("tif", "TIFF", image, {}) for image in (photo, wide, indexed, rgb.convert("CMYK"), grey.convert("1"))),
        ("tif", "TIFF", grey.convert("1"), {"compression": "group4"}),
        ("tif", "TIFF", rgb, {"tiffinfo": {274: 8}, "big_tiff": True}),
        ("gif", "GIF", indexed, {}),
        ("gif", "GIF", rgb, animation),
        *(("bmp", "BMP", image, {}) for image in (rgb, photo, indexed, grey.convert("1"))),
        ("avif", "AVIF", rgb, {"speed": 10}),
        ("avif", "AVIF", photo, {"speed": 10}),
        ("avif", "AVIF", rgb, {"speed": 10, **animation}),
        *(("heic", "HEIF", image, {}) for image in (rgb, photo) if _writes_heif()),
    ]
    for ending, name, image, options in saved:
        buffer = io.BytesIO()
        image.save(buffer, name, **options)
        yield Encoded(ending, buffer.getvalue())


def _writes_heif() -> bool:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def damage(image: Encoded, others: list[Encoded], chance: random.Random) -> Encoded:
    """An image after one to three accidents; every twentieth stays sound, every fiftieth gets a wrong ending."""
    data = image.data
    if chance.random() > 0.05:
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            data = chance.choice(ACCIDENTS)(data, chance)
        if chance.random() < 0.05:
            other = chance.choice(others).data
            data = data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other)) :]
        if chance.random() < 0.5:
            data = _with_sums(data)
    ending = chance.choice(others).ending if chance.random() < 0.02 else image.ending
    return Encoded(ending, data)


def flip(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes, half of the time in the head only."""
    changed = bytearray(data)
    reach = min(len(changed), 600) if chance.random() < 0.5 else len(changed)
    for _ in range(chance.choice((1, 1, 2, 8, 40)) if reach else 0):
        place = chance.randrange(reach)
        changed[place] = chance.choice((changed[place] ^ 1 << chance.randrange(8), chance.randrange(256), 0, 255))
    return bytes(changed)


def truncate(data: bytes, chance: random.Random) -> bytes:
    """Cut the end off: half of the time some bytes only."""
    cut = chance.randrange(1, 40) if chance.random() < 0.5 else chance.randrange(len(data) + 1)
    return data[: max(0, len(data) - cut)]


def write_number(data: bytes, chance: random.Random) -> bytes:
    """Write an odd number somewhere in the head."""
    return _put_number(data, chance.randrange(max(1, min(len(data), 600))), chance)


def change_size(data: bytes, chance: random.Random) -> bytes:
    """Write an odd number where the header gives the size of the image, or near it."""
    places = [place + len(mark) for mark in SIZE_MARKS if (place := data.find(mark)) >= 0]
    return _put_number(data, chance.choice(places) + chance.randrange(12), chance) if places else data


def move_chunks(data: bytes, chance: random.Random) -> bytes:
    """Duplicate, remove, or exchange chunks of the file: its own if it has some, else any."""
    edges = sorted({0, len(data), *_edges(data)})
    if len(edges) < 4 or chance.random() < 0.3:
        edges = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(6))})
    chunks = [data[start:end] for start, end in pairwise(edges)]
    if not chunks:
        return data
    first, second = chance.randrange(len(chunks)), chance.randrange(len(chunks))
    kind = chance.randrange(4)
    if kind == 0:
        chunks.insert(second, chunks[first] * chance.choice((1, 1, 2, 100)))
    elif kind == 1:
        chunks[first], chunks[second] = chunks[second], chunks[first]
    elif kind == 2:
        del chunks[first]
    else:
        chunks[first] = bytes(len(chunks[first]))
    return b"".join(chunks)[: 4 * len(data) + 4096]


ACCIDENTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip,
    flip,
    truncate,
    write_number,
    change_size,
    move_chunks,
)


def _put_number(data: bytes, place: int, chance: random.Random) -> bytes:
    number = chance.choice((*ODD_NUMBERS, chance.randrange(1 << chance.randrange(1, 17))))
    width, order = chance.choice("BHI"), chance.choice("<>")
    size = struct.calcsize(width)
    return data[:place] + struct.pack(order + width, number & (1 << 8 * size) - 1) + data[place + size :]


def _edges(data: bytes) -> Iterator[int]:
    """Where the chunks of a PNG, RIFF, JPEG or ISO base media file begin; nothing of other formats."""
    if data.startswith(b"\x89PNG"):
        yield from _lengths(data, 8, ">I", 12)
    elif data.startswith(b"RIFF"):
        yield from _lengths(data, 12, "<4xI", 8)
    elif data.startswith(b"\xff\xd8"):
        yield from (place for place in range(len(data) - 1) if data[place] == 0xFF and 0xC0 <= data[place + 1] < 0xFF)
    elif data[4:8] == b"ftyp":
        yield from _lengths(data, 0, ">I", 0)


def _lengths(data: bytes, place: int, form: str, more: int) -> Iterator[int]:
    while place + 8 <= len(data):
        yield place
        length = struct.unpack_from(form, data, place)[0] + more
        place += max(length + length % 2 * form.startswith("<"), 1)


def _with_sums(data: bytes) -> bytes:
    """The checksums of a PNG's chunks made right, so that decoders look further than these."""
    if not data.startswith(b"\x89PNG"):
        return data
    changed = bytearray(data)
    for place in _lengths(data, 8, ">I", 12):
        length = struct.unpack_from(">I", data, place)[0]
        if place + 12 + length <= len(data):
            struct.pack_into(">I", changed, place + 8 + length, zlib.crc32(data[place + 4 : place + 8 + length]))
    return bytes(changed)
