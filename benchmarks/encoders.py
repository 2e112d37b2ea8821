"""Does `measure`, which sees no labels, choose the encoder of the best true precision?

For each target: what `curator measure` says of lite0, the warm-up and the same network untrained, and the precision of
a coreset of R images by each (R: the relevant images of the pool; one centroid a target image), for which alone the
labels are read. Each line is kept in WORK/encoders.jsonl, and is not done again.

`python -m benchmarks.encoders TINY GROCERIES WORK [SHARDS] [CASE ...]`: the folders of the Tiny-ImageNet shards and of
the grocery shards, how many shards of the tiny pool (default 4), and cases such as `food` or `food-grey` (all).
lite0 was trained with labels on ImageNet, from which Tiny-ImageNet is cut: its figures there are an upper bound.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

import curator
from curator.encoders import load_encoder
from curator.selection import is_better
from curator.sources import Source, find_sources, read_source
from curator.types import RawSample

CARTONS = (19, 20, 27)
CARTON_IMAGES = 150
TINY_TARGETS = ("arthropods", "vehicles", "food")


@dataclass(frozen=True)
class Case:
    """A target with a known answer.

    Attributes:
        name: of the case.
        target: where its images are.
        pool: the shards of its pool.
        is_relevant: whether a sample of the pool is of the target's kind.
    """

    name: str
    target: Path
    pool: list[str]
    is_relevant: Callable[[RawSample], bool]


def main() -> None:
    """Do what is missing, and print the table."""
    tiny, groceries, work = map(Path, sys.argv[1:4])
    numbers = [word for word in sys.argv[4:] if word.isdigit()]
    names = [word for word in sys.argv[4:] if not word.isdigit()]
    work.mkdir(parents=True, exist_ok=True)
    results = Results(work / "encoders.jsonl")
    for case in cases(tiny, groceries, work, int(numbers[0]) if numbers else 4):
        if not names or case.name in names:
            run_case(case, work, results)
    print(results.to_text())


class Results:
    """One JSON line a case and encoder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def find(self, case: str) -> list[dict[str, Any]]:
        """The lines of one case."""
        return [line for line in self.lines if line["case"] == case]

    def add(self, **line: Any) -> None:
        """Keep a line, and print it."""
        self.lines.append(line)
        with self.path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print(line, flush=True)

    def to_text(self) -> str:
        """A table of all lines."""
        rows = [
            "| target | encoder | median rank | precision at R | R | base rate | measure's choice |",
            "|" + "---|" * 7,
        ]
        right = 0
        names = list(dict.fromkeys(line["case"] for line in self.lines))
        for name in names:
            lines = self.find(name)
            best = max(lines, key=lambda line: line["precision"])
            right += best["chosen"]
            rows += [
                f"| {name} | {line['encoder']} | {line['median_rank']:.1%} | {line['precision']:.3f} "
                f"| {line['relevant']:,} | {line['base_rate']:.3f} | {'chosen' if line['chosen'] else ''} |"
                for line in lines
            ]
        return "\n".join([*rows, "", f"The choice is that of the best precision in {right} of {len(names)} cases."])


def run_case(case: Case, work: Path, results: Results) -> None:
    """Measure one target, and then look at the labels."""
    done = {line["encoder"] for line in results.find(case.name)}
    out = work / case.name
    measured = _measured(case, out)
    choice = _choice(out)
    for row in measured["rows"]:
        name = row["encoder"]
        if name == "chance" or name in done:
            continue
        spec = _spec(name, out)
        target, _ = _embedded(
            spec, find_sources([str(case.target)], "target", folders=True), out / f"target {name}.npz"
        )
        cache = f"pool {name} {Path(case.pool[0]).parent.name}-{len(case.pool)}.npz"
        pool, samples = _embedded(
            spec, find_sources(case.pool, "pool", folders=False), (work if name == "lite0" else out) / cache
        )
        relevant = _relevant(case, samples)
        budget = int(relevant.sum())
        ids = curator.select_rows(target, pool, budget=budget, clusters=len(target)).ids
        results.add(
            case=case.name,
            encoder=name,
            median_rank=row["median_rank"],
            chosen=name == choice,
            precision=float(relevant[ids].mean()),
            relevant=budget,
            base_rate=float(relevant.mean()),
        )


def _choice(out: Path) -> str:
    """What `auto` would take of these, in the order in which they were named."""
    table = pq.read_table(out / "measure" / "compared.parquet")
    names = list(dict.fromkeys(table["encoder"].to_pylist()))
    ranks = {name: table.filter(pc.equal(table["encoder"], name))["rank"].to_numpy() for name in names}
    choice = names[0]
    for name in names[1:]:
        if is_better(ranks[name], ranks[choice]):
            choice = name
    return choice


def _measured(case: Case, out: Path) -> dict[str, Any]:
    kept = out / "measure" / "compared.json"
    if not kept.exists():
        words = ["--target", str(case.target), "--pool", *case.pool, "--encoder", "lite0", "--encoder", "warmup"]
        command = [sys.executable, "-m", "curator_pipelines", "measure", *words, "--out", str(out)]
        subprocess.run(command, check=True)
    table: dict[str, Any] = json.loads(kept.read_text())["table"]
    return table


def _spec(name: str, out: Path) -> str:
    """The encoder behind a row of the table."""
    if name == "warmup":
        return f"checkpoint:{out}/encoder.pt"
    if name == "warmup, untrained":
        return f"checkpoint:{out}/warmup/untrained.pt"
    return name


def _embedded(spec: str, sources: Sequence[Source], cache: Path) -> tuple[NDArray[np.float16], list[tuple[str, str]]]:
    """The vectors of all images, and shard and key of each."""
    if not cache.exists():
        from curator.embedding import embed_source

        encoder = load_encoder(spec)
        blocks = [(source.name, embed_source(source, encoder, threads=2)[0]) for source in sources]
        names = [(name, row.key) for name, block in blocks for row in block.rows]
        np.savez(cache, vectors=np.concatenate([block.vectors for _, block in blocks]), names=np.array(names))
    with np.load(cache) as stored:
        return stored["vectors"], [(shard, key) for shard, key in stored["names"].tolist()]


def _relevant(case: Case, samples: Sequence[tuple[str, str]]) -> NDArray[np.bool_]:
    relevant = {
        (sample.shard, sample.key)
        for source in find_sources(case.pool, "pool", folders=False)
        for sample in read_source(source, keep=lambda member: member.ext in ("cls", "json"))
        if isinstance(sample, RawSample) and case.is_relevant(sample)
    }
    return np.array([sample in relevant for sample in samples])


def cases(tiny: Path, groceries: Path, work: Path, shards: int) -> list[Case]:
    """Three targets of Tiny-ImageNet, as they are and grey, and the cartons among the groceries."""
    description = json.loads((tiny / "classes.json").read_text())
    pool = [f"{tiny}/pool-{number:06d}.tar" for number in range(shards)]
    found = []
    for name in TINY_TARGETS:
        target, classes = tiny / f"{name}-target-000000.tar", set(description["groups"][name])
        grey = _written(work / f"{name}-grey-target", [target], lambda sample: True, "L")
        found += [
            Case(name, target, pool, lambda sample, classes=classes: _member(sample, "cls") in classes),
            Case(f"{name}-grey", grey, pool, lambda sample, classes=classes: _member(sample, "cls") in classes),
        ]
    cartons = _written(work / "cartons-target", [groceries / "target-000000.tar"], _is_carton, "RGB", CARTON_IMAGES)
    grocery_pool = [f"{groceries}/pool-{number:06d}.tar" for number in range(3)]
    return [*found, Case("cartons", cartons, grocery_pool, _is_carton)]


def _is_carton(sample: RawSample) -> bool:
    return _member(sample, "json").get("coarse") in CARTONS


def _member(sample: RawSample, ext: str) -> Any:
    data = next(member.data for member in sample.members if member.ext == ext)
    assert data is not None
    return json.loads(data)


def _written(
    folder: Path, tars: Sequence[Path], keeps: Callable[[RawSample], bool], mode: str, most: int = 1 << 30
) -> Path:
    """A folder of the images that are kept, in a mode of Pillow's."""
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    sources = find_sources([str(tar) for tar in tars], "target", folders=False)
    samples = (sample for source in sources for sample in read_source(source, keep=lambda member: True))
    kept = [sample for sample in samples if isinstance(sample, RawSample) and keeps(sample)][:most]
    for sample in kept:
        assert sample.image is not None and sample.image.data is not None
        if mode == "RGB":
            (folder / f"{sample.key}.jpg").write_bytes(sample.image.data)
        else:
            image = Image.open(io.BytesIO(sample.image.data)).convert(mode).convert("RGB")
            image.save(folder / f"{sample.key}.jpg", quality=95)
    return folder


if __name__ == "__main__":
    main()
