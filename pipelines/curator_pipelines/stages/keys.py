"""The keys stage: a function of the keys of each part, where the parts are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curator.store import KEY_COLUMNS, NamedParts
from curator_pipelines.executors import Task, WorkerContext

__all__ = ["KeyStage", "KeyTask"]


@dataclass(frozen=True)
class KeyTask:
    """The numbers of some parts."""

    parts: tuple[int, ...]

    def __repr__(self) -> str:
        return f"the look at the keys of parts {self.parts[0]} to {self.parts[-1]}"


@dataclass(frozen=True)
class KeyStage:
    """Looks at the keys of parts.

    Args:
        pool: the parts of `OUT/pool`.
        look: is called with the number of each part and its metadata, `KEY_COLUMNS`; it must pickle.
    """

    pool: NamedParts
    look: Callable[[int, pa.Table], Any]

    def open(self, context: WorkerContext) -> Callable[[Task[KeyTask]], list[Any]]:
        """Nothing costly: the function it returns gives what `look` said of each part."""

        def look(task: Task[KeyTask]) -> list[Any]:
            found = []
            for part in task.payload.parts:
                table = self.pool.metadata(part, KEY_COLUMNS)
                found.append(self.look(part, table))
                context.report({"rows": table.num_rows})
            return found

        return look
