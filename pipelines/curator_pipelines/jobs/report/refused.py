"""What did not make it: candidates that a filter refused, and samples that were left out before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from curator.io import parquet, printable, public_name, schemas, storage
from curator.selection import DUPLICATE, NEAR_DUPLICATE, NEAR_EVALUATION, OWN_REASONS
from curator_pipelines.jobs.pictures import Picture
from curator_pipelines.jobs.report.target_record import TargetRecord
from curator_pipelines.run import REASONS

__all__ = ["LeftOut", "Pair", "SkippedKind", "left_out", "skipped_kinds"]

# Where what a candidate was too near to stands.
SETS = {DUPLICATE: "pool", NEAR_DUPLICATE: "pool", NEAR_EVALUATION: "exclude"} | dict.fromkeys(OWN_REASONS, "target")
PAIRS = 8
EXAMPLES = 5


@dataclass(frozen=True)
class Pair:
    """A skipped candidate and what it was too near to.

    Attributes:
        skipped: the candidate.
        match: what it is near to; None for a denied one.
        similarity: of the two; None where nobody computed it.
    """

    skipped: Picture
    match: Picture | None
    similarity: float | None


@dataclass(frozen=True)
class SkippedKind:
    """The candidates skipped for one reason.

    Attributes:
        title: the reason in words.
        count: how many.
        pairs: those nearest to the threshold, the least similar first.
    """

    title: str
    count: int
    pairs: Sequence[Pair]

    @property
    def pictures(self) -> list[Picture]:
        """All of them."""
        both = [picture for pair in self.pairs for picture in (pair.skipped, pair.match)]
        return [picture for picture in both if picture is not None]


@dataclass(frozen=True)
class LeftOut:
    """Samples that were left out for one reason.

    Attributes:
        reason: as the ledger names it.
        count: how many lines.
        examples: some of them: shard, key, what was wrong.
    """

    reason: str
    count: int
    examples: Sequence[tuple[str, str, str]]


def skipped_kinds(target: TargetRecord) -> list[SkippedKind]:
    """The candidates that filters refused, by reason; the most frequent first."""
    kinds = []
    for reason, count in Counter(target.skipped["reason"].to_pylist()).most_common():
        rows = target.skipped.filter(pc.equal(target.skipped["reason"], reason))
        rows = rows.sort_by([("similarity", "ascending"), ("id", "ascending")]).slice(0, PAIRS).to_pylist()
        pairs = [
            Pair(
                Picture("pool", row["id"], row["score"], "skipped"),
                Picture(SETS[reason], row["match"], note="what it is near to")
                if row["match"] is not None and reason in SETS
                else None,
                row["similarity"],
            )
            for row in rows
        ]
        kinds.append(SkippedKind(REASONS.get(reason, str(reason)), count, pairs))
    return kinds


def left_out(out: str) -> list[LeftOut]:
    """The ledger of a run by reason, the most frequent first."""
    try:
        ledger = parquet.read_table(storage.join(out, "quarantine.parquet"), schemas.QUARANTINE)
    except FileNotFoundError:
        return []
    kinds = []
    for reason, count in Counter(ledger["reason"].to_pylist()).most_common():
        rows = ledger.filter(pc.equal(ledger["reason"], reason)).slice(0, EXAMPLES).to_pylist()
        examples = [(public_name(row["shard"]), printable(row["key"] or ""), row["detail"] or "") for row in rows]
        kinds.append(LeftOut(reason, count, examples))
    return kinds
