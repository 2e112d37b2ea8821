"""Nearest neighbours and linear classifiers on frozen features, on all labels or on a share of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_ssl.probe import Accuracy, Linear, Protocol, knn_predictions, label_subset, linear_probe

__all__ = ["KS", "Classified", "Side", "classify"]

KS = (1, 20, 200)


@dataclass(frozen=True)
class Side:
    """A labelled set as numbers.

    Attributes:
        features: float32 (n, dim), rows of unit length.
        classes: int64 (n,).
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int64]

    def rows(self, rows: NDArray[np.int64]) -> Side:
        """Some of its samples."""
        return Side(self.features[rows], self.classes[rows])


@dataclass(frozen=True)
class Classified:
    """What was predicted of the test set, and how much of it is right.

    Attributes:
        accuracies: `knn 1`, `knn 20`, `knn 200` and `linear`.
        chosen: the linear probe's regularisation with each seed; empty with the protocol `paper`.
        labels: how many training labels were learned from, with each seed.
        nearest: of the nearest neighbour, int64 (m,): one array, or one a seed where labels are drawn.
        linear: of the linear probe with each seed, int64 (m,).
    """

    accuracies: dict[str, Accuracy]
    chosen: list[float]
    labels: int
    nearest: list[NDArray[np.int64]]
    linear: list[NDArray[np.int64]]


def classify(train: Side, test: Side, *, seeds: Sequence[int], share: float, protocol: Protocol) -> Classified:
    """Classify the test set by its nearest neighbours and by linear classifiers.

    Args:
        train: what is learned from.
        test: what is classified.
        seeds: one result each; neighbours of all labels depend on none and have one result.
        share: of the training labels; below 1 each seed draws its own, of every class alike.
        protocol: of the linear probe.
    """
    if share < 1:
        drawn = [train.rows(label_subset(train.classes, share, seed)) for seed in seeds]
        linear = _joined([_linear(few, test, [seed], protocol) for few, seed in zip(drawn, seeds, strict=True)])
    else:
        drawn = [train]
        linear = _linear(train, test, seeds, protocol)
    neighbours = [knn_predictions(few.features, few.classes, test.features, KS) for few in drawn]
    count = len(test.classes)
    accuracies = {
        f"knn {k}": Accuracy([int((predicted[k] == test.classes).sum()) / count for predicted in neighbours], count)
        for k in KS
    }
    accuracies["linear"] = Accuracy(linear.seeds, count)
    nearest = [predicted[1] for predicted in neighbours]
    return Classified(accuracies, linear.chosen, len(drawn[0].classes), nearest, linear.predicted)


def _linear(train: Side, test: Side, seeds: Sequence[int], protocol: Protocol) -> Linear:
    return linear_probe(train.features, train.classes, test.features, test.classes, seeds=seeds, protocol=protocol)


def _joined(probes: Sequence[Linear]) -> Linear:
    return Linear(
        [share for probe in probes for share in probe.seeds],
        [strength for probe in probes for strength in probe.chosen],
        [predicted for probe in probes for predicted in probe.predicted],
    )
