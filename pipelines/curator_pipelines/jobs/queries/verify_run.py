"""`curator verify`: checks a run directory against its own accounts and its sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from curator.errors import CuratorError, InputError
from curator.io import FileHash, absolute, parquet, schemas, storage
from curator.packing import verify_shards
from curator.store import DoneMark, PartListing, PartStore
from curator_pipelines.run import Reporter, RunDirectory, StoredSelection, TargetDirectory, load_selection

__all__ = ["VerifyResult", "verify"]

# The length of a unit row that is stored in float16 may be off by this much: each number by at most 2^-11 of itself.
UNIT_TOLERANCE = 2e-3


@dataclass(frozen=True)
class VerifyResult:
    """What `curator verify` found.

    Attributes:
        out: the run directory.
        checked: what was checked -> count.
        differences: one line of text each; empty for a sound run.
    """

    out: str
    checked: dict[str, int]
    differences: list[str]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        counts = ", ".join(f"{count:,} {name}" for name, count in self.checked.items())
        if not self.differences:
            return f"{self.out} is sound: {counts} checked"
        return "\n".join([*self.differences, f"{len(self.differences)} differences ({counts} checked)"])


def verify(out: str, reporter: Reporter) -> VerifyResult:
    """Check parts, ledger, selection, manifest, sizes.json and tars.

    Cost: it reads every embedding twice, and every chosen sample twice: from its source and from its output shard.

    Raises:
        InputError: `out` is no run directory.
    """
    run = RunDirectory(absolute(out))
    if not run.record:
        raise InputError(f"{run.url} is no run directory: it has no run.json")
    checked: Counter[str] = Counter()
    stores = run.stores()
    differences = [text for name, store in stores.items() for text in _check_parts(name, store, checked)]
    differences += _check_ledger(run, list(stores.values()), checked)
    reporter.say("verify: reading every chosen sample from its source and its shard")
    for directory in run.target_directories():
        prefix = f"{directory.name}: " if directory.name else ""
        differences += [prefix + text for text in _check_results(directory, checked)]
    return VerifyResult(run.url, dict(checked), differences)


def _check_results(directory: TargetDirectory, checked: Counter[str]) -> Iterator[str]:
    """Yield the differences in one target's selection and output shards."""
    stored = load_selection(directory)
    if stored is None:
        yield "selection: there is no finished selection"
        return
    try:
        yield from _check_selection(directory, stored, checked)
    except CuratorError as error:
        yield f"selection: cannot be checked: {error}"
    try:
        yield from verify_shards(
            directory.url,
            directory.pool,
            stored.ids,
            directory.pool.moved_urls(),
            report=lambda name, count: checked.update({"output shards": 1}),
        )
    except (CuratorError, OSError) as error:
        yield f"shards cannot be checked: {error}"


def _check_parts(name: str, store: PartStore, checked: Counter[str]) -> Iterator[str]:
    listing = store.listing()
    finished = listing.finished
    if not listing.registered:
        yield f"{name}/parts.parquet is missing or holds no part: run again"
        return
    yield from _check_strays(name, store, listing)
    for part in listing.registered:
        if part.is_retired:
            checked["retired parts"] += 1
            continue
        if part.part not in finished:
            held = f" is gone, or was made anew, in {part.place.store}" if part.place else " is not finished: run again"
            yield f"{name} part {part.part} ({part.url}){held}"
            continue
        checked["parts"] += 1
        try:
            yield from _check_part(f"{name} part {part.part}", store, part.part, finished[part.part], checked)
        except (CuratorError, OSError, ValueError) as error:
            yield f"{name} part {part.part} cannot be read: {error}"


def _check_strays(name: str, store: PartStore, listing: PartListing) -> Iterator[str]:
    """Files that other readers of the folders would take for parts."""
    current = {(part.part, part.identity) for part in listing.registered if not part.is_retired}
    held = {(part, identity) for part, identity in current if part in listing.places}
    for part, identity in sorted(({*listing.marks} - current) | (store.file_sizes().keys() - (current - held))):
        yield f"{name} holds files {part:08d}-{identity}, which are no part's of it: run again"


def _check_files(name: str, store: PartStore, part: int, mark: DoneMark) -> Iterator[str]:
    for url, made in ((store.array_url(part), mark.array), (store.metadata_url(part), mark.metadata)):
        with storage.open_stream(url) as stream:
            stored = FileHash.of_stream(stream)
        if stored != made:
            yield f"{name}: {url.rpartition('/')[2]} is not the file that was written (its sha256 differs)"


def _check_part(name: str, store: PartStore, part: int, identity: str, checked: Counter[str]) -> Iterator[str]:
    mark = store.done_mark(part, identity)
    yield from _check_files(name, store, part, mark)
    vectors = store.vectors(part)
    table = store.metadata(part, ["image_path", "part", "index"])
    checked["embeddings"] += len(vectors)
    if not mark.embedded == len(vectors) == table.num_rows:
        yield (
            f"{name}: its done-mark says {mark.embedded} rows, the array has {len(vectors)}, the metadata "
            f"{table.num_rows}"
        )
    if mark.seen != mark.embedded + len(mark.ledger):
        yield (f"{name}: {mark.seen} samples seen, but {mark.embedded} embedded and {len(mark.ledger)} in the ledger")
    if vectors.dtype != np.float16 or vectors.ndim != 2 or vectors.shape[1] != mark.dim:
        yield f"{name}: the array is {vectors.dtype} {vectors.shape}, not float16 (n, {mark.dim})"
        return
    wide = vectors.astype(np.float32)
    is_off = np.abs(np.sqrt(np.einsum("nd,nd->n", wide, wide)) - 1) > UNIT_TOLERANCE
    if is_off.any():
        yield f"{name}: {int(is_off.sum())} rows are not of unit length, the first is row {int(np.argmax(is_off))}"
    index = np.arange(table.num_rows)
    if not (np.array_equal(table["index"], index) and np.all(np.asarray(table["part"]) == part)):
        yield f"{name}: its metadata is not numbered 0, 1, 2, ..."


def _check_ledger(run: RunDirectory, stores: list[PartStore], checked: Counter[str]) -> Iterator[str]:
    """quarantine.parquet must hold the ledger lines of all parts, and those of unreadable shards."""
    expected: Counter[tuple[Any, ...]] = Counter()
    for store in stores:
        for part, identity in store.listing().finished.items():
            try:
                mark = store.done_mark(part, identity)
            except CuratorError:
                continue  # told with the parts
            for line in mark.ledger:
                expected[(line.shard, line.key, line.offset, str(line.reason))] += 1
    try:
        table = parquet.read_table(run.path("quarantine.parquet"), schemas.QUARANTINE)
    except FileNotFoundError:
        yield "quarantine.parquet is missing: run again"
        return
    recorded = Counter(
        (row["shard"], row["key"], row["offset"], row["reason"])
        for row in table.to_pylist()
        if row["reason"] != "unreadable_shard"
    )
    checked["ledger lines"] += table.num_rows
    for shard, key, _, reason in (expected - recorded).elements():
        yield f"quarantine.parquet lacks {shard} {key} ({reason})"
    for shard, key, _, reason in (recorded - expected).elements():
        yield f"quarantine.parquet has {shard} {key} ({reason}), which no part's ledger has"


def _check_selection(directory: TargetDirectory, stored: StoredSelection, checked: Counter[str]) -> Iterator[str]:
    record = stored.record
    checked["chosen"] += len(stored.ids)
    skipped = parquet.read_table(directory.path("selection", "skipped.parquet"), schemas.SKIPPED).num_rows
    candidates = directory.pool.count()
    if record["count"] != len(stored.ids):
        yield f"selection.json says {record['count']} samples, selected.parquet has {len(stored.ids)}"
    if record["skipped"] != skipped:
        yield f"selection.json says {record['skipped']} skipped, skipped.parquet has {skipped}"
    if candidates != len(stored.ids) + skipped + record["not_reached"]:
        yield (
            f"{candidates} candidates, but {len(stored.ids)} chosen, {skipped} skipped and "
            f"{record['not_reached']} not reached"
        )
    if len(np.unique(stored.ids)) != len(stored.ids):
        yield "selected.parquet holds an id twice"
    rounds = parquet.read_table(directory.path("selection", "rounds.parquet"), schemas.ROUNDS)
    if rounds.num_rows and sum(rounds["chosen"].to_pylist()) != len(stored.ids):
        yield "rounds.parquet and selected.parquet count differently"
