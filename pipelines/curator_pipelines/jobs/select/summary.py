"""What a run tells at its end, for a person and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from curator.sources import in_words
from curator.store import Account
from curator_pipelines.jobs.select.choose_search import recall_line
from curator_pipelines.jobs.select.pack import Packed
from curator_pipelines.run import duration

__all__ = ["EmbedSummary", "SelectSummary", "TargetResult"]

STOP_REASONS = {
    "budget": "the budget was reached",
    "stop_rule": "the stop rule ended it",
    "pool_exhausted": "the pool ran out",
    "selector": "the selector ended it",
}


def account_line(account: Account) -> str:
    """One set's accounts in words."""
    words = [f"{account.seen:,} samples seen", f"{account.embedded:,} embedded", f"{account.bad:,} bad"]
    if account.unwanted:
        words.append(f"{account.unwanted:,} too small")
    return ", ".join(words) + in_words([*account.left_out.items()])


@dataclass(frozen=True)
class EmbedSummary:
    """The end of `curator embed`."""

    out: str
    account: Account
    seconds: float
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        return (
            f"pool        {account_line(self.account)}\n"
            f"time        {duration(self.seconds)}\n"
            f"embeddings  {self.out}/pool   (use as --pool {self.out}/pool)\n"
            f"ledger      {self.out}/quarantine.parquet"
        )


@dataclass(frozen=True)
class TargetResult:
    """What was chosen for one target.

    Attributes:
        selection: the content of selection.json.
        packed: what was packed.
    """

    selection: dict[str, Any]
    packed: Packed

    def lines(self, url: str) -> list[str]:
        """For a person; `url` is where the target's results are."""
        return [
            f"chosen      {self._chosen()}",
            *self._means(),
            *self._search(),
            f"shards      {self.packed.to_text()}",
            f"selection   {url}/selection/selected.parquet",
        ]

    def _chosen(self) -> str:
        chosen = self.selection
        share = chosen["count"] / max(chosen["candidates"], 1)
        rounds = f" in {chosen['rounds']:,} rounds" if chosen["rounds"] else ""
        skipped = f", {chosen['skipped']:,} skipped" if chosen["skipped"] else ""
        return (
            f"{chosen['count']:,} of {chosen['candidates']:,} candidates ({share:.1%}){rounds}{skipped}: "
            f"{STOP_REASONS[chosen['stop_reason']]}"
        )

    def _means(self) -> list[str]:
        chosen = self.selection
        if chosen["first_mean"] is None:
            return []
        line = f"similarity  mean {chosen['first_mean']:.4f} in the first round, {chosen['last_mean']:.4f} in the last"
        if stopped := chosen["stopped_at"]:
            line += f"; round {stopped['round']} with {stopped['mean']:.4f} was refused"
        return [line]

    def _search(self) -> list[str]:
        detail = self.selection.get("index")
        return [f"search      ivf: {recall_line(detail)}"] if detail else []


@dataclass(frozen=True)
class SelectSummary:
    """The end of `curator select`.

    Attributes:
        out: the run directory.
        accounts: of every set that was embedded.
        results: of each target by name; the name of an only target is empty.
        stages: seconds a stage took in this run.
        seconds: of the whole command.
        warnings: what the user should know.
    """

    out: str
    accounts: dict[str, Account]
    results: dict[str, TargetResult]
    stages: dict[str, float]
    seconds: float
    warnings: list[str]

    @property
    def selection(self) -> dict[str, Any]:
        """What was chosen for an only target."""
        return self.results[""].selection

    def to_json(self) -> dict[str, Any]:
        """For machines: `selection` and `packed` of an only target, or of each by name below `targets`."""
        fields = asdict(self)
        results = fields.pop("results")
        fields |= results.get("", {"targets": results})
        return fields

    def to_text(self) -> str:
        """For a person."""
        lines = []
        for name, result in self.results.items():
            if name:
                lines += [f"target      {name}", *result.lines(f"{self.out}/{name}")]
            else:
                lines += result.lines(self.out)
        lines += [
            *(f"{name:11} {account_line(account)}" for name, account in self.accounts.items()),
            f"time        {duration(self.seconds)}: {self._times()}",
            f"ledger      {self.out}/quarantine.parquet",
        ]
        if self.warnings:
            lines.append(f"warnings    {len(self.warnings)}, see above")
        return "\n".join(lines)

    def _times(self) -> str:
        return ", ".join(f"{name} {duration(seconds)}" for name, seconds in self.stages.items())
