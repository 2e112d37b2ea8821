"""The result of a comparison: for machines, and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from curator_pipelines.jobs.compare.coverage import Coverage
from curator_pipelines.jobs.compare.facts import Line
from curator_pipelines.jobs.compare.overlap import Overlap
from curator_pipelines.jobs.compare.precision import Precision, Share
from curator_pipelines.run import duration

__all__ = ["Comparison"]


@dataclass(frozen=True)
class Comparison:
    """What `curator compare` found.

    Attributes:
        letters: what the selections are called, in the order given.
        names: the public name of each.
        facts: what each says of itself.
        overlaps: of each two.
        precision: of each, where labels were asked for.
        coverages: how well each serves its target.
        settings: those in which they differ, encoders and versions too.
        notes: what cannot be compared, or only with care.
        page: URL of the page.
        pictures: how many it shows.
        missing: why pictures are missing, and how many.
        seconds: that it took.
    """

    letters: Sequence[str]
    names: Sequence[str]
    facts: Sequence[Line]
    overlaps: Sequence[Overlap]
    precision: Sequence[Precision]
    coverages: Sequence[Coverage]
    settings: Sequence[Line]
    notes: Sequence[str]
    page: str
    pictures: int
    missing: Sequence[tuple[str, int]]
    seconds: float

    def __str__(self) -> str:
        return self.to_text()

    def with_page(self, pictures: int, missing: Sequence[tuple[str, int]], seconds: float) -> Comparison:
        """The same, when its page is written."""
        return replace(self, pictures=pictures, missing=missing, seconds=seconds)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "runs": dict(zip(self.letters, self.names, strict=True)),
            "facts": self._by_letter(self.facts),
            "overlaps": [asdict(overlap) for overlap in self.overlaps],
            "precision": [_precision_json(each) for each in self.precision],
            "coverage": [_coverage_json(each) for each in self.coverages],
            "settings": self._by_letter(self.settings),
            "notes": list(self.notes),
            "page": self.page,
            "pictures": self.pictures,
            "missing": [list(reason) for reason in self.missing],
            "seconds": round(self.seconds, 3),
        }

    def to_text(self) -> str:
        """For a person."""
        lines = [f"{letter:11} {name}" for letter, name in zip(self.letters, self.names, strict=True)]
        lines += _table("", [Line("", self.letters), *self.facts])
        for overlap in self.overlaps:
            lines += _overlap_text(overlap)
        lines += _titled("precision", map(_precision_text, self.precision))
        lines += _titled("coverage", map(_coverage_text, self.coverages))
        lines += _table("differs", [line for line in self.settings if not line.name.startswith("version of ")])
        lines += _titled("note", self.notes)
        lines.append(f"{'page':11} {self.page} ({self.pictures:,} pictures, {duration(self.seconds)})")
        return "\n".join([*lines, *(f"not shown   {count:,} pictures: {reason}" for reason, count in self.missing)])

    def _by_letter(self, lines: Sequence[Line]) -> dict[str, dict[str, str]]:
        return {line.name: dict(zip(self.letters, line.values, strict=True)) for line in lines}


def _overlap_text(overlap: Overlap) -> list[str]:
    first, second = overlap.first, overlap.second
    matched = f"{overlap.by_name:,} by shard and key, {overlap.by_bytes:,} by bytes"
    alone = f"{overlap.only_first:,} only in {first}, {overlap.only_second:,} only in {second}"
    counts = f"{overlap.both:,} in both, {alone}"
    ranks = [
        f"first {depth.depth:,}: {depth.both:,} ({depth.share:.1%}, Jaccard {depth.jaccard:.3f})"
        for depth in overlap.by_rank[:-1]
    ]
    return [
        *_titled(f"{first} and {second}", [f"{counts}; Jaccard {overlap.jaccard:.3f}", f"matched {matched}"]),
        *([f"{'':11} {'; '.join(ranks)}"] if ranks else []),
    ]


def _precision_text(found: Precision) -> str:
    shares = [f"first {share.depth:,}: {_percent(share.precision)}" for share in found.first]
    of = f"{found.chosen.right:,} of {found.chosen.labelled:,} labelled"
    sampled = f", a random sample of {found.chosen.depth:,}" if found.is_sample else ""
    return (
        f"{found.letter}: {_percent(found.chosen.precision)} ({of}{sampled}); {''.join(f'{text}; ' for text in shares)}"
        f"{found.covered:,} of {found.classes:,} classes; the pool has {_percent(found.pool.precision)}"
    )


def _coverage_text(found: Coverage) -> str:
    seen = "" if found.of == found.by else f" as the encoder of {found.by} sees it"
    served = (
        "how near is near is unknown"
        if found.served is None
        else f"{found.served:.1%} have a chosen one nearer than {found.near:.4f}"
    )
    near = f"the nearest is at {found.median:.4f} (median), {found.q10:.4f} (tenth)"
    return f"{found.of}{seen}: of {found.photos:,} target images {served}; {near}"


def _precision_json(found: Precision) -> dict[str, Any]:
    shares = {"chosen": _share_json(found.chosen), "pool": _share_json(found.pool)}
    return asdict(found) | shares | {"first": [_share_json(share) for share in found.first]}


def _share_json(share: Share) -> dict[str, Any]:
    return asdict(share) | {"precision": share.precision}


def _coverage_json(found: Coverage) -> dict[str, Any]:
    return {name: value for name, value in vars(found).items() if name not in ("scores", "nearest")}


def _titled(title: str, texts: Any) -> list[str]:
    return [f"{title if not place else '':11} {text}" for place, text in enumerate(texts)]


def _table(title: str, lines: Sequence[Line]) -> list[str]:
    """Lines with a column for each selection; a long value is cut, the page and the JSON have all of it."""
    rows = [[line.name, *(_cut(value) for value in line.values)] for line in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return _titled(title, texts)


def _cut(text: str, most: int = 44) -> str:
    # Paths and patterns differ at their ends more often than at their beginnings.
    return text if len(text) <= most else f"{text[: most // 3]}...{text[-2 * most // 3 + 3 :]}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"
