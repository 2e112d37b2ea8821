from __future__ import annotations

import pytest

from curator.errors import Reason, TooManyBad
from curator.store.max_bad import check_max_bad
from curator.types import LedgerLine


def is_refused(bad: int, seen: int, max_bad: float | None) -> bool:
    try:
        check_max_bad(bad, seen, max_bad, "pool", [])
    except TooManyBad:
        return True
    return False


@pytest.mark.parametrize(
    ("seen", "most"),
    [(0, 0), (1, 0), (3, 1), (12, 4), (29, 9), (30, 10), (144, 10), (1000, 10), (1100, 11), (100_000, 1000)],
)
def test_without_a_share_it_is_one_percent_but_ten_and_at_most_a_third(seen: int, most: int) -> None:
    assert not is_refused(most, seen, None)
    assert most == seen or is_refused(most + 1, seen, None)


@pytest.mark.parametrize(("seen", "share", "most"), [(144, 0.01, 1), (10, 0.0, 0), (10, 0.9, 9), (10, 1.0, 10)])
def test_a_share_is_exact(seen: int, share: float, most: int) -> None:
    assert not is_refused(most, seen, share)
    assert most == seen or is_refused(most + 1, seen, share)


def test_the_first_five_are_told() -> None:
    small = LedgerLine("a.tar", "small", 0, "decode", Reason.TOO_SMALL, "8 px")
    lines = [LedgerLine("a.tar", f"k{n}", 512 * n, "decode", Reason.DECODE_ERROR, "no\nimage") for n in range(7)]
    shard = LedgerLine("b.tar", "", 0, "read", Reason.UNREADABLE_SHARD, "x" * 500)
    with pytest.raises(TooManyBad) as caught:
        check_max_bad(8, 12, None, "target", [small, shard, *lines])
    message = str(caught.value)
    assert message.startswith(
        "8 of 12 samples of the target are bad (66.67%), more than 4 (a third of them); the first: "
    )
    assert f"b.tar (unreadable_shard, {'x' * 250}...); k0, k1, k2, k3 in a.tar (decode_error, no image)" in message
    assert "k4" not in message
    assert "small" not in message


def test_what_to_do_about_many_alike_is_not_cut_off() -> None:
    detail = f"its members do not stand {'side by side, ' * 12}: pack it again, as with tar --sort=name"
    lines = [LedgerLine("a.tar", f"k{n}", 512 * n, "read", Reason.DUPLICATE_KEY, detail) for n in range(9)]
    with pytest.raises(TooManyBad) as caught:
        check_max_bad(9, 18, None, "pool", lines)
    assert f"the first: k0, k1, k2, k3, k4 in a.tar (duplicate_key, {detail}): see" in f"{caught.value}: see"


@pytest.mark.parametrize(
    ("bad", "seen", "limit"),
    [(11, 144, "more than 10 (as many as"), (20, 1500, "more than 15 (1% of them)"), (12, 12, "4 (a third")],
)
def test_the_limit_is_told(bad: int, seen: int, limit: str) -> None:
    with pytest.raises(TooManyBad) as caught:
        check_max_bad(bad, seen, None, "target", [])
    assert limit in str(caught.value)
