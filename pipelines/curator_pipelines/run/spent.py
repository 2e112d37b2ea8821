"""What a stage cost: time on the clock, and what it used of CPUs, GPUs and storage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from curator_pipelines.executors import USAGE, note_event, usage_so_far
from curator_pipelines.run.progress import duration

__all__ = ["Spent", "spending", "total_use", "use_in_words"]

Used = Mapping[str, int]


@dataclass
class Spent:
    """What a stage cost.

    Attributes:
        seconds: on the clock.
        used: by the names in `USAGE`, of the driver and of the workers it heard of.
        state: how it ended: `done`, `reused` (nothing was done anew), or `stopped`.
    """

    seconds: float = 0.0
    used: dict[str, int] = field(default_factory=dict)
    state: str = "done"

    def without(self, inner: Spent) -> Spent:
        """The same without a stage that was done inside of it."""
        used = {name: count - inner.used.get(name, 0) for name, count in self.used.items()}
        return Spent(self.seconds - inner.seconds, used, self.state)


@contextmanager
def spending(stage: str) -> Iterator[Spent]:
    """Measure a stage while the block runs, and tell whoever watches the run of its begin and end."""
    spent, started, before = Spent(), time.monotonic(), usage_so_far()
    note_event("stage_began", f"{stage} began", stage=stage)
    try:
        yield spent
    except BaseException:
        spent.state = "stopped"
        raise
    finally:
        spent.seconds = time.monotonic() - started
        spent.used = dict(usage_so_far() - before)
        text = f"{stage} {spent.state} after {duration(spent.seconds)}: {use_in_words(spent.used)}"
        facts = {"stage": stage, "state": spent.state, "seconds": round(spent.seconds, 3), "used": spent.used}
        note_event("stage_ended", text, **facts)


def total_use(stages: Iterable[Used]) -> dict[str, int]:
    """The sum of what several stages used."""
    total: Counter[str] = Counter()
    for used in stages:
        total.update(used)
    return dict(total)


def use_in_words(used: Used) -> str:
    """What was used, for a person.

    >>> use_in_words({"cpu_ms": 7_260_000, "read_bytes": 3_200_000_000, "requests": 1200})
    '2 h 1 min of CPU, 3.2 GB read, 1,200 requests'
    """
    of = {name: used.get(name, 0) for name in USAGE}
    words = [f"{duration(of['cpu_ms'] / 1000)} of CPU"]
    words += [f"{duration(of['gpu_ms'] / 1000)} of GPU"] if of["gpu_ms"] else []
    words += [f"{_size(of['read_bytes'])} read"] if of["read_bytes"] else []
    words += [f"{_size(of['written_bytes'])} written"] if of["written_bytes"] else []
    words += [f"{of['requests']:,} requests"] if of["requests"] else []
    return ", ".join(words)


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} bytes"
