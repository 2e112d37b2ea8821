"""Targets with known answers: eleven groups of classes, and which rows of a pool belong to them.

Labels are for measuring, never for selecting. The folders hold WebDataset shards:

    TINY      pool-*.tar, NAME-target-*.tar (jpg and cls), and classes.json with `groups`: name -> class numbers.
              A group without shards of its own has its target taken out of the pool: `TAKEN` images of each class.
    GROCERY   pool-*.tar and target-*.tar (json: `source`; of groceries also `label` and `group`).

Their embeddings are made once for each encoder, one run directory a set (`embedding_runs` names them):

    curator embed --encoder lite0 --pool 'TINY/pool-*.tar' --out EMBEDDINGS/pool
    curator embed --encoder lite0 --pool 'TINY/arthropods-target-*.tar' --out EMBEDDINGS/arthropods   (vehicles, food)
    curator embed --encoder lite0 --pool 'GROCERY/pool-*.tar' --out EMBEDDINGS/grocery
    curator embed --encoder lite0 --pool 'GROCERY/target-*.tar' --out EMBEDDINGS/grocery-target
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.sources import find_sources, read_source
from curator.store import PartStore
from curator.types import RawSample

__all__ = [
    "GROCERIES",
    "OWN_TARGETS",
    "Group",
    "classes_of_groups",
    "embedding_runs",
    "group_names",
    "label_of",
    "load_groups",
    "photo_of",
    "read_samples",
    "read_target",
    "target_photos",
]

# Images of each class that become the target of a group without shards of its own.
TAKEN = 40
OWN_TARGETS = ("arthropods", "vehicles", "food")
# Name of a group of groceries -> `group` in the json; None for all.
GROCERIES = {"groceries": None, "fruit": "Fruit", "vegetables": "Vegetables", "packages": "Packages"}
NO_CLASS = -1


@dataclass(frozen=True)
class Group:
    """A target, a pool, and the answer.

    Attributes:
        name: of the group.
        target: float16 (t, d), unit rows.
        pool: float16 (n, d), unit rows.
        relevant: bool (n,), the rows of the pool that are of the target's classes.
        classes: int64 (n,), the class of each row of the pool; -1 where it has none.
        run: name below EMBEDDINGS of the run that embedded the target's images.
        rows: int64 (t,), their rows there.
    """

    name: str
    target: NDArray[np.float16]
    pool: NDArray[np.float16]
    relevant: NDArray[np.bool_]
    classes: NDArray[np.int64]
    run: str
    rows: NDArray[np.int64]


def load_groups(
    tiny_dir: str, grocery_dir: str, embeddings_dir: str, seed: int = 0, names: Collection[str] = ()
) -> list[Group]:
    """The groups, those of TINY first. Of a set that no group asked for needs, no embeddings are needed.

    Args:
        tiny_dir: TINY above; empty for none.
        grocery_dir: GROCERY above; empty for none.
        embeddings_dir: EMBEDDINGS above. Labels, which take a minute to read, are kept there as NAME-labels.npz.
        seed: of the images that are taken out of the pool.
        names: the groups to load; all where none is named.
    """
    groups: list[Group] = []
    if tiny_dir and not (names and set(names) <= set(GROCERIES)):
        groups += _tiny_groups(Path(tiny_dir), Path(embeddings_dir), seed, names)
    if grocery_dir and not (names and set(names).isdisjoint(GROCERIES)):
        groups += _grocery_groups(Path(grocery_dir), Path(embeddings_dir))
    return [group for group in groups if not names or group.name in names]


def target_photos(group: Group, embeddings_dir: str) -> Iterator[bytes]:
    """The bytes of each image of a group's target, in the order of its rows."""
    store = PartStore(f"{embeddings_dir}/{group.run}/pool")
    columns = ["shard", "offset", "size"]
    places = [row for part in sorted(store.finished()) for row in store.metadata(part, columns).to_pylist()]
    for row in group.rows.tolist():
        with open(places[row]["shard"], "rb") as shard:
            shard.seek(places[row]["offset"])
            yield shard.read(places[row]["size"])


def group_names(tiny_dir: str, grocery_dir: str) -> list[str]:
    """The names of all groups in two folders, either of which may be empty for none."""
    tiny = classes_of_groups(Path(tiny_dir)) if tiny_dir else {}
    return [*tiny, *(GROCERIES if grocery_dir else ())]


def read_target(name: str, tiny_dir: str, grocery_dir: str, seed: int = 0) -> list[bytes]:
    """The bytes of each image of a group's target, read without embeddings: those of `target_photos` and the seed."""
    if name in GROCERIES:
        kind = GROCERIES[name]
        labelled = [
            (label_of(sample), photo_of(sample)) for sample in read_samples(f"{grocery_dir}/target-*.tar", photos=True)
        ]
        return [photo for (_, its_kind), photo in labelled if kind in (None, its_kind)]
    if name in OWN_TARGETS:
        return [photo_of(sample) for sample in read_samples(f"{tiny_dir}/{name}-target-*.tar", photos=True)]
    pool = [(label_of(sample)[0], photo_of(sample)) for sample in read_samples(f"{tiny_dir}/pool-*.tar", photos=True)]
    taken = _taken(np.array([number for number, _ in pool]), classes_of_groups(Path(tiny_dir))[name], seed)
    return [pool[row][1] for row in np.flatnonzero(taken)]


def embedding_runs(tiny_dir: str, grocery_dir: str) -> dict[str, str]:
    """Name below EMBEDDINGS -> the shards that are embedded there."""
    runs = {"pool": f"{tiny_dir}/pool-*.tar"} | {name: f"{tiny_dir}/{name}-target-*.tar" for name in OWN_TARGETS}
    return runs | {"grocery": f"{grocery_dir}/pool-*.tar", "grocery-target": f"{grocery_dir}/target-*.tar"}


def _tiny_groups(folder: Path, embeddings: Path, seed: int, names: Collection[str]) -> Iterator[Group]:
    pool = _vectors(embeddings / "pool")
    classes = _labels(embeddings / "pool", f"{folder}/pool-*.tar")[0]
    for name, members in classes_of_groups(folder).items():
        if names and name not in names:
            continue
        relevant = np.isin(classes, members)
        if name in OWN_TARGETS:
            target = _vectors(embeddings / name)
            yield Group(name, target, pool, relevant, classes, name, np.arange(len(target)))
            continue
        taken = _taken(classes, members, seed)
        rows = np.flatnonzero(taken)
        yield Group(name, pool[taken], pool[~taken], relevant[~taken], classes[~taken], "pool", rows)


def classes_of_groups(folder: Path) -> dict[str, list[int]]:
    """The groups of TINY: name -> class numbers."""
    groups: dict[str, list[int]] = json.loads((folder / "classes.json").read_text())["groups"]
    return groups


def _taken(classes: NDArray[np.int64], members: list[int], seed: int) -> NDArray[np.bool_]:
    """Which rows of the pool become the target."""
    random = np.random.default_rng(seed)
    taken = np.zeros(len(classes), bool)
    for number in members:
        taken[random.choice(np.flatnonzero(classes == number), TAKEN, replace=False)] = True
    return taken


def _grocery_groups(folder: Path, embeddings: Path) -> Iterator[Group]:
    pool, target = _vectors(embeddings / "grocery"), _vectors(embeddings / "grocery-target")
    classes, kinds = _labels(embeddings / "grocery", f"{folder}/pool-*.tar")
    _, target_kinds = _labels(embeddings / "grocery-target", f"{folder}/target-*.tar")
    for name, kind in GROCERIES.items():
        relevant = classes != NO_CLASS if kind is None else kinds == kind
        of_target = np.ones(len(target), bool) if kind is None else target_kinds == kind
        rows = np.flatnonzero(of_target)
        yield Group(name, target[of_target], pool, relevant, classes, "grocery-target", rows)


def _vectors(run: Path) -> NDArray[np.float16]:
    return np.concatenate([rows for _, rows in PartStore(f"{run}/pool").parts()])


def _labels(run: Path, shards: str) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Class and kind of each row of a run's pool, in the order of its rows; read from the shards once."""
    kept = run.with_name(f"{run.name}-labels.npz")
    if not kept.exists():
        known = {(sample.shard, sample.key): label_of(sample) for sample in read_samples(shards)}
        labels = []
        store = PartStore(f"{run}/pool")
        for part in sorted(store.finished()):
            rows = store.metadata(part, ["shard", "image_path"]).to_pylist()
            labels += [known[row["shard"], row["image_path"]] for row in rows]
        np.savez(kept, classes=[number for number, _ in labels], kinds=[kind for _, kind in labels])
    stored = np.load(kept)
    return stored["classes"], stored["kinds"]


def read_samples(shards: str, photos: bool = False) -> Iterator[RawSample]:
    """The samples of some shards with their labels and, where asked for, their photos."""
    for source in find_sources([shards], "pool", folders=False):
        for sample in read_source(source, keep=lambda member: photos or member.ext in ("cls", "json")):
            if isinstance(sample, RawSample):
                yield sample


def photo_of(sample: RawSample) -> bytes:
    """The bytes of a sample's photo."""
    assert sample.image is not None and sample.image.data is not None
    return sample.image.data


def label_of(sample: RawSample) -> tuple[int, str]:
    """A sample's class, -1 for none, and the kind that its group goes by; empty for none."""
    texts = {member.ext: member.data for member in sample.members if member.data is not None}
    if "cls" in texts:
        return int(texts["cls"]), ""
    fields: dict[str, Any] = json.loads(texts["json"])
    return fields.get("label", NO_CLASS), fields.get("group", "")
