"""Images as squares of one size: what views are cut from. A set that fits is decoded once and stays in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import BaseContext

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import functional

from curator.errors import Reason, SampleError
from curator.images import MAX_ASPECT, Budget, OpenedImage, decoding_size
from curator_ssl.data.sample_reader import SampleReader
from curator_ssl.data.samples import Samples

__all__ = ["KEPT_BYTES", "Squares"]

# What the squares of a set may take, in each process that trains: 43,690 images for views of 32 px.
KEPT_BYTES = 512 << 20
# Images whose bytes are in memory at a time: at most so many, and of large files so many bytes.
READ_AT_ONCE, READ_BYTES = 256, 1 << 28


class Squares:
    """The images of a run as squares, whatever their shape was: a view is cut from them in their own proportions.

    The squares are the same whether they are kept or decoded anew at each use.

    Args:
        samples: where the images are.
        side: of a square in pixels.
    """

    def __init__(self, samples: Samples, side: int) -> None:
        self.samples, self.side = samples, side
        self._reader = SampleReader(samples)
        self._budget = Budget(decoding_size(1))
        self._kept: tuple[torch.Tensor, torch.Tensor, dict[int, SampleError]] | None = None

    def share(self, context: BaseContext, decoders: int) -> None:
        """Let so many processes, which are still to be started, decode side by side in one budget of memory."""
        self._budget = Budget(decoding_size(decoders), context)

    def keep(self, threads: int) -> bool:
        """Decode the whole set, if it fits into `KEPT_BYTES`; returns whether it does.

        Raises:
            CuratorError: storage failed.
        """
        count = len(self.samples)
        if count * 3 * self.side**2 > KEPT_BYTES:
            return False
        # Readers of remote storage hold threads, which do not go along to loader processes.
        reader = SampleReader(self.samples)
        squares = torch.zeros((count, 3, self.side, self.side), dtype=torch.uint8)
        aspects, errors = torch.ones(count), dict[int, SampleError]()
        with ThreadPoolExecutor(threads) as pool:
            for places in self._at_once(np.arange(count)):
                decoded = pool.map(self._decode, places, reader.read(places))
                _put(decoded, places, squares, aspects, errors)
        reader.close()
        self._kept = squares, aspects, errors
        return True

    def read(self, numbers: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, dict[int, SampleError]]:
        """Some images.

        Args:
            numbers: int64 (B,), of the samples.

        Returns:
            uint8 (B, 3, side, side); float32 (B,), width / height of each image; and place -> why it is no image.

        Raises:
            CuratorError: storage failed.
        """
        if self._kept is not None:
            squares, aspects, errors = self._kept
            rows = torch.from_numpy(numbers)
            bad = {place: errors[int(number)] for place, number in enumerate(numbers) if int(number) in errors}
            return squares[rows], aspects[rows], bad
        squares = torch.zeros((len(numbers), 3, self.side, self.side), dtype=torch.uint8)
        aspects, bad = torch.ones(len(numbers)), {}
        for places in self._at_once(numbers):
            decoded = map(self._decode, numbers[places], self._reader.read(numbers[places]))
            _put(decoded, places, squares, aspects, bad)
        return squares, aspects, bad

    def _at_once(self, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Places among some images, in order, as many at a time as may be in memory; at least one."""
        sizes = np.asarray(self.samples.size)[numbers].astype(np.int64)
        blocks = np.arange(len(numbers)) // READ_AT_ONCE + np.cumsum(sizes) // READ_BYTES
        yield from np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(blocks)) + 1)

    def _decode(self, number: np.int64, data: bytes | SampleError) -> tuple[torch.Tensor, float] | SampleError:
        try:
            if isinstance(data, SampleError):
                raise data
            if len(data) < (size := int(self.samples.size[number])):
                raise SampleError(Reason.TRUNCATED, f"{len(data)} of {size} bytes are there")
            opened = OpenedImage(data)
            with self._budget.hold(opened.decoding_bytes):
                return _square(opened.decode().pixels, self.side)
        except SampleError as error:
            return error


def _square(pixels: torch.Tensor, side: int) -> tuple[torch.Tensor, float]:
    """An image squeezed into a square, and its width / height. Of a strip only the middle is taken."""
    height, width = pixels.shape[-2:]
    longest = MAX_ASPECT * min(height, width)
    height, width = min(height, longest), min(width, longest)
    pixels = functional.center_crop(pixels, [height, width])
    # Colour by colour: it computes in float32, and of a large image that is four times its pixels.
    colours = [functional.resize(colour, [side, side], antialias=True) for colour in pixels.split(1)]
    return torch.cat(colours), width / height


def _put(
    decoded: Iterable[tuple[torch.Tensor, float] | SampleError],
    places: NDArray[np.int64],
    squares: torch.Tensor,
    aspects: torch.Tensor,
    errors: dict[int, SampleError],
) -> None:
    for place, result in zip(places.tolist(), decoded, strict=True):
        if isinstance(result, SampleError):
            errors[place] = result
        else:
            squares[place], aspects[place] = result
