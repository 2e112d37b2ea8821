"""The chosen samples as a list that people and programs read."""

from __future__ import annotations

from curator.io import storage
from curator_pipelines.jobs.export.chosen import Written, chosen_samples
from curator_pipelines.jobs.report import TargetRecord
from curator_pipelines.run import StageProgress

__all__ = ["write_list"]

NAME = "chosen.txt"


def write_list(target: TargetRecord, dest: str, seed: int, progress: StageProgress) -> Written:
    """Write `chosen.txt`, a line a sample in order of choice.

    The path or URL of the sample's shard, a tab, and its key: `--deny` reads that.
    """
    written = Written()
    with storage.write_file(storage.join(dest, NAME)) as path, path.open("w", encoding="utf-8", newline="\n") as file:
        for samples in chosen_samples(target):
            file.writelines(f"{sample.row['shard']}\t{sample.key}\n" for sample in samples)
            written.samples += len(samples)
            progress({"samples": len(samples)})
    written.notes.append(f"a line a sample, in order of choice: {NAME}")
    return written
