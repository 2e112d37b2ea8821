"""The straight line from a source to its embeddings: read, decode, encode."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Protocol

import numpy as np
import torch

from curator.embedding.crash_probe import find_crashing_samples
from curator.embedding.decode_batches import Decoder, fill_batches
from curator.encoders import Encoder
from curator.errors import Reason
from curator.io import run_ahead
from curator.sources import Remarks, Source, read_source
from curator.store import DoneMark, Ledger
from curator.types import EmbeddingBlock, ImageBatch, LedgerLine, Progress, RawSample, SampleRow

__all__ = ["Sink", "embed_into", "embed_source"]

# What a batch needs beside the model, up to 200 MB, is needed for each.
MAX_LANES = 4


class Sink(Protocol):
    """Takes embedded samples block by block, in the order of the source."""

    def add(self, block: EmbeddingBlock, /) -> None:
        """Take a block."""
        ...

    def restart(self) -> None:
        """Forget all blocks: the source is begun anew."""
        ...


def embed_source(
    source: Source,
    encoder: Encoder,
    *,
    min_side: int = 0,
    threads: int = 1,
    careful: bool = False,
    report: Progress = lambda increments: None,
    enough: Callable[[int], bool] = lambda samples: False,
) -> tuple[EmbeddingBlock, DoneMark]:
    """`embed_into` for a source whose rows fit into memory.

    Returns:
        The block, rows in the order of the source, and what `embed_into` returns.
    """
    kept = _Kept()
    mark = embed_into(
        kept, source, encoder, min_side=min_side, threads=threads, careful=careful, report=report, enough=enough
    )
    rows = [row for block in kept.blocks for row in block.rows]
    vectors = [np.empty((0, encoder.dim), np.float16), *(block.vectors for block in kept.blocks)]
    return EmbeddingBlock(rows, np.concatenate(vectors)), mark


@dataclass(slots=True)
class _Kept:
    blocks: list[EmbeddingBlock] = field(default_factory=list)

    def add(self, block: EmbeddingBlock, /) -> None:
        self.blocks.append(block)

    def restart(self) -> None:
        self.blocks.clear()


def embed_into(
    sink: Sink,
    source: Source,
    encoder: Encoder,
    *,
    min_side: int = 0,
    threads: int = 1,
    careful: bool = False,
    report: Progress = lambda increments: None,
    enough: Callable[[int], bool] = lambda samples: False,
) -> DoneMark:
    """Embed every good sample of a tar or a folder of images.

    Reading and decoding run in threads of their own while the encoder works, on CPUs on several batches at a time.
    The result depends on the source, the encoder and the batch size alone, not on the threads. Where decoding ran out
    of memory, it begins again with care.

    Args:
        sink: takes the blocks; of the samples that it took nothing stays here but their keys.
        source: one that holds images.
        encoder: see `curator.encoders`.
        min_side: images with a shorter side than this many pixels go to the ledger.
        threads: of the decoder, and of the encoder.
        careful: for a source that a worker died of. Each image is first decoded alone, in a process that may die: see
            `find_crashing_samples`; what it finds goes to the ledger. Then one thread decodes.
        report: called with `samples` and `bad` increments after each batch.
        enough: asked before each sample, with the number of samples before it; True ends the source there. For
            measuring, not for parts.

    Returns:
        The done-mark with counts, times and the ledger.

    Raises:
        UnreadableShard: storage failed.
        MemoryError: there is not enough of it, even with care.
    """
    told: Counter[str] = Counter()

    def tell(increments: Mapping[str, int]) -> None:
        told.update(increments)
        report(increments)

    line = partial(_embed, sink, source, encoder, min_side=min_side, threads=threads, report=tell, enough=enough)
    if not careful:
        with suppress(MemoryError):
            return line(decode_threads=threads, crashing={})
        report({name: -count for name, count in told.items()})
        sink.restart()
    try:
        crashing = find_crashing_samples(source, min_side, encoder.preprocess)
        return line(decode_threads=1, crashing=crashing)
    except MemoryError as error:
        raise MemoryError(f"its images need more memory than there is, one at a time: {error}") from error


def _embed(
    sink: Sink,
    source: Source,
    encoder: Encoder,
    *,
    min_side: int,
    threads: int,
    decode_threads: int,
    crashing: Mapping[str, str],
    report: Progress,
    enough: Callable[[int], bool],
) -> DoneMark:
    started = time.perf_counter()
    left_out = _LeftOut(source, crashing, report)
    decoder = Decoder(encoder.preprocess.fit, min_side, decode_threads)
    remarks = Remarks()
    read = read_source(source, keep=lambda member: member.is_image, remarks=remarks, hashed=True)
    samples = (item for number, item in takewhile(lambda pair: not enough(pair[0]), enumerate(read)))
    items = left_out.without_crashing(samples)
    batches = fill_batches(decoder.decode_all(items), encoder.batch_size, encoder.preprocess.crop, left_out.refuse)
    lanes = 1 if encoder.device.type == "cuda" else min(threads, MAX_LANES)
    embedded = 0
    encoding = 0.0
    for batch, vectors, seconds in _encode_all(run_ahead(batches, depth=lanes + 1), encoder, lanes, threads // lanes):
        block = _good_rows(batch, vectors, left_out)
        sink.add(block)
        embedded += len(block.rows)
        encoding += seconds / lanes
        left_out.report_progress(len(batch.rows))
    took = {"decode": decoder.seconds, "encode": encoding, "total": time.perf_counter() - started}
    return DoneMark(left_out.seen, embedded, encoder.dim, took, left_out.lines.ordered(), remarks)


def _encode_all(
    batches: Iterable[ImageBatch], encoder: Encoder, lanes: int, threads: int
) -> Iterator[tuple[ImageBatch, np.ndarray, float]]:
    """Each batch with its vectors and the seconds they took, in order, `lanes` batches of `threads` threads at a time.

    Threads that share a batch wait for each other after every layer, while decoders keep some of them from their
    cores: two batches with a thread each are done a tenth to a third sooner than one after the other with two.
    """

    def encode(batch: ImageBatch) -> tuple[ImageBatch, np.ndarray, float]:
        before = time.perf_counter()
        vectors = encoder.encode(batch.pixels)[: len(batch.rows)]
        return batch, vectors, time.perf_counter() - before

    if lanes == 1:
        yield from map(encode, batches)
        return
    pending: deque[Future[tuple[ImageBatch, np.ndarray, float]]] = deque()
    with ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        for batch in batches:
            pending.append(pool.submit(encode, batch))
            if len(pending) > lanes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _good_rows(batch: ImageBatch, vectors: np.ndarray, left_out: _LeftOut) -> EmbeddingBlock:
    good = np.isfinite(vectors).all(axis=1)
    for row in np.flatnonzero(~good):
        left_out.refuse_row(batch.rows[row])
    rows = [row for row, keep in zip(batch.rows, good, strict=True) if keep]
    return EmbeddingBlock(rows, vectors[good].astype(np.float16))


@dataclass
class _LeftOut:
    """Counts the samples of a source, and keeps the ledger lines of those that are left out."""

    source: Source
    crashing: Mapping[str, str]
    report: Progress
    seen: int = 0
    lines: Ledger = field(default_factory=Ledger)
    reported: int = 0
    # Those that read and decode refuse come from another thread than those that encode refuses.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def without_crashing(self, items: Iterable[RawSample | LedgerLine]) -> Iterator[RawSample | LedgerLine]:
        for item in items:
            self.seen += 1
            if isinstance(item, RawSample) and item.key in self.crashing:
                yield LedgerLine(
                    item.shard,
                    item.key,
                    item.offset,
                    "decode",
                    Reason.DECODER_CRASH,
                    self.crashing[item.key],
                )
            else:
                yield item

    def refuse(self, line: LedgerLine) -> None:
        with self.lock:
            self.lines.append(line)

    def refuse_row(self, row: SampleRow) -> None:
        detail = "the encoder gave a vector that is not finite, or of zero length"
        self.refuse(LedgerLine(self.source.name, row.key, row.offset, "encode", Reason.BAD_EMBEDDING, detail))

    def report_progress(self, samples: int) -> None:
        bad = len(self.lines) - self.reported
        self.reported += bad
        self.report({"samples": samples, "bad": bad})
