"""`run.json`: what a run was asked for, who made it, and how far it came."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar

from curator.errors import Another, InputError
from curator.io import FORMAT_VERSION, Owner, public_values, storage
from curator_pipelines.run.provenance import describe_call
from curator_pipelines.run.spent import Spent, spending

__all__ = ["KEPT_CALLS", "RunRecord"]

# So many calls are kept in run.json: the first, and the last ones.
KEPT_CALLS = 20
# What a run.json is of that does not say so.
SELECTION = "selection"


class RunRecord:
    """Reads and writes `run.json`; everything in it but `calls` and the timings follows from inputs, config and seed.

    Args:
        url: the directory, any fsspec URL.
        owner: this process as its owner; None for one who only looks.

    Raises:
        InputError: a run.json that is damaged, of another format version, or of another kind of run.
    """

    kind: ClassVar[str] = SELECTION

    def __init__(self, url: str, owner: Owner | None = None) -> None:
        self.url = url
        self.owner = owner
        self.record: dict[str, Any] = self._read()

    def path(self, *names: str) -> str:
        """A URL below the directory."""
        return storage.join(self.url, *names)

    def _read(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(storage.read_bytes(self.path("run.json")))
        except FileNotFoundError:
            return {}
        except NotADirectoryError as error:
            raise InputError(f"{self.url} is a file, not a directory", advice=Another("out")) from error
        except ValueError as error:
            raise InputError(f"{self.path('run.json')} is damaged ({error})", advice=Another("out")) from error
        if not isinstance(record, dict):
            raise InputError(f"{self.path('run.json')} is not curator's", advice=Another("out"))
        if record.get("version") != FORMAT_VERSION:
            raise InputError(
                f"{self.url} was written by another format version ({record.get('version')}; this curator "
                f"knows {FORMAT_VERSION})",
                advice=("use the curator that wrote it", Another("out")),
            )
        if (kind := record.get("kind", SELECTION)) != self.kind:
            raise InputError(f"{self.url} is the run directory of a {kind}", advice=Another("out"))
        return record

    def check_owner(self) -> None:
        """Raise `CuratorError` if another run took this directory over: what follows is not ours to write."""
        if self.owner is not None:
            self.owner.check()

    def save(self) -> None:
        """Write run.json, with the public names of URLs: others read it."""
        self.check_owner()
        text = json.dumps(public_values(self.record), indent=2, default=str)
        storage.write_bytes(self.path("run.json"), text.encode())

    def finish(self, warnings: Sequence[str]) -> None:
        """End the run: note its warnings, and remove the half files of workers that were killed and replaced."""
        self.check_owner()
        storage.remove_temporaries(self.url)
        self.record["warnings"] = list(warnings)
        self.save()

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Record a stage's state and seconds in run.json; the block adds what else is worth knowing.

        A stage that says `reused` did nothing anew: what is known of its first time stays.
        """
        stages = self.record["stages"]
        before = stages.get(name, {})
        state: dict[str, Any] = {"state": "running"}
        stages[name] = before | state
        self.save()
        spent = Spent()
        try:
            with spending(name) as spent:
                yield state
                state["state"] = "done"
                spent.state = "reused" if state.get("reused") else "done"
        except BaseException:
            state["state"] = "stopped"
            raise
        finally:
            seconds = self._note(name, spent)
            is_as_before = before.get("state") == "done" and state["state"] == "done" and state.get("reused")
            stages[name] = before if is_as_before else state | {"seconds": seconds}
            self.save()

    def note_start(self, so_far: float, stages: Mapping[str, Spent]) -> None:
        """Note what came before the first stage of `stage`.

        Args:
            so_far: seconds since the call began. What no stage took is `start`: imports, looking up sources, planning.
            stages: what those cost that were done before `start`.
        """
        self.call["stages"]["start"] = round(so_far - sum(spent.seconds for spent in stages.values()), 3)
        for name, spent in stages.items():
            seconds = self._note(name, spent)
            # Of one that was there before, the first time counts.
            self.record["stages"].setdefault(name, {"state": "done", "seconds": seconds})

    def _note(self, stage: str, spent: Spent) -> float:
        """Note what a stage cost in the call at hand; returns its seconds as they are written."""
        self.call["stages"][stage] = round(spent.seconds, 3)
        self.call["used"][stage] = spent.used
        return round(spent.seconds, 3)

    @cached_property
    def call(self) -> dict[str, Any]:
        """Of the call at hand: who made it (`describe_call`); `stages`, the seconds of each; and `used` by each.

        Kept in run.json.
        """
        call = {**describe_call(), "run": self.owner.holder.run[:8] if self.owner else None, "stages": {}, "used": {}}
        calls = self.record.setdefault("calls", [])
        calls[:] = [*calls[:1], *calls[1:][-(KEPT_CALLS - 2) :], call]
        return call
