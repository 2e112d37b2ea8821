"""Reading many parts of which one may be out of reach for a moment: it is tried again when all others were read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from curator.errors import CuratorError
from curator.io import public_name, public_text, reason_of

__all__ = ["each_retried", "list_retried"]

T = TypeVar("T")
R = TypeVar("R")


def each_retried(parts: Iterable[int], read: Callable[[int], R], url: str) -> Iterator[tuple[int, R]]:
    """What is read of each part, one at a time; those that could not be read at first come last.

    Args:
        parts: their numbers.
        read: reads one.
        url: of the store, for messages.

    Raises:
        CuratorError: some cannot be read the second time either. All others were yielded before.
    """
    failed = []
    for part in parts:
        try:
            value = read(part)
        except OSError:
            failed.append(part)
        else:
            yield part, value
    problems: list[tuple[int, OSError]] = []
    for part in failed:
        try:
            value = read(part)
        except OSError as error:
            problems.append((part, error))
        else:
            yield part, value
    if problems:
        part, first = problems[0]
        raise cannot_read(url, part, first, len(problems) - 1) from first


def list_retried(
    items: Sequence[T], read: Callable[[T], R], part_of: Callable[[T], int], url: str, threads: int = 1
) -> list[R]:
    """What is read for each item, in their order; those that could not be read at first are read last.

    Args:
        items: what to read.
        read: reads for one.
        part_of: of which part an item is.
        url: of the store, for messages.
        threads: how many are read side by side.

    Raises:
        CuratorError: one cannot be read the second time either.
    """

    def attempt(item: T) -> tuple[list[R], OSError | None]:
        try:
            return [read(item)], None
        except OSError as error:
            return [], error

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(attempt, items))
    again = [place for place, (_, error) in enumerate(results) if error is not None]
    for place in again:
        results[place] = attempt(items[place])
    errors = [(part_of(items[place]), error) for place in again if (error := results[place][1]) is not None]
    if errors:
        part, error = errors[0]
        raise cannot_read(url, part, error, len({number for number, _ in errors}) - 1) from error
    return [value for values, _ in results for value in values]


def cannot_read(url: str, part: int, error: OSError, others: int) -> CuratorError:
    """The error of parts that could not be read, and so nothing is made without them."""
    more = f", nor can {others:,} more" if others else ""
    return CuratorError(
        f"part {part} of {public_name(url)} cannot be read{more}: {public_text(reason_of(error))}",
        advice="make it readable and run again: nothing is left out",
    )
