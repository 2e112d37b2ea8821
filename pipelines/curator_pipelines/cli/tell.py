"""The one way of text to the terminal: what is in names and keys is shown, never obeyed."""

from __future__ import annotations

import logging
import sys
import traceback

import click

from curator_pipelines.run.log_lines import log_lines, shown

__all__ = ["show_logs", "tell", "tell_error", "tell_traceback"]

# Whose lines about the inside of a run `--debug` shows.
OWN = ("curator", "curator_pipelines", "curator_ssl")


def tell(text: str, *, err: bool = True, nl: bool = True) -> None:
    """Print text to stderr, or to stdout, with the public names of URLs and with control characters spelled out."""
    click.echo(shown(text), err=err, nl=nl)


def tell_error(text: str) -> None:
    """Print an error to stderr: a line that begins with the program's name, or a line of JSON where logs are JSON."""
    if log_lines.format == "json":
        click.echo(log_lines.line(text, "ERROR"), err=True)
    else:
        tell(text)


def tell_traceback(error: BaseException) -> None:
    """Print where an error came from, to stderr; of a worker's error also where in the worker."""
    text = "".join(traceback.format_exception(error))
    if log_lines.format == "json":
        click.echo(log_lines.line(text, "ERROR"), err=True)
        return
    for line in text.splitlines():
        tell(line)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return log_lines.line(super().format(record), record.levelname, dated=not sys.stderr.isatty())


def show_logs(*, debug: bool = False) -> None:
    """Show warnings, of libraries too, as `tell` shows text; with time, level and run where stderr is no terminal.

    Args:
        debug: also what curator notes for its developers, such as the tracebacks of workers.
    """
    if debug:
        for name in OWN:
            logging.getLogger(name).setLevel(logging.DEBUG)
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(message)s"))
    # What Pillow has to say of a damaged image is a line of the ledger already.
    handler.addFilter(lambda record: record.name.partition(".")[0] != "PIL")
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
