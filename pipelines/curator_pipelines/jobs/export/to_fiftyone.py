"""The chosen samples as a dataset on disk that FiftyOne imports."""

from __future__ import annotations

import json
import math

from curator.io import public_name, storage
from curator_pipelines.jobs.export.chosen import Chosen, Written, chosen_samples, read_members
from curator_pipelines.jobs.export.names import file_name
from curator_pipelines.jobs.export.to_folder import is_there, write_sample
from curator_pipelines.jobs.report import TargetRecord
from curator_pipelines.run import StageProgress

__all__ = ["write_fiftyone"]

DATA = "data"


def write_fiftyone(target: TargetRecord, dest: str, seed: int, progress: StageProgress) -> Written:
    """Write `metadata.json`, `samples.json` and `data/`: the images, byte for byte, and what is known of each.

    Without a version in its metadata, FiftyOne's importer of `FiftyOneDataset` finds the types of the fields by itself.
    """
    written = Written()
    metadata = {"name": target.directory.name or "curator", "media_type": "image"}
    storage.write_bytes(storage.join(dest, "metadata.json"), json.dumps(metadata, indent=1).encode())
    with storage.write_file(storage.join(dest, "samples.json")) as path, path.open("w", encoding="utf-8") as file:
        file.write('{"samples": [')
        separator = "\n"
        for samples in chosen_samples(target):
            for sample in _with_files(samples, dest, written):
                file.write(separator + json.dumps(_fields(sample), ensure_ascii=False))
                separator = ",\n"
            progress({"samples": len(samples)})
        file.write("\n]}\n")
    # Its open edition reads local files only.
    first, folder = ("copy it to a local folder, and ", "FOLDER") if "://" in dest else ("", public_name(dest))
    written.notes.append(
        f"{first}open it by: fiftyone.Dataset.from_dir({folder!r}, dataset_type=fiftyone.types.FiftyOneDataset)"
    )
    return written


def _with_files(samples: list[Chosen], dest: str, written: Written) -> list[Chosen]:
    """Write the images that are not there yet; returns the samples that have one then."""
    names = {sample.place: storage.join(dest, DATA, file_name(sample.place, sample.key)) for sample in samples}
    there = [sample for sample in samples if is_there(sample, names[sample.place])]
    missing = [sample for sample in samples if not is_there(sample, names[sample.place])]
    written.samples += len(there)
    places = {sample.place for sample in there}
    for sample, members in read_members(missing):
        image = members if isinstance(members, str) else {sample.ending: members[sample.ending]}
        before = written.samples
        write_sample(sample, image, names[sample.place], written)
        if written.samples > before:
            places.add(sample.place)
    return [sample for sample in samples if sample.place in places]


def _fields(sample: Chosen) -> dict[str, object]:
    known = {
        "place": sample.place,
        "score": None if math.isnan(sample.score) else sample.score,
        "centroid": sample.centroid if sample.centroid >= 0 else None,
        "round": sample.round if sample.round >= 0 else None,
    }
    return {
        "filepath": f"{DATA}/{file_name(sample.place, sample.key)}.{sample.ending}",
        "tags": ["chosen"],
        "key": sample.key,
        "shard": sample.row["shard"],
        **{name: value for name, value in known.items() if value is not None},
    }
