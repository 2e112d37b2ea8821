"""The two conversions give what numpy's give."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from curator.float16 import narrow, widen


def test_every_float16_is_widened_as_numpy_does_it() -> None:
    rows = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 64)
    expected = rows.astype(np.float32)

    wide = widen(rows)

    finite = np.isfinite(expected)
    assert wide[finite].view(np.int32).tolist() == expected[finite].view(np.int32).tolist()
    assert np.array_equal(wide, expected, equal_nan=True)


@pytest.mark.parametrize("dim", [1, 3, 100_000])
def test_widening_in_steps(dim: int) -> None:
    rows = np.random.default_rng(0).standard_normal((7, dim)).astype(np.float16)
    rows[5, dim // 2] = -np.inf
    assert np.array_equal(widen(rows), rows.astype(np.float32))
    assert np.array_equal(widen(rows[:0]), np.empty((0, dim), np.float32))
    assert widen(wide := rows.astype(np.float32)) is wide


def assert_narrowed(rows: NDArray[np.float32]) -> None:
    with np.errstate(over="ignore"):
        expected = rows.astype(np.float16)
    found = narrow(rows)
    known = ~np.isnan(rows)
    assert found.dtype == np.float16
    assert found.view(np.uint16)[known].tolist() == expected.view(np.uint16)[known].tolist()
    assert np.isnan(found[~known]).all()


def test_numbers_at_and_beside_every_border_of_float16_are_narrowed() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves = halves[np.isfinite(halves)]
    least = np.float32(2.0**-24)
    # Halfway to the neighbour, where the even one wins, and the float32 before and after it.
    between = halves + np.maximum(np.abs(halves) * np.float32(2.0**-11), least / 2)
    numbers = np.concatenate([halves, between, np.nextafter(between, np.inf), np.nextafter(between, -np.inf)])
    assert_narrowed(numbers.astype(np.float32)[:, None])


def test_numbers_without_a_float16_are_narrowed() -> None:
    assert_narrowed(
        np.array([[np.inf, -np.inf, np.nan, 1e38, -1e38, 65520, 65519.996, 1e-40, -1e-8, -0.0]], np.float32)
    )


@given(st.lists(st.floats(width=32), min_size=1, max_size=30))
def test_any_numbers_are_narrowed(numbers: list[float]) -> None:
    assert_narrowed(np.array([numbers], np.float32))


@pytest.mark.parametrize("dim", [1, 3, 100_000])
def test_narrowing_in_steps(dim: int) -> None:
    rows = (np.random.default_rng(0).standard_normal((7, dim)) * 1e-3).astype(np.float32)
    assert_narrowed(rows)
    assert_narrowed(rows[::2])
    assert narrow(rows[:0]).shape == (0, dim)
