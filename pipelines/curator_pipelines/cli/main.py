"""Entry point of `curator`. Heavy imports happen inside commands, so that `--help` answers at once."""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
import time
from typing import Any

import click

import curator
from curator.errors import CuratorError, Spell
from curator_pipelines.cli.interrupt import end_by
from curator_pipelines.cli.run_command import Invocation
from curator_pipelines.cli.spelling import as_flag
from curator_pipelines.cli.tell import show_logs, tell_error, tell_traceback
from curator_pipelines.executors import prepare_threads
from curator_pipelines.run.log_lines import LOG_FORMATS, log_lines

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
    "compare": "Say what finished selections have in common, and what only one has.",
    "export": "Hand a finished selection over to other tools, as files, a list or a dataset.",
    "search": "Find in a pool what is like an image, a sample or words; say why a sample was not chosen.",
    "dedup": "List the duplicates of an embedded pool, for --deny.",
    "verify": "Check a run directory against its own accounts and its sources.",
    "relocate": "Say where the shards of a run, or the pool that it reads, lie now.",
    "inspect": "Say what is in these shards, or how far a run is.",
    "work": "Do tasks of a run, beside other workers anywhere, without Ray.",
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


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(curator.__version__, prog_name="curator")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks, of workers too, as CURATOR_DEBUG=1.")
@click.option(
    "--log-format",
    type=click.Choice(LOG_FORMATS),
    expose_value=False,
    help="The form of log lines on stderr, as CURATOR_LOG_FORMAT.",
)
def cli() -> None:
    """Find, in uncurated web tars, the images that make your self-supervised model better.

    \b
    A first run:   curator demo
    On your data:  curator select --target photos/ --pool 'pool-{000000..000041}.tar' \\
                       --out run --budget 5%

    Exit codes: 0 done; 1 the run failed, and running it again resumes; 2 bad usage, config or input, found
    before work starts; 3 more bad samples than --max-bad; 130 interrupted, resumable.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command; errors become one line and an exit code, never a traceback for a user's mistake."""
    # Whoever started the command may have meant that Ctrl-C is not for it.
    own = [signal.SIGINT] if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN else []
    end_by(signal.SIGTERM, *own)
    prepare_threads()
    show_logs(debug=_without_debug(sys.argv[1:])[1])
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    words, debug = _without_debug(arguments)
    call = Invocation(arguments, time.monotonic())
    try:
        words = _without_log_format(words)
        code = cli.main(words, prog_name="curator", standalone_mode=False, obj=call)
        return code if isinstance(code, int) else 0
    except BaseException as error:
        if debug:
            tell_traceback(error)
        return _tell_error(error, words, debug)


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, which may stand anywhere but behind `--`; and whether it is on."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    words = [word for word in own if word != "--debug"] + arguments[len(own) :]
    return words, len(words) < len(arguments) or os.environ.get("CURATOR_DEBUG", "0") not in ("", "0")


def _without_log_format(arguments: list[str]) -> list[str]:
    """The arguments without `--log-format`, which may stand anywhere but behind `--`; it is in force from now on.

    A value that is none stays, for click to refuse.
    """
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    given, words = os.environ.get("CURATOR_LOG_FORMAT", "text") or "text", list(own)
    if given not in LOG_FORMATS:
        raise click.UsageError(f"CURATOR_LOG_FORMAT is {given}: give {' or '.join(LOG_FORMATS)}")
    for place, word in enumerate(own):
        name, equals, value = word.partition("=")
        if name == "--log-format":
            given = value if equals else "".join(own[place + 1 : place + 2])
            if given in LOG_FORMATS:
                del words[place : place + (1 if equals else 2)]
            break
    log_lines.format = "json" if given == "json" else "text"
    return words + arguments[len(own) :]


def _tell_error(error: BaseException, words: list[str], debug: bool) -> int:
    """Print an error as one line and return its exit code. Only what nobody foresaw comes with its traceback."""
    match error:
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "curator"
            tell_error(f"curator: {error.format_message().rstrip('.')} (see '{command} --help')")
            return 2
        case click.ClickException():
            tell_error(f"curator: {error.format_message()}")
            return 2
        case CuratorError():
            tell_error(f"curator: {error.text(spelling(words), settings_of(words))}")
            return error.exit_code
        case KeyboardInterrupt() | click.Abort():
            tell_error("curator: interrupted; run the same command again to go on")
            return INTERRUPTED
        case OSError():
            where = f" {error.filename}:" if error.filename else ""
            tell_error(f"curator: storage failed:{where} {error.strerror or error}; run again to go on")
            return 1
        case Exception():
            return _tell_unforeseen(error, debug)
        case _:
            raise error


def _tell_unforeseen(error: Exception, debug: bool) -> int:
    from curator.io import lacks_credentials

    if lacks_credentials(error):
        tell_error(
            f"curator: {error}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
            "FSSPEC_S3_ANON=true if the bucket is public; for gs://, GOOGLE_APPLICATION_CREDENTIALS"
        )
        return 2
    if not debug:
        tell_traceback(error)
    tell_error(
        "curator: this is a fault of curator, not of yours; what is finished is kept. Please report the lines above, "
        f"with the command and curator's version, {curator.__version__}"
    )
    return 1


def _command_of(words: list[str]) -> click.Command | None:
    return cli.get_command(click.Context(cli), words[0]) if words else None


def settings_of(words: list[str]) -> set[str] | None:
    """The names of the settings that the command takes; None where no command is called."""
    command = _command_of(words)
    return {option.name for option in command.params if option.name} if command else None


def spelling(arguments: list[str]) -> Spell:
    """How errors spell the settings of the command that these arguments call: flags, and OUT for an argument."""
    command = _command_of(arguments)
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
