"""The embed job: every source that is not a finished part yet becomes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from curator.errors import Another, InputError, Redo, Use, counted
from curator.io import storage
from curator.sources import Source
from curator.store import (
    DoneMark,
    FileSizes,
    Part,
    PartListing,
    PartStore,
    SourceChanges,
    StoredParts,
    find_changes,
    part_of,
)
from curator_pipelines.executors import Executor, InProcessExecutor, usable_cpus
from curator_pipelines.jobs.measure import Encoding, provenance
from curator_pipelines.jobs.select.embedded import Embedded, collect_parts
from curator_pipelines.jobs.select.failed_shards import FailedShards
from curator_pipelines.jobs.select.references import References, find_references
from curator_pipelines.jobs.select.update_parts import Renewed, register_parts, renew_parts
from curator_pipelines.run import Reporter, RunDirectory, estimate_samples
from curator_pipelines.stages import EmbedStage, EmbedTask

__all__ = ["EmbedJob"]

# Finished parts that are asked how many bytes a sample takes.
LOOK_PARTS = 16
# Ready embeddings that are imported sooner than a worker starts.
FEW_ROWS = 100_000


@dataclass(frozen=True)
class EmbedJob:
    """Embeds the sources of one set of a run.

    Args:
        run: the run directory.
        name: `target`, `pool`, `exclude`, or `NAME/target` of several targets: where its parts go below OUT.
        sources: what to embed.
        encoding: with which encoder.
        min_side: see `curator.embedding.read_decode_encode`.
        update: sources that are gone or changed cost their own parts and no others.
        redo: the stage that the run starts anew.
        ready_rows: name -> rows of the sources that are ready embeddings.
        give_up_shards: sources that kill every worker are unreadable ones, and no failure.
        refers: the parts of another run's pool are used where they are, and not copied.
    """

    run: RunDirectory
    name: str
    sources: Sequence[Source]
    encoding: Encoding
    min_side: int = 0
    update: bool = False
    redo: str | None = None
    ready_rows: Mapping[str, int] = field(default_factory=dict)
    give_up_shards: bool = False
    refers: bool = False

    @cached_property
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
    def sizes(self) -> dict[tuple[int, str], FileSizes]:
        """The files that stood when the run began, without those that `redo` throws away; looked up once."""
        return {} if self.run.redoes(self.name, self.redo) else self.store.file_sizes()

    @cached_property
    def own_finished(self) -> dict[int, str]:
        """Part number -> identity of those that are finished here, and were made as this run would make them."""
        by_name = {source.name: source for source in self.sources}
        own = [part for part in self.active if part.place is None and part.url in by_name]
        wanted = [self.part_of(by_name[part.url], part.part) for part in own]
        marks = set(self.listing.marks)
        names = [(part.part, part.identity) for part in wanted]
        # A mark without its data says nothing.
        return dict(name for name in names if name in marks and min(self.sizes.get(name, (0,))) > 0)

    @cached_property
    def references(self) -> References:
        """The parts that other stores hold, looked up once."""
        return find_references(self)

    @cached_property
    def finished(self) -> dict[int, str]:
        """The same as `own_finished`, with the registered parts that another store holds."""
        places, lost = self.references.places, set(self.references.lost)
        held = [part for part in self.active if part.url in places and part not in lost]
        changed = {part.part for part in (*self.changes.changed, *self.changes.touched)}
        return self.own_finished | {part.part: part.identity for part in held if part.part not in changed}

    @cached_property
    def changes(self) -> SourceChanges:
        """How the sources differ from those of the registered parts."""
        return replace(find_changes(self.listing.registered, self.sources), lost=self.references.lost)

    @property
    def active(self) -> list[Part]:
        """The registered parts whose sources are there still."""
        return [part for part in self.listing.registered if not part.is_retired]

    @cached_property
    def todo(self) -> list[Source]:
        """The sources that are not finished parts yet."""
        done = {part.url for part in self.active if part.part in self.finished} | set(self.references.places)
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
        if self.changes and not self.update:
            update = (Use("update_pool", True),) if self.name == "pool" else ()
            moved = ("relocate this run if they moved",) if self.changes.gone or self.changes.lost else ()
            raise InputError(
                f"{self.run.url} is a different run: {self.changes.text()} ({self.name})",
                advice=(*moved, *update, Another("out"), Redo(self.name.rpartition("/")[2])),
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
            failed = FailedShards(self.name, self._read_before(), reporter, give_up=self.give_up_shards)
            renewed = renew_parts(self, executor, failed, reporter) if self.changes else Renewed()
            parts = register_parts(self, renewed)
            held = {part.part: part.identity for part in parts if part.place and not part.is_retired}
            standing = self.finished | renewed.identities | held
            if held:
                reporter.say(f"{self.name}: {self.references.to_text()}")
            unreadable = self._embed_missing(parts, standing, executor, failed, reporter, state)
            embedded, damaged = collect_parts(self, parts, self.finished, unreadable)
            if damaged:
                reporter.warn(
                    f"{self.name}: the files of {len(damaged):,} parts are not those that were written, the first of "
                    f"{parts[damaged[0]].url}: they are made anew"
                )
                standing = {part: identity for part, identity in standing.items() if part not in damaged}
                unreadable = self._embed_missing(parts, standing, executor, failed, reporter, state)
                embedded, _ = collect_parts(self, parts, {}, unreadable)
            self._remove_replaced(embedded.stored)
            for text in embedded.remarks.texts():
                reporter.warn(f"{self.name}: {text}")
            state |= {
                "parts": len(parts) - embedded.account.retired,
                "retired": embedded.account.retired,
                "held_elsewhere": len(held),
                "seen": embedded.account.seen,
                "embedded": embedded.account.embedded,
                "bad": embedded.account.bad,
                "work": {name: round(value, 3) for name, value in embedded.seconds.items()},
            }
        return embedded

    def _embed_missing(
        self,
        parts: Sequence[Part],
        finished: Mapping[int, str],
        executor: Executor,
        failed: FailedShards,
        reporter: Reporter,
        state: dict[str, Any],
    ) -> dict[int, str]:
        """Run the tasks of the parts that are not finished; returns part -> why for shards that could not be read."""
        by_name = {source.name: source for source in self.sources}
        todo = [part for part in parts if not (part.is_retired or part.is_kept) and part.part not in finished]
        # The largest first: one that begins when all others are done would set the end of the stage. The parts have
        # their numbers already, so the order changes no byte.
        todo.sort(key=lambda part: by_name[part.url].stat.size, reverse=True)
        tasks = [EmbedTask(by_name[part.url], part.part, part.identity) for part in todo]
        state |= {"resumed_parts": len(finished), "reused": not tasks}
        if not tasks:
            if own := len(finished) - sum(part.place is not None for part in parts if not part.is_retired):
                reporter.say(f"{self.name}: {counted(own, 'part was', 'parts were')} finished before")
            return failed.end()
        self._note_provenance(mixed=bool(finished), reporter=reporter)
        stage = EmbedStage(self.store.url, self.encoding.settings, self.min_side)
        if self._is_imported_here:
            executor = InProcessExecutor(usable_cpus())
        with (
            reporter.stage(self.name, self.samples_left, "samples") as progress,
            closing(executor.map(stage, tasks, on_progress=progress)) as outcomes,
        ):
            for outcome in outcomes:
                self.run.check_owner()
                failed.add(outcome)
                progress.note_bad(outcome.value.ledger if outcome.value else ())
        storage.remove_temporaries(self.store.url)  # of workers that were killed on the way
        self._tell_other_bits(reporter)
        return failed.end()

    @property
    def _is_imported_here(self) -> bool:
        """Few ready embeddings of a target stand before a worker has started, and none of them can kill it."""
        is_ready = self.encoding.settings is None and self.name != "pool"
        return is_ready and self.samples_left is not None and self.samples_left <= FEW_ROWS

    def _tell_other_bits(self, reporter: Reporter) -> None:
        """Say when the parts come from machines whose vectors differ in the last bits."""
        if not self.encoding.settings:
            return
        from curator.embedding import kinds_of_machine

        kinds = kinds_of_machine(self.store.url, self.encoding.identity)
        if len(kinds) > 1:
            reporter.warn(
                f"the {self.name} was embedded by machines whose vectors of fixed images differ in the last bits: "
                f"{'; '.join(kinds)}. Only machines of one kind give the same bytes again"
            )

    def _read_before(self) -> Source | None:
        """A source that could be read in an earlier run."""
        left = {source.name for source in self.todo}
        return next((source for source in self.sources if source.name not in left), None)

    def part_of(self, source: Source, number: int) -> Part:
        """The part that this job makes of a source."""
        return part_of(source, number, self.encoding.identity, self.min_side)

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

    def _remove_replaced(self, stored: StoredParts) -> None:
        """Remove the files of the beginning that are no part's any more: the marks of those that replace them stand."""
        self.run.check_owner()
        own = (part for part in stored.registered() if not (part.is_retired or part.place))
        current = {(part.part, part.identity) for part in own}
        self.store.remove_files(name for name in self.sizes if name not in current)
