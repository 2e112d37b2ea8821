"""Rows that are skipped instead of chosen, and because of what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AHEAD_ROWS",
    "DENIED",
    "FILTERED_ROWS",
    "Ahead",
    "Filter",
    "Rejection",
    "deny",
    "first_rejection",
    "nothing_ahead",
]

DENIED = "denied"
NO_MATCH = -1
# Rows that a filter is asked about at once.
FILTERED_ROWS = 256
# Rows that those who choose look ahead.
AHEAD_ROWS = 1024


class Rejection(NamedTuple):
    """Why a row must not be chosen.

    Attributes:
        reason: one word for one kind, such as `denied`; counted in reports.
        because: what in particular, such as the name of a list; may be empty.
        match: id of the row that stands in the way, in whatever set the reason speaks of; -1 for none.
        similarity: to that row; NaN for none.
    """

    reason: str
    because: str = ""
    match: int = NO_MATCH
    similarity: float = math.nan


# Rows that may be asked about before long, likely ones first, int64 (m,); empty where nobody knows.
Ahead: TypeAlias = Callable[[], NDArray[np.int64]]


def nothing_ahead() -> NDArray[np.int64]:
    """No row is known to be asked about."""
    return np.empty(0, np.int64)


class Filter(Protocol):
    """Says which rows must be skipped."""

    def __call__(self, rows: NDArray[np.int64], ahead: Ahead = nothing_ahead, /) -> tuple[int, Rejection] | None:
        """The place of the first row that must be skipped, and why; None if there is none.

        The rows before that place, or all, are chosen then, and a filter may remember that; it is asked again about the
        rows behind it. Only rows of the last round may in the end not be chosen.

        Args:
            rows: ids, int64 (n,), that would be chosen next, in order of choice, each once. A few hundred at a time, or
                all that there are.
            ahead: what may be asked next. Filters that read rows or compare them do so with many at once, which costs
                little more than with one; the answers do not depend on it.
        """
        ...


def deny(ids: Iterable[int], because: str = "") -> Filter:
    """A filter that refuses listed rows.

    Args:
        ids: their ids.
        because: where the list comes from.

    >>> row_filter = deny([7], because="opt-outs.txt")
    >>> row_filter(np.array([8, 9]))
    >>> row_filter(np.array([8, 7]))[0]
    1
    """
    listed = np.unique(np.fromiter(ids, np.int64))
    rejection = Rejection(DENIED, because)

    def row_filter(rows: NDArray[np.int64], ahead: Ahead = nothing_ahead, /) -> tuple[int, Rejection] | None:
        places = np.searchsorted(listed, rows)
        hits = np.flatnonzero(listed.take(places, mode="clip") == rows) if len(listed) else places[:0]
        return (int(hits[0]), rejection) if len(hits) else None

    return row_filter


def first_rejection(*filters: Filter) -> Filter:
    """A filter that asks others in turn and gives the rejection that comes first in order of choice.

    Of several rejections of one row the earlier filter's counts. A filter that remembers what was chosen belongs
    last: only then is every row that it accepts chosen.
    """

    def row_filter(rows: NDArray[np.int64], ahead: Ahead = nothing_ahead, /) -> tuple[int, Rejection] | None:
        first = None
        for ask in filters:
            refused = ask(rows, ahead)
            if refused is not None:
                first, rows = refused, rows[: refused[0]]
        return first

    return row_filter
