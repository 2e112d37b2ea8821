"""What a run tells at its end, for a person and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator.errors import counted
from curator.sources import in_words
from curator.store import Account
from curator_pipelines.jobs.select.choose_search import recall_line
from curator_pipelines.jobs.select.pack import Packed
from curator_pipelines.run import STOP_REASONS, Replaced, duration, total_use, use_in_words, verdict_in_words

__all__ = ["EmbedSummary", "Overlap", "SelectSummary", "TargetResult", "overlaps_of"]


def account_line(account: Account) -> str:
    """One set's accounts in words."""
    words = [f"{account.seen:,} samples seen", f"{account.embedded:,} embedded", f"{account.bad:,} bad"]
    if account.unwanted:
        words.append(f"{account.unwanted:,} too small")
    if account.retired:
        words.append(f"{account.retired:,} parts retired")
    return ", ".join(words) + in_words([*account.left_out.items()])


def warnings_line(warnings: Sequence[str]) -> list[str]:
    """How many warnings were given on the way; nothing if there was none."""
    return [f"warnings    {len(warnings)}, see above"] if warnings else []


def time_line(seconds: float, stages: Mapping[str, float]) -> str:
    """How long the whole command took, and each of its stages."""
    return f"time        {duration(seconds)}: " + ", ".join(f"{name} {duration(took)}" for name, took in stages.items())


def used_lines(used: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What the whole command used of CPUs, GPUs and storage, and each of its stages.

    >>> used_lines({"birds/target": {"cpu_ms": 2000}, "pool": {"cpu_ms": 1000}})
    ['used        3.0 s of CPU', '  birds/target 2.0 s of CPU', '  pool      1.0 s of CPU']
    """
    if not used:
        return []
    stages = [f"  {name:9} {use_in_words(of_stage)}" for name, of_stage in used.items()]
    return [f"used        {use_in_words(total_use(used.values()))}", *stages]


@dataclass(frozen=True)
class EmbedSummary:
    """The end of `curator embed`."""

    out: str
    account: Account
    stages: dict[str, float]
    used: dict[str, dict[str, int]]
    seconds: float
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        lines = [
            f"pool        {account_line(self.account)}",
            time_line(self.seconds, self.stages),
            *used_lines(self.used),
            f"embeddings  {self.out}/pool   (use as --pool {self.out}/pool)",
            f"ledger      {self.out}/quarantine.parquet",
            *warnings_line(self.warnings),
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class TargetResult:
    """What was chosen for one target.

    Attributes:
        selection: the content of selection.json.
        packed: what was packed.
        replaced: the other selection that stood there before; None if there was none.
    """

    selection: dict[str, Any]
    packed: Packed
    replaced: Replaced | None = None

    def lines(self, url: str) -> list[str]:
        """For a person; `url` is where the target's results are."""
        return [
            f"chosen      {self._chosen()}",
            *([f"replaced    {self.replaced.to_text()}"] if self.replaced else []),
            *self._means(),
            *self._own(),
            *self._stop(),
            *self._around_end(),
            *self._thresholds(),
            *self._finds_yours(),
            *self._search(),
            *self._verdict(),
            f"shards      {self.packed.to_text()}",
            f"selection   {url}/selection/selected.parquet",
        ]

    def _chosen(self) -> str:
        chosen = self.selection
        share = chosen["count"] / max(chosen["candidates"], 1)
        rounds = f" in {counted(chosen['rounds'], 'round')}" if chosen["rounds"] else ""
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

    def _own(self) -> list[str]:
        own = self.selection["own_images"]
        return [f"own images  {own:,} of the pool's images are your own: skipped"] if own else []

    def _verdict(self) -> list[str]:
        verdict = verdict_in_words(self.selection["verdict"])
        return [f"verdict     {verdict}"] if verdict else []

    def _stop(self) -> list[str]:
        chosen = self.selection
        if chosen["stop"] is None:
            return []
        number = chosen["reference_round"]
        reference = "the first round" if number == 1 else f"round {number}"
        origin = {"auto": "from your own images", "given": "as given"}.get(chosen["stop_from"], chosen["stop_from"])
        return [f"stop        below {chosen['stop']:.4f} of {reference} ({origin})"]

    def _around_end(self) -> list[str]:
        lines = self.selection["around_end"]
        if not lines:
            return []
        table = ["rounds         round    mean    share     chosen so far"]
        for line in lines:
            share = "-" if line["ratio"] is None else f"{line['ratio']:.4f}"
            end = "" if line["taken"] else "   beyond the end"
            table.append(f"{line['round']:>20,}  {line['mean']:.4f}   {share:>6} {line['chosen']:>17,}{end}")
        return table

    def _thresholds(self) -> list[str]:
        """What each threshold takes; those that rest on rounds beyond the end, without filters, are about so many."""
        chosen = self.selection
        names = {0.95: "the paper's", chosen["tau"]: "auto", chosen["stop"]: "in force"}
        words = []
        for told in chosen["thresholds"]:
            name = f" ({names[told['stop']]})" if told["stop"] in names else ""
            count = f"more than {told['chosen']:,}" if told["more"] else f"{told['chosen']:,}"
            about = "" if told["exact"] or told["more"] else "about "
            words.append(f"{told['stop']:g}{name} {about}{count}")
        return [f"thresholds  {', '.join(words)}"] if words else []

    def _finds_yours(self) -> list[str]:
        found = self.selection["finds_yours"]
        if found["median_rank"] is None:
            return ["finds yours unknown: your images are too few or too alike to be held out"]
        line = (
            f"finds yours the median of your own held-out images ranks in the first {found['median_rank']:.1%} of the "
            "pool (chance 50%; at best about half the share of the pool that is of your kind)"
        )
        few = {None: "; they are too few to tell it from chance", False: "; NO BETTER THAN CHANCE", True: ""}
        return [line + few[found["better_than_chance"]]]

    def _search(self) -> list[str]:
        detail = self.selection.get("index")
        return [f"search      ivf: {recall_line(detail)}"] if detail else []


class Overlap(NamedTuple):
    """How many rows were chosen for both of two targets."""

    first: str
    second: str
    both: int


def overlaps_of(chosen: Mapping[str, NDArray[np.int64]]) -> list[Overlap]:
    """Of each two targets, in their order; name -> ids of the rows chosen for it."""
    return [
        Overlap(first, second, len(np.intersect1d(chosen[first], chosen[second], assume_unique=True)))
        for first, second in combinations(chosen, 2)
    ]


@dataclass(frozen=True)
class SelectSummary:
    """The end of `curator select`.

    Attributes:
        out: the run directory.
        accounts: of every set that was embedded.
        results: of each target by name; the name of an only target is empty.
        stages: seconds a stage took in this run.
        used: what a stage used in this run: `cpu_ms`, `gpu_ms`, `read_bytes`, `written_bytes`, `requests`.
        overlaps: rows chosen for both of two targets, a line for each two of several.
        seconds: of the whole command.
        warnings: what the user should know.
        reports: the pages that show what was chosen, the run's first.
        sheets: the contact sheet of each target.
    """

    out: str
    accounts: dict[str, Account]
    results: dict[str, TargetResult]
    overlaps: list[Overlap]
    stages: dict[str, float]
    used: dict[str, dict[str, int]]
    seconds: float
    warnings: list[str]
    reports: list[str] = field(default_factory=list)
    sheets: list[str] = field(default_factory=list)

    @property
    def selection(self) -> dict[str, Any]:
        """What was chosen for an only target."""
        return self.results[""].selection

    def to_json(self) -> dict[str, Any]:
        """For machines: `selection` and `packed` of an only target, or of each by name below `targets`."""
        fields = asdict(self)
        results = fields.pop("results")
        fields |= results.get("", {"targets": results})
        fields["overlaps"] = [overlap._asdict() for overlap in self.overlaps]
        return fields

    def to_text(self) -> str:
        """For a person."""
        lines = []
        for name, result in self.results.items():
            if name:
                lines += [f"target      {name}", *result.lines(f"{self.out}/{name}")]
            else:
                lines += result.lines(self.out)
        lines += [f"overlap     {first} and {second}: {both:,} in both" for first, second, both in self.overlaps]
        lines += [
            *(f"{name:11} {account_line(account)}" for name, account in self.accounts.items()),
            time_line(self.seconds, self.stages),
            *used_lines(self.used),
            f"ledger      {self.out}/quarantine.parquet",
            *(f"report      {url}" for url in self.reports[:1]),
            *(f"sheet       {url}" for url in self.sheets),
        ]
        return "\n".join([*lines, *warnings_line(self.warnings)])
