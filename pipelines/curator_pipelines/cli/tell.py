"""The one way of text to the terminal: what is in names and keys is shown, never obeyed."""

from __future__ import annotations

import logging

import click

from curator.io import printable, public_text

__all__ = ["show_logs", "tell"]


def tell(text: str, *, err: bool = True, nl: bool = True) -> None:
    """Print text to stderr, or to stdout, with control characters spelled out."""
    click.echo(printable(text), err=err, nl=nl)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(public_text(super().format(record)))


def show_logs() -> None:
    """Show warnings, of libraries too, as `tell` shows text."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(message)s"))
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
