"""`curator relocate`: what a run was made from lies elsewhere now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from curator.errors import InputError, counted
from curator.io import Stat, absolute, owned, part_files, public_name, storage
from curator.sources import list_folder, pair_state
from curator.store import DoneMark, FileSizes, Part, PartStore, moved, parse_moves
from curator_pipelines.config import RelocateConfig
from curator_pipelines.run import Reporter, RunDirectory

__all__ = ["Relocated", "run_relocate"]

NOTHING = FileSizes(0, 0)


@dataclass(frozen=True)
class Relocated:
    """What `curator relocate` wrote down.

    Attributes:
        out: the run directory.
        sources: how many sources are read elsewhere than before.
        parts: how many parts of other runs are.
        unmoved: sources and parts that no move speaks of.
    """

    out: str
    sources: int
    parts: int
    unmoved: int

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        held = f" and {counted(self.parts, 'part')} of other runs" if self.parts else ""
        return (
            f"{counted(self.sources, 'source is', 'sources are')}{held} read at the new place, {self.unmoved:,} where "
            "they were; names, embeddings and selections stay as they are"
        )


def run_relocate(config: RelocateConfig, reporter: Reporter) -> Relocated:
    """Write down where the sources of a run, and the parts that other runs hold, lie now. Nothing is embedded.

    Cost: a look at each of them; of parts that other runs hold, two listings of each store and their done-marks.

    Raises:
        InputError: no run is there; something is missing at the new place, or of another size. Nothing was written.
    """
    out = absolute(config.out)
    if not RunDirectory(out).record:
        raise InputError("no run is there: it has no run.json", field="out", value=out)
    with owned(out) as owner:
        return _relocate(RunDirectory(out, owner), config.moves, reporter)


def _relocate(run: RunDirectory, texts: Sequence[str], reporter: Reporter) -> Relocated:
    registers = {name: (store, store.registered()) for name, store in run.stores().items()}
    parts = [part for _, listed in registers.values() for part in listed if not part.is_retired]
    moves = parse_moves(texts, sorted({url for part in parts for url in _urls_of(part)}))
    wanted = {part.url: target for part in parts if (target := moved(moves, part.url, part.source_url))}
    reporter.say(f"relocate: {counted(len(wanted), 'source')} to look at")
    states = _states({target: part.kind for part in parts if (target := wanted.get(part.url))})
    _check_sources(parts, wanted, states)
    stores = {part.place.store for part in parts if part.place}
    new_stores = {store: target for store in sorted(stores) if (target := moved(moves, store, store))}
    _check_places(parts, new_stores)
    anew = {
        name: [_part_there(part, wanted, states, new_stores) for part in listed]
        for name, (_, listed) in registers.items()
    }
    pairs = [pair for name, (_, listed) in registers.items() for pair in zip(listed, anew[name], strict=True)]
    count = {
        "sources": sum(old.url in wanted for old, _ in pairs if not old.is_retired),
        "parts": sum(old.place != new.place for old, new in pairs),
    }
    entries = [{"from": move.old, "to": move.new} for move in moves]
    # Before the registers: a run compares by them only if this says so.
    run.record.setdefault("relocated", []).append({"at": datetime.now(UTC).isoformat(), "moves": entries, **count})
    run.save()
    for name, (store, listed) in registers.items():
        if anew[name] != listed:
            run.check_owner()
            store.write_register(anew[name])
    unmoved = sum(part.url not in wanted and not (part.place and part.place.store in new_stores) for part in parts)
    return Relocated(run.url, count["sources"], count["parts"], unmoved)


def _urls_of(part: Part) -> Iterator[str]:
    yield from (part.source_url, part.url)
    if part.place:
        yield part.place.store


def _states(kinds: Mapping[str, str]) -> dict[str, Stat]:
    """The states of sources, by URL, without those that are not there."""
    tars = [url for url, kind in kinds.items() if kind == "tar"]
    arrays = [url for url, kind in kinds.items() if kind == "embeddings"]
    files = storage.stat_many([*tars, *arrays, *map(_metadata_of, arrays)])
    states = {url: files[url] for url in tars if url in files}
    for url in arrays:
        if url in files and _metadata_of(url) in files:
            states[url] = pair_state(files[url], files[_metadata_of(url)])
    for url, kind in kinds.items():
        if kind == "folder" and storage.is_directory(url):
            states[url] = list_folder(url).stat
    return states


def _metadata_of(array: str) -> str:
    """Where the metadata of ready embeddings is: in clip-retrieval's layout beside the folder of the arrays."""
    folder, _, name = array.rpartition("/img_emb/")
    return storage.join(folder, "metadata", name.replace("img_emb", "metadata", 1).replace(".npy", ".parquet"))


def _check_sources(parts: Sequence[Part], wanted: Mapping[str, str], states: Mapping[str, Stat]) -> None:
    sizes = {part.url: part.stat.size for part in parts}
    missing = [target for target in wanted.values() if target not in states]
    other = [wanted[name] for name in wanted if wanted[name] in states and states[wanted[name]].size != sizes[name]]
    counts = [f"{len(missing):,} are not there"] if missing else []
    if other:
        counts.append(f"{len(other):,} have another size")
    if counts:
        raise InputError(
            f"of {counted(len(wanted), 'source')} at the new place {' and '.join(counts)}, such as "
            f"{(missing or other)[0]}; nothing was written",
            field="moves",
            advice=("copy what is missing", "give longer prefixes for what moved alone"),
        )
    places = {wanted.get(part.url, part.source_url) for part in parts}
    if len(places) < len({part.url for part in parts}):
        raise InputError("two sources of this run would be read at one place; nothing was written", field="moves")


def _check_places(parts: Sequence[Part], new_stores: Mapping[str, str]) -> None:
    held = [part for part in parts if part.place and part.place.store in new_stores]
    sizes = {store: PartStore(store).file_sizes() for store in sorted(set(new_stores.values()))}

    def is_there(part: Part) -> bool:
        assert part.place is not None
        store, number = new_stores[part.place.store], part.place.part
        try:
            mark = DoneMark.read(part_files.mark_url(store, number, part.identity))
        except FileNotFoundError:
            return False
        found = sizes[store].get((number, part.identity), NOTHING)
        return mark.content == part.place.content and mark.has_sizes(found)

    with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
        lost = [part for part, there in zip(held, threads.map(is_there, held), strict=True) if not there]
    if lost:
        raise InputError(
            f"of {counted(len(held), 'part')} of other runs {len(lost):,} are not at the new place as they were, such "
            f"as that of {lost[0].url}; nothing was written",
            field="moves",
        )


def _part_there(
    part: Part, wanted: Mapping[str, str], states: Mapping[str, Stat], new_stores: Mapping[str, str]
) -> Part:
    if part.is_retired:
        return part
    if part.place and (store := new_stores.get(part.place.store)):
        part = replace(part, place=replace(part.place, store=store))
    target = wanted.get(part.url)
    if target is None:
        return part
    if target == part.url and states[target] == part.stat:
        return replace(part, read_url="", read_version="")
    return replace(part, read_url=public_name(target), read_version=states[target].version)
