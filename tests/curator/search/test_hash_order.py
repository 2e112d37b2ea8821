import numpy as np
import pytest
from hypothesis import given, strategies as st

from curator.search import first_in_hash_order, priorities
from curator.types import join_id

MASK = 2**64 - 1


def splitmix64(state):
    """Steele, Lea, Flood 2014, in Python integers."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def test_splitmix64_is_the_published_one():
    # The first output of the reference implementation (Vigna) for the state 1234567.
    assert splitmix64(1234567) == 6457827717110365317


@pytest.mark.parametrize("seed", [0, 7, -1, 2**70])
def test_priorities_equal_python_integers(seed):
    ids = [0, 1, 5 << 32 | 3, 2**62]
    expected = [splitmix64(splitmix64(seed & MASK) ^ number) for number in ids]
    assert priorities(np.array(ids), seed).tolist() == expected


LENGTHS = st.dictionaries(st.integers(0, 5), st.integers(0, 30), max_size=4)


@given(LENGTHS, st.integers(0, 50), st.integers(0, 3))
def test_a_sample_is_the_first_rows_in_hash_order(lengths, count, seed):
    ids = [join_id(part, row) for part, rows in lengths.items() for row in range(rows)]
    in_order = sorted(ids, key=lambda number: (splitmix64(splitmix64(seed) ^ number), number))
    assert first_in_hash_order(lengths, count, seed).tolist() == sorted(in_order[:count])
    backwards = dict(reversed(lengths.items()))
    assert first_in_hash_order(backwards, count, seed).tolist() == sorted(in_order[:count])
