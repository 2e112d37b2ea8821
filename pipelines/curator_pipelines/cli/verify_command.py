"""`curator verify`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import VerifyConfig

__all__ = ["command"]


@click.command("verify")
@options(VerifyConfig)
@json_option
def command(as_json: bool, **flags: Any) -> int:
    """Check a run directory against its own accounts and its sources.

    Counts of every part, the ledger, the selection, sizes.json, the manifest, and each packed byte against the
    shard it came from. Names everything that differs; exit code 1 if anything does.
    """
    from curator_pipelines.jobs.queries import verify

    result = run_command(VerifyConfig, lambda config, reporter: verify(config.out, reporter), flags, as_json)
    return 1 if result.differences else 0
