"""A nearest-neighbour probe of a network that is still training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from curator.encoders import MIN_BATCH_SIZE, Backbone, Encoder, build_backbone
from curator.errors import InputError
from curator_ssl.config import TrainConfig
from curator_ssl.probe.features import Labelled, embed_labelled
from curator_ssl.probe.knn import knn_accuracy
from curator_ssl.probe.labels import image_sources, label_hint, parse_label, read_labels

__all__ = ["TrainingProbe", "make_training_probe"]

KS = (1, 20)


class TrainingProbe:
    """Weighted kNN accuracy on frozen features, as `curator probe` gives it for the same tensors.

    Labels are read once, when it is made; images each time, since a set of them may not fit in memory.

    Args:
        train: URLs of labelled images to classify with.
        test: URLs of labelled images to classify.
        label: where the labels are; see `parse_label`.

    Raises:
        InputError: nothing there, or no sample has a label.
    """

    def __init__(self, train: Sequence[str], test: Sequence[str], label: str) -> None:
        rule = parse_label(label)
        self._sides = []
        for urls, field in ((train, "probe_train"), (test, "probe_test")):
            sources = image_sources(urls, field)
            labels = read_labels(sources, rule)
            if not labels:
                raise InputError(f"no sample has a label by the rule {label}: {label_hint(sources, rule)}", field=field)
            self._sides.append((sources, labels))

    def accuracies(self, backbone: Backbone, device: torch.device) -> dict[str, float]:
        """`knn 1` and `knn 20` of the network as it stands; it is copied, and trains on undisturbed."""
        copy = build_backbone(backbone.architecture, backbone.preprocess.crop[0], 0)
        copy.model.load_state_dict(backbone.model.state_dict())
        encoder = Encoder("training", copy, device=device, precision="fp32", batch_size=MIN_BATCH_SIZE)
        threads = torch.get_num_threads()
        train, test = (embed_labelled(sources, encoder, labels, threads=threads) for sources, labels in self._sides)
        names = {label: number for number, label in enumerate(sorted({*train.labels, *test.labels}))}
        accuracies = knn_accuracy(train.features, _numbers(train, names), test.features, _numbers(test, names), KS)
        return {f"knn {k}": share for k, share in accuracies.items()}


def make_training_probe(config: TrainConfig) -> TrainingProbe | None:
    """The probe that a config asks for; None if it asks for none."""
    if not config.probe_every:
        return None
    return TrainingProbe(config.probe_train, config.probe_test, config.probe_label)


def _numbers(side: Labelled, names: dict[str, int]) -> NDArray[np.int64]:
    return np.array([names[label] for label in side.labels], np.int64)
