"""Several passes over one pool, told as one progress."""

from __future__ import annotations

from collections.abc import Mapping

from curator.types import Progress

__all__ = ["PassProgress"]


class PassProgress:
    """A `Progress` for work that reads a pool more than once: its `rows` never exceed those of the pool.

    Args:
        progress: told of what is passed on; None for nobody.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._rows = 0

    @classmethod
    def of(cls, progress: Progress | None) -> PassProgress:
        """The progress itself if it counts passes already: several callers then take back each other's rows."""
        return progress if isinstance(progress, cls) else cls(progress)

    def begin(self) -> None:
        """A pass begins: the rows that the one before it told are taken back."""
        if self._progress and self._rows:
            self._progress({"rows": -self._rows})
        self._rows = 0

    def __call__(self, increments: Mapping[str, int]) -> None:
        """Pass increments on."""
        self._rows += increments.get("rows", 0)
        if self._progress:
            self._progress(increments)
