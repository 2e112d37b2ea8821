"""How a line of a log looks: text for people, or JSON for what collects logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from curator.io import printable, public_text

__all__ = ["LOG_FORMATS", "LogLines", "log_lines", "shown", "timestamp"]

LogFormat = Literal["text", "json"]
LOG_FORMATS: tuple[LogFormat, ...] = ("text", "json")


@dataclass
class LogLines:
    """The lines of this process: a command makes one run, so they have one form and one run.

    Attributes:
        format: `text` or `json`.
        run: the first letters of the run's name, as `owner.json` and `OUT/events` have it; empty before OUT is owned.
    """

    format: LogFormat = "text"
    run: str = ""

    def line(self, text: str, level: str = "INFO", *, dated: bool = True) -> str:
        """A line of a log. What commands a terminal is spelled out in it, and URLs are public.

        Args:
            text: what is said; several lines of it stay one line of JSON.
            level: a name of Python's logging.
            dated: with time, level and run; JSON always has them. A person at a terminal needs none.
        """
        if self.format == "json":
            return json.dumps({"time": timestamp(), "level": level, "run": self.run or None, "message": shown(text)})
        return f"{timestamp()} {level:7} {self.run or '-'} {shown(text)}" if dated else shown(text)


log_lines = LogLines()


def shown(text: str) -> str:
    """Text as it may be shown: URLs without secrets, and nothing that commands the terminal."""
    return printable(public_text(text))


def timestamp() -> str:
    """Now, in UTC, as log lines begin with it: logs of several machines are read side by side."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
