"""`curator submit`."""

from __future__ import annotations

import sys

import click

__all__ = ["command"]


@click.command("submit", context_settings={"ignore_unknown_options": True})
@click.option("--address", metavar="URL", help="The cluster's dashboard, such as http://HEAD:8265.")
@click.option("--working-dir", metavar="DIR", help="Folder to send along, where the command runs.")
@click.option("--no-wait", is_flag=True, help="Return as soon as the job is accepted.")
@click.argument("words", metavar="-- COMMAND ...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(address: str | None, working_dir: str | None, no_wait: bool, words: tuple[str, ...]) -> int:
    """Run a curator command on a Ray cluster, from any machine that reaches its dashboard.

    Follows the job's output and ends with its exit code. Ctrl-C asks whether to stop the job or to leave it
    running. The job joins the cluster by itself; give URLs that the cluster reaches, or --working-dir for small
    files such as configs and lists. Token authentication is Ray's: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or
    ~/.ray/auth_token.

    \b
    curator submit --address http://head:8265 -- select --target s3://b/target.tar \\
        --pool 's3://b/web/{00000..00041}.tar' --out s3://b/run --encoder lite0
    """
    from curator_pipelines.cli.main import COMMANDS
    from curator_pipelines.jobs.submit import submit

    if words[0] not in COMMANDS or words[0] == "submit":
        raise click.UsageError(f"no command '{words[0]}' to submit; write: curator submit --address URL -- select ...")
    return submit(
        address,
        words,
        working_dir=working_dir,
        wait=not no_wait,
        say=lambda text: click.echo(text, err=True),
        show=lambda text: click.echo(text, nl=False),
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
