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
    """Say what is in these shards, or how far a run is.

    Of shards: counts, formats, sizes, bad samples. Reads and decodes every image, so it finds what a run would
    find. URLS as in `curator select`.

    Of a run directory (it has a run.json), at any time and from any machine: its stages, who works on it, progress,
    rate, time left, bad samples and the last lines of the ledger.

    \b
    curator inspect 'web/{00000..00041}.tar'
    curator inspect run
    """
    from curator_pipelines.jobs.queries.inspect import InspectResult, inspect_sources
    from curator_pipelines.jobs.queries.inspect_run import RunState, inspect_run, is_run
    from curator_pipelines.run.progress import Reporter

    findings: InspectResult | RunState
    if len(urls) == 1 and is_run(urls[0]):
        findings = inspect_run(urls[0])
    else:
        with Reporter() as reporter:
            findings = inspect_sources(urls, reporter)
    click.echo(json.dumps(findings.to_json(), indent=2) if as_json else findings.to_text())
    return 0
