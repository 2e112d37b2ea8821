"""An iterator in a thread of its own, a few items ahead."""

import threading
from collections.abc import Iterator

import pytest

from curator.io import run_ahead


def test_items_come_in_order() -> None:
    assert list(run_ahead(iter(range(50)), 3)) == list(range(50))
    assert list(run_ahead(iter(()), 1)) == []


def test_it_stays_so_many_items_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    ahead = []
    for number in run_ahead(items(), 2):
        ahead.append(len(made) - number - 1)
    # Two wait, and the next one is made already.
    assert max(ahead) <= 3


def test_its_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("disk full")

    found = run_ahead(items(), 4)
    assert next(found) == 1
    with pytest.raises(OSError, match="disk full"):
        next(found)


def test_closing_it_ends_its_thread() -> None:
    found = run_ahead(iter(range(10**9)), 2)
    assert next(found) == 0
    found.close()
    assert "run-ahead" not in [thread.name for thread in threading.enumerate()]
