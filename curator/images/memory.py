"""What an image takes in memory while it is decoded, from its header."""

from __future__ import annotations

from typing import Any

__all__ = ["decoding_bytes", "is_out_of_memory"]

# Bytes a pixel at the peak, measured with every mode that Pillow writes: opaque images of 8 bits take 3 to 12
# (progressive JPEGs of four colours), others, which are laid over white or cut to their high bytes, 11 to 31.
_OPAQUE, _OTHER = 12, 32
_NATIVE = ("JPEG", "MPO", "PNG", "WEBP")
# Where a PNG says how many bits a sample has.
_PNG_DEPTH = 24
# How C libraries and torch say it, in errors of other types than MemoryError.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "insufficient memory", "out of memory", "bad_alloc")


def decoding_bytes(image: Any, data: bytes) -> int:
    """An upper bound of the memory that decoding takes beside the file's own bytes.

    Args:
        image: the image as Pillow opened it: only its header is read.
        data: the bytes of its file.
    """
    deep = image.format == "PNG" and data[_PNG_DEPTH : _PNG_DEPTH + 1] == b"\x10"
    plain = image.format in _NATIVE and not image.has_transparency_data and not deep
    pixels: int = image.width * image.height
    return pixels * (_OPAQUE if plain else _OTHER) + len(data)


def is_out_of_memory(error: Exception) -> bool:
    """True for an error that says nothing of an image, only of the memory of this process."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY)
