"""`curator verify`."""

from __future__ import annotations

import json

import click

from curator_pipelines.cli.options import json_option

__all__ = ["command"]


@click.command("verify")
@click.argument("out")
@json_option
def command(out: str, as_json: bool) -> int:
    """Check a run directory against its own accounts and its sources.

    Counts of every part, the ledger, the selection, sizes.json, the manifest, and each packed byte against the
    shard it came from. Names everything that differs; exit code 1 if anything does.
    """
    from curator_pipelines.jobs.queries.verify import verify
    from curator_pipelines.run.progress import Reporter

    with Reporter() as reporter:
        result = verify(out, reporter)
    click.echo(json.dumps(result.to_json(), indent=2) if as_json else result.to_text())
    return 1 if result.differences else 0
