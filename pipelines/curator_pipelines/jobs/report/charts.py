"""The charts of a page, as SVG whose colours follow the reader's theme.

By matplotlib: a script for charts would take half of the page's 10 MB, and its pictures need the room.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from curator_pipelines.jobs.report.plane import GROUPS, Plane
from curator_pipelines.jobs.report.target_record import TargetRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_curve", "draw_plane"]

# Stands in the SVG for a colour of the page's style sheet: matplotlib takes no names that it does not know.
INK, LINE = "#010101", "#020202"
COLOURS = {"pool": "#030303", "chosen": "#040404", "target": "#050505"}
VARIABLES = {INK: "ink", LINE: "line"} | {colour: group for group, colour in COLOURS.items()}
# A curve that spans so many times its first number of images reads better on a log axis.
WIDE = 50
# Points of a curve that can be told apart.
POINTS = 2000


def draw_curve(target: TargetRecord) -> str:
    """The mean of each round over the images chosen so far, with the threshold and the held-out quantiles.

    From a selector without rounds the score of each chosen image over its place; empty where there are no scores.
    """
    record = target.record
    x, y, name = target.curve()
    if not np.isfinite(y).any():
        return ""
    beyond = [line for line in record["around_end"] if not line["taken"]]
    figure, axes = _axes(9, 4.2)
    kept = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(np.int64))
    axes.plot(x[kept], y[kept], color=COLOURS["chosen"], marker="." if len(x) < 40 else "", label=name)
    if beyond and len(x):
        after = [(x[-1], y[-1]), *((line["chosen"], line["mean"]) for line in beyond)]
        axes.plot(*zip(*after, strict=True), color=COLOURS["chosen"], linestyle=":", marker=".", label="beyond the end")
    if record["stop"] is not None and record["reference_mean"]:
        level = record["stop"] * record["reference_mean"]
        axes.axhline(level, color=COLOURS["target"], linestyle="--", label=f"threshold {level:.4f}")
    if record["selector"] in ("simcore", "knn"):
        for name, dash in (("median", (4, 2)), ("q10", (1, 1)), ("q05", (1, 3))):
            if (value := record["quantiles"][name]) is not None:
                label = f"{name.upper() if name != 'median' else name} of your held-out images {value:.4f}"
                axes.axhline(value, color=INK, linewidth=0.8, dashes=dash, label=label)
    axes.axvline(record["count"], color=LINE, linewidth=0.8)
    if len(x) and x[-1] > WIDE * max(x[0], 1):
        axes.set_xscale("log")
    axes.set_xlabel("images chosen so far", color=INK)
    _legend(axes)
    return _svg(figure, "The score of what was chosen, round by round, and where the line fell")


def draw_plane(plane: Plane) -> str:
    """The points of a plane; those of a group stand in `<g id="points-GROUP">`, in their order."""
    figure, axes = _axes(9, 6.5)
    for group, label in GROUPS.items():
        points = plane.points[group]
        scatter = axes.scatter(points[:, 0], points[:, 1], s=9, color=COLOURS[group], label=label, linewidths=0)
        scatter.set_gid(f"points-{group}")
    axes.set_xticks([])
    axes.set_yticks([])
    _legend(axes)
    return _svg(figure, "Your images, the chosen ones and a sample of the pool in two dimensions")


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(LINE)
    axes.tick_params(colors=INK, which="both", labelsize=9)
    return figure, axes


def _legend(axes: Axes) -> None:
    # Above the drawing, where no line runs through it.
    axes.legend(
        frameon=False, labelcolor=INK, fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2
    )


def _svg(figure: Figure, label: str) -> str:
    from matplotlib import rc_context

    buffer = io.StringIO()
    # Text stays text; and the same numbers give the same names of clip paths.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "curator", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
