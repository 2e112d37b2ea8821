"""What the probes of an encoder take each test image for, as a file: two of them compare encoders image by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curator.io import parquet, schemas
from curator_pipelines.jobs.train.classify import Classified
from curator_ssl.probe import Labelled

__all__ = ["write_predictions"]


def write_predictions(url: str, test: Labelled, classified: Classified, labels: Sequence[str]) -> None:
    """Write `schemas.PREDICTIONS`, in the order of the test set.

    Args:
        url: of the file.
        test: the test set.
        classified: what was predicted of it.
        labels: class -> label.
    """

    def in_words(predicted: Sequence[NDArray[np.int64]]) -> list[list[str]]:
        return [[labels[number] for number in row] for row in np.stack(predicted, axis=1)]

    columns = {
        "shard": [shard for shard, _ in test.names],
        "key": [key for _, key in test.names],
        "label": test.labels,
        "knn_1": in_words(classified.nearest),
        "linear": in_words(classified.linear),
    }
    parquet.write_table(url, schemas.PREDICTIONS, columns)
