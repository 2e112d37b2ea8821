"""Decode samples in threads, keep their order, and fill batches of one fixed shape."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from curator.errors import SampleError
from curator.images import Budget, OpenedImage, decoding_size, is_out_of_memory
from curator.types import ImageBatch, LedgerLine, RawSample, SampleRow

__all__ = ["Decoder", "fill_batches"]

# What files that wait for a thread, or for their turn, may take together.
RAW_BYTES = 1 << 29

Decoded = tuple[SampleRow, torch.Tensor]


class Decoder:
    """Turns raw samples into rows and pixels, several at a time, as many as fit in a budget of memory.

    Args:
        fit: brings an image's pixels to the shape of the batch, such as `Preprocess.fit`.
        min_side: images with a shorter side than this many pixels go to the ledger.
        threads: how many samples are decoded at once.
    """

    def __init__(self, fit: Callable[[torch.Tensor], torch.Tensor], min_side: int, threads: int) -> None:
        self.fit = fit
        self.min_side = min_side
        self.threads = threads
        self.seconds = 0.0
        self._budget = Budget(decoding_size(threads))
        self._lock = threading.Lock()

    def decode(self, sample: RawSample) -> Decoded | LedgerLine:
        """One sample: its row and its pixels, uint8 (3, height, width), or why it cannot be used.

        Raises:
            MemoryError: there is not enough of it.
        """
        image = sample.image
        assert image is not None and image.data is not None, "the reader yields samples with an image"
        try:
            opened = OpenedImage(image.data, min_side=self.min_side)
            with self._budget.hold(opened.decoding_bytes):
                width, height, pixels = self._pixels(opened)
        except SampleError as error:
            return LedgerLine(sample.shard, sample.key, sample.offset, "decode", error.reason, error.detail)
        row = SampleRow(
            key=sample.key,
            offset=image.offset,
            size=image.size,
            sha256=hashlib.sha256(image.data).hexdigest(),
            width=width,
            height=height,
            members=tuple(type(m)(m.ext, m.offset, m.size) for m in sample.members),
            sample_sha256=sample.sha256,
        )
        return row, pixels

    def _pixels(self, opened: OpenedImage) -> tuple[int, int, torch.Tensor]:
        started = time.perf_counter()
        try:
            decoded = opened.decode()
            return decoded.width, decoded.height, self.fit(decoded.pixels)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise MemoryError(str(error)) from error
            raise
        finally:
            with self._lock:
                self.seconds += time.perf_counter() - started

    def decode_all(self, items: Iterable[RawSample | LedgerLine]) -> Iterator[Decoded | LedgerLine]:
        """All samples, in their order; at most eight a thread are held at once, of large files fewer."""
        pending: deque[tuple[int, Future[Decoded | LedgerLine] | LedgerLine]] = deque()
        held = 0
        # Parallel over samples, so each one on a single thread: torch would start a team per thread.
        with ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for item in items:
                size = 0 if isinstance(item, LedgerLine) or item.image is None else item.image.size
                while pending and (len(pending) >= 8 * self.threads or held + size > RAW_BYTES):
                    held -= pending[0][0]
                    yield _result(pending.popleft()[1])
                pending.append((size, item if isinstance(item, LedgerLine) else pool.submit(self.decode, item)))
                held += size
            while pending:
                yield _result(pending.popleft()[1])


def _result(item: Future[Decoded | LedgerLine] | LedgerLine) -> Decoded | LedgerLine:
    return item if isinstance(item, LedgerLine) else item.result()


def fill_batches(
    decoded: Iterable[Decoded | LedgerLine],
    batch_size: int,
    shape: tuple[int, int],
    refuse: Callable[[LedgerLine], None],
) -> Iterator[ImageBatch]:
    """Fill batches of (batch_size, 3, *shape); the last one is padded with zeros.

    Every forward pass has one shape, because kernels round differently for different ones.
    """
    rows: list[SampleRow] = []
    pixels = torch.zeros((batch_size, 3, *shape), dtype=torch.uint8)
    for item in decoded:
        if isinstance(item, LedgerLine):
            refuse(item)
            continue
        pixels[len(rows)] = item[1]
        rows.append(item[0])
        if len(rows) == batch_size:
            yield ImageBatch(rows, pixels)
            rows, pixels = [], torch.zeros_like(pixels)
    if rows:
        yield ImageBatch(rows, pixels)
