"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from curator.types import LedgerLine

__all__ = ["Reporter", "StageProgress"]

LINE_EVERY = 10.0
LAST_BAD = 5


class StageProgress:
    """Progress of one stage.

    Args:
        name: the stage's name.
        total: how much there is to do, in `unit`; None if unknown.
        unit: what is counted, for people: `samples`, `shards`.
        show: called after each change.

    Attributes:
        note: what else to show.
    """

    def __init__(self, name: str, total: float | None, unit: str, show: Callable[[StageProgress], None]) -> None:
        self._show = show
        self.name = name
        self.total = total
        self.unit = unit
        self.done = 0
        self.bad = 0
        self.note = ""
        self.last_bad: deque[str] = deque(maxlen=LAST_BAD)
        self.started = time.monotonic()

    def __call__(self, increments: Mapping[str, int]) -> None:
        """Add increments and show them: a `curator.types.Progress`."""
        self.done += increments.get(self.unit, 0)
        self.bad += increments.get("bad", 0)
        self._show(self)

    def note_bad(self, lines: Iterable[LedgerLine]) -> None:
        """Remember the last ledger lines."""
        self.last_bad.extend(f"{line.shard} {line.key or '?'}: {line.reason}, {line.detail}" for line in lines)

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.done / self.seconds

    @property
    def eta(self) -> float | None:
        """Seconds left, if that can be said."""
        if not (self.total and self.total > self.done and self.rate > 0):
            return None
        return (self.total - self.done) / self.rate

    def line(self) -> str:
        """The state in words: done, rate, time left, bad samples."""
        rate, eta = self.rate, self.eta
        words = [f"{self.done:,}" + (f" of {self._total()} {self.unit}" if self.total else f" {self.unit}")]
        if rate > 0:
            words.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
            if eta is not None:
                words.append(f"ETA {duration(eta)}")
        if self.bad:
            words.append(f"{self.bad:,} bad")
        if self.note:
            words.append(self.note)
        return ", ".join(words)

    def _total(self) -> str:
        return f"{self.total:,.0f}" if isinstance(self.total, int) else f"about {self.total:,.0f}"


class Reporter:
    """Tells a person what goes on. Use as a context manager: it restores the terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.warnings: list[str] = []
        self.listener: Callable[[StageProgress, bool], None] | None = None
        self._bars: Progress | None = None
        self._last_line = 0.0

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """A warning, once; the summary counts them."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.console.print(f"warning: {text}", markup=False, style="yellow")

    @contextmanager
    def stage(self, name: str, total: float | None, unit: str) -> Iterator[StageProgress]:
        """Show a stage while the block runs."""
        progress = StageProgress(name, total, unit, self._show)
        self._last_line = time.monotonic()
        self._tell(progress, at_once=True)
        if self.console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description:8}"),
                BarColumn(),
                TextColumn("{task.fields[line]}"),
            )
            with Progress(*columns, console=self.console, transient=True) as self._bars:
                self._task: TaskID = self._bars.add_task(name, total=total, line="")
                yield progress
            self._bars = None
        else:
            yield progress
        self._tell(progress, at_once=True)
        self.say(f"{name}: {progress.line()}, {duration(time.monotonic() - progress.started)}")

    def _show(self, progress: StageProgress) -> None:
        """Redraw the bar, or say a line where the last one is ten seconds old."""
        self._tell(progress, at_once=False)
        if self._bars is not None:
            self._bars.update(self._task, completed=progress.done, total=progress.total, line=progress.line())
        elif time.monotonic() - self._last_line > LINE_EVERY:
            self._last_line = time.monotonic()
            self.say(f"{progress.name}: {progress.line()}")
            sys.stderr.flush()

    def _tell(self, progress: StageProgress, at_once: bool) -> None:
        if self.listener is not None:
            self.listener(progress, at_once)


def duration(seconds: float) -> str:
    """Seconds in the units a person would use.

    >>> duration(3725), duration(62), duration(4.2)
    ('1 h 2 min', '1 min 2 s', '4.2 s')
    """
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.1f} s"
