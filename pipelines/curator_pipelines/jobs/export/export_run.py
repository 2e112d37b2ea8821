"""`curator export`: a finished selection, handed over to other tools."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curator.errors import Another, CuratorError, InputError, counted
from curator.io import absolute, public_name, storage
from curator_pipelines.config import ExportConfig
from curator_pipelines.jobs.export.chosen import Written
from curator_pipelines.jobs.export.to_atlas import write_atlas
from curator_pipelines.jobs.export.to_fiftyone import write_fiftyone
from curator_pipelines.jobs.export.to_folder import write_folder
from curator_pipelines.jobs.export.to_list import write_list
from curator_pipelines.jobs.report import TargetRecord, read_target
from curator_pipelines.run import Reporter, RunDirectory, StageProgress

__all__ = ["Exported", "run_export"]

# Says what a folder was exported from: another export never mixes with it.
RECORD = "export.json"
Writer = Callable[[TargetRecord, str, int, StageProgress], Written]
WRITERS: dict[str, Writer] = {
    "folder": write_folder,
    "list": write_list,
    "atlas": write_atlas,
    "fiftyone": write_fiftyone,
}


@dataclass(frozen=True)
class Exported:
    """What was handed over.

    Attributes:
        to: the kind.
        dest: where it is; of several targets each has a folder of its name there.
        samples: how many chosen samples it has.
        notes: what else there is to say.
    """

    to: str
    dest: str
    samples: int
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        lines = [f"exported    {counted(self.samples, 'sample')} to {self.dest} ({self.to})"]
        return "\n".join([*lines, *(f"            {note}" for note in self.notes)])


def run_export(config: ExportConfig, reporter: Reporter) -> Exported:
    """Hand a finished selection over. What is there already of the same export is not written again.

    Raises:
        InputError: there is no finished selection, or the folder holds something else.
        CuratorError: some samples could not be read, or are not what was embedded; all others are there.
    """
    out = absolute(config.out)
    run = RunDirectory(out)
    if not run.record:
        raise InputError("no run directory: it has no run.json", field="out", value=config.out)
    targets = [read_target(directory) for directory in run.target_directories()]
    dest = absolute(config.dest) if config.dest else storage.join(out, "export", config.to)
    _claim(dest, config.to, targets)
    total = sum(len(target.selection.ids) for target in targets)
    samples, failures, notes = 0, Counter[str](), list[str]()
    with reporter.stage("export", total, "samples") as progress:
        for target in targets:
            name = target.directory.name
            folder = storage.join(dest, name) if name else dest
            written = WRITERS[config.to](target, folder, run.record["config"].get("seed", 0), progress)
            samples += written.samples
            failures += written.failures
            notes += [note for note in written.notes if note not in notes]
    if failures:
        reason, count = failures.most_common(1)[0]
        raise CuratorError(
            f"{counted(failures.total(), 'sample')} of {total:,} could not be exported, the others are in "
            f"{public_name(dest)}; {count:,} of them: {reason}",
            advice="run again when the pool is there as it was",
        )
    return Exported(config.to, public_name(dest), samples, notes)


def _claim(dest: str, to: str, targets: Sequence[TargetRecord]) -> None:
    """Note in the folder what goes there; refuse one that holds something else."""
    identities = {target.directory.name: target.record["identity"] for target in targets}
    record = json.dumps({"to": to, "selections": identities}, indent=1).encode()
    names = storage.list_names(dest)
    if RECORD in names:
        if storage.read_bytes(storage.join(dest, RECORD)) == record:
            return
        raise InputError("it holds the export of another selection", field="dest", value=dest, advice=Another("dest"))
    if names:
        raise InputError("it is not empty", field="dest", value=dest, advice=Another("dest"))
    storage.write_bytes(storage.join(dest, RECORD), record)
