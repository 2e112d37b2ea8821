"""`curator inspect OUT --events`: all that is kept of what happened in a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator.errors import InputError
from curator.io import absolute
from curator_pipelines.jobs.queries.live import event_lines
from curator_pipelines.jobs.queries.run_state import is_run
from curator_pipelines.run import event_names, read_events

__all__ = ["RunEvents", "inspect_events"]


@dataclass(frozen=True)
class RunEvents:
    """What happened in a run, of all of its calls.

    Attributes:
        out: the run directory.
        events: in the order of time: time, run, kind, text, facts.
    """

    out: str
    events: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"out": self.out, "events": self.events}

    def to_text(self) -> str:
        """For a person."""
        return "\n".join(event_lines(self.events)) or f"{self.out} has no events"


def inspect_events(url: str) -> RunEvents:
    """Read OUT/events: of each call what began, ended, was lost and was given back.

    Raises:
        InputError: it is no run directory.
    """
    out = absolute(url)
    if not is_run(url):
        raise InputError(f"{out} is no run directory: no run was begun there")
    return RunEvents(out, read_events(out, event_names(out)))
