"""The table of measured encoders, best first, with chance among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from curator.selection import CHANCE
from curator_pipelines.jobs.select.measure_ranks import TOP, Measured

__all__ = ["Row", "Table", "make_table"]

CAVEAT = (
    "These figures compare encoders and grade none: at best the median rank is about half the share of the pool\n"
    "that is of your kind. Seconds depend on the machine, and never decide."
)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        encoder: the name; `chance` for a draw.
        median_rank: the share of the pool's images that are nearer to the target than its own typical held-out image.
        in_top: the share of the held-out images that are in the best hundredth of the pool.
        worse_than_above: whether the row above is significantly better; None in the first row.
        seconds_per_1000: seconds for 1,000 images, all workers together; None for chance.
        hours: expected for the pool; None for chance, and where the pool's size is unknown.
        note: what to know of it.
    """

    encoder: str
    median_rank: float
    in_top: float
    worse_than_above: bool | None
    seconds_per_1000: float | None
    hours: float | None
    note: str


@dataclass(frozen=True)
class Table:
    """Measured encoders, best first.

    Attributes:
        rows: one an encoder, and one for chance.
        target_images: how many were held out.
        pool_images: how many they were ranked among.
        bad: samples of both that could not be used.
        pool_samples: of the whole pool, counted or estimated; None if unknown.
        device: what encoded.
    """

    rows: tuple[Row, ...]
    target_images: int
    pool_images: int
    bad: int
    pool_samples: int | None
    device: str

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"compares": CAVEAT.replace("\n", " ")}

    def to_text(self) -> str:
        """For a person."""
        bad = f"; {self.bad:,} bad samples left out" if self.bad else ""
        head = (
            f"{self.target_images:,} images of the target, held out in turn and ranked among {self.pool_images:,} of "
            f"the pool, on {self.device}{bad}"
        )
        pool = "the pool" if self.pool_samples is None else f"{self.pool_samples:,} images"
        titles = [
            "encoder",
            "median rank",
            f"in top {TOP:.0%}",
            "than the one above",
            "s per 1,000",
            f"h for {pool}",
            "",
        ]
        cells = [titles, *(_cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        return "\n".join([head, "", *(line.rstrip() for line in lines), "", CAVEAT])


def make_table(measured: Sequence[Measured], pool_samples: float | None, workers: int) -> Table:
    """The table of encoders that were measured on one sample.

    Args:
        measured: at least one.
        pool_samples: in the whole pool.
        workers: how many work at a time.
    """
    samples = None if pool_samples is None else round(pool_samples)
    ordered = sorted([*measured, None], key=lambda encoder: encoder.median if encoder else CHANCE)
    rows = [_row(ordered[0], None, samples, workers)]
    rows += [_row(own, _is_worse(own, above), samples, workers) for above, own in pairwise(ordered)]
    return Table(
        tuple(rows),
        max(len(encoder.rows) for encoder in measured),
        max(encoder.pool for encoder in measured),
        max(encoder.bad for encoder in measured),
        samples,
        measured[0].candidate.encoding.device_name,
    )


def _is_worse(own: Measured | None, above: Measured | None) -> bool:
    if own is None:
        return above is not None and above.beats_chance
    return own.is_worse_than_chance if above is None else above.is_better_than(own)


def _row(encoder: Measured | None, worse: bool | None, samples: int | None, workers: int) -> Row:
    if encoder is None:
        return Row("chance", CHANCE, TOP, worse, None, None, "a draw at random")
    # Ready embeddings took none.
    seconds = 1000 * encoder.seconds / workers if encoder.seconds else None
    hours = None if samples is None or seconds is None else seconds / 1000 * samples / 3600
    return Row(encoder.name, encoder.median, encoder.in_top, worse, seconds, hours, encoder.candidate.note)


def _cells(row: Row) -> list[str]:
    above = {None: "", True: "significantly worse", False: "no clear difference"}[row.worse_than_above]
    return [
        row.encoder,
        f"{row.median_rank:.1%}",
        f"{row.in_top:.1%}",
        above,
        "" if row.seconds_per_1000 is None else f"{row.seconds_per_1000:,.1f}",
        "" if row.hours is None else f"{row.hours:,.2g}" if row.hours < 10 else f"{row.hours:,.0f}",
        row.note,
    ]
