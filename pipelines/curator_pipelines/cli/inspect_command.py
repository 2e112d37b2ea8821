"""`curator inspect`."""

from __future__ import annotations

import json

import click

from curator_pipelines.cli.options import json_option

__all__ = ["command"]


@click.command("inspect")
@click.argument("urls", nargs=-1, required=True)
@json_option
def command(urls: tuple[str, ...], as_json: bool) -> int:
    """Say what is in these shards: counts, formats, sizes, bad samples.

    Reads and decodes every image, so it finds what a run would find. URLS as in `curator select`.

    \b
    curator inspect 'web/{00000..00041}.tar'
    """
    from curator_pipelines.jobs.inspect import inspect_sources
    from curator_pipelines.progress import Reporter

    with Reporter() as reporter:
        findings = inspect_sources(urls, reporter)
    click.echo(json.dumps(findings.to_json(), indent=2) if as_json else findings.to_text())
    return 0
