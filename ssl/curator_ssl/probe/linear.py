"""A linear classifier on frozen features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = ["Linear", "Protocol", "linear_probe"]

Protocol: TypeAlias = Literal["grid", "paper"]
Features: TypeAlias = NDArray[np.float32]
Classes: TypeAlias = NDArray[np.int64]
# Inverse strengths of the L2 penalty, for rows of unit length.
GRID = (0.1, 1.0, 10.0, 100.0, 1000.0)
HELD_OUT = 0.2


@dataclass(frozen=True)
class Linear:
    """The accuracies of linear classifiers.

    Attributes:
        seeds: the test accuracy with each seed.
        chosen: the regularisation chosen with each seed (scikit-learn's C); empty with `paper`.
        predicted: the classes of the test set as predicted with each seed, int64 (m,).
    """

    seeds: list[float]
    chosen: list[float]
    predicted: list[Classes] = field(default_factory=list, compare=False)


def linear_probe(
    train: Features,
    train_labels: Classes,
    test: Features,
    test_labels: Classes,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    protocol: Protocol = "grid",
) -> Linear:
    """Test accuracy of a linear classifier trained on frozen features.

    `grid` is scikit-learn's multinomial logistic regression. Its regularisation is the best of `GRID` on
    a fifth of the training set, drawn anew with each seed; then it is trained on all of it. `paper` is
    SimCore's: SGD with Nesterov momentum 0.9, learning rate 10, divided by ten after 60 and 80 of 100
    epochs, batches of 256, no weight decay; on the features of the centre crop rather than of random ones.

    Args:
        train: float32 (n, dim), rows of unit length.
        train_labels: integers (n,).
        test: float32 (m, dim).
        test_labels: integers (m,); of a class that training does not have they count as wrong.
        seeds: one result each.
        protocol: `grid` or `paper`.

    Raises:
        ValueError: fewer than two classes to learn, or nothing to test.
    """
    if len(np.unique(train_labels)) < 2 or not len(test):
        raise ValueError("a linear probe needs two classes to learn, and samples to test")
    if protocol == "paper":
        chosen = []
        predicted = [_sgd(train, train_labels, test, seed) for seed in seeds]
    else:
        chosen = [_choose(train, train_labels, seed) for seed in seeds]
        by_strength = {c: _logistic(train, train_labels, test, c) for c in set(chosen)}
        predicted = [by_strength[c] for c in chosen]
    return Linear([float((labels == test_labels).mean()) for labels in predicted], chosen, predicted)


def _choose(features: Features, labels: Classes, seed: int) -> float:
    """The best of `GRID` on held-out samples; of equals the strongest regularisation."""
    from sklearn.model_selection import train_test_split

    counts = np.unique(labels, return_counts=True)[1]
    # Every class on both sides, where there are enough samples for that.
    stratify = labels if counts.min() > 1 and HELD_OUT * len(labels) >= len(counts) else None
    fit, held, fit_labels, held_labels = train_test_split(
        features, labels, test_size=HELD_OUT, random_state=seed, stratify=stratify
    )
    if len(np.unique(fit_labels)) < 2:
        return 1.0
    accuracies = [float((_logistic(fit, fit_labels, held, c) == held_labels).mean()) for c in GRID]
    return GRID[int(np.argmax(accuracies))]


def _logistic(train: Features, labels: Classes, test: Features, c: float) -> Classes:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, max_iter=300)
    with warnings.catch_warnings():
        # With a weak penalty the last digits of the loss take long, and no prediction changes any more.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, labels)
    predicted: Classes = model.predict(test)
    return predicted


def _sgd(train: Features, labels: Classes, test: Features, seed: int) -> Classes:
    classes, targets = np.unique(labels, return_inverse=True)
    generator = torch.Generator().manual_seed(seed)
    rows, classes_of_rows = torch.from_numpy(train), torch.from_numpy(targets)
    model = nn.Linear(train.shape[1], len(classes))
    nn.init.normal_(model.weight, std=0.01, generator=generator)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=10, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [60, 80])
    for _ in range(100):
        for batch in torch.randperm(len(rows), generator=generator).split(256):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(rows[batch]), classes_of_rows[batch]).backward()
            optimizer.step()
        schedule.step()
    with torch.inference_mode():
        predicted: Classes = classes[model(torch.from_numpy(test)).argmax(1).numpy()]
    return predicted
