"""`curator compare`: two or more finished selections, side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curator.io import absolute, public_name, storage
from curator_pipelines.config import CompareConfig
from curator_pipelines.jobs.compare.comparison import Comparison
from curator_pipelines.jobs.compare.coverage import coverages_of
from curator_pipelines.jobs.compare.facts import differences, facts_of, notes_on
from curator_pipelines.jobs.compare.hashes import samples_of
from curator_pipelines.jobs.compare.match import Match, match_all
from curator_pipelines.jobs.compare.overlap import Overlap, overlap_of
from curator_pipelines.jobs.compare.page import comparison_page
from curator_pipelines.jobs.compare.precision import Precision, precision_of
from curator_pipelines.jobs.compare.sides import Side, open_sides
from curator_pipelines.run import Reporter
from curator_ssl.probe import parse_label

__all__ = ["run_compare"]


def run_compare(config: CompareConfig, reporter: Reporter) -> Comparison:
    """Compare finished selections, and write a page with pictures of what only one of them has.

    Cost: what each chose is read, and the sha256 of what has no match by shard and key; the vectors of up to 100,000
    chosen rows of each; with labels one small read a sample of up to 20,000. Pictures take a minute at most.
    Memory: the lists of chosen samples, whatever the pools hold.

    Raises:
        InputError: a run is not there or not finished, or no label fits.
    """
    started = time.monotonic()
    # What is wrong with a table of labels is told before anything is computed.
    rule = parse_label(config.label) if config.label is not None else None
    url = absolute(config.out)
    storage.check_writable(url, "out")
    reporter.say("compare: reading the selections")
    sides = open_sides(config.runs)
    reporter.say("compare: matching samples")
    matches = match_all([samples_of(side) for side in sides])
    overlaps = [_overlap(sides, match) for match in matches]
    precision: Sequence[Precision] = ()
    if rule is not None and config.label is not None:
        reporter.say("compare: reading labels")
        precision = [precision_of(side, rule, config.label) for side in sides]
    reporter.say("compare: measuring coverage")
    coverages = coverages_of(sides)
    unreadable = sum(each.unreadable for each in precision)
    found = Comparison(
        [side.letter for side in sides],
        [side.name for side in sides],
        facts_of(sides),
        overlaps,
        precision,
        coverages,
        differences(sides),
        notes_on(sides, overlaps, coverages, unreadable),
        public_name(url),
        0,
        (),
        0.0,
    )
    reporter.say("compare: reading pictures")
    page = comparison_page(sides, matches, found)
    storage.write_bytes(url, page.html.encode())
    return found.with_page(page.pictures, page.missing, time.monotonic() - started)


def _overlap(sides: Sequence[Side], match: Match) -> Overlap:
    first, second = sides[match.first], sides[match.second]
    elsewhere = _elsewhere(first, second, match, match.first), _elsewhere(second, first, match, match.second)
    return overlap_of(match, (first.letter, second.letter), (len(first), len(second)), elsewhere)


def _elsewhere(side: Side, other: Side, match: Match, number: int) -> int:
    """How many samples that only one side has are from sources that the other's pool does not name."""
    known = pc.is_in(side.samples["shard"], pa.array([part.url for part in other.parts], pa.string())).to_numpy()
    return int(np.count_nonzero(~known & ~match.seen_from(number, len(side))))
