"""`curator inspect`."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from curator_pipelines.cli.options import json_option, options
from curator_pipelines.cli.run_command import Result, run_command
from curator_pipelines.cli.tell import tell
from curator_pipelines.config import InspectConfig

if TYPE_CHECKING:
    from curator_pipelines.run import Reporter

__all__ = ["command"]

# Seconds between two looks of `--watch`; a look at an object store is a dozen requests.
EVERY_LOCAL = 2.0
EVERY_REMOTE = 15.0


@click.command("inspect")
@options(InspectConfig)
@json_option
def command(as_json: bool, **flags: Any) -> None:
    """Say what is in these shards, or how far a run is.

    Of shards: counts, formats, sizes, bad samples. Reads and decodes every image, so it finds what a run would
    find. URLS as in `curator select`.

    Of a run directory, at any time and from any machine: whether it runs, waits for a place, is silent, was stopped or
    died; who drives it; its stages, workers, progress, rates and time left; bad samples, the last lines of the
    ledger, and what happened last. With --events all that happened, with --bad all of its ledger: each sample that
    was left out, and why.

    \b
    curator inspect 'web/{00000..00041}.tar'
    curator inspect run
    curator inspect run --watch
    curator inspect run --bad
    """
    from curator.settings import build
    from curator_pipelines.jobs.queries import inspect_events, inspect_ledger, inspect_run, inspect_sources, is_run

    def inspect(config: InspectConfig, reporter: Reporter) -> Result:
        if config.bad:
            return inspect_ledger(config.urls[0])
        if config.events:
            return inspect_events(config.urls[0])
        if len(config.urls) == 1 and is_run(config.urls[0]):
            return inspect_run(config.urls[0])
        return inspect_sources(config.urls, reporter)

    if flags["watch"]:
        _watch(build(InspectConfig, flags).urls[0], as_json)
    else:
        run_command(InspectConfig, inspect, flags, as_json)


def _watch(url: str, as_json: bool) -> None:
    """Show a run until nobody works on it: on a terminal in place, else one state below the other, or one a line."""
    from curator.io import absolute, storage
    from curator_pipelines.jobs.queries import inspect_run

    every = EVERY_LOCAL if storage.is_local(absolute(url)) else EVERY_REMOTE
    while True:
        state = inspect_run(url)
        if sys.stdout.isatty() and not as_json:
            click.clear()
        tell(json.dumps(state.to_json()) if as_json else state.to_text() + "\n", err=False)
        if not state.holder:
            return
        time.sleep(every)
