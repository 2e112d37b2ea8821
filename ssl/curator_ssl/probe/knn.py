"""Weighted nearest-neighbour classification on frozen features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["knn_accuracy", "knn_predictions"]

BLOCK = 1024


def knn_accuracy(
    train: NDArray[np.float32],
    train_labels: NDArray[np.int64],
    test: NDArray[np.float32],
    test_labels: NDArray[np.int64],
    ks: Sequence[int] = (1, 20, 200),
    temperature: float = 0.07,
) -> dict[int, float]:
    """Accuracy of k nearest neighbours that vote with weight exp(cosine / temperature).

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018,
    section 3.4. Costs test x train x dim multiplications, and memory for 1,024 test rows of similarities.

    Args:
        train: (n, dim), rows of unit length.
        train_labels: integers (n,), from 0.
        test: (m, dim), rows of unit length.
        test_labels: integers (m,).
        ks: numbers of neighbours; those above n are n.
        temperature: of the weights.

    Returns:
        k -> accuracy. Of equal votes the lower class wins, of equal similarities the earlier row.

    Raises:
        ValueError: no training or no test rows.

    >>> corners = np.eye(2, dtype=np.float32)
    >>> knn_accuracy(corners, np.array([0, 1]), corners, np.array([0, 1]), ks=(1,))
    {1: 1.0}
    """
    predicted = knn_predictions(train, train_labels, test, ks, temperature)
    return {k: int((labels == test_labels).sum()) / len(test) for k, labels in predicted.items()}


def knn_predictions(
    train: NDArray[np.float32],
    train_labels: NDArray[np.int64],
    test: NDArray[np.float32],
    ks: Sequence[int] = (1, 20, 200),
    temperature: float = 0.07,
) -> dict[int, NDArray[np.int64]]:
    """The classes that k nearest neighbours vote for: k -> int64 (m,). For all else see `knn_accuracy`."""
    if not len(train) or not len(test):
        raise ValueError("no samples to classify with, or none to classify")
    classes = int(train_labels.max()) + 1
    predicted = {k: np.empty(len(test), np.int64) for k in ks}
    for start in range(0, len(test), BLOCK):
        similarities = test[start : start + BLOCK] @ train.T
        # A stable sort of all: ties go to the earlier row, which argpartition does not promise.
        order = np.argsort(-similarities, axis=1, kind="stable")[:, : max(ks)]
        # Relative to the best, so that a low temperature does not overflow.
        near = np.take_along_axis(similarities, order, axis=1).astype(np.float64)
        weights = np.exp((near - near[:, :1]) / temperature)
        voters = train_labels[order]
        votes = np.zeros((len(order), classes))
        rows = np.arange(len(order))
        counted = 0
        for k in sorted(ks):
            for column in range(counted, min(k, order.shape[1])):
                votes[rows, voters[:, column]] += weights[:, column]
            counted = max(counted, min(k, order.shape[1]))
            predicted[k][start : start + BLOCK] = votes.argmax(axis=1)
    return predicted
