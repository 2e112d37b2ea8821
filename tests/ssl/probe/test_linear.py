import numpy as np
import pytest

from curator_ssl.probe.linear import GRID, linear_probe


@pytest.mark.parametrize("protocol", ["grid", "paper"])
def test_separable_classes_are_all_right(blobs, protocol):
    found = linear_probe(*blobs, seeds=(0, 1), protocol=protocol)
    assert found.seeds == [1.0, 1.0]
    assert set(found.chosen) <= set(GRID)


def test_labels_without_meaning_are_at_chance(blobs):
    train, labels, test, truth = blobs
    shuffled = np.random.default_rng(1).permutation(labels)
    assert linear_probe(train, shuffled, test, truth, seeds=(0,)).seeds[0] < 0.7


def test_regularisation_is_chosen_on_held_out_samples():
    """Few samples in many noisy dimensions: the weakest penalty is not the best."""
    generator = np.random.default_rng(5)
    labels = np.arange(400) % 2
    rows = generator.standard_normal((400, 100)).astype(np.float32)
    rows[:, 0] += labels
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = linear_probe(rows[:200], labels[:200], rows[200:], labels[200:])
    assert max(found.chosen) < max(GRID)


def test_the_same_seed_gives_the_same(blobs):
    assert linear_probe(*blobs, seeds=(4, 4), protocol="paper").seeds[0] == 1.0
    first, second = (linear_probe(*blobs, seeds=(4,)) for _ in range(2))
    assert first == second


def test_single_samples_and_classes(blobs):
    train, labels, test, truth = blobs
    assert len(linear_probe(train[:3], labels[:3], test, truth).seeds) == 3
    with pytest.raises(ValueError, match="two classes"):
        linear_probe(train, np.zeros(len(train), int), test, truth)
