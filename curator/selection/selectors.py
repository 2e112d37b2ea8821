"""The ways to choose, by name: built-in ones and anyone's own.

The functions behind the built-in ones know no settings: `SimCore`, `Csls`, `Knn` and `RandomRows` hand over what they
take.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from curator.errors import InputError
from curator.plugins import Table
from curator.search import Floats, PassProgress, Pool
from curator.selection.centroids import find_centroids
from curator.selection.csls import NewScan, select_csls
from curator.selection.csls_sample import PoolSample
from curator.selection.knn import select_knn
from curator.selection.multi_target import select_each
from curator.selection.random import select_random
from curator.selection.ranking import Ranking, choose_ranked
from curator.selection.result import Selection
from curator.selection.rules import Rules
from curator.types import Progress

__all__ = [
    "SELECTORS",
    "SELECTOR_SETTINGS",
    "Csls",
    "Knn",
    "RandomRows",
    "Request",
    "Search",
    "Selector",
    "SimCore",
    "find_selector",
]

SELECTORS = Table(
    kind="selector",
    group="curator.selectors",
    builtin={
        "simcore": "curator.selection.selectors:SimCore",
        "csls": "curator.selection.selectors:Csls",
        "knn": "curator.selection.selectors:Knn",
        "random": "curator.selection.selectors:RandomRows",
    },
)

# The settings that a selector may declare to read. Budget and filters count for every selector.
SELECTOR_SETTINGS = frozenset({"clusters", "seed", "stop", "reference_round", "search", "recall", "per_target"})

# Selects by each target's centroids, float32 (K, d), and rules: `select_each`, by many workers, or over an index.
Search: TypeAlias = Callable[[Sequence[Floats], Sequence[Rules]], list[Selection]]


def _ignore(increments: Mapping[str, int]) -> None:
    """Take progress that nobody is told of."""


@dataclass(frozen=True)
class Request:
    """What a selector is given for one target.

    Attributes:
        pool: the stored parts to choose from, the same for all targets of a run. `pool.parts()` gives part numbers with
            rows of unit length, float16 (n, d), and `curator.types.part_ids` gives their ids.
        target: the target's embeddings, float16 or float32 (n, d), unit rows.
        rules: the limits.
        settings: the values of the settings that the selector declares to read, by name.
        progress: told of the `rows` read.
        search: the search over the pool by centroids; None for an exact one in this process.
        new_scan: reads the pool for a selector that scores rows in its own way; None to read it in this process.
        draw_sample: draws the pool's sample, or finds what is stored of it; None to draw it in this process.
    """

    pool: Pool
    target: Floats
    rules: Rules
    settings: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = _ignore
    search: Search | None = None
    new_scan: NewScan | None = None
    draw_sample: Callable[[], PoolSample] | None = None


class Selector:
    """A way to choose. One's own overrides `rank`; one that serves several targets in one pass overrides `select`.

    Attributes:
        needs_budget: whether the selection ends by nothing but a budget.
        has_rounds: whether a chosen row has a round.
        has_scores: whether a chosen row has a score.
        has_anchors: whether a chosen row has an anchor: see `Selection.anchors`.
        reads: names of the settings that it reads, some of `SELECTOR_SETTINGS`. One of these that is given and not read
            is an error.
    """

    needs_budget: bool = True
    has_rounds: bool = False
    has_scores: bool = True
    has_anchors: bool = False
    reads: frozenset[str] = frozenset()

    def rank(self, request: Request) -> Ranking:
        """Put rows of the pool in order for one target.

        Args:
            request: the pool, the target, the settings, and whom to tell how far it is.

        Returns:
            the rows in the order in which they are to be chosen. Budget and filters are applied to it afterwards.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method rank(request)")

    def select(self, requests: Sequence[Request]) -> list[Selection]:
        """Choose for every target; the selections are in the order of the requests."""
        selections = []
        for request in requests:
            PassProgress.of(request.progress).begin()
            selections.append(choose_ranked(request.pool, self.rank(request), request.rules, request.progress))
        return selections


class SimCore(Selector):
    """Rounds in which every centroid of the target takes its best row left; see `curator.selection.rounds`."""

    needs_budget = False
    has_rounds = True
    has_anchors = True
    reads = frozenset({"clusters", "seed", "stop", "reference_round", "search", "recall"})

    def select(self, requests: Sequence[Request]) -> list[Selection]:
        """One pass over the pool serves all targets."""
        centroids = [
            find_centroids(request.target, request.settings["clusters"], request.settings["seed"])
            for request in requests
        ]
        search = requests[0].search or partial(select_each, requests[0].pool, progress=requests[0].progress)
        return search(centroids, [request.rules for request in requests])


class Csls(Selector):
    """The rows nearest to target rows by density-corrected similarity; see `curator.selection.csls`."""

    has_anchors = True
    reads = frozenset({"per_target"})

    def select(self, requests: Sequence[Request]) -> list[Selection]:
        """A pass over the pool for each target; its sample is the same for all."""
        draw = requests[0].draw_sample or partial(PoolSample.draw, requests[0].pool)
        sample = draw()
        return [
            select_csls(
                request.pool,
                request.target,
                request.rules,
                per_target=request.settings["per_target"],
                sample=sample,
                new_scan=request.new_scan,
                progress=request.progress,
            )
            for request in requests
        ]


class Knn(Selector):
    """The rows nearest to any target row."""

    has_anchors = True

    def select(self, requests: Sequence[Request]) -> list[Selection]:
        """A pass over the pool for each target."""
        return [
            select_knn(request.pool, request.target, request.rules, progress=request.progress) for request in requests
        ]


class RandomRows(Selector):
    """Rows of the pool, each with the same chance."""

    has_scores = False
    reads = frozenset({"seed"})

    def select(self, requests: Sequence[Request]) -> list[Selection]:
        """The same rows for every target, but for what its filter skips."""
        return [
            select_random(request.pool, request.rules, seed=request.settings["seed"], progress=request.progress)
            for request in requests
        ]


def find_selector(spec: str) -> Selector:
    """The selector of a name.

    Args:
        spec: a built-in name, an entry point of the group `curator.selectors`, or `PACKAGE.MODULE:NAME`; what it names
            is a `Selector`, or a class of them that needs no arguments.

    Raises:
        InputError: there is none, or it is no selector.
    """
    named = SELECTORS.find(spec)
    selector = named() if inspect.isclass(named) and issubclass(named, Selector) else named
    if not isinstance(selector, Selector):
        raise InputError(
            "this is no selector: it must be a subclass of curator.selection.Selector, or an object of one",
            field="selector",
            value=spec,
        )
    if unknown := selector.reads - SELECTOR_SETTINGS:
        raise InputError(
            f"it declares to read {', '.join(sorted(unknown))}; a selector may read "
            f"{', '.join(sorted(SELECTOR_SETTINGS))}",
            field="selector",
            value=spec,
        )
    return selector
