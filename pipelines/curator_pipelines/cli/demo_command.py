"""`curator demo`."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("demo")
@click.option("--out", metavar="DIR", default="curator-demo", show_default=True, help="Where data and run go.")
def command(out: str) -> int:
    """Build a small pool of real images and run select on it.

    Target: 300 photos of solar cells, as a folder. Pool: the other solar cells, textiles and the pictures that
    scikit-image ships, shuffled, as shards. Prints how many of the chosen are solar cells, and writes a contact
    sheet. Needs the extra `demo`.
    """
    from curator_pipelines.jobs.demo.demo_run import run_demo
    from curator_pipelines.run.progress import Reporter

    with Reporter() as reporter:
        result = run_demo(out, reporter)
    click.echo(result.to_text())
    return 0
