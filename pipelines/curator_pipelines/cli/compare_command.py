"""`curator compare`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import CompareConfig

__all__ = ["command"]


@click.command("compare")
@options(CompareConfig)
@json_option
def command(as_json: bool, **flags: Any) -> None:
    """Say what finished selections have in common, what only one has, and how well each serves its target.

    Up to six of them, local or remote, of other selectors, encoders, budgets, pools or targets. Samples are the same by
    shard and key, else by the bytes of their image. What cannot be compared is told. Nothing is written but the page.

    \b
    curator compare run-simcore run-csls --label cls
    curator compare run/cats run/dogs --out cats-dogs.html
    """
    from curator_pipelines.jobs.compare import run_compare

    run_command(CompareConfig, run_compare, flags, as_json)
