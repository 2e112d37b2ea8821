"""The embed job: every source that is not a finished part yet becomes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from curator.errors import Another, CuratorError, InputError, Reason, Redo
from curator.io import storage
from curator.sources import Remarks, Source, UnreadableShard, count_left_out
from curator.store import (
    Account,
    DoneMark,
    LedgerLines,
    Part,
    PartListing,
    PartStore,
    StoredParts,
    check_max_bad,
    difference,
    identity_hash,
)
from curator.types import LedgerLine
from curator_pipelines.executors import Executor, Outcome
from curator_pipelines.jobs.measure import Encoding, provenance
from curator_pipelines.run import Reporter, RunDirectory, estimate_samples
from curator_pipelines.stages import EmbedStage, EmbedTask

__all__ = ["EmbedJob", "Embedded"]

# Finished parts that are asked how many bytes a sample takes.
LOOK_PARTS = 16


@dataclass(frozen=True)
class Embedded:
    """What the embed job leaves.

    Attributes:
        stored: the parts, as they are from now on.
        account: what became of the samples of all parts.
        lines: the ledger lines of all parts.
        seconds: time per station, of all parts together.
        remarks: what is no damage and should be known.
    """

    stored: StoredParts
    account: Account
    lines: LedgerLines
    seconds: dict[str, float]
    remarks: Remarks

    def check_max_bad(self, max_bad: float | None, name: str) -> None:
        """Raise `TooManyBad` if too many samples are bad; a shard that could not be read counts with all of its own."""
        hidden = self.account.hidden
        check_max_bad(self.account.bad + hidden, self.account.seen + hidden, max_bad, name, self.lines)


@dataclass(frozen=True)
class EmbedJob:
    """Embeds the sources of one set of a run.

    Args:
        run: the run directory.
        name: `target`, `pool`, `exclude`, or `NAME/target` of several targets: where its parts go below OUT.
        sources: what to embed.
        encoding: with which encoder.
        min_side: see `curator.embedding.read_decode_encode`.
        redo: the stage that the run starts anew.
        ready_rows: name -> rows of the sources that are ready embeddings.
    """

    run: RunDirectory
    name: str
    sources: Sequence[Source]
    encoding: Encoding
    min_side: int = 0
    redo: str | None = None
    ready_rows: Mapping[str, int] = field(default_factory=dict)

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

    @cached_property
    def listing(self) -> PartListing:
        """The parts that stood when the run began, without those that `redo` throws away; looked up once."""
        return PartListing() if self.run.redoes(self.name, self.redo) else self.store.listing()

    @cached_property
    def finished(self) -> dict[int, str]:
        """Part number -> identity of those of them that are finished, and were made as this run would make them."""
        identities = self._identities(self.listing.registered)
        return {part: identity for part, identity in self.listing.marks if identities.get(part) == identity}

    @cached_property
    def todo(self) -> list[Source]:
        """The sources that are not finished parts yet."""
        done = {part.url for part in self.listing.registered if part.part in self.finished}
        return [source for source in self.sources if source.name not in done]

    @cached_property
    def samples_left(self) -> float | None:
        """Samples in `todo`; see `estimate_samples`."""
        return self.estimate(self.todo)

    @cached_property
    def samples(self) -> float | None:
        """Samples in all sources; see `estimate_samples`."""
        return self.estimate(self.sources)

    @cached_property
    def looked_at(self) -> dict[int, DoneMark]:
        """The done-marks of a few finished shards, by part: they tell how many bytes a sample takes."""
        finished = self.finished
        shards = [part.part for part in self.listing.registered if part.part in finished and part.kind == "tar"]
        shards = shards[:: max(1, len(shards) // LOOK_PARTS)][:LOOK_PARTS]
        return dict(self.store.marks({part: finished[part] for part in shards}))

    def estimate(self, sources: Sequence[Source]) -> float | None:
        """Samples in some of the sources; see `estimate_samples`. Finished parts tell how large a sample is."""
        if not sources:
            return 0
        seen = sum(mark.seen for mark in self.looked_at.values())
        size = sum(part.stat.size for part in self.listing.registered if part.part in self.looked_at)
        return estimate_samples(sources, self.ready_rows, size / seen if seen else None)

    def check(self) -> None:
        """Raise `InputError` if these sources or this encoder are not those of the parts already there."""
        self.run.check_identity(self.name, self.identity, self.redo)
        if problem := difference(self.listing.registered, self.sources):
            raise InputError(
                f"{self.run.url} is a different run: {problem} ({self.name})",
                advice=(Another("out"), Redo(self.name.rpartition("/")[2])),
            )

    def check_space(self) -> None:
        """Raise `InputError` if the embeddings to come do not fit on OUT's disk."""
        free = storage.free_bytes(self.run.url)
        if free is None or self.samples_left is None:
            return
        needed = int(self.samples_left * self.bytes_per_sample)
        if needed > free:
            raise InputError(
                f"the embeddings of the {self.name} need about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
                field="out",
                value=self.run.url,
                advice=("make room", Another("out")),
            )

    def run_on(self, executor: Executor, reporter: Reporter) -> Embedded:
        """Embed what is left and return the accounts of everything.

        Raises:
            CuratorError: workers kept dying, or something other than a bad sample went wrong.
        """
        self.run.record["identities"][self.name] = self.identity
        with self.run.stage(self.name) as state:
            parts = self.store.register(self.sources, self.listing.registered)
            identities = self._identities(parts)
            unreadable = self._embed_missing(parts, identities, executor, reporter, state)
            embedded = self._collect(parts, identities, unreadable)
            for text in embedded.remarks.texts():
                reporter.warn(f"{self.name}: {text}")
            state |= {
                "parts": len(parts),
                "seen": embedded.account.seen,
                "embedded": embedded.account.embedded,
                "bad": embedded.account.bad,
                "work": {name: round(value, 3) for name, value in embedded.seconds.items()},
            }
        return embedded

    def _embed_missing(
        self,
        parts: Sequence[Part],
        identities: Mapping[int, str],
        executor: Executor,
        reporter: Reporter,
        state: dict[str, Any],
    ) -> dict[int, str]:
        """Run the tasks; returns part -> why for shards that could not be read."""
        tasks = self._tasks(parts, identities)
        state["resumed_parts"] = len(parts) - len(tasks)
        if not tasks:
            reporter.say(f"{self.name}: all {len(parts)} parts were finished before")
            return {}
        self._note_provenance(mixed=len(tasks) < len(parts), reporter=reporter)
        unreadable: dict[int, str] = {}
        failures: list[Exception] = []
        stage = EmbedStage(self.store.url, self.encoding.settings, self.min_side)
        with (
            reporter.stage(self.name, self.samples_left, "samples") as progress,
            closing(executor.map(stage, tasks, on_progress=progress)) as outcomes,
        ):
            for outcome in outcomes:
                self.run.check_owner()
                self._sort(outcome, unreadable, failures, reporter)
                progress.note_bad(outcome.value.ledger if outcome.value else ())
        storage.remove_temporaries(self.store.url)  # of workers that were killed on the way
        if failures:
            more = f" (and {len(failures) - 1} more like it)" if len(failures) > 1 else ""
            raise CuratorError(f"{self.name}: {failures[0]}{more}") from failures[0]
        return unreadable

    def _tasks(self, parts: Sequence[Part], identities: Mapping[int, str]) -> list[EmbedTask]:
        """The parts still to make. Done-marks of another identity go first: they would vouch for other data."""
        for number, identity in self.listing.marks:
            if identities.get(number) != identity:
                self.store.remove_mark(number, identity)
        by_name = {source.name: source for source in self.sources}
        return [
            EmbedTask(by_name[part.url], part.part, identities[part.part])
            for part in parts
            if part.part not in self.finished
        ]

    def _identities(self, parts: Sequence[Part]) -> dict[int, str]:
        return {part.part: identity_hash(part.url, part.stat, self.identity) for part in parts}

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

    def _collect(self, parts: Sequence[Part], identities: Mapping[int, str], unreadable: Mapping[int, str]) -> Embedded:
        """Read every done-mark once, and add up what they say."""
        finished = self.store.keep_marks(identities)
        account, lines, seconds = Account(left_out=count_left_out(self.sources)), LedgerLines(), dict[str, float]()
        remarks = Remarks()
        counts = {}
        for number, mark in self.store.marks(finished, read=self.looked_at):
            counts[number] = mark.counts
            account.add(mark.seen, mark.embedded, mark.ledger)
            lines.extend(mark.ledger)
            remarks.update(mark.remarks)
            for name, value in mark.seconds.items():
                seconds[name] = seconds.get(name, 0.0) + value
        readable = sum(part.stat.size for part in parts if part.part in finished)
        per_byte = account.seen / readable if readable else 0.0
        for part in parts:
            if part.part in unreadable:
                # As many samples as readable shards of its size have.
                account.add_unreadable(max(1, round(part.stat.size * per_byte)))
                why = LedgerLine(part.url, "", 0, "read", Reason.UNREADABLE_SHARD, unreadable[part.part])
                lines.extend([why])
        stored = StoredParts(self.store.url, PartListing(tuple(parts), tuple(finished.items())), counts)
        return Embedded(stored, account, lines, seconds, remarks)
