"""The one way of text to the terminal: what is in names and keys is shown, never obeyed."""

from __future__ import annotations

import logging
import sys

import click

from curator.io import printable, public_text

__all__ = ["show_logs", "tell"]


def tell(text: str, *, err: bool = True, nl: bool = True) -> None:
    """Print text to stderr, or to stdout, with the public names of URLs and with control characters spelled out."""
    click.echo(printable(public_text(text)), err=err, nl=nl)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(public_text(super().format(record)))


def show_logs() -> None:
    """Show warnings, of libraries too, as `tell` shows text."""
    handler = logging.StreamHandler()
    line = "%(message)s" if sys.stderr.isatty() else "%(asctime)s %(message)s"
    handler.setFormatter(_Lines(line, "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
