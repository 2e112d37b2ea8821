"""Which samples of two selections are the same, against the slow and obvious way to find out."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from curator_pipelines.jobs.compare.match import Match, Samples, match_all
from curator_pipelines.jobs.compare.overlap import overlap_of, shared_at

# (shard, key, sha256)
Rows = list[tuple[str, str, str | None]]
Versions = dict[str, tuple[int, str]]


def samples(rows: Rows, versions: Versions | None = None, asked: list[int] | None = None) -> Samples:
    def hashes(places: np.ndarray) -> pa.Array:
        if asked is not None:
            asked.extend(places.tolist())
        return pa.array([rows[place][2] for place in places.tolist()], pa.string())

    shard, key = (pa.chunked_array([pa.array([row[n] for row in rows], pa.string())]) for n in (0, 1))
    return Samples(shard, key, versions or {}, hashes)


def pairs_by(name: Any, first: dict[int, Any], second: dict[int, Any]) -> dict[int, int]:
    """Place in the first -> place in the second, the k-th of a name with the k-th; both are place -> sample."""
    places = defaultdict(list)
    for place, row in second.items():
        places[name(row)].append(place)
    pairs = {}
    for place, row in first.items():
        if name(row) is not None and places[name(row)]:
            pairs[place] = places[name(row)].pop(0)
    return pairs


def twin(first: Rows, second: Rows, old: Versions, new: Versions) -> tuple[dict[int, int], int, int, int]:
    """Pairs of places; how many by name; how many have one name and other bytes; how many by bytes."""
    pairs = pairs_by(lambda row: row[:2], dict(enumerate(first)), dict(enumerate(second)))
    renamed = 0
    for one, other in list(pairs.items()):
        shard, digests = first[one][0], {first[one][2], second[other][2]}
        was_replaced = shard in old and shard in new and old[shard] != new[shard]
        if was_replaced and len(digests) == 2 and None not in digests:
            del pairs[one]
            renamed += 1
    by_name = len(pairs)
    taken = set(pairs.values())
    rest = {place: row for place, row in enumerate(first) if place not in pairs}
    others = {place: row for place, row in enumerate(second) if place not in taken}
    by_bytes = pairs_by(lambda row: row[2], rest, others)
    return pairs | by_bytes, by_name, renamed, len(by_bytes)


ROW = st.tuples(st.sampled_from("st"), st.sampled_from("abcd"), st.sampled_from(["1", "2", "3", "4", None]))
ROWS = st.lists(ROW, max_size=12)
STATES = st.fixed_dictionaries({"s": st.tuples(st.just(9), st.sampled_from("xy"))})


def as_pairs(match: Match) -> dict[int, int]:
    return {place: other for place, other in enumerate(match.places.tolist()) if other >= 0}


@given(first=ROWS, second=ROWS, old=STATES, new=STATES)
def test_two_selections_match_as_the_slow_twin_says(first: Rows, second: Rows, old: Versions, new: Versions) -> None:
    (match,) = match_all([samples(first, old), samples(second, new)])
    pairs, by_name, renamed, by_bytes = twin(first, second, old, new)
    assert as_pairs(match) == pairs
    assert (match.by_name, match.renamed, match.by_bytes) == (by_name, renamed, by_bytes)
    open_rows = [row for place, row in enumerate(first) if place not in pairs]
    open_others = [row for place, row in enumerate(second) if place not in pairs.values()]
    # Those with a match by bytes have a hash.
    assert match.unknown == tuple(sum(row[2] is None for row in rows) for rows in (open_rows, open_others))
    assert match.seen_from(0, len(first)).tolist() == [place in pairs for place in range(len(first))]
    assert match.seen_from(1, len(second)).tolist() == [place in pairs.values() for place in range(len(second))]


@given(sides=st.lists(ROWS, min_size=3, max_size=4))
def test_every_two_of_several_match_as_they_do_alone(sides: list[Rows]) -> None:
    matches = match_all([samples(rows) for rows in sides])
    assert [(match.first, match.second) for match in matches] == list(combinations(range(len(sides)), 2))
    for match in matches:
        (alone,) = match_all([samples(sides[match.first]), samples(sides[match.second])])
        assert match.places.tolist() == alone.places.tolist()
        assert (match.by_name, match.by_bytes, match.unknown) == (alone.by_name, alone.by_bytes, alone.unknown)


@given(first=ROWS, second=ROWS)
def test_the_two_may_change_places(first: Rows, second: Rows) -> None:
    (match,) = match_all([samples(first), samples(second)])
    (turned,) = match_all([samples(second), samples(first)])
    assert {other: place for place, other in as_pairs(match).items()} == as_pairs(turned)


@given(first=ROWS, second=ROWS)
def test_what_is_shared_by_rank_is_what_sets_say(first: Rows, second: Rows) -> None:
    (match,) = match_all([samples(first), samples(second)])
    ranks = list(range(15))
    shared = shared_at(match, np.array(ranks)).tolist()
    pairs = as_pairs(match)
    assert shared == [sum(place < rank and other < rank for place, other in pairs.items()) for rank in ranks]


@given(first=ROWS, second=ROWS)
def test_names_that_occur_once_overlap_as_sets_do(first: Rows, second: Rows) -> None:
    one, other = (list({row[:2]: (*row[:2], None) for row in rows}.values()) for rows in (first, second))
    (match,) = match_all([samples(one), samples(other)])
    overlap = overlap_of(match, ("A", "B"), (len(one), len(other)), (0, 0))
    for depth in overlap.by_rank:
        a, b = set(one[: depth.depth]), set(other[: depth.depth])
        assert depth.both == len(a & b)
        assert depth.jaccard == pytest.approx(len(a & b) / max(len(a | b), 1))
        assert depth.share == pytest.approx(len(a & b) / max(min(len(a), len(b)), 1))
    assert (overlap.only_first, overlap.only_second) == (len(set(one) - set(other)), len(set(other) - set(one)))


def test_by_name_then_by_bytes() -> None:
    first: Rows = [("s3://a/1.tar", "x", "h1"), ("s3://a/1.tar", "y", "h2"), ("s3://a/2.tar", "x", "h3")]
    second: Rows = [("/data/1.tar", "y", "h2"), ("s3://a/1.tar", "x", "h1"), ("/data/2.tar", "q", None)]
    (match,) = match_all([samples(first), samples(second)])
    assert match.places.tolist() == [1, 0, -1]
    assert (match.by_name, match.by_bytes, match.unknown) == (1, 1, (0, 1))


def test_copies_are_matched_once_each() -> None:
    first: Rows = [("s", "a", "h"), ("s", "b", "h"), ("s", "c", "h")]
    second: Rows = [("t", "a", "h"), ("t", "b", "h")]
    (match,) = match_all([samples(first), samples(second)])
    assert match.places.tolist() == [0, 1, -1] and match.by_bytes == 2


def test_a_replaced_shard_is_looked_into_and_no_other() -> None:
    rows: Rows = [("s", "a", "1"), ("t", "b", "2")]
    changed: Rows = [("s", "a", "9"), ("t", "b", "2")]
    asked: list[int] = []
    old, new = {"s": (5, "x"), "t": (5, "x")}, {"s": (5, "y"), "t": (5, "x")}
    (match,) = match_all([samples(rows, old, asked), samples(changed, new)])
    assert match.places.tolist() == [-1, 1] and match.renamed == 1
    assert asked == [0]
    # The same bytes in a shard that was only copied are the same.
    (match,) = match_all([samples(rows, old), samples(rows, new)])
    assert match.places.tolist() == [0, 1] and match.renamed == 0


def test_nothing_is_asked_of_samples_that_match_by_name() -> None:
    asked: list[int] = []
    rows: Rows = [("s", "a", "1"), ("s", "b", "2")]
    match_all([samples(rows, asked=asked), samples(rows, asked=asked)])
    assert asked == []
    match_all([samples(rows, asked=asked), samples(rows[:1], asked=asked)])
    assert asked == [1]


def test_a_million_samples_a_side() -> None:
    count = 1_000_000
    rng = np.random.default_rng(0)
    numbers = np.arange(count)
    shards = pa.array([f"s3://bucket/{number:05d}.tar" for number in range(100)]).take(pa.array(numbers % 100))
    keys = pa.array(numbers).cast(pa.string())
    order = rng.permutation(count)
    other = Samples(
        pa.chunked_array([shards.take(pa.array(order))]),
        pa.chunked_array([keys.take(pa.array(order))]),
        {},
        lambda places: pa.nulls(len(places), pa.string()),
    )
    first = Samples(pa.chunked_array([shards]), pa.chunked_array([keys]), {}, other.hashes)
    (match,) = match_all([first, other])
    assert match.by_name == count and np.array_equal(order[match.places], numbers)
