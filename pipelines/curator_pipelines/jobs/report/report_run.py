"""Writes the report of a finished run: by `curator report`, and at the end of a selection."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

import curator
from curator.errors import InputError
from curator.io import absolute, owned, public_name, public_text, storage
from curator_pipelines.config import ReportConfig
from curator_pipelines.jobs.pictures import SHEET
from curator_pipelines.jobs.report.line import write_line_sheet
from curator_pipelines.jobs.report.page import overview_page, target_page
from curator_pipelines.jobs.report.render import Page
from curator_pipelines.jobs.report.target_record import TargetRecord, read_target
from curator_pipelines.run import Reporter, RunDirectory, TargetDirectory, duration

__all__ = ["REPORT", "ReportResult", "run_report", "standing_reports", "write_reports"]

REPORT = "report.html"
# Changes with what a page shows.
FORMAT = 2


@dataclass(frozen=True)
class ReportResult:
    """What was written.

    Attributes:
        reports: URL of each page; the first is that of the run.
        bytes: of all pages together.
        pictures: how many they show.
        missing: why pictures are missing, and how many.
        seconds: that it took.
        identity: a hash of what the pages show.
        sheets: URL of each contact sheet.
    """

    reports: list[str]
    bytes: int
    pictures: int
    missing: list[tuple[str, int]]
    seconds: float
    identity: str
    sheets: list[str]

    @property
    def state(self) -> dict[str, Any]:
        """What run.json keeps of it."""
        missing = sum(count for _, count in self.missing)
        return {"identity": self.identity, "pictures": self.pictures, "missing": missing, "sheets": len(self.sheets)}

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        lines = [f"report      {url}" for url in self.reports]
        lines.append(f"            {self.bytes / 1e6:.1f} MB, {self.pictures:,} pictures, {duration(self.seconds)}")
        lines += [f"sheet       {url}" for url in self.sheets]
        return "\n".join([*lines, *(f"not shown   {count:,} pictures: {reason}" for reason, count in self.missing)])


def run_report(config: ReportConfig, reporter: Reporter) -> ReportResult:
    """Write the report of a run that exists.

    Raises:
        InputError: there is no finished selection.
    """
    out = absolute(config.out)
    if not RunDirectory(out).record:
        raise InputError("no run directory: it has no run.json", field="out", value=config.out)
    with owned(out) as owner:
        run = RunDirectory(out, owner)
        return write_reports(run, run.target_directories(), config.report_by, reporter, run.record.get("warnings", []))


def write_reports(
    run: RunDirectory,
    directories: Sequence[TargetDirectory],
    field: str | None,
    reporter: Reporter,
    warnings: Sequence[str],
) -> ReportResult:
    """Write OUT/report.html and OUT/contact_sheet.jpg; of several targets these in OUT/NAME, and OUT/report.html.

    A contact sheet shows pictures that its page has read. One that cannot be written is a warning.

    Args:
        run: the run.
        directories: its targets.
        field: of sidecars, by which sources are counted as well; None for none.
        reporter: is told how far it is.
        warnings: of the run.

    Raises:
        InputError: a target has no finished selection.
    """
    started = time.monotonic()
    shown_warnings = [public_text(warning) for warning in warnings]
    written: dict[str, Page] = {}
    sheets: list[str] = []
    targets: list[TargetRecord] = []
    with reporter.stage("report", len(directories), "pages") as progress:
        for directory in directories:
            target = read_target(directory)
            targets.append(target)
            url = directory.path(REPORT)
            others = tuple(f"{other.name}: " for other in directories if other.name != directory.name)
            own_warnings = [warning for warning in shown_warnings if not warning.startswith(others)]
            written[url] = target_page(run, target, field, own_warnings)
            _write(run, url, written[url])
            run.check_owner()
            sheets += _write_sheet(target, written[url], reporter)
            progress({"pages": 1})
        if len(directories) > 1:
            url = run.path(REPORT)
            page = overview_page(run, targets, _overlaps(targets))
            _write(run, url, page)
            written = {url: page} | written
    return ReportResult(
        [public_name(url) for url in written],
        sum(len(page.html.encode()) for page in written.values()),
        sum(page.pictures for page in written.values()),
        [reason for page in written.values() for reason in page.missing],
        time.monotonic() - started,
        _identity(run, directories, field),
        sheets,
    )


def _write_sheet(target: TargetRecord, page: Page, reporter: Reporter) -> list[str]:
    """Write the contact sheet of a target's line; returns its URL, or nothing where it has no picture or failed."""
    url = target.directory.path(SHEET)
    try:
        if write_line_sheet(url, target, page.line):
            return [public_name(url)]
        # One of an earlier selection would be taken for this one's.
        storage.remove(url)
        return []
    except Exception as error:
        reporter.warn(f"the contact sheet was not written: {type(error).__name__}: {error}")
        return []


def standing_reports(
    run: RunDirectory, directories: Sequence[TargetDirectory], field: str | None
) -> tuple[list[str], list[str]]:
    """What an earlier run has written of these selections, with every picture; empty if there is nothing.

    Returns:
        the pages, and the contact sheets.
    """
    state = run.record["stages"].get("report", {})
    if (
        state.get("state") != "done"
        or state.get("missing")
        or state.get("identity") != _identity(run, directories, field)
    ):
        return [], []
    pages, sheets = _pages(run, directories), [directory.path(SHEET) for directory in directories]
    if not all(map(storage.exists, [*pages, *sheets])):
        return [], []
    return [*map(public_name, pages)], [*map(public_name, sheets)]


def _pages(run: RunDirectory, directories: Sequence[TargetDirectory]) -> list[str]:
    """Where the pages are; the first is that of the run."""
    together = [run.path(REPORT)] if len(directories) > 1 else []
    return [*together, *(directory.path(REPORT) for directory in directories)]


def _identity(run: RunDirectory, directories: Sequence[TargetDirectory], field: str | None) -> str:
    """A hash of what the pages of these selections show, but for times."""
    selections = [
        json.loads(storage.read_bytes(directory.path("selection", "selection.json")))["identity"]
        for directory in directories
    ]
    names = [directory.name for directory in directories]
    shown = [curator.__version__, FORMAT, field, run.record["config"], names, selections]
    return hashlib.sha256(json.dumps(shown, default=str).encode()).hexdigest()[:16]


def _write(run: RunDirectory, url: str, page: Page) -> None:
    run.check_owner()
    storage.write_bytes(url, page.html.encode())


def _overlaps(targets: Sequence[TargetRecord]) -> list[tuple[str, str, int]]:
    chosen = {target.directory.name: target.selection.ids for target in targets}
    return [
        (first, second, len(np.intersect1d(chosen[first], chosen[second], assume_unique=True)))
        for first, second in combinations(chosen, 2)
    ]
