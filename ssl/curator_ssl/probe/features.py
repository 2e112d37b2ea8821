"""Frozen features of labelled samples, and their pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from curator.embedding import Decoder, embed_source, fill_batches
from curator.encoders import Encoder
from curator.images import Preprocess
from curator.sources import Remarks, Source, read_source
from curator.types import LedgerLine, Progress, RawSample
from curator_ssl.probe.labels import SampleName

__all__ = ["Labelled", "embed_labelled", "pixel_batches"]


@dataclass(frozen=True)
class Labelled:
    """Samples with a feature and a label, in the order of their sources.

    Attributes:
        names: (shard, key) of each.
        features: float32 (n, dim), rows of unit length.
        labels: of each, as text.
        hashes: of each, the sha256 of its image's bytes as a hex digest.
        seen: samples met; `seen = n + len(bad) + len(unlabelled)`.
        bad: those that could not be read, decoded or embedded.
        unlabelled: good ones without a label.
        remarks: what is no damage and should be known.
    """

    names: list[SampleName]
    features: NDArray[np.float32]
    labels: list[str]
    hashes: list[str]
    seen: int
    bad: list[LedgerLine]
    unlabelled: list[SampleName]
    remarks: Remarks

    @property
    def reasons(self) -> dict[str, int]:
        """Ledger reason -> count of the bad."""
        return dict(Counter(str(line.reason) for line in self.bad))


def embed_labelled(
    sources: Sequence[Source],
    encoder: Encoder,
    labels: Mapping[SampleName, str],
    *,
    threads: int = 1,
    report: Progress = lambda counts: None,
) -> Labelled:
    """Embed all samples of the sources and keep those that have a label; see `embed_source`.

    Args:
        sources: tars and folders.
        encoder: any encoder.
        labels: see `read_labels`.
        threads: decoding threads.
        report: called with `samples` and `bad` increments.
    """
    names: list[SampleName] = []
    hashes: list[str] = []
    blocks = [np.empty((0, encoder.dim), np.float32)]
    bad: list[LedgerLine] = []
    unlabelled: list[SampleName] = []
    remarks = Remarks()
    seen = 0
    for source in sources:
        block, mark = embed_source(source, encoder, threads=threads, report=report)
        source_names = [(source.name, row.key) for row in block.rows]
        kept = [number for number, name in enumerate(source_names) if name in labels]
        names += [source_names[number] for number in kept]
        hashes += [block.rows[number].sha256 for number in kept]
        blocks.append(block.vectors[kept].astype(np.float32))
        seen += mark.seen
        unlabelled += [name for name in source_names if name not in labels]
        bad += mark.ledger
        remarks.update(mark.remarks)
    known_labels = [labels[name] for name in names]
    return Labelled(names, np.concatenate(blocks), known_labels, hashes, seen, bad, unlabelled, remarks)


def pixel_batches(
    sources: Sequence[Source],
    preprocess: Preprocess,
    classes: Mapping[SampleName, int],
    *,
    batch_size: int,
    threads: int = 1,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pixels and classes of chosen samples: uint8 (b, 3, h, w) and int64 (b,), b <= batch_size.

    Args:
        sources: tars and folders.
        preprocess: brings images to one shape.
        classes: (shard, key) -> class of the samples to take.
        batch_size: the most images at once.
        threads: decoding threads.
    """
    for source in sources:
        decoder = Decoder(preprocess.fit, 0, threads)
        items = (
            item
            for item in read_source(source, keep=lambda member: member.is_image)
            if isinstance(item, RawSample) and (source.name, item.key) in classes
        )
        # Samples that do not decode were counted when they were embedded.
        batches = fill_batches(decoder.decode_all(items), batch_size, preprocess.crop, lambda line: None)
        for batch in batches:
            batch_classes = [classes[source.name, row.key] for row in batch.rows]
            yield batch.pixels[: len(batch_classes)], torch.tensor(batch_classes)
