"""The page of a comparison: its numbers, charts and pictures, put into a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from curator_pipelines.jobs.compare.charts import draw_curves, draw_overlaps
from curator_pipelines.jobs.compare.comparison import Comparison
from curator_pipelines.jobs.compare.match import Match
from curator_pipelines.jobs.compare.sides import Side
from curator_pipelines.jobs.compare.strips import better_served, stores_of, strips_of
from curator_pipelines.jobs.pictures import Album
from curator_pipelines.jobs.report import Page, render

__all__ = ["comparison_page"]


def comparison_page(sides: Sequence[Side], matches: Sequence[Match], found: Comparison) -> Page:
    """The page of a comparison.

    Args:
        sides: the selections.
        matches: of each two.
        found: the numbers.

    Cost: a minute at most for the pictures.
    """
    album = Album(stores_of(sides))
    strips = [replace(strip, pictures=album.ask(strip.pictures)) for strip in strips_of(sides, matches)]
    served = better_served(sides, found.coverages)
    album.ask(picture for row in served for picture in row.pictures)
    album.fill()
    html = render(
        "compare.html",
        package="curator_pipelines.jobs.compare",
        title=f"{', '.join(found.letters[:-1])} and {found.letters[-1]} compared",
        found=found,
        strips=[album.strip(strip) for strip in strips],
        served=[[album.of(picture) for picture in row.pictures] for row in served],
        curves=draw_curves(sides),
        overlap_curves=draw_overlaps(matches, found.overlaps, [len(side) for side in sides]),
        missing=album.thumbnails.failures[:5],
    )
    return Page(html, len([image for image in album.thumbnails.images if image]), album.thumbnails.failures)
