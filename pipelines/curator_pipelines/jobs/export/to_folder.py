"""The chosen samples as files, in a folder for each centroid."""

from __future__ import annotations

from curator.io import storage
from curator_pipelines.jobs.export.chosen import Chosen, Written, chosen_samples, read_members
from curator_pipelines.jobs.export.names import file_name, folder_of
from curator_pipelines.jobs.report import TargetRecord
from curator_pipelines.run import StageProgress

__all__ = ["is_there", "write_folder", "write_sample"]


def write_folder(target: TargetRecord, dest: str, seed: int, progress: StageProgress) -> Written:
    """Write all members of each chosen sample below `dest`, byte for byte.

    Cost: a range request a sample, sixteen at once; what an earlier call wrote is not read again.
    """
    written = Written()
    for samples in chosen_samples(target):
        names = [storage.join(dest, folder_of(s.centroid), file_name(s.place, s.key)) for s in samples]
        missing = [(s, name) for s, name in zip(samples, names, strict=True) if not is_there(s, name)]
        written.samples += len(samples) - len(missing)
        read = read_members([sample for sample, _ in missing])
        for (sample, members), (_, name) in zip(read, missing, strict=True):
            write_sample(sample, members, name, written)
        progress({"samples": len(samples)})
    return written


def is_there(sample: Chosen, name: str) -> bool:
    """Whether an earlier call wrote a sample: its image goes last."""
    return storage.exists(f"{name}.{sample.ending}")


def write_sample(sample: Chosen, members: dict[str, bytes] | str, name: str, written: Written) -> None:
    """Write a sample's files, its image last; or count why there are none."""
    if isinstance(members, str):
        written.failures[members] += 1
        return
    for ext in sorted(members, key=lambda ext: ext == sample.ending):
        storage.write_bytes(f"{name}.{ext}", members[ext])
    written.samples += 1
