"""A selection as it is stored below OUT/selection: written, read again, and what its samples stand for."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curator.errors import InputError, Redo, counted
from curator.io import npy, parquet, public_values, schemas, storage
from curator.selection import (
    DUPLICATE,
    NEAR_DUPLICATE,
    NEAR_EVALUATION,
    OWN_REASONS,
    Nearest,
    NextRows,
    Selection,
    Selector,
    Skipped,
)
from curator_pipelines.config import SelectConfig
from curator_pipelines.run.held_out_report import HeldOutReport
from curator_pipelines.run.run_directory import TargetDirectory

__all__ = [
    "Replaced",
    "StoredSelection",
    "load_selection",
    "note_unreadable",
    "stands_for",
    "store_selection",
    "unreadable_shards",
]


@dataclass(frozen=True)
class Replaced:
    """A selection in whose place another was written.

    Attributes:
        count: samples that it had.
        again: those of them that are in the new one too.
    """

    count: int
    again: int

    def to_text(self) -> str:
        """For a person."""
        return f"another selection of {counted(self.count, 'sample')}, of which {self.again:,} are chosen again"


@dataclass(frozen=True)
class StoredSelection:
    """A selection as it is stored.

    Attributes:
        record: the content of `selection.json`.
        ids: int64, in order of choice.
        scores: float32; NaN from selectors without scores.
        anchors: int32, the column `centroid`: see `Selection.anchors`.
        rounds: int32; -1 from selectors without rounds.
        passes: how often the pool was read to find it; 0 for one that was there before.
        is_new: it was made by this call.
        replaced: the other selection that stood there before this call made it.
    """

    record: dict[str, Any]
    ids: np.ndarray
    scores: np.ndarray
    anchors: np.ndarray
    rounds: np.ndarray
    passes: int = 0
    is_new: bool = False
    replaced: Replaced | None = None


def store_selection(
    directory: TargetDirectory,
    config: SelectConfig,
    selector: Selector,
    selection: Selection,
    report: HeldOutReport,
    stop: float | None,
    identity: str,
) -> StoredSelection:
    """Write selection/; selection.json goes last.

    Args:
        directory: of the target.
        config: of the run.
        selector: which of the columns are known.
        selection: what to write.
        report: what the target's own images say of it.
        stop: the threshold that was in force.
        identity: a hash of all that the selection is a function of.
    """
    if selection.anchor_rows is None:
        storage.remove(directory.path("selection", "centroids.npy"))
    else:
        npy.write_array(directory.path("selection", "centroids.npy"), selection.anchor_rows.astype(np.float32))
    columns = _row_columns(directory, selector, selection)
    parquet.write_table(directory.path("selection", "selected.parquet"), schemas.SELECTED, columns)
    table = selection.rounds_table
    parquet.write_table(
        directory.path("selection", "rounds.parquet"),
        schemas.ROUNDS,
        {
            "round": table.round,
            "mean_score": table.mean_score,
            "ratio": [None if math.isnan(ratio) else ratio for ratio in table.ratio.tolist()],
            "chosen": table.chosen,
        },
    )
    columns = _row_columns(directory, selector, selection.skipped) | _reason_columns(directory, selection.skipped)
    parquet.write_table(directory.path("selection", "skipped.parquet"), schemas.SKIPPED, columns)
    columns = _nearest_columns(directory, selection.nearest or Nearest.unknown())
    parquet.write_table(directory.path("selection", "nearest.parquet"), schemas.NEAREST, columns)
    columns = _row_columns(directory, selector, selection.next_rows)
    parquet.write_table(directory.path("selection", "next.parquet"), schemas.NEXT, columns)
    report.write(directory)
    record = _record(config, selection, identity) | _stop(config, stop) | report.to_json()
    record["unreadable_shards"] = unreadable_shards(directory)
    _write_record(directory, record)
    return StoredSelection(
        record, selection.ids, selection.scores, selection.anchors, selection.rounds, selection.passes, is_new=True
    )


def unreadable_shards(directory: TargetDirectory) -> list[str]:
    """Names of the shards of pool, target and evaluation set that could not be read, so that nothing of them counts."""
    return [
        part.url
        for store in (directory.pool, directory.target, directory.exclude)
        for finished in [store.finished()]
        for part in store.registered()
        if part.part not in finished and not part.is_retired
    ]


def note_unreadable(directory: TargetDirectory, stored: StoredSelection) -> None:
    """Bring the list of unreadable shards up to date in a selection.json that stays: more of them change no choice."""
    unreadable = unreadable_shards(directory)
    if stored.record.get("unreadable_shards") != unreadable:
        stored.record["unreadable_shards"] = unreadable
        _write_record(directory, stored.record)


def _write_record(directory: TargetDirectory, record: dict[str, Any]) -> None:
    text = json.dumps(public_values(record), indent=2)
    storage.write_bytes(directory.path("selection", "selection.json"), text.encode())


def _reason_columns(directory: TargetDirectory, skipped: Skipped) -> dict[str, Any]:
    """Why rows were skipped; a match is named as deny lists name samples."""
    because = np.array(skipped.because, object)
    reasons = np.array(skipped.reasons, object)
    named = (
        (directory.pool, (DUPLICATE, NEAR_DUPLICATE)),
        (directory.exclude, (NEAR_EVALUATION,)),
        (directory.target, OWN_REASONS),
    )
    for store, names in named:
        places = np.flatnonzero(np.isin(reasons, names))
        rows = store.rows(skipped.matches[places], ["shard", "image_path"]) if len(places) else None
        for place, shard, key in zip(places, rows["shard"], rows["image_path"], strict=True) if rows else ():
            because[place] = f"{shard}\t{key}"
    matched = skipped.matches >= 0
    return {
        "reason": skipped.reasons,
        "because": because.tolist(),
        "match": pa.array(skipped.matches, mask=~matched),
        "similarity": pa.array(skipped.similarities, mask=~matched),
    }


def _nearest_columns(directory: TargetDirectory, nearest: Nearest) -> dict[str, Any]:
    targets = directory.target.rows(directory.target.ids()[nearest.rows], ["image_path"])
    held = nearest.ids >= 0
    samples = directory.pool.rows(nearest.ids[held], ["shard", "image_path"])
    # A place without a row takes nothing.
    places = pa.array(np.cumsum(held) - 1, mask=~held)
    return {
        "target_row": nearest.rows,
        "target_key": targets["image_path"].combine_chunks(),
        "id": pa.array(nearest.ids, mask=~held),
        "shard": samples["shard"].combine_chunks().take(places),
        "key": samples["image_path"].combine_chunks().take(places),
        "score": pa.array(nearest.scores, mask=~held),
    }


def _row_columns(
    directory: TargetDirectory, selector: Selector, rows: Selection | Skipped | NextRows
) -> dict[str, Any]:
    """The columns of `schemas.RANKED_ROW`. What a selector does not know is null, not a number that looks like one."""
    samples = directory.pool.rows(rows.ids, ["shard", "image_path"])
    unknown = [None] * len(rows.ids)
    return {
        "id": rows.ids,
        "shard": samples["shard"],
        "key": samples["image_path"],
        "score": rows.scores if selector.has_scores else unknown,
        "centroid": rows.anchors if selector.has_anchors else unknown,
        "round": rows.rounds if selector.has_rounds else unknown,
    }


def _record(config: SelectConfig, selection: Selection, identity: str) -> dict[str, Any]:
    means = selection.rounds_table.mean_score
    stopped = selection.stopped_at
    return {
        "version": schemas.FORMAT_VERSION,
        "identity": identity,
        "selector": config.selector,
        "count": len(selection.ids),
        "candidates": selection.candidates,
        "skipped": len(selection.skipped),
        "not_reached": selection.not_reached,
        "rounds": len(means),
        "stop_reason": str(selection.stop_reason),
        "stopped_at": stopped._asdict() if stopped else None,
        "reference_round": config.reference_round,
        "reference_mean": _finite(selection.reference_mean),
        "first_mean": float(means[0]) if len(means) else None,
        "last_mean": float(means[-1]) if len(means) else None,
        "around_end": [line._asdict() | {"ratio": _finite(line.ratio)} for line in selection.around_end],
        "thresholds": [told._asdict() for told in selection.thresholds],
        "next": len(selection.next_rows),
        "objective": _finite(selection.objective),
        "own_images": sum(reason in OWN_REASONS for reason in selection.skipped.reasons),
        "target_copies": selection.target_copies,
        "verdict": selection.verdict.to_json() if selection.verdict else None,
        "dedup": config.dedup,
        "exclude_above": config.exclude_above if config.exclude else None,
        # The exact search misses nothing; the index says here what it measured.
        "recall": 1.0 if selection.recall is None else selection.recall["estimate"],
        "search": "exact" if selection.recall is None else "ivf",
        "index": selection.recall,
        "warnings": selection.warnings,
    }


def _stop(config: SelectConfig, stop: float | None) -> dict[str, Any]:
    """The threshold in force, and who set it."""
    from_preset = config.preset is not None and "stop" not in config.model_fields_set
    auto = config.limits()[1] == "auto"
    origin = None if stop is None else "auto" if auto else f"preset {config.preset}" if from_preset else "given"
    return {"stop": stop, "stop_from": origin}


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def load_selection(directory: TargetDirectory) -> StoredSelection | None:
    """The stored selection; None if there is no finished one."""
    try:
        record = json.loads(storage.read_bytes(directory.path("selection", "selection.json")))
        url = directory.path("selection", "selected.parquet")
        table = parquet.read_table(url, schemas.SELECTED, ["id", "score", "centroid", "round"])
    except FileNotFoundError:
        return None
    if record.get("version") != schemas.FORMAT_VERSION:
        raise InputError(f"{directory.path('selection')} has an unknown format version", advice=Redo("select"))
    return StoredSelection(
        record,
        table["id"].to_numpy(),
        table["score"].fill_null(math.nan).to_numpy(),
        table["centroid"].fill_null(-1).to_numpy(),
        table["round"].fill_null(-1).to_numpy(),
    )


def stands_for(directory: TargetDirectory, stored: StoredSelection) -> pa.ListArray | None:
    """What each chosen sample stands for, in order of choice; None where duplicates were not looked for.

    Returns:
        lists of `schemas.STANDS_FOR`: the samples skipped as its duplicates, in the order in which
        they would have been chosen.
    """
    if stored.record.get("dedup") is None:
        return None
    table = parquet.read_table(directory.path("selection", "skipped.parquet"), schemas.SKIPPED)
    table = table.filter(pc.is_in(table["reason"], pa.array([DUPLICATE, NEAR_DUPLICATE])))
    # Matches by their place in the order of choice; a stable sort keeps the order of those skipped.
    by_id = np.argsort(stored.ids, kind="stable")
    places = by_id[np.searchsorted(stored.ids, table["match"].to_numpy(), sorter=by_id)]
    order = np.argsort(places, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=len(stored.ids)))])
    names = [field.name for field in schemas.STANDS_FOR]
    columns = [table[name].combine_chunks().take(pa.array(order)) for name in names]
    structs = pa.StructArray.from_arrays(columns, fields=list(schemas.STANDS_FOR))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)
