"""What is told of the two sets of a probe, against slow twins."""

from __future__ import annotations

import numpy as np

from curator.sources import Remarks
from curator_pipelines.jobs.train.classify import Side, classify
from curator_pipelines.jobs.train.probe_facts import NAMED, count_classes, find_overlap
from curator_ssl.probe import Labelled, label_subset, linear_probe


def labelled(shard: str, hashes: str) -> Labelled:
    """A set with a sample for each letter, which is its image's hash."""
    names = [(shard, f"{number}.png") for number in range(len(hashes))]
    none = np.empty((len(hashes), 2), np.float32)
    return Labelled(names, none, ["x"] * len(hashes), list(hashes), len(hashes), [], [], Remarks())


def test_the_overlap_counts_both_sides_and_names_the_first_of_each() -> None:
    overlap = find_overlap(labelled("a", "pqqr"), labelled("b", "zqrqz"))
    assert (overlap.test, overlap.train) == (3, 3)
    assert overlap.first == (("b", "1.png"), ("a", "1.png"))
    assert overlap.to_text().startswith(
        "3 test images are in the training set too, byte for byte, the first 1.png in b"
    )
    assert find_overlap(labelled("a", "pq"), labelled("b", "rs")).to_text() == ""


def test_many_classes_are_told_by_the_largest() -> None:
    train = [f"c{number:02d}" for number in range(NAMED + 5) for _ in range(number + 1)]
    classes = count_classes(train, ["c00", "new", "c12"])
    assert (classes.known, classes.untrained) == (13, 1)
    assert classes.to_text().startswith("c12 13, c11 12, ") and classes.to_text().endswith("c05 6 and 5 more")
    majority = classes.majority()
    assert (majority.label, majority.accuracy.mean) == ("c12", 1 / 3)


def test_of_equal_classes_the_first_by_name_is_the_majority() -> None:
    assert count_classes(["b", "a"], ["a", "a", "b"]).majority().label == "a"


def test_a_share_of_the_labels_is_each_seed_by_itself() -> None:
    generator = np.random.default_rng(2)
    sides = []
    for count in (90, 40):
        classes = np.arange(count) % 3
        rows = np.eye(6)[classes] + 0.6 * generator.standard_normal((count, 6))
        sides.append(Side((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), classes))
    train, test = sides
    done = classify(train, test, seeds=range(3), share=0.2, protocol="grid")
    assert done.labels == 18
    for seed in range(3):
        few = train.rows(label_subset(train.classes, 0.2, seed))
        twin = linear_probe(few.features, few.classes, test.features, test.classes, seeds=[seed])
        assert done.accuracies["linear"].seeds[seed] == twin.seeds[0]
        nearest = few.classes[np.argmax(test.features @ few.features.T, axis=1)]
        assert np.array_equal(done.nearest[seed], nearest)
        assert done.accuracies["knn 1"].seeds[seed] == np.mean(nearest == test.classes)
    assert len(done.accuracies["knn 1"].seeds) == 3
