"""`curator report`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import ReportConfig

__all__ = ["command"]


@click.command("report")
@options(ReportConfig)
@json_option
def command(as_json: bool, **flags: Any) -> None:
    """Write OUT/report.html: what a finished selection chose, where the line fell, and what was missed.

    One file without anything from the network. Pictures are read from the original shards, for a minute at most.
    OUT/contact_sheet.jpg shows where the line fell, as one picture.
    """
    from curator_pipelines.jobs.report import run_report

    run_command(ReportConfig, run_report, flags, as_json)
