"""To whom a training run says how it goes."""

from __future__ import annotations

from typing import Protocol

__all__ = ["SilentReporter", "TrainReporter"]


class TrainReporter(Protocol):
    """Is told by the first rank how the run goes."""

    def say(self, text: str) -> None:
        """One line."""

    def warn(self, text: str) -> None:
        """A warning."""

    def report_step(self, step: int, steps: int, loss: float) -> None:
        """`step` steps of `steps` are done."""


class SilentReporter:
    """Says nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""

    def report_step(self, step: int, steps: int, loss: float) -> None:
        """Nothing."""
