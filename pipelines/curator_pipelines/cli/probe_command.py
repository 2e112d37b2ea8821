"""`curator probe`."""

from __future__ import annotations

import json
from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, option

__all__ = ["command"]


@click.command("probe", cls=UrlCommand)
@option("--encoder", metavar="SPEC", help="What to test, as in `curator select`, such as checkpoint:run/encoder.pt.")
@option("--train", multiple=True, metavar="URLS", help="Labelled shards or folders to learn from.")
@option("--test", multiple=True, metavar="URLS", help="Labelled shards or folders to be tested on.")
@option("--label", metavar="cls|json:FIELD|csv:FILE|folder", help="Where the labels are.")
@option("--protocol", metavar="grid|paper", help="Of the linear probe. [default: grid]")
@click.option("--finetune", is_flag=True, help="Also fine-tune all of it with a tenth of the labels; takes minutes.")
@option("--seeds", metavar="N", help="How many seeds. [default: 3]")
@option("--weights", metavar="PATH", help="Local weights file, or 'random' to compare with.")
@option("--batch-size", metavar="N", help="Images a forward pass. [default: by device]")
@option("--precision", metavar="auto|fp32|bf16", help="[default: auto: bf16 where the hardware has it]")
@option("--device", metavar="auto|cpu|cuda", help="[default: auto: the GPU if there is one]")
@option("--max-bad", metavar="P%", help="Bad samples to put up with before exit 3. [default: 1%]")
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> int:
    """Test what an encoder knows about labelled images.

    Linear classifier and weighted nearest neighbours (k = 1, 20, 200) on frozen features. Labels are a member
    KEY.cls, a field of KEY.json, a CSV with the columns key and label (and shard, where keys repeat), or the
    first folder of the key.

    \b
    curator probe --encoder checkpoint:run/encoder.pt --train photos/train --test photos/test --label folder
    """
    from curator_pipelines.config.select import build
    from curator_pipelines.config.train import ProbeConfig
    from curator_pipelines.jobs.train.probe import run_probe
    from curator_pipelines.run.progress import Reporter

    config = build(ProbeConfig, flags)
    with Reporter() as reporter:
        result = run_probe(config, reporter)
    click.echo(json.dumps(result.to_json(), indent=2) if as_json else result.to_text())
    return 0
