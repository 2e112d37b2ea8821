"""The contact sheet of `curator measure`: which of the target's images each encoder finds best, and which worst."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator.io import public_text
from curator_pipelines.jobs.measure.ranks import Measured
from curator_pipelines.jobs.pictures import SHEET, Band, Thumbnail, Tile, read_thumbnails, write_sheet
from curator_pipelines.run import Reporter

__all__ = ["SHEET", "write_ranks_sheet"]

# Images of each band.
SHOWN = 12
LEGEND = (
    "Each of your images was held out in turn and ranked among the pool's. Below each: the share of the pool's images "
    "that are nearer to the rest of yours than it is (0% is best, chance is 50%), and its key."
)


def write_ranks_sheet(url: str, measured: Sequence[Measured], reporter: Reporter) -> bool:
    """Draw the best and the worst held-out images of each encoder; a sheet that fails is a warning.

    Returns:
        whether a sheet was written.
    """
    try:
        ends = [(encoder, *_ends(encoder)) for encoder in measured]
        wanted = dict.fromkeys(encoder.originals[row] for encoder, best, worst in ends for row in (*best, *worst))
        found = read_thumbnails([*wanted])
        for reason, count in found.failures:
            reporter.warn(f"contact sheet: {count:,} pictures are not shown: {reason}")
        read = dict(zip(wanted, zip(found.images, found.missing, strict=True), strict=True))
        bands = []
        for encoder, best, worst in ends:
            for title, rows in (("finds best", best), ("finds worst", worst)):
                tiles = [_tile(encoder, row, *read[encoder.originals[row]]) for row in rows]
                bands.append(Band(f"{public_text(encoder.name)} {title}", tiles, f"median rank {encoder.median:.1%}"))
        return write_sheet(url, "Your images, as encoders rank them", LEGEND, bands)
    except Exception as error:
        reporter.warn(f"the contact sheet was not written: {type(error).__name__}: {error}")
        return False


def _ends(encoder: Measured) -> tuple[list[int], list[int]]:
    """The rows with the best ranks, best first, and others with the worst, worst first."""
    order = np.argsort(encoder.ranks, kind="stable").tolist()
    half = min(SHOWN, -(-len(order) // 2))
    return order[:half], order[half:][::-1][:SHOWN]


def _tile(encoder: Measured, row: int, image: Thumbnail | None, missing: str) -> Tile:
    target, _, key = encoder.rows[row]
    return Tile(image.large if image else None, [f"{encoder.ranks[row]:.1%}", *filter(None, (key, target))], missing)
