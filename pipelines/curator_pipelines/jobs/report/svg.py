"""What all charts share: axes, a legend, and SVG whose colours follow the reader's theme.

By matplotlib: a script for charts would take half of the page's 10 MB, and its pictures need the room.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["INK", "LINE", "SERIES", "add_legend", "as_svg", "new_axes", "stand_in"]

# The variables of the page's style sheet that a chart may use; those of series are for charts that compare.
SERIES = ("series-1", "series-2", "series-3", "series-4", "series-5", "series-6")
VARIABLES = ("ink", "line", "pool", "chosen", "target", *SERIES)


def stand_in(variable: str) -> str:
    """What stands in the SVG for a colour of the style sheet: matplotlib takes no names that it does not know."""
    number = VARIABLES.index(variable) + 1
    return f"#{number:02x}{number:02x}{number:02x}"


INK, LINE = stand_in("ink"), stand_in("line")


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches, without a background, and its axes."""
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


def add_legend(axes: Axes) -> None:
    """Name what is drawn, above the drawing, where no line runs through it."""
    axes.legend(
        frameon=False, labelcolor=INK, fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2
    )


def as_svg(figure: Figure, label: str) -> str:
    """The figure as an SVG element; `label` says what it shows to those who cannot see it."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    # Text stays text; and the same numbers give the same names of clip paths.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "curator", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for variable in VARIABLES:
        text = text.replace(stand_in(variable), f"var(--{variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
