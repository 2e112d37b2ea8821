"""`curator work`."""

from __future__ import annotations

import signal
from typing import Any

import click

from curator_pipelines.cli.interrupt import end_by
from curator_pipelines.cli.options import json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import WorkConfig

__all__ = ["command"]


@click.command("work")
@options(WorkConfig)
@json_option
def command(as_json: bool, **flags: Any) -> None:
    """Work on a run directory, beside any number of other workers on any machines.

    The run itself is another command, with `--workers external`: select, embed, index or pack. Workers share nothing
    with it but OUT, on a shared disk or in a store. Start and end them at will, before and during the run, by Slurm or
    anything else that starts processes: one for each GPU, or for each group of cores. SIGTERM, SIGUSR1 or Ctrl-C
    gives the task back, and the exit code is 130. A worker that is killed costs its task one of three attempts, a
    minute later.

    \b
    curator select --target photos/ --pool 's3://b/web/{00000..00041}.tar' \\
        --out s3://b/run --encoder lite0 --workers external
    curator work s3://b/run        # on any machine, as often as you like
    """
    from curator_pipelines.external import work

    # Slurm sends it some time before it takes a machine away.
    end_by(signal.SIGUSR1)
    run_command(
        WorkConfig,
        lambda config, reporter: work(
            config.out,
            device=config.device,
            idle_exit=config.idle_exit,
            encoders=config.encoder,
            say=reporter.say,
        ),
        flags,
        as_json,
    )
