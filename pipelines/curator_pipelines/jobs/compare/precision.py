"""Of the chosen images, how many are of the target's classes, where labels exist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError
from curator.types import Member
from curator_pipelines.jobs.compare.labels import labels_of
from curator_pipelines.jobs.compare.overlap import depths
from curator_pipelines.jobs.compare.sides import Side
from curator_pipelines.jobs.report import in_hash_order
from curator_ssl.probe import LabelRule

__all__ = ["Precision", "Share", "precision_of"]

# So many chosen samples are looked at, drawn at random where there are more; and always the first ones.
LOOKED_AT = 20_000
FIRST = 1_000


@dataclass(frozen=True)
class Share:
    """How many samples of some are of the target's classes.

    Attributes:
        depth: how many there are.
        right: how many are of a class of the target.
        labelled: how many have a label; the others count neither way.
    """

    depth: int
    right: int
    labelled: int

    @property
    def precision(self) -> float | None:
        """Of those with a label, the share that is of the target's classes; None where none has one."""
        return self.right / self.labelled if self.labelled else None


@dataclass(frozen=True)
class Precision:
    """How many chosen samples are of the target's classes.

    Attributes:
        letter: of the selection.
        classes: how many classes the target has.
        covered: how many of them are among the chosen samples that were looked at.
        chosen: of all chosen samples, or of a random sample of them.
        is_sample: whether it is a sample.
        first: the same of the first 10, 100 and 1,000.
        pool: the same of a random sample of the pool: what a draw would give.
        unreadable: of how many samples the file that may hold the label could not be read.
    """

    letter: str
    classes: int
    covered: int
    chosen: Share
    is_sample: bool
    first: list[Share]
    pool: Share
    unreadable: int


def precision_of(side: Side, rule: LabelRule, text: str) -> Precision:
    """Look up the labels of target, chosen and pool.

    Args:
        side: the selection.
        rule: where labels are.
        text: the rule as it was given, for messages.

    Cost: the metadata of the parts that hold these samples; of the rules `cls` and `json` one small read a sample: of
    up to 20,000 images of the target, 21,000 chosen ones and 2,000 of the pool.

    Raises:
        InputError: no image of the target has a label.
    """
    target, pool, ids = side.target.directory.target, side.target.directory.pool, side.target.selection.ids
    of_target, lost_of_target = labels_of(target, in_hash_order(side.target.target_ids, LOOKED_AT), rule)
    classes = set(of_target) - {""}
    if not classes:
        raise InputError(
            f"no image of the target of {side.name} has a label by this rule: {_hint(side)}", field="label", value=text
        )
    looked_at = _places(ids)
    labels = np.full(len(ids), "", object)
    labels[looked_at], lost = labels_of(pool, ids[looked_at], rule)
    drawn = np.flatnonzero(np.isin(ids, in_hash_order(ids, LOOKED_AT)))
    of_pool, lost_of_pool = labels_of(pool, side.target.pool_sample, rule)
    return Precision(
        side.letter,
        len(classes),
        len(classes & set(labels)),
        _share(labels[drawn], classes),
        len(drawn) < len(ids),
        [_share(labels[:depth], classes) for depth in depths(len(ids))[:-1] if depth <= FIRST],
        _share(np.array(of_pool, object), classes),
        lost_of_target + lost + lost_of_pool,
    )


def _places(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of the order of choice that are looked at, int64, ascending."""
    is_drawn = np.isin(ids, in_hash_order(ids, LOOKED_AT))
    is_drawn[:FIRST] = True
    return np.flatnonzero(is_drawn)


def _share(labels: NDArray[np.object_], classes: set[str]) -> Share:
    labelled = [label for label in labels.tolist() if label]
    return Share(len(labels), sum(label in classes for label in labelled), len(labelled))


def _hint(side: Side) -> str:
    """What the first image of the target has where its label should be."""
    first = side.target.target_ids[:1]
    (row,) = side.target.directory.target.rows(first, ["image_path", "members"]).to_pylist()
    endings = [member["ext"] for member in row["members"] or ()]
    beside = [ending for ending in endings if not Member(ending, 0, 0).is_image]
    return f"the first is {row['image_path']}, with {', '.join(beside) or 'nothing'} beside it"
