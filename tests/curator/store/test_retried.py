"""A part that is out of reach for a moment costs nothing; one that is so for good is named, and nothing left out."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from curator.errors import CuratorError
from curator.store import NamedParts, RowReader
from curator.store.retried import each_retried, list_retried
from curator.types import join_id


def failing(times: int, at: int = 1) -> tuple[Callable[[int], int], list[int]]:
    """Reads numbers, and fails at one of them the first so many times."""
    asked: list[int] = []

    def read(part: int) -> int:
        asked.append(part)
        if part == at and asked.count(at) <= times:
            raise OSError(errno.EIO, "a hiccup")
        return part * 10

    return read, asked


def test_one_after_the_other_it_comes_last() -> None:
    read, asked = failing(1)
    assert list(each_retried(range(4), read, "/run/pool")) == [(0, 0), (2, 20), (3, 30), (1, 10)]
    assert asked == [0, 1, 2, 3, 1]


def test_for_good_all_others_come_and_it_is_named() -> None:
    read, _ = failing(2)
    given = []
    with pytest.raises(CuratorError, match=r"^part 1 of /run/pool cannot be read: .*a hiccup") as caught:
        given.extend(each_retried(range(4), read, "/run/pool"))
    assert caught.value.exit_code == 1
    assert len(given) == 0 or [part for part, _ in given] == [0, 2, 3]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_list_keeps_its_order(threads: int) -> None:
    read, asked = failing(1)
    assert list_retried(range(4), read, lambda part: part, "/run/pool", threads) == [0, 10, 20, 30]
    assert asked[-1] == 1
    with pytest.raises(CuratorError, match=r"^part 1 of /run/pool cannot be read: .*a hiccup"):
        list_retried(range(4), failing(2)[0], lambda part: part, "/run/pool", threads)


def test_several_are_counted() -> None:
    def fail(part: int) -> int:
        raise PermissionError(errno.EACCES, "denied")

    with pytest.raises(CuratorError, match=r"^part 5 of /run/pool cannot be read, nor can 2 more: access denied"):
        list(each_retried([5, 7, 9], fail, "/run/pool"))


def test_rows_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {part: np.full((3, 2), part, np.float16) + np.arange(3, dtype=np.float16)[:, None] for part in range(3)}
    read, asked = failing(1)

    def vectors(self: Any, part: int) -> Any:
        read(part)
        return arrays[part]

    monkeypatch.setattr(NamedParts, "vectors", vectors)
    reader = RowReader(NamedParts("/run/pool", dict.fromkeys(range(3), "x")))
    ids = np.array([join_id(2, 1), join_id(1, 2), join_id(0, 0), join_id(1, 0)])
    assert reader.vectors(ids)[:, 0].tolist() == [3, 3, 0, 1]
    assert asked == [0, 1, 2, 1]
