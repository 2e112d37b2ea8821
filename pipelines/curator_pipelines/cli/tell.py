"""The one way of text to the terminal: what is in names and keys is shown, never obeyed."""

from __future__ import annotations

import logging
import sys
import time
import traceback

import click

from curator.io import printable, public_text

__all__ = ["show_logs", "tell", "tell_traceback"]


def tell(text: str, *, err: bool = True, nl: bool = True) -> None:
    """Print text to stderr, or to stdout, with the public names of URLs and with control characters spelled out."""
    click.echo(printable(public_text(text)), err=err, nl=nl)


def tell_traceback(error: BaseException) -> None:
    """Print where an error came from, to stderr."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        tell(line)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(public_text(super().format(record)))


def show_logs() -> None:
    """Show warnings, of libraries too, as `tell` shows text; with their time where stderr is no terminal."""
    handler = logging.StreamHandler()
    dated = "" if sys.stderr.isatty() else "%(asctime)sZ "
    lines = _Lines(f"{dated}%(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    lines.converter = time.gmtime
    handler.setFormatter(lines)
    # What Pillow has to say of a damaged image is a line of the ledger already.
    handler.addFilter(lambda record: record.name.partition(".")[0] != "PIL")
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
