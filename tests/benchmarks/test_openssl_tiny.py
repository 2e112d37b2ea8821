"""The tables of the experiment on hard targets: bits of right answers, and differences with their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.openssl_tiny.experiment import _as_text
from benchmarks.openssl_tiny.tables import _difference, _right


@pytest.mark.parametrize("count", [1, 8, 13])
def test_right_answers_come_back_from_their_bits(count: int) -> None:
    right = np.arange(count) % 3 == 0
    line = {"tested": count, "correct": {"32": {"linear": _as_text(right)}}}
    assert np.array_equal(_right(line, "linear", 32), right)


def test_a_difference_is_of_the_seeds_that_both_have() -> None:
    none, all_right = np.zeros(50, bool), np.ones(50, bool)
    assert _difference({0: all_right, 1: all_right}, {1: none, 2: none}) == "+1.000 (+1.000 to +1.000)"
    assert _difference({0: all_right}, {1: none}) == ""


def test_what_differs_by_chance_has_an_interval_around_nothing() -> None:
    random = np.random.default_rng(0)
    one, other = ({seed: random.random(400) < 0.3 for seed in range(3)} for _ in range(2))
    low, high = (float(word.strip("()")) for word in _difference(one, other).split(" ", 1)[1].split(" to "))
    assert low < 0 < high
