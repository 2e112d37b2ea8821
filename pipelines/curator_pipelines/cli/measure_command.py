"""`curator measure`."""

from __future__ import annotations

from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, options
from curator_pipelines.cli.run_command import run_command
from curator_pipelines.config import MeasureConfig

__all__ = ["command"]


@click.command("measure", cls=UrlCommand)
@options(MeasureConfig)
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> None:
    """Compare encoders on your own images, without labels.

    Parts of the target are held out in turn, and ranked among images of the pool by their similarity to the rest of
    the target: the higher they rank, the better an encoder finds what is like them. It takes up to 2,000 images of
    each, and compares encoders with each other, with chance, and trained ones with their untrained twins. It grades
    none: at best the median rank is about half the share of the pool that is of your kind. With --out,
    OUT/measure/contact_sheet.jpg shows the images that each encoder finds best and worst.

    \b
    curator measure --target photos/ --pool 'web/{00000..00041}.tar' --encoder lite0 --encoder warmup
    """
    from curator_pipelines.jobs.measure import run_measure

    run_command(MeasureConfig, run_measure, flags, as_json)
