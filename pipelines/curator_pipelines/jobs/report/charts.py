"""The charts of a page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator_pipelines.jobs.report.plane import GROUPS, Plane
from curator_pipelines.jobs.report.svg import INK, LINE, add_legend, as_svg, new_axes, stand_in
from curator_pipelines.jobs.report.target_record import TargetRecord

__all__ = ["draw_curve", "draw_plane", "score_curve"]

COLOURS = {group: stand_in(group) for group in GROUPS}
# A curve that spans so many times its first number of images reads better on a log axis.
WIDE = 50
# Points of a curve that can be told apart.
POINTS = 2000


def draw_curve(target: TargetRecord) -> str:
    """The mean of each round over the images chosen so far, with the threshold and the held-out quantiles.

    From a selector without rounds the score of each chosen image over its place; empty where there are no scores.
    """
    record = target.record
    x, y, name = score_curve(target)
    if not len(x):
        return ""
    beyond = [line for line in record["around_end"] if not line["taken"]]
    figure, axes = new_axes(9, 4.2)
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
    add_legend(axes)
    return as_svg(figure, "The score of what was chosen, round by round, and where the line fell")


def score_curve(target: TargetRecord, least_rounds: int = 1) -> tuple[NDArray[np.int64], NDArray[np.float64], str]:
    """The mean of each round over the images chosen so far; of fewer rounds the score of each image over its place.

    Args:
        target: the target.
        least_rounds: how many rounds make a curve.

    Returns:
        int64 (n,), images chosen so far; float64 (n,), the scores, none where there are none; and what they are.
    """
    rounds = target.rounds
    if rounds.num_rows >= least_rounds:
        return np.cumsum(rounds["chosen"].to_numpy()), rounds["mean_score"].to_numpy(), "mean score of the round"
    scores = target.selection.scores.astype(np.float64)
    places = np.flatnonzero(np.isfinite(scores))
    return places + 1, scores[places], "score"


def draw_plane(plane: Plane) -> str:
    """The points of a plane; those of a group stand in `<g id="points-GROUP">`, in their order."""
    figure, axes = new_axes(9, 6.5)
    for group, label in GROUPS.items():
        points = plane.points[group]
        scatter = axes.scatter(points[:, 0], points[:, 1], s=9, color=COLOURS[group], label=label, linewidths=0)
        scatter.set_gid(f"points-{group}")
    axes.set_xticks([])
    axes.set_yticks([])
    add_legend(axes)
    return as_svg(figure, "Your images, the chosen ones and a sample of the pool in two dimensions")
