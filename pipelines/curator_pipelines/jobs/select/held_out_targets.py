"""The target's own images, held out: before the pool is read for `stop` auto, behind it for where they rank in it."""

from __future__ import annotations

from curator.errors import InputError, UnusableInput
from curator.search import first_in_hash_order
from curator.selection import (
    SELECTOR_SETTINGS,
    HeldOut,
    Rules,
    Selection,
    StopReason,
    find_selector,
    hold_out,
    pool_ranks,
)
from curator.store import PartReader, RowReader
from curator_pipelines.config import SelectConfig
from curator_pipelines.run import HeldOutReport, Reporter, TargetDirectory, target_set

__all__ = ["HeldOutTargets", "beyond_domain", "ended_early", "stop_in_force", "tau_or_none", "threshold_line"]

# Rows of the pool among which held-out images are ranked: a share of them is known to half a percent.
SAMPLED_ROWS = 20_000
# A budget is far beyond the domain where it takes so many times as many rows as the target's own threshold would.
FAR_BEYOND = 2


class HeldOutTargets:
    """The held-out rows of each target, computed when they are first asked for.

    Args:
        config: its centroids and seed count where the selector reads them.
        reporter: is told the threshold that was found.
    """

    def __init__(self, config: SelectConfig, reporter: Reporter) -> None:
        self._config = config
        self._reporter = reporter
        self._known: dict[tuple[str, int | None, int], HeldOut] = {}
        reads = SELECTOR_SETTINGS & find_selector(config.selector).reads
        self._clusters = config.clusters if "clusters" in reads else None
        self._seed = config.seed if "seed" in reads else 0

    def check(self, set_name: str, stored: PartReader) -> None:
        """Called for each embedded set, before the next: with `stop` auto, find a target's threshold and tell it.

        Raises:
            InputError: the target is too small or too uniform to find one, before the pool is read for it.
            UnusableInput: no image of the target could be embedded.
        """
        names = {target_set(name): name for name in self._config.targets()}
        if set_name not in names:
            return
        if not stored.count():
            raise UnusableInput(f"{stored.url} has no usable image: see quarantine.parquet for why")
        if self._config.limits()[1] != "auto":
            return
        name = names[set_name]
        held_out = self.of(name, stored)
        try:
            line = threshold_line(held_out, self._config.reference_round)
        except InputError as error:
            if name:
                error.message = f"{name}: {error.message}"
            raise
        self._reporter.say(f"stop: {line}" if not name else f"stop: {name}: {line}")

    def of(self, name: str, target: PartReader) -> HeldOut:
        """The held-out rows of a target."""
        return self._hold_out(name, target, self._clusters, self._seed)

    def by_rows(self, directory: TargetDirectory) -> HeldOut:
        """The same rows against rows, whatever the centroids and the seed of the selection."""
        return self._hold_out(directory.name, directory.target, None, 0)

    def _hold_out(self, name: str, target: PartReader, clusters: int | None, seed: int) -> HeldOut:
        key = name, clusters, seed
        if key not in self._known:
            self._known[key] = hold_out(target.all_vectors(), clusters, seed)
        return self._known[key]

    def ranked(self, directory: TargetDirectory) -> HeldOutReport:
        """The same with their ranks in the pool.

        Cost 2 n K d for a sample of n = 20,000 rows of the pool and each fold.
        """
        held_out = self.of(directory.name, directory.target)
        ids = first_in_hash_order(directory.pool.lengths(), SAMPLED_ROWS)
        ranks = pool_ranks(held_out, RowReader(directory.pool).vectors(ids))
        return HeldOutReport(held_out, tau_or_none(held_out), ranks, len(ids))


def stop_in_force(config: SelectConfig, held_out: HeldOut) -> float | None:
    """The threshold of a target's stop rule; None for no rule."""
    stop = config.limits()[1]
    return held_out.tau if stop == "auto" else stop


def tau_or_none(held_out: HeldOut) -> float | None:
    """The threshold that the target's own images suggest; None where they are too few or too different."""
    try:
        return held_out.tau
    except InputError:
        return None


def threshold_line(held_out: HeldOut, reference_round: int) -> str:
    """Where `stop` auto ends, and why, for a person."""
    reference = "the first round" if reference_round == 1 else f"round {reference_round}"
    return (
        f"below {held_out.tau:.4f} of {reference}, from your own images: tenth percentile "
        f"{held_out.quantile(0.1):.4f} over median {held_out.median:.4f}, {len(held_out.rows):,} images in "
        f"{len(held_out.centroids)} folds, alike from {held_out.alike:g}, {held_out.groups:,} groups"
    )


def beyond_domain(selection: Selection, rules: Rules, tau: float | None) -> list[str]:
    """A warning where a budget goes far beyond what the target's own images suggest."""
    told = next((told for told in selection.thresholds if told.stop == tau), None)
    if rules.budget is None or told is None or told.more or len(selection) < FAR_BEYOND * max(told.chosen, 1):
        return []
    last = [line for line in selection.around_end if line.taken][-1]
    return [
        f"the budget goes far beyond your domain: the mean of the last round is {last.ratio:.2f} of the reference "
        f"round's, and your own images reach down to {tau:.2f}. The stop rule auto would take {told.chosen:,} samples, "
        f"not {len(selection):,}"
    ]


def ended_early(selection: Selection, config: SelectConfig) -> list[str]:
    """A warning where `stop` auto took fewer samples than there are centroids.

    Of 42 selections that were measured (benchmarks/RESULTS.md) it is true of the three whose F1 was a twentieth of the
    best end's or less: grey targets, which an encoder found near to each other and far from a pool in colours.
    """
    if config.limits()[1] != "auto" or selection.stop_reason is not StopReason.STOP_RULE:
        return []
    assert selection.anchor_rows is not None
    centroids, chosen = len(selection.anchor_rows), len(selection)
    if chosen >= centroids:
        return []
    samples = "sample" if chosen == 1 else "samples"
    return [
        f"the stop rule auto took {chosen:,} {samples}, fewer than the {centroids:,} centroids of your images: the "
        "pool holds next to nothing of their kind, or shows it in another way than they do (in colours, sharper, by "
        "another camera), and then this end is far too early: look at next.parquet, and give a budget or a lower stop"
    ]
