"""`curator probe`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import ProbeConfig

__all__ = ["command"]


@click.command("probe", cls=UrlCommand)
@options(ProbeConfig)
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> None:
    """Test what an encoder knows about labelled images.

    Linear classifier and weighted nearest neighbours (k = 1, 20, 200) on frozen features. Labels are a member
    KEY.cls, a field of KEY.json, a CSV with the columns key and label (and shard, where keys repeat), or the
    first folder of the key.

    \b
    curator probe --encoder checkpoint:run/encoder.pt --train photos/train --test photos/test --label folder
    """
    from curator_pipelines.jobs.train import run_probe

    run_command(ProbeConfig, run_probe, flags, as_json)
