"""`curator inspect`: what is in these shards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from curator.embedding.decode_batches import Decoder
from curator.sources.find import find_sources
from curator.sources.read import UnreadableShard, read_source
from curator.sources.source import Source
from curator.store.import_embeddings import ready_shape
from curator.types import LedgerLine, Progress
from curator_pipelines.jobs.select.estimate import estimate_samples
from curator_pipelines.run.progress import Reporter

__all__ = ["InspectResult", "inspect_sources"]

EXAMPLES = 10


@dataclass
class InspectResult:
    """What `curator inspect` found.

    Attributes:
        sources: shards, folders and arrays.
        bytes: their size.
        samples: good ones, with an image that decodes.
        rows: of ready embeddings.
        formats: image extension -> count.
        members: extension of the other members -> count.
        sides: shorter sides in pixels -> count, by powers of two: 128 stands for 128 to 255.
        bad: ledger reason -> count.
        examples: the first bad samples.
    """

    sources: int = 0
    bytes: int = 0
    samples: int = 0
    rows: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    members: Counter[str] = field(default_factory=Counter)
    sides: Counter[int] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        # Not asdict: it rebuilds a Counter from its items, which counts pairs.
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    def to_text(self) -> str:
        """For a person."""
        lines = [f"sources     {self.sources:,}, {self.bytes / 1e6:,.1f} MB"]
        if self.rows:
            lines.append(f"embeddings  {self.rows:,}")
        if self.samples:
            sides = sorted(self.sides.items())
            lines += [
                f"samples     {self.samples:,} good",
                f"formats     {_counts(self.formats)}",
                f"sides       {', '.join(f'{low}-{2 * low - 1} px: {count:,}' for low, count in sides)}",
            ]
        if self.members:
            lines.append(f"beside      {_counts(self.members)}")
        lines.append(f"bad         {_counts(self.bad) if self.bad else 'none'}")
        return "\n".join(lines + [f"  {example}" for example in self.examples])


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counter.most_common(12))


def inspect_sources(urls: Sequence[str], reporter: Reporter) -> InspectResult:
    """Read and decode everything, keep counts only.

    Raises:
        InputError: nothing there, or something that is no source.
    """
    sources = find_sources(urls, "urls", folders=True)
    findings = InspectResult(len(sources), sum(source.stat.size for source in sources))
    ready_rows = {source.name: ready_shape(source)[0] for source in sources if source.is_ready}
    findings.rows = sum(ready_rows.values())
    with reporter.stage("inspect", estimate_samples(sources, ready_rows), "samples") as progress:
        for source in sources:
            if source.holds_images:
                _inspect(source, findings, progress)
    return findings


def _inspect(source: Source, findings: InspectResult, progress: Progress) -> None:
    # Counts need no pixels: one is kept, so that nothing big waits in the queue.
    decoder = Decoder(lambda pixels: pixels[:, :1, :1], 0, len(os.sched_getaffinity(0)))
    try:
        items = read_source(source, keep=lambda member: member.is_image)
        for item in decoder.decode_all(items):
            if isinstance(item, LedgerLine):
                _note_bad(item, findings)
            else:
                row = item[0]
                findings.samples += 1
                image = next(member for member in row.members if member.is_image)
                findings.formats[image.ext.rpartition(".")[2].lower()] += 1
                findings.members.update(m.ext for m in row.members if m is not image)
                findings.sides[1 << (max(min(row.width, row.height), 1).bit_length() - 1)] += 1
            progress({"samples": 1, "bad": isinstance(item, LedgerLine)})
    except UnreadableShard as error:
        findings.bad["unreadable_shard"] += 1
        findings.examples.append(str(error))


def _note_bad(line: LedgerLine, findings: InspectResult) -> None:
    findings.bad[str(line.reason)] += 1
    if len(findings.examples) < EXAMPLES:
        findings.examples.append(f"{line.shard} {line.key or '?'} at {line.offset}: {line.reason}, {line.detail}")
