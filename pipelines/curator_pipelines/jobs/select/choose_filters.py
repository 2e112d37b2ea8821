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
        config, pool = self.config, directory.pool
        is_denied = self.denied is not None and len(self.denied) > 0
        if not (is_denied or config.skip_own or self.evaluation or config.dedup is not None):
            return no_filter
        # Duplicates are compared along the main directions of the target, since what is chosen is like it.
        basis = directions(directory.target_vectors) if config.dedup is not None else None
        own = own_images(directory) if config.skip_own else None

        def new_filter() -> Filter | None:
            read_rows = RowReader(pool)
            filters = []
            if self.denied is not None and is_denied:
                filters.append(deny(self.denied, because=public_text(config.deny or "")))
            if own is not None:
                filters.append(own.filter())
            if self.evaluation:
                filters.append(near_evaluation(read_rows.vectors, *self.evaluation, config.exclude_above))
            if config.dedup is not None and basis is not None:
                # It has a memory, so it comes last.
                filters.append(no_duplicates(read_rows.vectors, read_rows.hashes, basis, config.dedup))
            return first_rejection(*filters)

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
