import itertools
import math

import numpy as np
import pytest
from sklearn.cluster import KMeans

import curator
from curator.selection import Rules, find_centroids, hold_out, select_knn, select_simcore

RNG = np.random.default_rng(5)
TARGET = RNG.normal(size=(30, 8)).astype(np.float32)
POOL = RNG.normal(size=(200, 8)).astype(np.float32)


def test_it_is_the_selection_of_the_parts() -> None:
    ours = curator.select_rows(TARGET, POOL, clusters=4, budget="10%", seed=1)
    theirs = select_simcore(curator.MemoryPool(POOL), find_centroids(TARGET, 4, 1), Rules(20))

    assert ours.ids.tolist() == theirs.ids.tolist()
    assert ours.scores.tobytes() == theirs.scores.tobytes()
    assert repr(ours) == f"<Selection: 20 of 200 candidates, rounds: {ours.rounds.max()}, ended by: budget>"


def test_without_a_budget_it_stops_by_itself() -> None:
    target = np.concatenate([np.eye(4)[row] + 0.1 * RNG.normal(size=(8, 4)) for row in range(2)]).astype(np.float32)
    pool = RNG.normal(size=(200, 4))
    selection = curator.select_rows(target, pool)
    assert selection.stop_reason == "stop_rule"
    assert selection.anchor_rows is not None
    assert len(selection.anchor_rows) == 16
    tau = hold_out(target, None, 0).tau
    assert tau in [told.stop for told in selection.thresholds]
    assert curator.select_rows(target, pool, stop=tau, clusters="auto").ids.tolist() == selection.ids.tolist()


def test_rows_that_cannot_tell_where_to_stop_are_refused() -> None:
    with pytest.raises(curator.InputError, match="stop='auto': the target has 1 group of images that differ: 3 are"):
        curator.select_rows(np.ones((5, 8)), POOL)


def by_the_paper(target: np.ndarray, pool: np.ndarray, reference_round: int) -> list[int]:
    """The paper's algorithm on the dense matrix: 100 k-means centroids, rounds, stop below 0.95 of a round's mean."""
    unit = target.astype(np.float64) / np.linalg.norm(target.astype(np.float64), axis=1, keepdims=True)
    means = KMeans(100, n_init=10, algorithm="lloyd", random_state=0).fit(unit).cluster_centers_
    centroids = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    rows = pool.astype(np.float64)
    scores = (rows @ centroids.T / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    free, chosen, reference = np.ones(len(rows), bool), [], math.nan
    for number in itertools.count(1):
        left = np.flatnonzero(free)
        best = left[scores[left].argmax(axis=0)]
        top = scores[best, np.arange(100)]
        mean = float(top.astype(np.float64).mean())
        reference = mean if number == reference_round else reference
        if mean < 0.95 * reference:
            return chosen
        order = sorted(range(100), key=lambda k: (-top[k], best[k]))
        chosen += dict.fromkeys(int(best[k]) for k in order)
        free[best] = False


@pytest.mark.parametrize(("preset", "reference_round"), [("paper", 1), ("authors", 20)])
def test_the_presets_are_the_papers_algorithm(preset: str, reference_round: int) -> None:
    rng = np.random.default_rng(11)
    target = rng.normal(size=(250, 6)).astype(np.float32)
    pool = rng.normal(size=(4000, 6)).astype(np.float32)
    selection = curator.select_rows(target, pool, preset=preset)
    assert selection.ids.tolist() == by_the_paper(target, pool, reference_round)
    assert selection.stop_reason == "stop_rule"
    assert len(selection.ids) > 100


def test_other_selectors() -> None:
    knn = curator.select_rows(TARGET, POOL, budget=7, selector="knn")
    assert knn.ids.tolist() == select_knn(curator.MemoryPool(POOL), TARGET, Rules(7)).ids.tolist()
    random = curator.select_rows(TARGET, POOL, budget=7, selector="random", seed=2)
    assert len(set(random.ids.tolist())) == 7
    # What a selector does not know is null.
    assert random.table().select(["shard", "key", "score", "centroid", "round"]).drop_null().num_rows == 0


def test_keys_name_the_rows() -> None:
    keys = [f"image {number}" for number in range(len(POOL))]
    for selection in (
        curator.select_rows(TARGET, POOL, budget=5, keys=keys),
        curator.select_rows(TARGET, curator.MemoryPool(POOL, keys), budget=5),
    ):
        assert selection.table()["key"].to_pylist() == [f"image {row}" for row in selection.ids]


def test_doubles_and_lists_are_taken_as_floats() -> None:
    expected = curator.select_rows(TARGET, POOL, budget=5).ids.tolist()
    assert curator.select_rows(TARGET.astype(np.float64), POOL.tolist(), budget=5).ids.tolist() == expected


def test_a_warning_is_pythons_and_on_the_result() -> None:
    with pytest.warns(curator.CuratorWarning, match="ran out before the budget of 300") as told:
        selection = curator.select_rows(TARGET, POOL, budget=300)
    assert [str(warning.message) for warning in told] == selection.warnings
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool": [1.0, 2.0]}, "pool: its shape is (2,); give one row a sample"),
        ({"target": "photos/"}, "target: it is no table of numbers: could not convert string to float"),
        ({"keys": ["a"]}, "keys: there are 1 keys for 200 rows"),
        ({"target": TARGET[:, :5]}, "the target has 5 dimensions"),
    ],
)
def test_what_cannot_work_is_said(settings: dict[str, object], message: str) -> None:
    with pytest.raises(curator.InputError) as told:
        curator.select_rows(**{"target": TARGET, "pool": POOL, "budget": 3} | settings)  # type: ignore[arg-type]
    assert message in str(told.value)
