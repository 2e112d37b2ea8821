"""The embed job: every source that is not a finished part yet becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from curator.errors import CuratorError, InputError, Reason
from curator.io import storage
from curator.sources.read import UnreadableShard
from curator.sources.source import Source
from curator.store.ledger import Account, Lines
from curator.store.part_store import DoneMark, Part, PartStore, identity_hash
from curator.types import LedgerLine
from curator_pipelines.executors import Executor, Outcome
from curator_pipelines.jobs.select.encoding import Encoding, provenance
from curator_pipelines.run.estimate import estimate_samples
from curator_pipelines.run.progress import Reporter
from curator_pipelines.run.run_directory import RunDirectory
from curator_pipelines.stages.embed import EmbedStage, EmbedTask

__all__ = ["EmbedJob", "Embedded", "check_space"]

# Finished parts that are asked how many bytes a sample takes.
LOOK_PARTS = 16


@dataclass
class Embedded:
    """What the embed job leaves: accounts, and the ledger lines of all parts."""

    account: Account = field(default_factory=Account)
    lines: Lines = field(default_factory=Lines)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EmbedJob:
    """Embeds the sources of one set of a run.

    Args:
        run: the run directory.
        name: `target`, `pool`, `exclude`, or `NAME/target` of several targets: where its parts go below OUT.
        sources: what to embed.
        encoding: with which encoder.
        min_side: see `curator.embedding.embed_source`.
    """

    run: RunDirectory
    name: str
    sources: Sequence[Source]
    encoding: Encoding
    min_side: int = 0

    @property
    def store(self) -> PartStore:
        """Where the parts go."""
        return PartStore(self.run.path(self.name))

    @property
    def identity(self) -> dict[str, Any]:
        """What the parts are made with, as run.json records it."""
        return self.encoding.identity | ({"min_side": self.min_side} if self.min_side else {})

    @property
    def bytes_per_sample(self) -> int:
        """Disk one sample takes: two bytes a dimension, and about 300 of metadata (key, hash, members)."""
        return 2 * self.encoding.dim + 300

    def check(self, redo: str | None) -> None:
        """Raise `InputError` if these sources or this encoder are not those of the parts already there."""
        self.run.check_identity(self.name, self.identity, redo)
        if self.run.redoes(self.name, redo):
            return
        if problem := self.store.difference(self.sources):
            raise InputError(
                f"{self.run.url} is a different run: {problem} ({self.name}): give another --out, or "
                f"--redo {self.name.rpartition('/')[2]}"
            )

    def todo(self, redo: str | None = None) -> list[Source]:
        """The sources that are not finished parts yet."""
        if self.run.redoes(self.name, redo):
            return list(self.sources)
        finished = self.store.finished()
        done = {part.url for part in self.store.registered() if part.part in finished}
        return [source for source in self.sources if source.name not in done]

    def estimate(self, sources: Sequence[Source]) -> float | None:
        """Samples in some of the sources; see `estimate_samples`. Finished parts tell how large a sample is."""
        finished = self.store.finished()
        looked_at = [part for part in self.store.registered() if part.part in finished and part.kind == "tar"]
        looked_at = looked_at[:: max(1, len(looked_at) // LOOK_PARTS)][:LOOK_PARTS]
        seen = sum(self.store.done_mark(part.part, finished[part.part]).seen for part in looked_at)
        return estimate_samples(sources, sum(part.stat.size for part in looked_at) / seen if seen else None)

    def run_on(self, executor: Executor, reporter: Reporter) -> Embedded:
        """Embed what is left and return the accounts of everything.

        Raises:
            CuratorError: workers kept dying, or something other than a bad sample went wrong.
        """
        self.run.record["identities"][self.name] = self.identity
        with self.run.stage(self.name) as state:
            parts = self.store.register(self.sources)
            result = Embedded()
            unreadable = self._embed_missing(parts, executor, reporter, state)
            self._collect(parts, unreadable, result)
            state |= {
                "parts": len(parts),
                "seen": result.account.seen,
                "embedded": result.account.embedded,
                "bad": result.account.bad,
                "work": {name: round(value, 3) for name, value in result.seconds.items()},
            }
        return result

    def _embed_missing(
        self, parts: list[Part], executor: Executor, reporter: Reporter, state: dict[str, Any]
    ) -> dict[int, str]:
        """Run the tasks; returns part -> why for shards that could not be read."""
        identities = {part.part: identity_hash(part.url, part.stat, self.identity) for part in parts}
        self.store.remove_other_marks(identities)
        finished = self.store.finished()
        by_name = {source.name: source for source in self.sources}
        tasks = [
            EmbedTask(by_name[part.url], part.part, identities[part.part])
            for part in parts
            if part.part not in finished
        ]
        state["resumed_parts"] = len(parts) - len(tasks)
        if not tasks:
            reporter.say(f"{self.name}: all {len(parts)} parts were finished before")
            return {}
        self._note_provenance(mixed=bool(finished), reporter=reporter)
        unreadable: dict[int, str] = {}
        failures: list[Exception] = []
        stage = EmbedStage(self.store.url, self.encoding.settings, self.min_side)
        total = self.estimate([task.source for task in tasks])
        with reporter.stage(self.name, total, "samples") as progress:
            with closing(executor.map(stage, tasks, on_progress=progress)) as outcomes:
                for outcome in outcomes:
                    self.run.check_owner()
                    self._sort(outcome, unreadable, failures, reporter)
                    progress.note_bad(outcome.value.ledger if outcome.value else ())
        storage.remove_temporaries(self.store.url)  # of workers that were killed on the way
        if failures:
            more = f" (and {len(failures) - 1} more like it)" if len(failures) > 1 else ""
            raise CuratorError(f"{self.name}: {failures[0]}{more}") from failures[0]
        return unreadable

    def _note_provenance(self, mixed: bool, reporter: Reporter) -> None:
        """Record with what the parts are made; a mix invalidates nothing, but its last bits may differ."""
        now = provenance(self.encoding)
        known = self.run.record.setdefault("provenance", {}).setdefault(self.name, now)
        changes = [f"{name} {known.get(name)}, now {now[name]}" for name in now if known.get(name) != now[name]]
        if mixed and changes:
            reporter.warn(
                f"the finished parts of the {self.name} were made with {'; '.join(changes)}: the last bits of "
                "embeddings may differ between old and new parts"
            )
        self.run.record["provenance"][self.name] = now

    def _sort(
        self,
        outcome: Outcome[EmbedTask, DoneMark],
        unreadable: dict[int, str],
        failures: list[Exception],
        reporter: Reporter,
    ) -> None:
        if isinstance(outcome.error, UnreadableShard):
            unreadable[outcome.task.payload.part] = str(outcome.error)
            reporter.warn(f"cannot read {outcome.error}; it will be tried again on the next run")
        elif outcome.error is not None:
            failures.append(outcome.error)

    def _collect(self, parts: list[Part], unreadable: dict[int, str], result: Embedded) -> None:
        finished = set()
        for number, mark in self.store.marks():
            finished.add(number)
            result.account.add(mark.seen, mark.embedded, mark.ledger)
            result.lines.extend(mark.ledger)
            for name, value in mark.seconds.items():
                result.seconds[name] = result.seconds.get(name, 0.0) + value
        readable = sum(part.stat.size for part in parts if part.part in finished)
        per_byte = result.account.seen / readable if readable else 0.0
        for part in parts:
            if part.part in unreadable:
                # As many samples as readable shards of its size have.
                result.account.add_unreadable(max(1, round(part.stat.size * per_byte)))
                why = LedgerLine(part.url, "", 0, "read", Reason.UNREADABLE_SHARD, unreadable[part.part])
                result.lines.extend([why])


def check_space(out: str, job: EmbedJob, todo: Sequence[Source]) -> None:
    """Raise `InputError` if the embeddings to come do not fit on OUT's disk."""
    free = storage.free_bytes(out)
    samples = job.estimate(todo)
    if free is None or samples is None:
        return
    needed = int(samples * job.bytes_per_sample)
    if needed > free:
        raise InputError(
            f"{out}: the embeddings of the {job.name} need about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            "free: make room or give another --out"
        )
