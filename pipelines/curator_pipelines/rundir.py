"""A run directory: `run.json`, and where everything else stands below it (DESIGN section 4)."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import curator
from curator import storage
from curator.errors import InputError
from curator.parts import PartStore
from curator.schemas import FORMAT_VERSION

__all__ = ["STAGES", "RunDirectory"]

# In the order they run; redoing one redoes those behind it.
STAGES = ("target", "pool", "select", "pack")
OWN_NAMES = ("target", "pool", "selection", "shards", "index")
VERSIONS_OF = (
    "torch",
    "torchvision",
    "timm",
    "open_clip_torch",
    "numpy",
    "pyarrow",
    "scikit-learn",
    "pillow",
)
ADVICE = "give another --out, or --redo {stage} to start that stage anew"


class RunDirectory:
    """Reads and writes `run.json`; everything in it but the timings follows from inputs, config and seed.

    Args:
        url: the directory, any fsspec URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.target = PartStore(storage.join(url, "target"))
        self.pool = PartStore(storage.join(url, "pool"))
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
            raise InputError(f"{self.url} is a file, not a directory: give another --out") from error
        except ValueError as error:
            raise InputError(f"{self.path('run.json')} is damaged ({error}): give another --out") from error
        if not isinstance(record, dict):
            raise InputError(f"{self.path('run.json')} is not curator's: give another --out")
        if record.get("version") != FORMAT_VERSION:
            raise InputError(
                f"{self.url} was written by another format version ({record.get('version')}; this curator "
                f"knows {FORMAT_VERSION}): give another --out"
            )
        return record

    def check_ours(self) -> None:
        """Refuse a directory that holds such files but no run.json: it is not ours to write in."""
        if not self.record:
            for name in OWN_NAMES:
                if storage.exists(self.path(name)):
                    raise InputError(f"{self.url} holds '{name}' but no run.json: give another --out")

    def check_identity(self, stage: str, encoding: dict[str, Any], redo: str | None) -> None:
        """Refuse to go on with another encoder, preprocessing, precision or filter than the stored parts'.

        Raises:
            InputError: with each difference.
        """
        known = self.record.get("identities", {}).get(stage)
        if known is None or known == encoding or self.redoes(stage, redo):
            return
        names = sorted(set(known) | set(encoding))
        changes = [
            f"{name} was {known.get(name)}, now {encoding.get(name)}"
            for name in names
            if known.get(name) != encoding.get(name)
        ]
        advice = ADVICE.format(stage=stage if stage == "pool" else "embed")
        raise InputError(f"{self.url} is a different run: {'; '.join(changes)} ({stage}): {advice}")

    @staticmethod
    def redoes(stage: str, redo: str | None) -> bool:
        """True if `--redo REDO` throws away what this stage made."""
        if redo is None:
            return False
        return STAGES.index(stage) >= STAGES.index("target" if redo == "embed" else redo) and not (
            # The pool's embeddings do not depend on the target.
            redo == "target" and stage == "pool"
        )

    def start(self, config: dict[str, Any], redo: str | None) -> None:
        """Begin, or go on with, a run: throw away what `redo` names and write run.json."""
        storage.remove_temporaries(self.url)
        for stage in STAGES:
            if self.redoes(stage, redo):
                self._remove(stage)
        self.record |= {
            "version": FORMAT_VERSION,
            "curator": curator.__version__,
            "config": config,
            "versions": {name: _version(name) for name in VERSIONS_OF} | {"python": platform.python_version()},
        }
        self.record.setdefault("identities", {})
        self.record.setdefault("stages", {})
        self.save()

    def _remove(self, stage: str) -> None:
        folders = {"pool": ("pool", "index"), "select": ("selection",), "pack": ("shards", "packing")}.get(
            stage, (stage,)
        )
        for folder in folders:
            storage.remove(self.path(folder))
        self.record.get("stages", {}).pop(stage, None)
        self.record.get("identities", {}).pop(stage, None)

    def save(self) -> None:
        """Write run.json."""
        text = json.dumps(self.record, indent=2, default=str)
        storage.write_bytes(self.path("run.json"), text.encode())

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Record a stage's state and seconds in run.json; the block adds what else is worth knowing."""
        state: dict[str, Any] = {"state": "running"}
        self.record["stages"][name] = state
        self.save()
        started = time.monotonic()
        try:
            yield state
            # A worker that was killed and replaced may have left half a file beside its place.
            storage.remove_temporaries(self.url)
            state["state"] = "done"
        except BaseException:
            state["state"] = "stopped"
            raise
        finally:
            state["seconds"] = round(time.monotonic() - started, 3)
            self.save()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
