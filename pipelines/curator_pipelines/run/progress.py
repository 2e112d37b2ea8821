"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere. Everything goes to stderr."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from curator.io import public_text
from curator.types import LedgerLine
from curator_pipelines.run.log_lines import log_lines, shown
from curator_pipelines.run.pace import Pace

__all__ = ["Reporter", "StageProgress"]

# Seconds between two lines where there is no bar.
LINE_EVERY = 10.0
# This many of the newest ledger lines are kept for `curator inspect`.
LAST_BAD = 5
# So many shards with the most bad samples are shown.
WORST_SHARDS = 5


class StageProgress:
    """The progress of one stage.

    Args:
        name: the stage's name.
        total: how much there is to do, in `unit`; None if that is unknown, a float if it is an estimate.
        unit: what is counted, in a word for people: `samples`, `shards`.
        show: is called after each change.

    Attributes:
        chosen: the rows chosen so far, in a stage that chooses.
        note: text that is shown behind the counts.
    """

    def __init__(self, name: str, total: float | None, unit: str, show: Callable[[StageProgress], None]) -> None:
        self._show = show
        self.name = name
        self.total = total
        self.unit = unit
        self.done = 0
        self.chosen = 0
        self.bad = 0
        self.note = ""
        self.last_bad: deque[str] = deque(maxlen=LAST_BAD)
        self.bad_by_shard: Counter[str] = Counter()
        self.started = time.monotonic()
        self._pace = Pace()

    def __call__(self, increments: Mapping[str, int]) -> None:
        """Add increments and show them: a `curator.types.Progress`."""
        self.done += increments.get(self.unit, 0)
        self.chosen += increments.get("chosen", 0)
        self.bad += increments.get("bad", 0)
        if increments.get(self.unit):
            self._pace.note(self.done)
        self._show(self)

    def note_bad(self, lines: Iterable[LedgerLine]) -> None:
        """Remember the last ledger lines, and count them by shard."""
        lines = list(lines)
        self.bad_by_shard.update(line.shard for line in lines)
        self.last_bad.extend(f"{line.shard} {line.key or '?'}: {line.reason}, {line.detail}" for line in lines)

    def worst_shards(self) -> list[tuple[str, int]]:
        """The shards with the most bad samples, and how many."""
        return self.bad_by_shard.most_common(WORST_SHARDS)

    @property
    def seconds(self) -> float:
        """The seconds since the stage began."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def rate(self) -> float | None:
        """The units done per second of late; None while too few batches were seen to tell."""
        return self._pace.per_second(self.done)

    @property
    def eta(self) -> float | None:
        """The seconds that are left of this stage; None while they cannot be estimated."""
        rate = self.rate
        return (self.total - self.done) / rate if rate and self.total and self.total > self.done else None

    def text(self) -> str:
        """The state in words: done, rate of late, time left of the stage, bad samples."""
        return self._text(self.rate, self.eta)

    def end_text(self) -> str:
        """The same at the end, with the rate of the whole stage."""
        return self._text(self.done / self.seconds, None)

    def _text(self, rate: float | None, eta: float | None) -> str:
        words = [f"{self.done:,}" + (f" of {self._total()} {self.unit}" if self.total else f" {self.unit}")]
        if rate:
            words.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        if eta is not None:
            words.append(f"ETA {duration(eta)}")
        if self.chosen:
            words.append(f"{self.chosen:,} chosen")
        if self.bad:
            words.append(f"{self.bad:,} bad")
        if self.note:
            words.append(self.note)
        return ", ".join(words)

    def _total(self) -> str:
        return f"{self.total:,.0f}" if isinstance(self.total, int) else f"about {self.total:,.0f}"


class Reporter:
    """Tells a person how a run goes on. Use it as a context manager, so that it restores the terminal.

    Args:
        quiet: print nothing, for use as a library. Warnings are collected all the same.
        started: when the run began, as `time.monotonic`; now if it is not given.

    Attributes:
        started: when the run began.
        warnings: every warning of the run, once.
        ahead: set -> samples that are still to be embedded after the stage at hand, None where that is unknown.
        last_said: the last line that was printed.
        listener: is told every change of a stage's progress; the flag says that the change must not be skipped.

    >>> with Reporter(quiet=True) as reporter, reporter.stage("pool", 2, "samples") as progress:
    ...     progress({"samples": 2})
    ...     reporter.warn("one sample is small")
    >>> progress.done, reporter.warnings
    (2, ['one sample is small'])
    """

    def __init__(self, *, quiet: bool = False, started: float | None = None) -> None:
        self.started = time.monotonic() if started is None else started
        # A notebook gets plain lines too: its output area is no terminal.
        # Text is printed as it is: no markup, no `:emoji:`.
        self.console = Console(
            stderr=True, highlight=False, soft_wrap=True, quiet=quiet, force_jupyter=False, markup=False, emoji=False
        )
        self.warnings: list[str] = []
        self.ahead: dict[str, float | None] = {}
        self.last_said = ""
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

    @property
    def seconds(self) -> float:
        """The seconds since the run began."""
        return time.monotonic() - self.started

    def say(self, text: str) -> None:
        """Print one line."""
        self.last_said = text
        self._print(text)

    def warn(self, text: str) -> None:
        """Print a warning, once however often it is given; the summary counts the warnings."""
        text = public_text(text)
        if text not in self.warnings:
            self.warnings.append(text)
            is_marked = log_lines.format == "json"  # by its level
            self._print(text if is_marked else f"warning: {text}", "WARNING", style="yellow")

    def run_eta(self, progress: StageProgress) -> float | None:
        """The seconds until everything is embedded, at the rate of now; None while they cannot be estimated.

        What comes after that, such as the selection, is not in it: nobody knows how long it takes.
        """
        rate, eta = progress.rate, progress.eta
        if eta is None or not rate or progress.unit != "samples":
            return eta
        ahead = [samples for name, samples in self.ahead.items() if name != progress.name]
        return None if None in ahead else eta + sum(samples or 0.0 for samples in ahead) / rate

    def _print(self, text: str, level: str = "INFO", style: str | None = None) -> None:
        """A line as it is shown: in a log with its time, which a person at a terminal does not need."""
        self.console.print(log_lines.line(text, level, dated=not self.console.is_terminal), style=style)

    @property
    def _has_bars(self) -> bool:
        return self.console.is_terminal and not self.console.quiet and log_lines.format == "text"

    @contextmanager
    def stage(self, name: str, total: float | None, unit: str) -> Iterator[StageProgress]:
        """Show a stage while the block runs."""
        progress = StageProgress(name, total, unit, self._show)
        self._last_line = time.monotonic()
        self._tell(progress, at_once=True)
        if self._has_bars:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description:8}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[line]}", markup=False),
            )
            with Progress(*columns, console=self.console, transient=True) as self._bars:
                self._task: TaskID = self._bars.add_task(name, total=total, line="")
                yield progress
            self._bars = None
        else:
            yield progress
        self._tell(progress, at_once=True)
        self._print(f"{name}: {progress.end_text()}, {duration(progress.seconds)}")

    def _show(self, progress: StageProgress) -> None:
        """Redraw the bar; without a bar, print a line if the last one is `LINE_EVERY` seconds old."""
        self._tell(progress, at_once=False)
        if self._bars is not None:
            self._bars.update(
                self._task, completed=progress.done, total=progress.total, line=shown(self._line(progress))
            )
        elif time.monotonic() - self._last_line > LINE_EVERY:
            self._last_line = time.monotonic()
            self._print(f"{progress.name}: {self._line(progress)}")
            sys.stderr.flush()

    def _line(self, progress: StageProgress) -> str:
        """How far a stage is, and how long it and the whole run have taken."""
        return f"{progress.text()}, {duration(progress.seconds)} (run {duration(self.seconds)})"

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
