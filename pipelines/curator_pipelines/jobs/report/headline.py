"""The first lines of a page: how many were chosen of how many, from where, why it stopped, and how near they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from curator.io import public_name
from curator_pipelines.jobs.report.target_record import TargetRecord
from curator_pipelines.run import REASONS, STOP_REASONS, verdict_in_words

__all__ = ["Headline", "headline"]

SOURCES = 3


@dataclass(frozen=True)
class Headline:
    """The first lines of a page.

    Attributes:
        title: how many of how many.
        lines: the rest, a sentence each.
        accounts: a line for each number of the account, which add up: name and count.
        warnings: what the run warned of.
    """

    title: str
    lines: Sequence[str]
    accounts: Sequence[tuple[str, int]]
    warnings: Sequence[str]


def headline(target: TargetRecord, warnings: Sequence[str]) -> Headline:
    """The headline of a target's page.

    Args:
        target: the target.
        warnings: of the run; the selection's own are among them or are added.
    """
    record = target.record
    share = record["count"] / max(record["candidates"], 1)
    title = f"{record['count']:,} of {record['candidates']:,} images chosen ({share:.1%})"
    own = [warning for warning in record["warnings"] if not any(warning in known for known in warnings)]
    accounts = [
        ("chosen", record["count"]),
        ("skipped", record["skipped"]),
        ("not reached", record["not_reached"]),
        ("candidates", record["candidates"]),
    ]
    lines = [_from(target), _why(target), *_skipped(target), *_near(target), *_verdict(target)]
    return Headline(title, lines, accounts, [*warnings, *own])


def _from(target: TargetRecord) -> str:
    parts = [part for part in target.directory.pool.registered() if not part.is_retired]
    names = ", ".join(public_name(part.url) for part in parts[:SOURCES])
    more = f" and {len(parts) - SOURCES:,} more" if len(parts) > SOURCES else ""
    sources = "1 source" if len(parts) == 1 else f"{len(parts):,} sources"
    return f"For {len(target.target_ids):,} images of the target, from {sources} of the pool: {names}{more}."


def _why(target: TargetRecord) -> str:
    record = target.record
    number = record["rounds"]
    rounds = f" after {number:,} round{'' if number == 1 else 's'}" if number else ""
    line = f"Ended{rounds}: {STOP_REASONS[record['stop_reason']]}"
    if stopped := record["stopped_at"]:
        line += (
            f"; round {stopped['round']:,} had a mean of {stopped['mean']:.4f}, which is {stopped['ratio']:.4f} of the "
            f"reference round's, and the threshold is {record['stop']:.4f}"
        )
    if record["search"] == "ivf":
        line += f"; by an index, with a measured recall of {_number(record['recall'])}"
    return line + "."


def _skipped(target: TargetRecord) -> list[str]:
    counts = Counter(target.skipped["reason"].to_pylist()).most_common()
    if not counts:
        return []
    return ["Skipped: " + ", ".join(f"{count:,} {REASONS.get(reason, reason)}" for reason, count in counts) + "."]


def _near(target: TargetRecord) -> list[str]:
    finds = target.record["finds_yours"]
    if finds["median_rank"] is None:
        return []
    better = {True: "better than chance", False: "NOT better than chance", None: "too few to tell from chance"}
    return [
        f"Finds yours: your own images, held out, rank in the first {finds['median_rank']:.1%} of the pool (median), "
        f"{better[finds['better_than_chance']]}; a draw would give 50%."
    ]


def _verdict(target: TargetRecord) -> list[str]:
    verdict = verdict_in_words(target.record["verdict"])
    return [f"F{verdict[1:]}."] if verdict else []


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
