"""The renew stage: a source that was written anew is read, and its part stays if nothing in it is different."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from curator.sources import Source
from curator.store import DoneMark, Part, PartStore, renew_part
from curator_pipelines.executors import Task, WorkerContext

__all__ = ["RenewStage", "RenewTask"]


@dataclass(frozen=True)
class RenewTask:
    """A source as it is now, and its part as it is finished and as it would be."""

    source: Source
    old: Part
    new: Part

    @property
    def part(self) -> int:
        """The number of the part."""
        return self.new.part

    def __repr__(self) -> str:
        return self.source.name


@dataclass(frozen=True)
class RenewStage:
    """Renews parts of the store at `store_url`."""

    store_url: str

    def open(self, context: WorkerContext) -> Callable[[Task[RenewTask]], DoneMark | None]:
        """Nothing costly: the function returns the new done-mark, or None for a part that must be made anew."""
        store = PartStore(self.store_url)

        def renew(task: Task[RenewTask]) -> DoneMark | None:
            return renew_part(store, task.payload.source, task.payload.old, task.payload.new)

        return renew
