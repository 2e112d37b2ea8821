"""`curator plan`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import PlanConfig

__all__ = ["command"]


@click.command("plan", cls=UrlCommand)
@options(PlanConfig)
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> None:
    """Say what `curator select` would do with the same flags: the same as its --dry-run. Writes nothing.

    Shards, samples (from sizes.json beside the shards, or from the parts that are finished; else an estimate),
    bytes to read, what is done already, and the disk that is needed.

    With --calibrate it does about a minute of the work, on your shards and your machines, and says hours, GPU-hours,
    bytes and memory of each stage, and what bounds it.

    \b
    curator plan --target photos/ --pool 'web/{00000..00041}.tar' --out run --encoder lite0 --budget 5% --calibrate
    """
    from curator_pipelines.jobs.select import plan_select

    run_command(PlanConfig, lambda config, reporter: plan_select(config, reporter, config.calibrate), flags, as_json)
