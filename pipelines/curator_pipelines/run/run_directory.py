"""The directory of a selection: where everything beside its `run.json` stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.errors import Another, InputError, Redo
from curator.io import FORMAT_VERSION, Owner, storage
from curator.settings import REDONE, STAGES
from curator.store import PartReader, PartStore
from curator_pipelines.run.provenance import library_versions
from curator_pipelines.run.run_record import RunRecord

__all__ = ["KEPT_SCANS", "OWN_NAMES", "STAGES", "RunDirectory", "TargetDirectory", "target_set"]

OWN_NAMES = ("target", "pool", "exclude", "selection", "shards", "index")
# What scans of the pool found: one with which a selection begins, and a later one until it is done.
KEPT_SCANS = ("kept_scan.npz", "unfinished_scan.npz")
RESERVED = (
    *(*OWN_NAMES, "warmup", "measure", "packing", "events"),
    *("run.json", "encoder.pt", "quarantine.parquet", *KEPT_SCANS),
)
# What says of a stage's other files that they are finished.
MARKS = ("selection.json", "sizes.json", "manifest.parquet", "measure.json", "index.json", "done")


@dataclass(frozen=True)
class TargetDirectory:
    """What belongs to one target: target/, selection/ and shards/, below OUT, or below OUT/NAME if there are several.

    Attributes:
        name: of the target; empty where it is the only one.
        url: OUT or OUT/NAME.
        target: the target's embeddings.
        pool: what is selected from, shared by all targets.
        exclude: the evaluation images, shared by all targets; maybe no parts.
        index: URL of the pool's index, whether it is there or not; it may be another run's.
    """

    name: str
    url: str
    target: PartReader
    pool: PartReader
    exclude: PartReader
    index: str

    @cached_property
    def target_vectors(self) -> NDArray[np.float16]:
        """All embeddings of the target, float16 (n, d), read once.

        Raises:
            UnusableInput: there is none.
        """
        return self.target.all_vectors()

    def path(self, *names: str) -> str:
        """A URL below it."""
        return storage.join(self.url, *names)


class RunDirectory(RunRecord):
    """The directory of a selection, with its `run.json`.

    Args:
        url: the directory, any fsspec URL.
        owner: this process as its owner; None for one who only looks.
    """

    def __init__(self, url: str, owner: Owner | None = None) -> None:
        super().__init__(url, owner)
        self.pool = PartStore(storage.join(url, "pool"))
        self.exclude = PartStore(storage.join(url, "exclude"))

    def target_directory(self, name: str = "") -> TargetDirectory:
        """What belongs to one target: the only one, or one of several, by its name."""
        url = self.path(name) if name else self.url
        target = PartStore(storage.join(url, "target"))
        return TargetDirectory(name, url, target, self.pool, self.exclude, self.path("index"))

    def stores(self) -> dict[str, PartStore]:
        """Name -> embeddings of every set of this run: targets, pool, and evaluation images if there are any."""
        names = (target_set(directory.name) for directory in self.target_directories())
        targets = {name: PartStore(self.path(name)) for name in names}
        skipped = {"exclude": self.exclude} if self.record.get("config", {}).get("exclude") else {}
        return targets | {"pool": self.pool} | skipped

    def target_directories(self) -> list[TargetDirectory]:
        """What belongs to each target of this run, in the order in which they were first given."""
        return [self.target_directory(name) for name in self.record.get("targets") or [""]]

    def check_ours(self) -> None:
        """Refuse a directory that holds such files but no run.json: it is not ours to write in."""
        if not self.record:
            for name in OWN_NAMES:
                if storage.exists(self.path(name)):
                    raise InputError(f"{self.url} holds '{name}' but no run.json", advice=Another("out"))

    def check_targets(self, names: Sequence[str]) -> None:
        """Refuse names that would collide with OUT's own files, and a mix of one target and several."""
        for name in names:
            if name in RESERVED:
                raise InputError(
                    f"OUT/{name} has another use", field="target", value=f"{name}=...", advice="give another name"
                )
        known = self.record.get("targets", [])
        if known and ("" in known) != ("" in names):
            before = "one target without a name" if "" in known else f"named targets ({', '.join(known)})"
            raise InputError(f"{self.url} is a run of {before}", advice=Another("out"))

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
        raise InputError(
            f"{self.url} is a different run: {'; '.join(changes)} ({stage})",
            advice=(Another("out"), Redo(stage if stage in ("pool", "exclude") else "embed")),
        )

    @staticmethod
    def redoes(stage: str, redo: str | None) -> bool:
        """True if `redo` throws away what this stage made."""
        return redo is not None and stage.rpartition("/")[2] in REDONE[redo]

    def start(self, config: dict[str, Any], redo: str | None, targets: Sequence[str] = ()) -> None:
        """Begin, or go on with, a run on these targets: throw away what `redo` names and write run.json."""
        self.check_owner()
        storage.remove_temporaries(self.url)
        self.throw_away(redo)
        self.record |= {
            "version": FORMAT_VERSION,
            "config": config,
            "targets": list(targets),
            "versions": library_versions(),
        }
        self.record.setdefault("identities", {})
        self.record.setdefault("stages", {})
        self.save()

    def throw_away(self, redo: str | None) -> None:
        """Remove what `redo` starts anew; what run.json says of it goes when that is written next.

        Raises:
            CuratorError: another run took the directory over, and what is here is its own.
        """
        for stage in STAGES:
            if self.redoes(stage, redo):
                self.check_owner()
                self._remove(stage)

    def _remove(self, stage: str) -> None:
        """Remove what a stage left, of all targets, and what run.json says of it.

        What says that something is finished goes first: a removal that is cut short leaves data without a mark, which
        is made anew, and never a mark without data.
        """
        of_target = {"target": ("target",), "select": ("selection",), "pack": ("packing", "shards")}
        if stage in of_target:
            urls = [directory.path(folder) for directory in self.target_directories() for folder in of_target[stage]]
        else:
            urls = [self.path(name) for name in {"warmup": ("encoder.pt", "warmup")}.get(stage, (stage,))]
        if stage == "select":
            urls += map(self.path, KEPT_SCANS)
        for url in [storage.join(url, name) for name in MARKS for url in urls] + urls:
            storage.remove(url)
        for kind in ("stages", "identities"):
            known = self.record.get(kind, {})
            self.record[kind] = {name: value for name, value in known.items() if name.rpartition("/")[2] != stage}


def target_set(name: str) -> str:
    """Where the parts of a target go below OUT; the name of an only target is empty."""
    return f"{name}/target" if name else "target"
