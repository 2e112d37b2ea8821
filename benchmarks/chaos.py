"""Kill runs: SIGKILL of one process at random moments of every stage, before a store that fails now and then.

    python -m benchmarks.chaos [--kills N] [--stages embed,...] [--executor local,ray] [--store disk,s3] [--minutes M]

All on loopback: the pool lies in a mock S3 (moto), and with `--store s3` so does OUT; a proxy drops, loses, delays,
cuts or refuses 5% of the requests. A hit is a process that was killed while its stage was running. After each the same
command runs again, and is hit again; the last time nobody disturbs it. Then every file must be that of a run that
nobody disturbed at all; no temporaries and no open uploads may be left; finished parts must not have been written
again; and all the while a watcher reads every file that appears under a final name. Needs CURATOR_TEST_DATA.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import sys
import tarfile
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec

from benchmarks.chaos_hits import Command, finish, hit, start
from benchmarks.data import DATA
from benchmarks.fault_proxy import FaultProxy, by_chance
from benchmarks.mock_s3 import mock_s3
from benchmarks.run_files import Out, Watcher

FAULTY_SHARE = 0.05
TARGET_SAMPLES = 100
# A stage that is over before it can be hit is tried so many times a kill.
TRIES = 10
SELECT = (
    *("select", "--encoder", "timm:test_efficientnet", "--weights", "random", "--precision", "fp32"),
    *("--device", "cpu", "--budget", "20%", "--clusters", "50", "--shard-size", "100", "--workers", "2"),
)
TRAIN = ("train", "--device", "cpu", "--steps", "60", "--save-every", "5", "--batch-size", "32", "--nproc", "2")
COLUMNS = ("hits", "differing", "temporaries", "uploads", "in TMPDIR", "redone", "watched", "half-written", "exit code")
# What must be 0.
PROMISED = ("differing", "temporaries", "uploads", "in TMPDIR", "redone", "half-written", "exit code")


@dataclass(frozen=True)
class Series:
    """How one stage is hit.

    Attributes:
        reference: which undisturbed run OUT must equal in the end.
        stage: of run.json that must be running; empty if any change of OUT means that it runs.
        removed: what must be missing for it to run; `*` for all of OUT.
        flags: of the runs that are hit, in turn; the last run of all has none.
        local, ray: kinds of processes that are killed in turn.
    """

    reference: str
    stage: str
    removed: tuple[str, ...]
    flags: tuple[tuple[str, ...], ...] = ((),)
    local: tuple[str, ...] = ("driver", "worker")
    ray: tuple[str, ...] = ("driver", "actor", "raylet")


REDO = tuple(("--redo", stage) for stage in ("pool", "select", "embed", "pack"))
SERIES = {
    "embed": Series("exact", "pool", ("*",)),
    "index": Series("ivf", "index", ("index", "selection", "shards", "packing")),
    "select": Series("exact", "select", ("selection", "shards", "packing")),
    "pack": Series("exact", "pack", ("shards", "packing")),
    "train": Series("train", "", ("*",), local=("driver", "rank")),
    "redo": Series("exact", "", (), REDO),
}


@dataclass(frozen=True)
class Bench:
    """Where everything is.

    Attributes:
        folder: for references, OUTs on disk, and TMPDIR of the runs.
        endpoint: of the mock store, without faults.
        pool: URLs of the pool's shards, in the store.
        end: when no further hit is begun, as `time.monotonic`.
        seed: of all chances.
    """

    folder: Path
    endpoint: str
    pool: tuple[str, ...]
    end: float
    seed: str

    def command(self, reference: str, executor: str, out: str, endpoint: str) -> Command:
        """The command of a run, with the way to the store that it gets."""
        target = str(self.folder / "target.tar")
        address = ("--address", "local") if executor == "ray" else ()
        if reference == "train":
            flags = (*TRAIN, "--target", target)
        else:
            search = ("--search", "ivf") if reference == "ivf" else ()
            flags = (*SELECT, *search, "--target", target, "--pool", *self.pool)
        scratch = self.folder / "t"
        environment = {"AWS_ENDPOINT_URL": endpoint, "TMPDIR": str(scratch), "RAY_TMPDIR": str(self.folder / "r")}
        return Command((*flags, *address, "--out", out), environment)

    def reference(self, name: str) -> Out:
        """A run that nobody disturbs; made when it is first asked for."""
        out = Out.at(f"{self.folder}/reference-{name}")
        if not out.listed():
            code = finish(start(self.command(name, "local", out.url, self.endpoint)))
            if code:
                sys.exit(f"the undisturbed run ended with exit code {code}")
        return out


def strike(bench: Bench, name: str, executor: str, store: str, kills: int) -> Counter[str]:
    """All hits of one stage; returns what was counted."""
    series = SERIES[name]
    reference = bench.reference(series.reference)
    shutil.rmtree(bench.folder / "t")
    (bench.folder / "t").mkdir()
    url = f"s3://chaos/{name}-{executor}" if store == "s3" else f"{bench.folder}/{name}-{executor}"
    out = Out.at(url, bench.endpoint)
    proxy = FaultProxy(bench.endpoint, by_chance(FAULTY_SHARE, f"{name} {executor} {store} {bench.seed}"))
    command = bench.command(series.reference, executor, url, proxy.url)
    chance = random.Random(f"{name} {executor} {store} {bench.seed}")
    if "*" not in series.removed:
        out.copy_of(reference)
    watcher = Watcher(out, 0.02 if store == "disk" else 0.2)
    watcher.start()
    counts = hits(bench, series, command, out, executor, kills, chance)
    before = out.finished()
    counts["exit code"] = finish(start(command.resumed(out)))
    counts["redone"] += 0 if name == "redo" else _written_again(before, out.finished())
    watcher.over.set()
    watcher.join()
    proxy.close()
    ours, theirs = out.content(), reference.content()
    differing = [file for file in sorted(ours.keys() | theirs.keys()) if ours.get(file) != theirs.get(file)]
    left = [f"{path} ({path.read_bytes()[:80]!r})" for path in (bench.folder / "t").rglob("*") if path.is_file()]
    uploads = open_uploads(bench.endpoint) if store == "s3" else []
    half = out.temporaries()
    for what, names in (("differing", differing), ("temporaries", half), ("in TMPDIR", left), ("uploads", uploads)):
        counts[what] = len(names)
        print(*(f"  {what}: {each}" for each in names[:5]), sep="\n", end="\n" * bool(names), file=sys.stderr)
    counts["watched"], counts["half-written"] = len(watcher.seen), len(watcher.broken)
    print(*watcher.broken[:3], sep="\n", end="\n" * bool(watcher.broken), file=sys.stderr)
    print(f"  {len(proxy.requests)} requests, {dict(proxy.faults)}", file=sys.stderr, flush=True)
    return counts


def hits(
    bench: Bench, series: Series, command: Command, out: Out, executor: str, kills: int, chance: random.Random
) -> Counter[str]:
    """Hit until there are enough, or the time is over, or it cannot be hit."""
    counts: Counter[str] = Counter()
    kinds = series.local if executor == "local" else series.ray
    seconds = 4.0
    before: dict[str, Any] = {}
    while counts["hits"] < kills and counts["misses"] < TRIES * kills and time.monotonic() < bench.end:
        if "*" not in series.removed:
            for gone in series.removed:
                out.remove(gone)
            # What is thrown away here must be written again.
            before = {mark: state for mark, state in before.items() if mark.partition("/")[0] not in series.removed}
        elif is_nearly_done(out, len(bench.pool)):
            out.remove()
            before = {}
        kind = kinds[counts["hits"] % len(kinds)]
        flags = series.flags[counts["hits"] % len(series.flags)]
        # Where a run begins by throwing away, half of the hits are then.
        wait = 0.0 if series.flags[0] and chance.random() < 0.5 else chance.uniform(0, seconds)
        done = hit(command.resumed(out).plus(*flags), kind, series.stage, out, wait)
        # What is over too soon is hit sooner, what is not later.
        seconds = min(20.0, seconds * 1.5) if done else seconds * 0.7
        counts["hits" if done else "misses"] += 1
        counts[kind] += done
        now = out.finished()
        counts["redone"] += 0 if series.flags[0] else _written_again(before, now)
        before = now
        print(f"  {kind} {'hit' if done else 'missed'}", file=sys.stderr, flush=True)
    return counts


def is_nearly_done(out: Out, parts: int) -> bool:
    """Whether too little is left of an embedding or a training to be hit in it."""
    names = out.listed()
    return sum(name.startswith("pool/done/") for name in names) >= parts - 1 or "encoder.pt" in names


def _written_again(before: dict[str, Any], now: dict[str, Any]) -> int:
    return sum(now.get(mark, state) != state for mark, state in before.items())


def open_uploads(endpoint: str) -> list[str]:
    """Multipart uploads that nobody finished or aborted."""
    import boto3

    answer = boto3.client("s3", endpoint_url=endpoint).list_multipart_uploads(Bucket="chaos")
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def upload_pool(endpoint: str, shards: int, images: int) -> tuple[str, ...]:
    """The first samples of the first shards of the pool, put into the store."""
    store = fsspec.filesystem("s3", endpoint_url=endpoint)
    for bucket in ("chaos", "data"):
        store.mkdir(bucket)
    paths = sorted(DATA.glob("pool-*.tar"))[:shards]
    for path in paths:
        store.pipe_file(f"s3://data/{path.name}", first_samples(path, images))
    return tuple(f"s3://data/{path.name}" for path in paths)


def first_samples(path: Path, count: int) -> bytes:
    """A tar of the first samples of a shard, of an image and a sidecar each."""
    buffer = io.BytesIO()
    with tarfile.open(path) as whole, tarfile.open(fileobj=buffer, mode="w") as part:
        for member in islice(whole, 2 * count):
            part.addfile(member, whole.extractfile(member))
    return buffer.getvalue()


def main() -> int:
    """Print a line for each series; 1 if anything was not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="in each series")
    parser.add_argument("--stages", default=",".join(SERIES), help="which, with commas")
    parser.add_argument("--executor", default="local,ray", help="which, with commas")
    parser.add_argument("--store", default="s3", help="where OUT is: disk, s3 or both, with commas")
    parser.add_argument("--shards", type=int, default=11, help="of the pool")
    parser.add_argument("--images", type=int, default=1000, help="of each of them")
    parser.add_argument("--minutes", type=float, default=600, help="after which no further hit is begun")
    parser.add_argument("--seed", default="0")
    given = parser.parse_args()
    print("| executor | OUT on | stage | " + " | ".join(COLUMNS) + " | killed |\n" + "|---" * (len(COLUMNS) + 4) + "|")
    bad = False
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, mock_s3():
        endpoint = os.environ["AWS_ENDPOINT_URL"]
        bench = Bench(Path(name), endpoint, upload_pool(endpoint, given.shards, given.images), end, given.seed)
        # A small target: what stands before the stage that is hit should take no longer than that.
        (bench.folder / "target.tar").write_bytes(first_samples(DATA / "target-000000.tar", TARGET_SAMPLES))
        for folder in ("t", "r"):
            (bench.folder / folder).mkdir()
        for executor in given.executor.split(","):
            for store in given.store.split(","):
                for stage in given.stages.split(","):
                    counts = strike(bench, stage, executor, store, given.kills)
                    kinds = dict.fromkeys(SERIES[stage].local + SERIES[stage].ray)
                    killed = ", ".join(f"{counts[kind]} {kind}" for kind in kinds if counts[kind])
                    figures = " | ".join(str(counts[column]) for column in COLUMNS)
                    print(f"| {executor} | {store} | {stage} | {figures} | {killed} |", flush=True)
                    bad |= counts["hits"] < given.kills or any(counts[column] for column in PROMISED)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
