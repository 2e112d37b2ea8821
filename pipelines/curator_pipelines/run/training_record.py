"""The `run.json` of a training: its settings and libraries, and each call that went on with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from curator.errors import InputError
from curator.io import FORMAT_VERSION, public_values, storage
from curator_pipelines.run.provenance import library_versions
from curator_pipelines.run.run_record import RunRecord

__all__ = ["TrainingRecord", "is_training"]

TRAINING = "training"


class TrainingRecord(RunRecord):
    """The `run.json` of a training, which has one stage, `train`.

    `config` and `versions` are those it began with. A call that went on with other values, such as another number of
    processes, has these under `changed`.
    """

    kind: ClassVar[str] = TRAINING

    @contextmanager
    def training(self, config: Mapping[str, Any], goes_on: bool, so_far: float) -> Iterator[dict[str, Any]]:
        """Record a training while the block runs; the block adds what else is worth knowing.

        Args:
            config: its settings, with nothing unset.
            goes_on: whether there is a checkpoint to go on from; else the record begins anew, but for its calls.
            so_far: seconds since the call began.

        An `InputError` refuses the call: what was recorded before stands again.
        """
        before = self._bytes()
        self._start(public_values(dict(config)), goes_on)
        self.note_start(so_far, {})
        try:
            with self.stage("train") as state:
                yield state
        except InputError:
            self.check_owner()
            if before is None:
                storage.remove(self.path("run.json"))
            else:
                storage.write_bytes(self.path("run.json"), before)
            raise

    def _start(self, config: dict[str, Any], goes_on: bool) -> None:
        now = {"config": config, "versions": library_versions()}
        if goes_on and self.record:
            changed = {kind: _differences(self.record[kind], values) for kind, values in now.items()}
            if any(changed.values()):
                self.call["changed"] = {kind: values for kind, values in changed.items() if values}
        else:
            self.record |= {"version": FORMAT_VERSION, "kind": TRAINING, **now, "stages": {}}

    def _bytes(self) -> bytes | None:
        try:
            return storage.read_bytes(self.path("run.json"))
        except FileNotFoundError:
            return None


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in now.items() if before.get(name) != value}


def is_training(url: str) -> bool:
    """True for the directory of a training that has a run.json."""
    try:
        record = json.loads(storage.read_bytes(storage.join(url, "run.json")))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("kind") == TRAINING
