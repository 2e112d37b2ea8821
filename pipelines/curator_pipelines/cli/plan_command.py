"""`curator plan`."""

from __future__ import annotations

import json
from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand
from curator_pipelines.cli.select_command import command as select

__all__ = ["command"]

HELP = """Say what `curator select` would do with the same flags: the same as its --dry-run. Writes nothing.

Shards, samples (from sizes.json beside the shards, or from the parts that are finished; else an estimate), bytes to
read, what is done already, and the disk that is needed.

With --calibrate it does about a minute of the work, on your shards and your machines, and says hours, GPU-hours,
bytes and memory of each stage, and what bounds it.

\b
curator plan --target photos/ --pool 'web/{00000..00041}.tar' --out run --encoder lite0 --budget 5% --calibrate
"""


def _plan(calibrate: bool, as_json: bool, **flags: Any) -> int:
    from curator_pipelines.config.select import SelectConfig, build
    from curator_pipelines.jobs.select.select_run import plan_select
    from curator_pipelines.run.progress import Reporter

    config = build(SelectConfig, flags)
    with Reporter() as reporter:
        plan = plan_select(config, reporter, calibrated=calibrate)
    click.echo(json.dumps(plan.to_json(), indent=2) if as_json else plan.to_text())
    return 0


command = UrlCommand(
    "plan",
    callback=_plan,
    help=HELP,
    params=[
        *(parameter for parameter in select.params if parameter.name != "dry_run"),
        click.Option(["--calibrate"], is_flag=True, help="Do a minute of the work and say how long all of it takes."),
    ],
)
