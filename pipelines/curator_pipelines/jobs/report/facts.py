"""What a run was made with: settings, versions, identity, encoders that were measured, and the command to run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curator.io import public_text, storage
from curator.settings import declared
from curator_pipelines.config import PRESETS, SelectConfig
from curator_pipelines.run import RunDirectory, duration, total_use, use_in_words

__all__ = ["Facts", "facts"]


@dataclass(frozen=True)
class Facts:
    """The end of a page: names and values.

    Attributes:
        command: runs the same again.
        settings: of the run.
        versions: of curator, Python and the libraries.
        identity: of the encoder, by set.
        stages: how long each took.
        used: what each used of CPUs, GPUs and storage, over the calls that run.json keeps, and all together.
        encoders: those that were measured: name, median rank, share in the first percent, note.
    """

    command: str
    settings: Sequence[tuple[str, str]]
    versions: Sequence[tuple[str, str]]
    identity: Sequence[tuple[str, str]]
    stages: Sequence[tuple[str, str]]
    used: Sequence[tuple[str, str]]
    encoders: Sequence[dict[str, Any]]


def facts(run: RunDirectory) -> Facts:
    """What run.json and OUT/measure say."""
    record = run.record
    config = record.get("config", {})
    identity = [
        (f"{name}: {field}", public_text(str(value)))
        for name, fields in record.get("identities", {}).items()
        if isinstance(fields, dict)
        for field, value in fields.items()
    ]
    stages = [
        (name, duration(stage["seconds"])) for name, stage in record.get("stages", {}).items() if "seconds" in stage
    ]
    return Facts(
        _command(config),
        [(name, public_text(_text(value))) for name, value in config.items()],
        [("curator", record.get("curator", "")), *record.get("versions", {}).items()],
        identity,
        stages,
        _used(record.get("calls", [])),
        _encoders(run),
    )


def _used(calls: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    names = dict.fromkeys(name for call in calls for name in call.get("used", {}))
    by_stage = {name: total_use(call["used"][name] for call in calls if name in call.get("used", {})) for name in names}
    rows = [(name, use_in_words(used)) for name, used in by_stage.items()]
    return [*rows, ("together", use_in_words(total_use(by_stage.values())))] if rows else []


def _command(config: dict[str, Any]) -> str:
    """`curator select` with every setting that is not as it would be anyway."""
    preset = dict(PRESETS).get(config.get("preset", ""), {})
    words = ["curator select"]
    for name, setting in declared(SelectConfig).items():
        value = config.get(name)
        usual = preset.get(name, setting.default)
        if value is None or name == "redo" or value in (usual, [usual]) or [value] == usual:
            continue
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append("--" + (flag if value else f"no-{flag}"))
        else:
            words += [f"--{flag} {shlex.quote(str(each))}" for each in (value if isinstance(value, list) else [value])]
    return public_text(" ".join(words))


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def _encoders(run: RunDirectory) -> list[dict[str, Any]]:
    try:
        record = json.loads(storage.read_bytes(run.path("measure", "measure.json")))
        return list(record["table"]["rows"])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return []
