"""The charts of a comparison: one curve for each selection, or for each two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator_pipelines.jobs.compare.match import Match
from curator_pipelines.jobs.compare.overlap import Overlap, shared_at
from curator_pipelines.jobs.compare.sides import Side
from curator_pipelines.jobs.report import INK, LINE, SERIES, add_legend, as_svg, new_axes, score_curve, stand_in

__all__ = ["draw_curves", "draw_overlaps"]

# Points of a curve that can be told apart.
POINTS = 1000
DASHES = ("-", "--", ":", "-.")
# A curve that spans so many times its first number of images reads better on a log axis.
WIDE = 50


def draw_curves(sides: Sequence[Side]) -> str:
    """The mean of each round over the images chosen so far; of fewer than two rounds the scores of the images.

    Empty where no selection has scores.
    """
    figure, axes = new_axes(9, 4.2)
    widest, narrowest = 0, 0
    for place, side in enumerate(sides):
        # One mean is no curve.
        x, y, what = score_curve(side.target, least_rounds=2)
        if not len(x):
            continue
        kept = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(np.int64))
        name = f"{side.letter}: {side.selector}, {what}".replace("$", r"\$")
        colour, dashes, marker = stand_in(SERIES[place]), DASHES[place % len(DASHES)], "." if len(x) < 40 else ""
        axes.plot(x[kept], y[kept], color=colour, linestyle=dashes, marker=marker, label=name)
        widest, narrowest = max(widest, int(x[-1])), min(narrowest or int(x[0]), int(x[0]))
    if not widest:
        return ""
    if widest > WIDE * max(narrowest, 1):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("images chosen so far", color=INK)
    axes.set_ylabel("score", color=INK)
    add_legend(axes)
    return as_svg(figure, "The scores of what each selection chose, over the images chosen so far")


def draw_overlaps(matches: Sequence[Match], overlaps: Sequence[Overlap], counts: Sequence[int]) -> str:
    """For each two selections, the share of their first so many that is in both."""
    figure, axes = new_axes(9, 3.6)
    for place, (match, overlap) in enumerate(zip(matches, overlaps, strict=True)):
        sizes = counts[match.first], counts[match.second]
        if not min(sizes):
            continue
        ranks = np.unique(np.geomspace(1, max(sizes), POINTS).astype(np.int64))
        shares = shared_at(match, ranks) / np.minimum(ranks, min(sizes))
        colour, dashes = stand_in(SERIES[place % len(SERIES)]), DASHES[place // len(SERIES)]
        axes.plot(ranks, shares, color=colour, linestyle=dashes, label=f"{overlap.first} and {overlap.second}")
    if not axes.lines:
        return ""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(-0.02, 1.02)
    axes.axhline(1, color=LINE, linewidth=0.8)
    axes.set_xlabel("the first so many of each", color=INK)
    axes.set_ylabel("share in both", color=INK)
    add_legend(axes)
    return as_svg(figure, "The share of the first chosen images that two selections have in common")
