"""The page of a finished run, at 10,000 and at 1,000,000 rows: seconds, bytes and memory. Needs CURATOR_TEST_DATA.

    python -m benchmarks.report WORK [--copies 100] [--budget 0.2%]

The small run is real: target and pool, embedded by lite0. The large one has every shard of the pool many times under
other names (links to the same tar, so that its pictures are there to be read), with the vectors of the small run, each
moved a little; copies have the bytes of the first, and are skipped as such. Floor: reading, decoding and shrinking as
many pictures by Pillow, one after another. Nothing else draws such a page, so that there is no peer.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.data import DATA, describe_machine
from benchmarks.measure import measure
from curator.io import part_files, storage
from curator.settings import build
from curator.store import DoneMark, PartStore
from curator_pipelines.config import ReportConfig, SelectConfig
from curator_pipelines.executors import Task, WorkerContext
from curator_pipelines.jobs.report import ReportResult, run_report
from curator_pipelines.jobs.select import embed, run_select
from curator_pipelines.run import Reporter
from curator_pipelines.stages import EmbedTask

TARGET = DATA / "target-000000.tar"
# Length of what is added to a vector of length 1.
MOVED = 0.1


@dataclass(frozen=True)
class Copying:
    """In place of the embed stage: the part that another run made of the same tar, with its vectors moved a little."""

    base: str
    store_url: str
    encoder: Any
    min_side: int = 0

    def open(self, context: WorkerContext) -> Callable[[Task[EmbedTask]], DoneMark]:
        """As the real one's."""
        store = PartStore(self.store_url)

        def copy(task: Task[EmbedTask]) -> DoneMark:
            work = task.payload
            # Of `pool-000003~0017.tar`, `pool-000003`.
            name, is_copy, _ = Path(work.source.name).stem.partition("~")
            known = PartStore(storage.join(self.base, "pool" if is_copy else "target"))
            old = next(part for part in known.registered() if Path(part.url).stem == name)
            vectors = np.load(part_files.array_url(known.url, old.part, old.identity)).astype(np.float32)
            if is_copy:
                noise = np.random.default_rng(work.part).standard_normal(vectors.shape, np.float32)
                vectors += MOVED / np.sqrt(vectors.shape[1]) * noise
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            table = pq.read_table(part_files.metadata_url(known.url, old.part, old.identity))
            columns = {name: table[name].combine_chunks() for name in table.column_names}
            columns["part"] = np.full(table.num_rows, work.part, np.int32)
            columns["shard"] = pa.array([work.source.name] * table.num_rows)
            columns["sample_sha256"] = pa.nulls(table.num_rows, pa.string())
            mark = known.done_mark(old.part, old.identity)
            context.report({"samples": mark.embedded})
            return store.write(work.part, work.identity, vectors.astype(np.float16), columns, mark)

        return copy


def select(out: str, pool: list[str], budget: str) -> None:
    """A run without a page."""
    settings = {"target": [str(TARGET)], "pool": pool, "out": out, "encoder": ["lite0"], "budget": budget}
    with Reporter() as reporter:
        run_select(build(SelectConfig, settings | {"report": False, "manifest_only": True}), reporter)


def report(out: str) -> ReportResult:
    """Its page."""
    with Reporter(quiet=True) as reporter:
        return run_report(build(ReportConfig, {"out": out}), reporter)


def floor(count: int) -> float:
    """Seconds to read, decode and shrink so many pictures."""
    started = time.perf_counter()
    with tarfile.open(sorted(DATA.glob("pool-*.tar"))[0]) as tar:
        images = (member for member in tar if not member.name.endswith((".json", ".txt", ".cls")))
        for member in islice(images, count):
            file = tar.extractfile(member)
            assert file is not None
            image = Image.open(io.BytesIO(file.read())).convert("RGB")
            image.thumbnail((96, 96))
            image.save(io.BytesIO(), "JPEG")
    return time.perf_counter() - started


def links(folder: Path, copies: int) -> list[str]:
    """The pool's tars, each under so many names."""
    folder.mkdir(exist_ok=True)
    for shard in sorted(DATA.glob("pool-*.tar")):
        for copy in range(copies):
            link = folder / f"{shard.stem}~{copy:04d}.tar"
            if not link.exists():
                link.symlink_to(shard)
    return [f"{folder}/*.tar"]


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder, where runs of earlier calls are taken as they are")
    parser.add_argument("--copies", type=int, default=100, help="of every shard in the large pool")
    parser.add_argument("--budget", default="0.2%", help="of both runs")
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(exist_ok=True)
    small, large = f"{work}/small", f"{work}/large"
    select(small, [f"{DATA}/pool-*.tar"], given.budget)
    embed.EmbedStage = partial(Copying, small)  # type: ignore[attr-defined]
    select(large, links(work / "links", given.copies), given.budget)
    print(describe_machine())
    print(
        "| rows | chosen | pictures | MB | seconds | pictures alone, seconds | peak MB |\n|---|---|---|---|---|---|---|"
    )
    for out in (small, large):
        measured = measure(report, out)
        page: ReportResult = measured.result
        record = json.loads(storage.read_bytes(f"{out}/selection/selection.json"))
        print(
            f"| {record['candidates']:,} | {record['count']:,} | {page.pictures} | {page.bytes / 1e6:.2f} | "
            f"{measured.seconds:.1f} | {floor(page.pictures):.1f} | {measured.anonymous:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
