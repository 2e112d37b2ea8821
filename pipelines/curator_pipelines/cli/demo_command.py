"""`curator demo`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import DemoConfig

__all__ = ["command"]


@click.command("demo")
@options(DemoConfig)
def command(**flags: Any) -> None:
    """Build a small pool of real images and run select on it.

    Target: 300 photos of solar cells, as a folder. Pool: the other solar cells, textiles and the pictures that
    scikit-image ships, shuffled, as shards. Prints how many of the chosen are solar cells, and writes a contact
    sheet. Needs the extra `demo`.
    """
    from curator_pipelines.jobs.demo import run_demo

    run_command(DemoConfig, lambda config, reporter: run_demo(config.out, reporter), flags)
