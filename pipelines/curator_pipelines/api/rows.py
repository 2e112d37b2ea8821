"""Selection among rows in memory. Nothing is read and nothing is written."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from curator.errors import CuratorWarning
from curator_pipelines.api.signature import takes
from curator_pipelines.config import SelectConfig, build

if TYPE_CHECKING:
    from curator.search import Pool
    from curator.selection import Request, Selection

__all__ = ["select_rows"]

# The settings of `select` that say something about vectors.
SETTINGS = ("preset", "clusters", "budget", "stop", "reference_round", "selector", "per_target", "seed")


@takes(SelectConfig, only=SETTINGS)
def select_rows(target: Any, pool: Any, *, keys: Sequence[str] | None = None, **settings: Any) -> Selection:
    """Choose from the rows of a pool in memory those nearest to the rows of a target.

    It chooses what `curator.select` would choose if these were the embeddings.

    Args:
        target: the target's vectors (n, d): an array, or what numpy makes one of.
        pool: the pool's vectors (N, d), likewise, or a `curator.MemoryPool`, or any object with its method `parts`.
        keys: a name for each row of the pool, for the selection's table.
        **settings: see below.

    Returns:
        the selection. Its `ids` are numbers of rows of the pool, best first; `table()` is an Arrow table.

    Raises:
        InputError: a setting, or the vectors, cannot work.

    >>> import curator
    >>> selection = curator.select_rows([[1, 0], [0, 1]], [[9, 1], [-1, -1], [1, 8]], budget=2, keys=["a", "b", "c"])
    >>> selection
    <Selection: 2 of 3 candidates, rounds: 1, ended by: budget>
    >>> selection.ids.tolist(), selection.table()["key"].to_pylist()
    ([0, 2], ['a', 'c'])
    """
    from curator.search import MemoryPool, as_rows
    from curator.selection import find_selector

    # The model also asks where a run's data is; there is none here.
    config = build(SelectConfig, {"out": "none", "target": "none", "pool": "none", **settings})
    rows = pool if hasattr(pool, "parts") else MemoryPool(pool, keys)
    selector = find_selector(config.selector)
    (selection,) = selector.select([_request(as_rows(target, "target"), rows, config, selector.reads)])
    for warning in selection.warnings:
        warnings.warn(warning, CuratorWarning, stacklevel=3)
    names = getattr(rows, "keys", None)
    return selection if names is None else replace(selection, keys=[names[row] for row in selection.ids])


def _request(target: Any, pool: Pool, config: SelectConfig, reads: Collection[str]) -> Request:
    from curator.selection import Request, Rules, hold_out

    limit, stop = config.limits()
    budget = limit.of(sum(len(rows) for _, rows in pool.parts())) if limit else None
    if stop == "auto":
        stop = hold_out(target, config.clusters if "clusters" in reads else None, config.seed).tau
    settings = config.resolved() | {"stop": stop}
    rules = Rules(budget, stop, config.reference_round)
    return Request(pool, target, rules, {name: settings[name] for name in reads})
