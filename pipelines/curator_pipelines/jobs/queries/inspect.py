"""`curator inspect SHARDS`: what is in these shards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from curator.embedding import Decoder
from curator.sources import Remarks, Source, UnreadableShard, count_left_out, find_sources, in_words, read_source
from curator.store import ready_shape
from curator.types import LedgerLine, Progress, SampleRow
from curator_pipelines.run import Reporter, estimate_samples

__all__ = ["InspectResult", "inspect_sources"]

# So many bad samples are told one by one.
EXAMPLES = 10


@dataclass
class InspectResult:
    """What `curator inspect` found.

    Attributes:
        sources: the number of shards, folders and arrays.
        bytes: their size.
        samples: the number of good samples, whose image decodes.
        rows: the number of ready embeddings.
        formats: image extension -> count.
        members: extension of the other members -> count.
        sides: shorter side in pixels -> count, by powers of two: 128 stands for 128 to 255.
        bad: ledger reason -> count.
        examples: the first bad samples.
        left_out: files that are not read, by ending or place -> count.
        remarks: what is no damage and should be known.
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
    left_out: dict[str, int] = field(default_factory=dict)
    remarks: Remarks = field(default_factory=Remarks)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        # Not asdict: it rebuilds a Counter from its items, which counts pairs.
        fields = {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}
        return fields | {"remarks": self.remarks.to_json()}

    def to_text(self) -> str:
        """For a person."""
        text = [f"sources     {self.sources:,}, {self.bytes / 1e6:,.1f} MB"]
        if self.rows:
            text.append(f"embeddings  {self.rows:,}")
        if self.samples:
            sides = sorted(self.sides.items())
            text += [
                f"samples     {self.samples:,} good",
                f"formats     {_counts(self.formats)}",
                f"sides       {', '.join(f'{low}-{2 * low - 1} px: {count:,}' for low, count in sides)}",
            ]
        if self.members:
            text.append(f"beside      {_counts(self.members)}")
        text.append(f"bad         {_counts(self.bad) if self.bad else 'none'}")
        text += [f"  {example}" for example in self.examples]
        if self.left_out:
            text.append(f"besides     {in_words([*self.left_out.items()]).removeprefix(', ')}")
        return "\n".join(text + [f"note        {remark}" for remark in self.remarks.texts()])


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counter.most_common(12))


def inspect_sources(urls: Sequence[str], reporter: Reporter) -> InspectResult:
    """Read and decode all samples, and keep only counts.

    Raises:
        InputError: the URLs name nothing, or something that is no source.
    """
    sources = find_sources(urls, "urls", folders=True)
    findings = InspectResult(len(sources), sum(source.stat.size for source in sources))
    findings.left_out = count_left_out(sources)
    ready_rows = {source.name: ready_shape(source)[0] for source in sources if source.is_ready}
    findings.rows = sum(ready_rows.values())
    with reporter.stage("inspect", estimate_samples(sources, ready_rows), "samples") as progress:
        for source in sources:
            if source.holds_images:
                _inspect(source, findings, progress)
    return findings


def _inspect(source: Source, findings: InspectResult, progress: Progress) -> None:
    # Counts need no pixels: one pixel is kept, so that nothing big waits in the queue.
    decoder = Decoder(lambda pixels: pixels[:, :1, :1], 0, len(os.sched_getaffinity(0)))
    try:
        items = read_source(source, keep=lambda member: member.is_image, remarks=findings.remarks)
        for item in decoder.decode_all(items):
            if isinstance(item, LedgerLine):
                _count_bad(item, findings)
            else:
                _count_good(item[0], findings)
            progress({"samples": 1, "bad": isinstance(item, LedgerLine)})
    except UnreadableShard as error:
        findings.bad["unreadable_shard"] += 1
        findings.examples.append(str(error))


def _count_good(row: SampleRow, findings: InspectResult) -> None:
    image = next(member for member in row.members if member.is_image)
    findings.samples += 1
    findings.formats[image.ext.rpartition(".")[2].lower()] += 1
    findings.members.update(member.ext for member in row.members if member is not image)
    shorter = max(min(row.width, row.height), 1)
    findings.sides[2 ** (shorter.bit_length() - 1)] += 1


def _count_bad(line: LedgerLine, findings: InspectResult) -> None:
    findings.bad[str(line.reason)] += 1
    if len(findings.examples) < EXAMPLES:
        findings.examples.append(f"{line.shard} {line.key or '?'} at {line.offset}: {line.reason}, {line.detail}")
