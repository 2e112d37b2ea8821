"""The selections that are compared: found by the names of their runs, and read from what these left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from curator.errors import Another, InputError
from curator.io import absolute, parquet, public_name, schemas
from curator.store import Part
from curator_pipelines.jobs.report import SERIES, TargetRecord, read_target
from curator_pipelines.run import RunDirectory, target_set

__all__ = ["MOST", "Side", "open_sides"]

# As many as have a colour of their own.
MOST = len(SERIES)
LETTERS = "ABCDEF"


@dataclass(frozen=True)
class Side:
    """One of the selections.

    Attributes:
        letter: what the comparison calls it: A, B and so on, in the order given.
        name: the public name of RUN or RUN/NAME.
        run: its run.
        target: its target, and what was chosen for that.
        samples: columns `shard` and `key` of the chosen samples, in order of choice.
    """

    letter: str
    name: str
    run: RunDirectory
    target: TargetRecord
    samples: pa.Table

    def __len__(self) -> int:
        return int(self.samples.num_rows)

    @property
    def pool_set(self) -> str:
        """What pictures of its pool are called: see `Picture.set`."""
        return f"{self.letter}-pool"

    @property
    def target_set(self) -> str:
        """What pictures of its target are called."""
        return f"{self.letter}-target"

    @property
    def selector(self) -> str:
        """The name of the selector."""
        return str(self.target.record["selector"])

    @cached_property
    def parts(self) -> list[Part]:
        """The sources of its pool that count."""
        return [part for part in self.target.directory.pool.registered() if not part.is_retired]

    @property
    def encoder(self) -> dict[str, Any]:
        """The recorded identity of what embedded its target; empty where there is none."""
        identity = self.run.record.get("identities", {}).get(target_set(self.target.directory.name))
        return identity if isinstance(identity, dict) else {}

    @cached_property
    def images(self) -> list[str]:
        """What the images of its target are known by, in the order of their rows: sha256, else shard and key."""
        columns = ["sha256", "shard", "image_path"]
        rows = self.target.directory.target.rows(self.target.target_ids, columns).to_pydict()
        names = zip(*(rows[column] for column in columns), strict=True)
        return [digest or f"{shard}\t{key}" for digest, shard, key in names]

    @property
    def config(self) -> dict[str, Any]:
        """The settings of its run; of several targets its own is named."""
        config = dict(self.run.record.get("config", {}))
        prefix = f"{self.target.directory.name}="
        if prefix != "=":
            given = config.get("target") or []
            config["target"] = [urls.removeprefix(prefix) for urls in given if urls.startswith(prefix)]
        return config


def open_sides(urls: Sequence[str]) -> list[Side]:
    """Find the selections.

    Args:
        urls: of each a run directory, or RUN/NAME for one of several targets.

    Cost: some small files of each run, and the list of what it chose.

    Raises:
        InputError: fewer than two or more than six, one named twice, no run there, or one that is not finished.
    """
    if not 2 <= len(urls) <= MOST:
        raise InputError(
            f"{len(urls)} given; two to {MOST} selections can be compared", field="runs", value=" ".join(urls)
        )
    places = [absolute(url) for url in urls]
    for place, url in enumerate(urls):
        if places.index(places[place]) < place:
            raise InputError("it is named twice", field="runs", value=url)
    return [_open(letter, url) for letter, url in zip(LETTERS, urls, strict=False)]


def _open(letter: str, url: str) -> Side:
    run, name = _run_of(url)
    names = [directory.name for directory in run.target_directories()]
    if name is None and names != [""]:
        raise InputError(
            f"it has {len(names)} targets",
            field="runs",
            value=url,
            advice=f"name one: {' or '.join(run.path(each) for each in names[:3])}",
        )
    state = run.record.get("stages", {}).get("select", {}).get("state", "done")
    if state != "done":
        # What stands there may be of other settings than run.json has now.
        raise InputError(
            f"its selection is not finished ({state})",
            field="runs",
            value=url,
            advice="run its command again to finish it",
        )
    target = read_target(run.target_directory(name or ""))
    chosen = target.directory.path("selection", "selected.parquet")
    samples = parquet.read_table(chosen, schemas.SELECTED, ["shard", "key"], error=InputError)
    return Side(letter, public_name(target.directory.url), run, target, samples)


def _run_of(url: str) -> tuple[RunDirectory, str | None]:
    """The run that a URL names, and the name of the target where the URL names one."""
    place = absolute(url)
    run = RunDirectory(place)
    if run.record:
        return run, None
    above, _, name = place.rpartition("/")
    run = RunDirectory(above)
    if name in (names := run.record.get("targets", [])):
        return run, name
    if any(names):
        raise InputError(
            f"{above} has no target {name}, only {', '.join(names)}", field="runs", value=url, advice=Another("runs")
        )
    raise InputError("no run directory: it has no run.json", field="runs", value=url)
