"""What is told of each selection side by side, in which settings they differ, and what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from curator.io import public_text
from curator.settings import declared
from curator_pipelines.config import SelectConfig
from curator_pipelines.jobs.compare.coverage import CHOSEN_ROWS, Coverage, same_target
from curator_pipelines.jobs.compare.overlap import Overlap
from curator_pipelines.jobs.compare.sides import Side
from curator_pipelines.run import STOP_REASONS

__all__ = ["Line", "differences", "facts_of", "notes_on"]

# Whose scores are similarities, so that they stand on one scale where the encoder is the same.
BY_SIMILARITY = ("simcore", "knn")
# Where a run is, and how it was computed, changes no selection.
NOT_TOLD = {name for name, each in declared(SelectConfig).items() if each.setting.changes is None}


@dataclass(frozen=True)
class Line:
    """One thing, as each selection has it.

    Attributes:
        name: the thing.
        values: of each selection, as text.
    """

    name: str
    values: Sequence[str]


def facts_of(sides: Sequence[Side]) -> list[Line]:
    """What each selection says of itself."""
    told = [_facts(side) for side in sides]
    return [Line(name, [facts[name] for facts in told]) for name in told[0]]


def _facts(side: Side) -> dict[str, str]:
    record = side.target.record
    finds, verdict = record["finds_yours"], record["verdict"] or {}
    return {
        "chosen": f"{record['count']:,}",
        "candidates": f"{record['candidates']:,}",
        "skipped": f"{record['skipped']:,}",
        "selector": side.selector,
        "encoder": ", weights ".join(filter(None, (_value(side.config.get(name)) for name in ("encoder", "weights")))),
        "target": f"{len(side.target.target_ids):,} images",
        "ended": STOP_REASONS.get(record["stop_reason"], record["stop_reason"]),
        "rounds": f"{record['rounds']:,}" if record["rounds"] else "none",
        "threshold": _number(record["stop"]),
        "score of the first round": _number(record["first_mean"]),
        "score of the last round": _number(record["last_mean"]),
        "held-out median": _number(record["quantiles"]["median"]),
        "finds yours (median rank)": _percent(finds["median_rank"]),
        "verdict": _percent(verdict.get("share")),
    }


def differences(sides: Sequence[Side]) -> list[Line]:
    """The settings, encoder identities and versions in which these selections differ."""
    told = [_told(side) for side in sides]
    names = dict.fromkeys(name for values in told for name in values)
    lines = [Line(name, [values.get(name, "") for values in told]) for name in names]
    return [line for line in lines if len(set(line.values)) > 1]


def _told(side: Side) -> dict[str, str]:
    record = side.run.record
    settings = {name: _value(value) for name, value in side.config.items() if name not in NOT_TOLD}
    encoder = {f"encoder: {name}": _value(value) for name, value in side.encoder.items()}
    versions = {f"version of {name}": _value(value) for name, value in record.get("versions", {}).items()}
    threshold = {"threshold in force": _number(side.target.record["stop"])}
    return settings | threshold | encoder | versions


def notes_on(
    sides: Sequence[Side], overlaps: Sequence[Overlap], coverages: Sequence[Coverage], unreadable: int
) -> list[str]:
    """What cannot be compared, or only with care."""
    by_letter = {side.letter: side for side in sides}
    notes = []
    for first, second in combinations(sides, 2):
        if first.encoder != second.encoder:
            notes.append(
                f"{first.letter} and {second.letter} were made with different encoders: their scores, and how "
                "near is, are each on a scale of its own"
            )
        if not same_target(first, second):
            notes.append(
                f"{first.letter} and {second.letter} were made for different targets: coverage and precision "
                "are each about its own"
            )
    notes += _notes_on_scores(sides)
    for overlap in overlaps:
        notes += _notes_on(overlap, by_letter)
    notes += [
        f"{side.letter} may hold the target's own images (own images were not skipped), which count as near"
        for side in sides
        if side.config.get("skip_own") is False
    ]
    notes += [
        f"coverage of {each.of}{'' if each.of == each.by else f' as seen by {each.by}'} is a lower bound: only the "
        f"first {CHOSEN_ROWS:,} chosen were looked at"
        for each in coverages
        if len(by_letter[each.of]) > each.chosen
    ]
    if unreadable:
        notes.append(f"of {unreadable:,} samples the label could not be read: they count as without one")
    return notes


def _notes_on_scores(sides: Sequence[Side]) -> list[str]:
    scored = [side for side in sides if np.isfinite(side.target.selection.scores).any()]
    notes = [f"{side.letter} has no scores ({side.selector}), and so no curve" for side in sides if side not in scored]
    scales = {side.letter: "similarity" if side.selector in BY_SIMILARITY else side.selector for side in scored}
    if len(set(scales.values())) > 1:
        told = ", ".join(f"{letter} by {scale}" for letter, scale in scales.items())
        notes.append(f"scores are of different kinds ({told}): the heights of their curves say nothing of each other")
    return notes


def _notes_on(overlap: Overlap, by_letter: dict[str, Side]) -> list[str]:
    letters = (overlap.first, overlap.second)
    notes = [
        f"{count:,} of {letter} come from sources that the pool of {other} does not name, so {other} could take them "
        "only under another name"
        for letter, other, count in zip(letters, letters[::-1], overlap.elsewhere, strict=True)
        if count
    ]
    notes += [
        f"{count:,} of {letter} have no match in {other} by shard and key, and no sha256 is known to look for their "
        "bytes"
        for letter, other, count in zip(letters, letters[::-1], overlap.unknown, strict=True)
        if count
    ]
    if overlap.renamed:
        notes.append(
            f"{overlap.renamed:,} samples have the same shard and key in {letters[0]} and {letters[1]} and different "
            "bytes, since the shards were replaced: they do not count as the same"
        )
    return notes


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return public_text(", ".join(map(str, value)))
    return public_text(json.dumps(value) if isinstance(value, dict) else str(value))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"
