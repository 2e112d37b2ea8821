import math

import numpy as np
import pytest

from curator_ssl.probe.knn import knn_accuracy


def twin(train, train_labels, test, test_labels, k, temperature):
    """One test sample after the other, one vote after the other."""
    right = 0
    for row, truth in zip(test, test_labels, strict=True):
        near = sorted(range(len(train)), key=lambda other: (-float(row @ train[other]), other))[:k]
        votes = dict.fromkeys(range(int(train_labels.max()) + 1), 0.0)
        for other in near:
            votes[int(train_labels[other])] += math.exp(float(row @ train[other]) / temperature)
        right += max(votes, key=lambda label: (votes[label], -label)) == truth
    return right / len(test)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_equals_the_slow_twin(temperature):
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((140, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = generator.integers(0, 4, 140)
    sets = rows[:90], labels[:90], rows[90:], labels[90:]
    ks = (1, 5, 20, 200)
    found = knn_accuracy(*sets, ks, temperature)
    assert found == {k: twin(*sets, k, temperature) for k in ks}
    assert len(set(found.values())) > 1


def test_separable_classes_are_all_right(blobs):
    assert knn_accuracy(*blobs) == {1: 1.0, 20: 1.0, 200: 1.0}


def test_of_equal_neighbours_the_earlier_wins():
    same = np.ones((3, 1), np.float32)
    assert knn_accuracy(same, np.array([1, 0, 0]), same[:1], np.array([1]), ks=(1,)) == {1: 1.0}


def test_a_class_that_training_lacks_counts_as_wrong(blobs):
    train, labels, test, _ = blobs
    assert knn_accuracy(train, labels, test, np.full(len(test), 7), ks=(1,)) == {1: 0.0}


def test_nothing_to_learn_from():
    none = np.empty((0, 2), np.float32)
    with pytest.raises(ValueError, match="no samples"):
        knn_accuracy(none, np.empty(0, int), np.ones((1, 2), np.float32), np.array([0]))
