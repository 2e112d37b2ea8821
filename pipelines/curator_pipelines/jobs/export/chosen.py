"""The chosen samples, in order of choice, with the bytes that were embedded."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from curator.errors import CuratorError
from curator.io import public_text, storage
from curator_pipelines.jobs.report import TargetRecord

__all__ = ["COLUMNS", "Chosen", "Written", "chosen_samples", "read_members"]

COLUMNS = ["shard", "image_path", "offset", "size", "sha256", "members", "width", "height"]
# Samples whose rows, and with `read_members` whose bytes, are held at a time.
AT_A_TIME = 256
THREADS = 16
# One read takes all of a sample where it has no more than so many bytes beside its members.
GAPS = 1 << 20


@dataclass(frozen=True)
class Chosen:
    """A chosen sample.

    Attributes:
        place: in the order of choice, from 1.
        id: of the pool.
        score: NaN from a selector without scores.
        centroid: -1 from a selector without centroids.
        round: -1 from a selector without rounds.
        row: its metadata, `COLUMNS`.
        kind: of its source: `tar` or `embeddings`.
        url: where its source is read.
    """

    place: int
    id: int
    score: float
    centroid: int
    round: int
    row: dict[str, Any]
    kind: str
    url: str

    @property
    def key(self) -> str:
        """The sample's key."""
        return str(self.row["image_path"])

    @property
    def ending(self) -> str:
        """Of its image's name, in small letters; empty where nothing tells it."""
        image = [member["ext"] for member in self.row["members"] or () if member["offset"] == self.row["offset"]]
        return str(image[0]).lower() if image else ""


@dataclass
class Written:
    """What became of the chosen samples of a target.

    Attributes:
        samples: how many are there.
        failures: why the others are not, and how many each.
        notes: what else there is to say.
    """

    samples: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def chosen_samples(target: TargetRecord) -> Iterator[list[Chosen]]:
    """All chosen samples of a target in order of choice, some at a time."""
    selection, pool = target.selection, target.directory.pool
    sources = {part.url: (part.kind, part.source_url) for part in pool.registered()}
    for start in range(0, len(selection.ids), AT_A_TIME):
        some = slice(start, start + AT_A_TIME)
        rows = pool.rows(selection.ids[some], COLUMNS).to_pylist()
        columns = (selection.ids, selection.scores, selection.anchors, selection.rounds)
        values = zip(*(column[some].tolist() for column in columns), strict=True)
        yield [
            Chosen(place, sample_id, score, centroid, turn, row, *sources.get(row["shard"], ("tar", row["shard"])))
            for place, ((sample_id, score, centroid, turn), row) in enumerate(zip(values, rows, strict=True), start + 1)
        ]


def read_members(samples: list[Chosen]) -> Iterator[tuple[Chosen, dict[str, bytes] | str]]:
    """Each sample with its members, ending -> bytes, the image's among them; or with why it could not be read."""
    with ThreadPoolExecutor(THREADS) as threads:
        yield from zip(samples, threads.map(_members_or_why, samples), strict=True)


def _members_or_why(sample: Chosen) -> dict[str, bytes] | str:
    try:
        return _members(sample)
    except CuratorError as error:
        return public_text(str(error))
    except FileNotFoundError:
        return "its source is not there any more"
    # Every filesystem has errors of its own.
    except Exception as error:
        return public_text(f"its source cannot be read ({type(error).__name__}: {error})")


def _members(sample: Chosen) -> dict[str, bytes]:
    row = sample.row
    if sample.kind == "embeddings" or row["offset"] is None or not sample.ending:
        raise CuratorError("it came as an embedding, and nothing says where its image is")
    members = _of_tar(sample.url, row)
    if row["sha256"] is not None and hashlib.sha256(members[sample.ending]).hexdigest() != row["sha256"]:
        raise CuratorError("its source changed since it was embedded")
    return members


def _of_tar(url: str, row: dict[str, Any]) -> dict[str, bytes]:
    places = {member["ext"].lower(): (member["offset"], member["offset"] + member["size"]) for member in row["members"]}
    first, last = min(start for start, _ in places.values()), max(end for _, end in places.values())
    if last - first > sum(end - start for start, end in places.values()) + GAPS:
        return {ext: storage.read_range(url, *place) for ext, place in places.items()}
    data = storage.read_range(url, first, last)
    return {ext: data[start - first : end - first] for ext, (start, end) in places.items()}
