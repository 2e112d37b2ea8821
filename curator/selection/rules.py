"""What limits a selection, whichever selector makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from curator.errors import InputError
from curator.selection.filters import Filter

__all__ = ["Rules", "no_filter"]


def no_filter() -> Filter | None:
    """Refuses nothing."""
    return None


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of a selection. A value: several selections may go by the same rules.

    Attributes:
        budget: rows to choose, at least 1; None for no limit.
        stop: end before a round whose mean score is below this share of the reference mean, above 0 and at most 1;
            None for no rule. With neither limit SimCore puts the whole pool in order.
        reference_round: the round, from 1, whose mean is the reference: 1 as in the paper, 20 in its authors' code.
            Rounds up to it are never refused.
        new_filter: makes the filter of one selection, which is asked about each row at the moment it would be chosen;
            it returns None where nothing is skipped. Each selection makes its own, since a filter may remember.
        k: rows per centroid that the first pass keeps; changes time and memory, never the result. None for a guess by
            the budget.

    Raises:
        InputError: a value is out of its range.
    """

    budget: int | None = None
    stop: float | None = None
    reference_round: int = 1
    new_filter: Callable[[], Filter | None] = no_filter
    k: int | None = None
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.budget is not None and self.budget < 1:
            raise InputError("at least 1 row must be chosen", field="budget", value=self.budget)
        if self.stop is not None and not 0 < self.stop <= 1:
            raise InputError(
                "it is a share of the reference mean, above 0 and at most 1", field="stop", value=self.stop
            )
        if self.reference_round < 1:
            raise InputError("rounds are numbered from 1", field="reference_round", value=self.reference_round)
        if self.k is not None and self.k < 1:
            raise InputError("at least 1 row per centroid must be kept", field="k", value=self.k)

    def require_budget(self) -> int:
        """The budget, for a selector that does not end by itself.

        Raises:
            InputError: there is none.
        """
        if self.budget is None:
            raise InputError("this selector does not end by itself: it needs a number of rows", field="budget")
        return self.budget
