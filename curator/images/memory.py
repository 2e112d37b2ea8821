"""What an image takes in memory while it is decoded, from its header, and a budget of that for many decoders."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

__all__ = ["Budget", "decoding_bytes", "decoding_size", "is_out_of_memory"]

# What images that are decoded side by side may take together. Twelve megapixels take about 140 MiB.
_DECODING_BYTES, _DECODING_BYTES_PER_DECODER = 1 << 30, 1 << 27

# Bytes a pixel at the peak, measured with every mode that Pillow writes: opaque images of 8 bits take 3 to 12
# (progressive JPEGs of four colours), others, which are laid over white or cut to their high bytes, 11 to 31.
_OPAQUE, _OTHER = 12, 32
_NATIVE = ("JPEG", "MPO", "PNG", "WEBP")
# Where a PNG says how many bits a sample has.
_PNG_DEPTH = 24
# How C libraries and torch say it, in errors of other types than MemoryError.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "insufficient memory", "out of memory", "bad_alloc")


class Budget:
    """Memory that several threads, or processes too, share: whoever would exceed it waits, unless nobody holds any.

    Args:
        size: bytes.
        context: of the processes that share it, which must be started from here; None for threads of this one.
    """

    def __init__(self, size: int, context: BaseContext | None = None) -> None:
        self.size = size
        self._changed: Any = threading.Condition() if context is None else context.Condition()
        self._held: Any = ctypes.c_int64() if context is None else context.RawValue(ctypes.c_int64)

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Hold `size` bytes. A thread must not hold twice: it would wait for itself."""
        with self._changed:
            self._changed.wait_for(lambda: self._held.value == 0 or self._held.value + size <= self.size)
            self._held.value += size
        try:
            yield
        finally:
            with self._changed:
                self._held.value -= size
                self._changed.notify_all()


def decoding_size(decoders: int) -> int:
    """The size of the budget of so many decoders, in bytes."""
    return max(_DECODING_BYTES, decoders * _DECODING_BYTES_PER_DECODER)


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
