import numpy as np

from curator.selection.filters import DENIED, Rejection, deny, first_rejection


def test_deny_takes_sets_and_arrays():
    for listed in ({3, 1 << 32}, np.array([3, 1 << 32])):
        row_filter = deny(listed, "deny.txt")
        place, rejection = row_filter(np.array([5, 1 << 32, 3]))
        assert (place, rejection[:2]) == (1, (DENIED, "deny.txt"))
        assert row_filter(np.array([4, 1 << 33])) is None
    assert deny([])(np.array([4])) is None


def test_the_objection_that_comes_first_in_order_of_choice_counts():
    asked = []

    def remember(rows, ahead):
        asked.append(rows.tolist())

    row_filter = first_rejection(deny([1], "a"), deny([2], "b"), deny([1, 2], "c"), remember)
    assert row_filter(np.array([5, 2, 1]))[1].because == "b"
    assert row_filter(np.array([6, 1, 2]))[1].because == "a"
    assert row_filter(np.array([7, 8])) is None
    # The last filter is told only of rows that are chosen.
    assert asked == [[5], [6], [7, 8]]
    assert first_rejection()(np.array([1])) is None
    assert Rejection(DENIED).match == -1
