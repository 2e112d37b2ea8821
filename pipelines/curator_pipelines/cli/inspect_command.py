"""`curator inspect`."""

from __future__ import annotations

from typing import Any

import click

from curator.errors import InputError
from curator_pipelines.cli.options import json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import InspectConfig

__all__ = ["command"]


@click.command("inspect")
@options(InspectConfig)
@json_option
def command(as_json: bool, **flags: Any) -> None:
    """Say what is in these shards, or how far a run is.

    Of shards: counts, formats, sizes, bad samples. Reads and decodes every image, so it finds what a run would
    find. URLS as in `curator select`.

    Of a run directory (it has a run.json), at any time and from any machine: its stages, who works on it, progress,
    rate, time left, bad samples and the last lines of the ledger; of a training, its last step. With --bad all of its
    ledger: each sample that was left out, and why.

    \b
    curator inspect 'web/{00000..00041}.tar'
    curator inspect run
    curator inspect run --bad
    """
    from curator_pipelines.jobs.queries import inspect_ledger, inspect_run, inspect_sources, is_run

    if flags["bad"]:
        if len(flags["urls"]) != 1:
            raise InputError("give one run directory", field="bad", value=True)
        run_command(InspectConfig, lambda config, reporter: inspect_ledger(config.urls[0]), flags, as_json)
    elif len(flags["urls"]) == 1 and is_run(flags["urls"][0]):
        run_command(InspectConfig, lambda config, reporter: inspect_run(config.urls[0]), flags, as_json)
    else:
        run_command(InspectConfig, lambda config, reporter: inspect_sources(config.urls, reporter), flags, as_json)
