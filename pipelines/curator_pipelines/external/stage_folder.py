"""The files of one stage that external workers do: OUT/external/STAGE.

    stage.json        what is done with every task; there as long as the stage is open
    arrays/NAME.npy   arrays of the stage
    tasks/NAME        what there is to do; NAME holds the task's number and how often it was lost
    claims/NAME       who does it: see `curator.io.claim`
    results/NAME      how it ended
    failed/NAME       who cannot do the stage at all, and why

The driver writes stage.json and tasks and removes what is done, workers write the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import curator
from curator.errors import UnusableInput
from curator.io import EXTERNAL, TASKS, Claim, Stat, end_claims_of, place_of, put_if, storage, was_refused
from curator_pipelines.external.documents import Documents, StoredArray

__all__ = ["StageFolder", "look"]

FORMAT = 1
STAGE = "stage.json"
# Arrays of a stage from so many bytes on stand in files of their own.
OWN_FILE = 1 << 16


def look(out: str) -> dict[str, set[str]]:
    """Name -> files of every stage of a run directory that is open. One request to a store."""
    stages: dict[str, set[str]] = {}
    for name, _ in storage.list_tree(storage.join(out, EXTERNAL)):
        stage, _, file = name.partition("/")
        if not file.endswith(storage.TEMPORARY):
            stages.setdefault(stage, set()).add(file)
    return {stage: files for stage, files in stages.items() if STAGE in files}


class StageFolder:
    """One stage of a run directory.

    Args:
        out: the run directory.
        name: of the stage's folder.
    """

    def __init__(self, out: str, name: str) -> None:
        self.url = storage.join(out, EXTERNAL, name)
        self.documents = Documents(out)

    def open(self, stage: Any) -> None:
        """Write what is to be done. Folders come first: on disks a worker makes none, so that a gone stage stays so."""
        if storage.is_local(self.url):
            for folder in (TASKS, "claims", "results", "failed"):
                (storage.local_path(self.url) / folder).mkdir(parents=True)
        arrays = StoredArray(OWN_FILE, self._write_array, self._read_array)
        record = {"format": FORMAT, "curator": curator.__version__, "stage": self.documents.encode(stage, arrays)}
        storage.write_bytes(self.path(STAGE), json.dumps(record).encode())

    def read_stage(self) -> tuple[bytes, Any]:
        """What is to be done: as it is written, and as a stage. Two stages that are written alike do the same.

        Raises:
            FileNotFoundError: the stage is closed.
            UnusableInput: the driver is another version of curator, or the file is none of its own.
        """
        written = storage.read_bytes(self.path(STAGE))
        record = _parsed(written)
        versions = (record.get("format"), record.get("curator"))
        if versions != (FORMAT, curator.__version__):
            raise UnusableInput(
                f"the driver is curator {versions[1]}, this worker is {curator.__version__}",
                advice="start both from the same environment",
            )
        arrays = StoredArray(OWN_FILE, self._write_array, self._read_array)
        return written, self.documents.decode(record["stage"], arrays)

    def close(self) -> None:
        """End the stage and every claim on its tasks, and remove all of it."""
        storage.remove_files([self.path(STAGE)])
        end_claims_of(self.url)
        if storage.is_local(self.url):
            with contextlib.suppress(OSError):
                storage.local_path(self.url).parent.rmdir()

    def listing(self) -> dict[str, Stat]:
        """Every file of the stage and its state; without `stage.json` the stage is closed. One request to a store."""
        return {name: state for name, state in storage.list_tree(self.url) if not name.endswith(storage.TEMPORARY)}

    def post(self, name: str, task: Any) -> None:
        """Let a task be claimed."""
        self._create(f"{TASKS}/{name}", self.documents.encode(task))

    def read_task(self, name: str) -> Any:
        """A task.

        Raises:
            FileNotFoundError: it was done, or given to another, or the stage is closed.
            UnusableInput: it is none that this version of curator writes.
        """
        return self.documents.decode(_parsed(storage.read_bytes(self.path(f"{TASKS}/{name}"))))

    def claim(self, name: str, holder: Mapping[str, Any]) -> Claim:
        """A claim on a task, which is not made yet."""
        return Claim(self.path(f"claims/{name}"), holder)

    def answer(self, name: str, result: Mapping[str, Any]) -> None:
        """Say how a task ended: plain JSON, in which values are encoded."""
        self._create(f"results/{name}", result)

    def read_answer(self, name: str) -> dict[str, Any]:
        """How a task ended; empty where that cannot be read."""
        return _read_record(self.path(f"results/{name}"))

    def say_cannot(self, name: str, error: Mapping[str, Any]) -> None:
        """Say that a worker cannot do this stage."""
        self._create(f"failed/{name}", error)

    def read_failure(self, name: str) -> dict[str, Any]:
        """Why a worker cannot do this stage; empty where that cannot be read."""
        return _read_record(self.path(name))

    def end(self, name: str) -> None:
        """End the claim on a task. The task goes first, so that nobody claims it anew."""
        for folder in (TASKS, "claims"):
            storage.remove_files([self.path(f"{folder}/{name}")])

    def remove(self, names: Sequence[str]) -> None:
        """Remove tasks that were answered, by one request to a store."""
        folders = (TASKS, "claims", "results")
        storage.remove_files([self.path(f"{folder}/{name}") for folder in folders for name in names])

    def path(self, name: str) -> str:
        """The URL of a file of the stage."""
        return storage.join(self.url, name)

    def _create(self, name: str, record: Any) -> None:
        """Write a file that is not there. On a disk it makes no folder, so that nothing is left where a stage was."""
        try:
            put_if(*place_of(self.path(name)), json.dumps(record).encode(), None)
        except OSError as error:
            # Only who has the claim writes, so what stands there came by a first attempt whose answer was lost.
            if not was_refused(error):
                raise

    def _write_array(self, array: np.ndarray) -> str:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        name = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
        storage.write_bytes(self.path(f"arrays/{name}.npy"), buffer.getvalue())
        return name

    def _read_array(self, name: str) -> np.ndarray:
        data = storage.read_bytes(self.path(f"arrays/{name}.npy"))
        array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
        return array


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise UnusableInput(f"this is no document of a driver ({error})") from error


def _read_record(url: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        record = json.loads(storage.read_bytes(url))
        if isinstance(record, dict):
            return record
    return {}
