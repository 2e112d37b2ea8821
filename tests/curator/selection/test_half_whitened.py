"""The half-whitened space: what it is, its exact coordinates, and how far off the proposed ones may be."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from curator.float16 import widen
from curator.search import exact_pairs, margin, row_norms
from curator.selection.half_whitened import HalfWhitened


def slow_place(space, row):
    """By the definition: sums in index order, multiples of 2^-24."""
    square = 0.0
    for x in row:
        square += float(x) * float(x)
    along = []
    for direction, deviation in zip(space.directions, space.deviations, strict=True):
        total = 0.0
        for x, mean, axis in zip(row, space.mean, direction, strict=True):
            total += (float(x) / math.sqrt(square) - float(mean)) * float(axis)
        along.append(total / math.sqrt(float(deviation)))
    square = 0.0
    for x in along:
        square += x * x
    return [round(x / math.sqrt(square) * 2**24) / 2**24 for x in along]


def sample(rows=300, dim=6, seed=0, scale=None, dtype=np.float16):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, dim)) * (np.ones(dim) if scale is None else scale) + 0.4).astype(dtype)


def unit(rows):
    wide = rows.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def test_it_is_the_pca_of_the_unit_rows():
    rows = sample()
    space = HalfWhitened.fit(rows)
    np.testing.assert_allclose(space.mean, unit(rows).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(space.directions @ space.directions.T, np.eye(6), atol=1e-6)
    along = (unit(rows) - space.mean) @ space.directions.T.astype(np.float64)
    np.testing.assert_allclose(along.std(axis=0), space.deviations, atol=1e-5)
    assert (np.diff(space.deviations) <= 0).all()
    largest = np.abs(space.directions).argmax(axis=1)
    assert (space.directions[np.arange(6), largest] > 0).all()


def test_coordinates_are_divided_by_the_root_of_the_deviation():
    rows = sample(5000, 3, scale=np.array([4, 1, 0.25]), dtype=np.float32)
    space = HalfWhitened.fit(rows)
    along = (unit(rows) - space.mean) @ space.directions.T.astype(np.float64) / np.sqrt(space.deviations)
    np.testing.assert_allclose(space.place(rows), along / np.linalg.norm(along, axis=1, keepdims=True), atol=1e-6)


def test_at_most_256_directions_and_none_of_rounding():
    assert HalfWhitened.fit(sample(600, 300)).directions.shape == (256, 300)
    flat = sample(100, 5, dtype=np.float32)
    flat[:, 3:] = 0
    assert len(HalfWhitened.fit(flat).directions) == 3
    assert len(HalfWhitened.fit(sample(3, 8)).directions) == 2


@pytest.mark.parametrize(
    "rows", [np.ones((9, 4), np.float16), np.ones((1, 4), np.float16), np.zeros((5, 4), np.float16)]
)
def test_rows_that_do_not_vary_have_no_directions(rows):
    space = HalfWhitened.fit(rows)
    assert space.directions.shape == (0, 4)
    assert space.place(rows).shape == (len(rows), 0)
    assert HalfWhitened.from_array(space.to_array()).directions.shape == (0, 4)


def test_rows_of_zero_length_are_left_out_of_the_fit():
    rows = sample()
    with_zeros = np.vstack([rows, np.zeros((50, 6), np.float16)])
    np.testing.assert_allclose(HalfWhitened.fit(with_zeros).mean, HalfWhitened.fit(rows).mean, atol=1e-7)
    assert (HalfWhitened.fit(rows).place(with_zeros)[-50:] == 0).all()


def test_stored_and_read_it_is_the_same():
    space = HalfWhitened.fit(sample(3, 8))
    stored = space.to_array()
    assert (stored.dtype, stored.shape) == (np.float32, (4, 8))
    again = HalfWhitened.from_array(stored)
    for name in ("mean", "directions", "deviations"):
        assert np.array_equal(getattr(again, name), getattr(space, name))


@pytest.mark.parametrize("dim", [2, 40, 300])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_fast_way_gives_the_bits_of_the_definition(dim, dtype):
    rows = sample(40, dim, dtype=dtype)
    space = HalfWhitened.fit(rows)
    assert space.place(rows).tolist() == [slow_place(space, row) for row in rows]
    assert space.place(rows[5:6]).tolist() == space.place(rows)[5:6].tolist()


@st.composite
def spaces_and_rows(draw):
    """Spaces with deviations of any ratio, and rows at the mean, near it, far away, short and long."""
    seed, dim = draw(st.integers(0, 10**6)), draw(st.sampled_from([1, 2, 7, 130, 400]))
    steep = draw(st.sampled_from([0.0, 1.0, 3.0, 6.0]))
    scale = 10.0 ** -np.linspace(0, steep, dim)
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal(dim) * draw(st.sampled_from([0.0, 1.0, 100.0]))
    rows = rng.standard_normal((dim + 20, dim)) * scale + centre
    space = HalfWhitened.fit(rows.astype(np.float32))
    near = space.mean + rng.standard_normal((10, dim)) * scale * 10.0 ** -draw(st.integers(0, 8))
    rows = np.vstack([rows, near, space.mean[None], -rows[:5], np.zeros((1, dim))])
    return space, (rows * draw(st.sampled_from([1.0, 1e-3, 1e20, 1e-20]))).astype(np.float32)


@given(spaces_and_rows())
@settings(max_examples=150, deadline=None)
def test_proposed_similarities_are_within_their_error(drawn):
    space, rows = drawn
    if not len(space.directions):
        return
    wide = widen(rows)
    proposed, errors = space.propose(wide, row_norms(wide))
    placed = space.place(rows)
    others = np.vstack([placed[::3], np.eye(placed.shape[1], dtype=np.float32)[:5]])
    row_of, other_of = (grid.ravel() for grid in np.indices((len(rows), len(others))))
    exact = exact_pairs(placed, row_norms(placed), others, row_of, other_of).reshape(len(rows), -1)
    off = np.abs(exact - (proposed @ others.T))
    assert (off <= errors[:, None] + margin(others)).all()


def test_errors_are_small_where_rows_are_no_worse_than_usual():
    rows = sample(2000, 256)
    space = HalfWhitened.fit(rows)
    assert space.propose(widen(rows), row_norms(rows))[1].max() < 5e-4
