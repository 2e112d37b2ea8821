"""`curator submit`."""

from __future__ import annotations

import sys
from typing import Any

import click

from curator_pipelines.cli.options import options
from curator_pipelines.cli.tell import tell
from curator_pipelines.config import SubmitConfig

__all__ = ["command"]


@click.command("submit", context_settings={"ignore_unknown_options": True})
@options(SubmitConfig)
def command(**flags: Any) -> int:
    """Run a curator command on a Ray cluster, from any machine that reaches its dashboard.

    Follows the job's output and ends with its exit code. Ctrl-C asks whether to stop the job or to leave it
    running. The job joins the cluster by itself; give URLs that the cluster reaches, or --working-dir for small
    files such as configs, but not for lists of URLs, since Ray removes it after the job. The command itself runs on
    the head and reserves nothing, unless --entrypoint-num-cpus and its like say so. Token authentication is Ray's:
    RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token.

    \b
    curator submit --address http://head:8265 -- select --target s3://b/target.tar \\
        --pool 's3://b/web/{00000..00041}.tar' --out s3://b/run --encoder lite0
    """
    from curator.settings import build
    from curator_pipelines.cli.main import COMMANDS
    from curator_pipelines.jobs.submit import submit

    config = build(SubmitConfig, flags)
    if config.words[0] not in COMMANDS or config.words[0] == "submit":
        raise click.UsageError(
            f"no command '{config.words[0]}' to submit; write: curator submit --address URL -- select ..."
        )
    return submit(
        config.address,
        config.words,
        working_dir=config.working_dir,
        environment=config.environment(),
        reserved=config.reserved(),
        wait=not config.no_wait,
        say=tell,
        show=lambda text: tell(text, err=False, nl=False),
        ask_to_stop=_ask_to_stop,
    )


def _ask_to_stop() -> bool:
    if not sys.stdin.isatty():
        return False
    click.echo(err=True)
    try:
        answer = click.prompt(
            "Stop the job, or leave it running?", type=click.Choice(["stop", "leave"]), default="leave", err=True
        )
    except (click.Abort, KeyboardInterrupt):
        return False
    return bool(answer == "stop")
