import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from curator.search.scoring import exact_scores
from curator.selection import (
    LOOKS_OWN,
    OWN_IMAGE,
    OwnImages,
    Rejection,
    Rules,
    select_knn,
    select_random,
    select_simcore,
    target_copies,
)


def turned(row, similarity):
    """A unit row at this similarity to a row of three dimensions."""
    other = np.cross(row, [0.3, -0.5, 0.8])
    return similarity * row + np.sqrt(1 - similarity**2) * other / np.linalg.norm(other)


def own_images(pool, target, hashes, target_hashes, asked=None):
    rows = pool.rows()

    def read_hashes(ids):
        if asked is not None:
            asked.extend(ids.tolist())
        return [hashes[number] for number in ids.tolist()]

    return OwnImages(
        target,
        np.arange(len(target)) + (7 << 32),
        lambda ids: [target_hashes[number - (7 << 32)] for number in ids.tolist()],
        lambda ids: np.array([rows[number] for number in ids.tolist()], np.float32).reshape(len(ids), -1),
        read_hashes,
    )


def slow(twin, pool, target, hashes, target_hashes):
    """The rule in plain words, for one row at a time."""

    def rejection(number):
        row = pool.rows()[number]
        found = []
        for place, other in enumerate(target):
            unit = (other.astype(np.float64) / np.linalg.norm(other.astype(np.float64))).astype(np.float32)
            similarity = exact_scores(row[None], unit[None])[0]
            mine, yours = hashes[number], target_hashes[place]
            if mine and mine == yours and similarity >= np.float32(0.999):
                found.append((0, -similarity, place, OWN_IMAGE))
            elif not (mine and yours) and similarity >= np.float32(0.9999):
                found.append((1, -similarity, place, LOOKS_OWN))
        if not found:
            return None
        _, similarity, place, reason = min(found)
        return Rejection(reason, "", place + (7 << 32), float(-similarity))

    return twin.one_by_one(rejection)


@settings(max_examples=60)
@given(data=st.data())
def test_every_selector_skips_what_the_slow_rule_skips(twin, data):
    axes = twin.unit_rows(np.eye(3) + 0.1)
    similar = st.tuples(st.integers(0, 2), st.sampled_from([1.0, 0.99995, 0.9995, 0.99, 0.3]))
    drawn = data.draw(st.lists(similar, min_size=1, max_size=12))
    rows = np.array([turned(axes[axis].astype(np.float64), near) for axis, near in drawn], np.float32)
    pool = twin.ArrayPool(twin.split(rows, data.draw(st.lists(st.integers(0, len(rows)), max_size=2))))
    target = axes[data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))]
    some_hash = st.sampled_from(["a", "b", None])
    hashes = {number: data.draw(some_hash) for number in pool.rows()}
    target_hashes = [data.draw(some_hash) for _ in target]
    budget = data.draw(st.integers(1, 12))
    rule = slow(twin, pool, target, hashes, target_hashes)
    own = own_images(pool, target, hashes, target_hashes)
    rules = Rules(budget=budget, new_filter=own.filter, k=data.draw(st.integers(1, 5)))

    twin.assert_same(select_simcore(pool, target, rules), twin.simcore(pool, target, budget=budget, row_filter=rule))
    for selection in (select_knn(pool, target, rules), select_random(pool, rules, seed=0)):
        assert all(rule(np.array([number])) is None for number in selection.ids)
        assert all(rule(np.array([number])) is not None for number in selection.skipped.ids)
        assert len(selection) + len(selection.skipped) <= selection.candidates


def test_hashes_are_looked_up_only_for_what_is_very_near(twin):
    axis = np.array([1.0, 0.0, 0.0])
    near = [1.0, 0.9995, 0.998, 0.5]
    pool = twin.ArrayPool([np.array([turned(axis, similarity) for similarity in near], np.float32)])
    asked = []
    # The second has other bytes, the third the same ones, but is too far to be looked at.
    hashes = {0: "a", 1: "b", 2: "a", 3: "a"}
    own = own_images(pool, axis[None].astype(np.float32), hashes, ["a"], asked)

    reasons = [rejection and rejection.reason for rejection in own.find(np.arange(4))]

    assert reasons == [OWN_IMAGE, None, None, None]
    assert sorted(set(asked)) == [0, 1]


@pytest.mark.parametrize(
    ("hashes", "copies"),
    [
        (["a", "b", "a", "b", "a"], [(2, 0), (3, 1), (4, 0)]),
        # Without hashes, and with those of other encodings, what looks the same is a copy.
        ([None] * 5, [(2, 0), (4, 0)]),
        (["a", "b", "c", "d", "e"], [(2, 0), (4, 0)]),
    ],
)
def test_copies_in_the_target(hashes, copies):
    axis = np.array([1.0, 0.0, 0.0])
    rows = np.array([turned(axis, similarity) for similarity in (1, 0.5, 0.99995, 0.3, 1)], np.float32)

    assert target_copies(rows, hashes) == copies
