"""What every command does with its flags: check them, run a job, print its result."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from curator_pipelines.cli.tell import tell

if TYPE_CHECKING:
    from curator.settings import Config
    from curator_pipelines.run import Reporter

__all__ = ["Invocation", "Result", "print_result", "run_command"]


class Result(Protocol):
    """What a job gives back."""

    def to_json(self) -> dict[str, Any]:
        """For machines."""

    def to_text(self) -> str:
        """For a person."""


@dataclass(frozen=True)
class Invocation:
    """How the command was called: click's `obj`.

    Attributes:
        arguments: as they were given.
        began: when, as `time.monotonic`.
    """

    arguments: Sequence[str] = ()
    began: float | None = None


C = TypeVar("C", bound="Config")
R = TypeVar("R", bound=Result)


def run_command(model: type[C], job: Callable[[C, Reporter], R], flags: Mapping[str, Any], as_json: bool = False) -> R:
    """Check the flags against the model, run the job with progress on the terminal, and print what it gives back."""
    from curator.settings import build
    from curator_pipelines.run import Reporter, called_as

    config = build(model, dict(flags))
    call: Invocation = click.get_current_context().find_root().obj or Invocation()
    with Reporter(started=call.began) as reporter, called_as(["curator", *call.arguments]):
        result = job(config, reporter)
    print_result(result, as_json)
    return result


def print_result(result: Result, as_json: bool) -> None:
    """Print a result for a machine or for a person."""
    tell(json.dumps(result.to_json(), indent=2) if as_json else result.to_text(), err=False)
