"""Whether embeddings have collapsed: all images look alike to the network."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["COLLAPSED", "CollapseDetector"]

# Below this spread of normalised embeddings (1 is uniform) a run is said to have collapsed.
COLLAPSED = 0.05


class CollapseDetector:
    """Warns once when embeddings have collapsed.

    That is, when their spread was small at each step of a quarter of the run, or of 200 steps: random networks begin
    with a small spread, and take a while to leave it.

    Args:
        warn: is called with the warning.
        steps: the steps of the whole run.
    """

    def __init__(self, warn: Callable[[str], None], steps: int) -> None:
        self._warn = warn
        self._patience = max(20, min(200, steps // 4))
        self._small = 0

    def check(self, step: int, spread: float) -> None:
        """Take in the spread of the next step."""
        self._small = self._small + 1 if spread < COLLAPSED else 0
        if self._small == self._patience:
            self._warn(
                f"step {step}: the embeddings have collapsed (spread {spread:.3f} and as small for {self._patience} "
                "steps, 1 is uniform): all images look alike to this encoder; a lower learning rate or a larger batch "
                "may help"
            )
