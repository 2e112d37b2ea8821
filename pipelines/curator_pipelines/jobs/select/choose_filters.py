"""The filters of a selection: denied samples, own images, evaluation images, duplicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.io import public_text
from curator.search import SimilarityJoin, directions
from curator.selection import Filter, OwnImages, deny, first_rejection, near_evaluation, no_duplicates, no_filter
from curator.store import PartReader, RowReader
from curator_pipelines.config import SelectConfig
from curator_pipelines.run import TargetDirectory

__all__ = ["Filters", "own_images"]


@dataclass(frozen=True)
class Filters:
    """Makes the filters of the selections of a run.

    Attributes:
        config: says which there are.
        denied: int64, the ids that a deny list names in the pool; None without a list.
        evaluation: the evaluation images and their ids; None without any.
    """

    config: SelectConfig
    denied: NDArray[np.int64] | None
    evaluation: tuple[SimilarityJoin, NDArray[np.int64]] | None

    @classmethod
    def load(cls, config: SelectConfig, denied: NDArray[np.int64] | None, exclude: PartReader) -> Filters:
        """The filters that a config asks for; reads the evaluation images' embeddings, if there are any."""
        return cls(config, denied, _read_evaluation(exclude) if config.exclude else None)

    def maker(self, directory: TargetDirectory) -> Callable[[], Filter | None]:
        """What makes the filter of one selection for a target, for `Rules`."""
        config, denied, evaluation = self.config, self.denied, self.evaluation
        makers: list[Callable[[RowReader], Filter]] = []
        if denied is not None and len(denied):
            makers.append(lambda _: deny(denied, because=public_text(config.deny or "")))
        if config.skip_own:
            own = own_images(directory)
            makers.append(lambda _: own.filter())
        if evaluation:
            makers.append(lambda pool: near_evaluation(pool.vectors, *evaluation, config.exclude_above))
        if (threshold := config.dedup) is not None:
            # Along the main directions of the target, since what is chosen is like it.
            basis = directions(directory.target_vectors)
            # It has a memory, so it comes last.
            makers.append(lambda pool: no_duplicates(pool.vectors, pool.hashes, basis, threshold))
        if not makers:
            return no_filter

        def new_filter() -> Filter:
            pool = RowReader(directory.pool)
            return first_rejection(*(make(pool) for make in makers))

        return new_filter


def _read_evaluation(store: PartReader) -> tuple[SimilarityJoin, NDArray[np.int64]]:
    vectors = store.all_vectors()
    join = SimilarityJoin(directions(vectors))
    join.add(vectors)
    return join, store.ids()


def own_images(directory: TargetDirectory) -> OwnImages:
    """What tells a target's own images in the pool."""
    target, pool = directory.target, RowReader(directory.pool)
    return OwnImages(directory.target_vectors, target.ids(), RowReader(target).hashes, pool.vectors, pool.hashes)
