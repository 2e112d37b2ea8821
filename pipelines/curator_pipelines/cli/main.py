"""Entry point of `curator`. Heavy imports happen inside commands, so that `--help` answers at once."""

from __future__ import annotations

import difflib
import importlib
import signal
import sys
from types import FrameType
from typing import Any

import click

import curator
from curator.errors import CuratorError, Spell
from curator.io import public_text
from curator_pipelines.cli.spelling import as_flag
from curator_pipelines.cli.tell import show_logs, tell
from curator_pipelines.executors import prepare_threads

__all__ = ["cli", "main"]

COMMANDS = {
    "select": "Choose from the pool the images nearest to the target, and pack them.",
    "embed": "Embed a pool once, to select from it many times.",
    "measure": "Compare encoders on your own images, without labels.",
    "plan": "Say what select would do, and how long it would take.",
    "warmup": "Train the encoder that a selection begins with, on the target alone.",
    "train": "Train a self-supervised model on target and selected shards.",
    "probe": "Test what an encoder knows about labelled images: linear, nearest neighbours, fine-tuned.",
    "index": "Index an embedded pool, to select without reading every vector.",
    "pack": "Pack a finished selection again, with other settings.",
    "report": "Write the page that shows what a finished selection chose.",
    "search": "Find in a pool what is like an image, a sample or words; say why a sample was not chosen.",
    "dedup": "List the duplicates of an embedded pool, for --deny.",
    "verify": "Check a run directory against its own accounts and its sources.",
    "inspect": "Say what is in these shards, or how far a run is.",
    "submit": "Run a command on a Ray cluster, through its job server.",
    "demo": "Build a small pool of real images and run select on it.",
}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """Loads a command's module when it is called, and knows the one-line help of all without that."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"curator_pipelines.cli.{name}_command")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest command in the error."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; one of {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command '{args[0]}'{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(curator.__version__, prog_name="curator")
def cli() -> None:
    """Find, in uncurated web tars, the images that make your self-supervised model better.

    \b
    A first run:   curator demo
    On your data:  curator select --target photos/ --pool 'pool-{000000..000041}.tar' \\
                       --out run --budget 5%

    Exit codes: 0 done; 1 the run failed, and running it again resumes; 2 bad usage, config or input, found
    before work starts; 3 more bad samples than --max-bad; 130 interrupted, resumable.
    """


def main() -> None:
    """Run the command; errors become one line and an exit code, never a traceback for a user's mistake."""
    # `kill` ends a run as Ctrl-C does: workers stopped, nothing half-written, resumable.
    signal.signal(signal.SIGTERM, _interrupt)
    prepare_threads()
    show_logs()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    try:
        code = cli.main(arguments, prog_name="curator", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "curator"
        tell(f"curator: {public_text(error.format_message()).rstrip('.')} (see '{command} --help')")
        return 2
    except click.ClickException as error:
        tell(f"curator: {public_text(error.format_message())}")
        return 2
    except CuratorError as error:
        tell(f"curator: {public_text(error.text(spelling(arguments)))}")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        tell("curator: interrupted; run the same command again to go on")
        return INTERRUPTED
    except OSError as error:
        where = f" {error.filename}:" if error.filename else ""
        why = public_text(f"{where} {error.strerror or error}")
        tell(f"curator: storage failed:{why}; run again to go on")
        return 1
    except Exception as error:
        from curator.io import lacks_credentials

        if not lacks_credentials(error):
            raise
        tell(
            f"curator: {public_text(str(error))}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for "
            "gs://, GOOGLE_APPLICATION_CREDENTIALS"
        )
        return 2


def spelling(arguments: list[str]) -> Spell:
    """How errors spell the settings of the command that these arguments call: flags, and OUT for an argument."""
    command = cli.get_command(click.Context(cli), arguments[0]) if arguments else None
    names = (
        {
            option.name: option.make_metavar(click.Context(command))
            for option in command.params
            if isinstance(option, click.Argument)
        }
        if command
        else {}
    )

    def spell(field: str, value: Any = None) -> str:
        if field in names:
            return names[field] if value is None else f"{names[field]} {value}"
        return as_flag(field, value)

    return spell


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
