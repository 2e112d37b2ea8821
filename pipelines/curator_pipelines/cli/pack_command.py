"""`curator pack`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from curator_pipelines.cli.options import UrlCommand, config_option, json_option, options
from curator_pipelines.cli.run_command import Result, run_command
from curator_pipelines.config import PackConfig

__all__ = ["command"]


@dataclass(frozen=True)
class PackSummary:
    """The end of `curator pack`.

    Attributes:
        packed: target name -> what was packed.
        warnings: what the user should know.
    """

    packed: Mapping[str, Result]
    warnings: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        packed = {name: result.to_json() for name, result in self.packed.items()}
        return packed[""] | {"warnings": list(self.warnings)} if "" in packed else packed

    def to_text(self) -> str:
        """For a person."""
        lines = [f"{name + ': ' if name else ''}{result.to_text()}" for name, result in self.packed.items()]
        return "\n".join(lines + ([f"{len(self.warnings)} warnings, see above"] if self.warnings else []))


@click.command("pack", cls=UrlCommand)
@options(PackConfig)
@json_option
@config_option
def command(as_json: bool, **flags: Any) -> None:
    """Pack a finished selection again, with other settings.

    Reads the chosen samples' bytes from the pool's shards and writes OUT/shards anew. Nothing is encoded.

    \b
    curator pack --out run --shard-size 10000
    """
    from curator_pipelines.jobs.select import run_pack

    run_command(
        PackConfig, lambda config, reporter: PackSummary(run_pack(config, reporter), reporter.warnings), flags, as_json
    )
