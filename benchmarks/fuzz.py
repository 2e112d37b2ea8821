"""Fuzz a run: damaged images and damaged tars, through `curator embed` as users run it.

    python -m benchmarks.fuzz [--images MINUTES] [--tars MINUTES] [--seed N] [--batches N] [--only BATCH]

Each batch is a folder of shards, which `curator embed` with a small real encoder reads, decodes and embeds twice, with
one worker and with two. It must end with exit code 0, say nothing but its own lines, account for every sample, give
every row the bytes that lie in the shard, and write the same bytes both times. What fails is kept, with the command
that makes it again. Needs CURATOR_TEST_DATA, or the demo's images.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.fuzz_images import Encoded, damage, sound_images
from benchmarks.fuzz_tars import damaged_tar

# Shards of a batch, and images of a shard whose images are damaged.
SHARDS = {"images": 60, "tars": 300}
IMAGES = 50
# A batch takes half a minute. Longer than this is a hang: it is ended and reported.
HANG_SECONDS = 900
COMMAND = [
    *(sys.executable, "-m", "curator_pipelines", "embed", "--encoder", "timm:test_efficientnet"),
    *("--weights", "random", "--precision", "fp32", "--device", "cpu", "--max-bad", "100%", "--json"),
]
# What a run says of a shard that is another kind of file by its first bytes; nothing else may refuse a batch.
REFUSED = re.compile(r"/(\d{4}\.tar) is .*(not a shard|must be plain tars)")
# What it says on stderr where nothing is wrong; anything else is the noise of a library, or a traceback.
EXPECTED = re.compile(r"(\d{4}-\d\d-\d\dT[\d:]+Z )?(encoder: |running on |pool: |warning: |\s*$)")


@dataclass
class Count:
    """What came of all batches."""

    batches: int = 0
    inputs: int = 0
    samples: int = 0
    embedded: int = 0
    lines: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    slowest: float = 0.0


@dataclass(frozen=True)
class Shard:
    """One input: its bytes, and how many samples and good ones it has where that is certain."""

    data: bytes
    samples: int | None = None
    embedded: int | None = None


def image_shard(images: list[Encoded], chance: random.Random) -> Shard:
    """A sound tar of damaged images."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(IMAGES):
            image = damage(chance.choice(images), images, chance)
            member = tarfile.TarInfo(f"{number:06d}.{image.ending}")
            member.size = len(image.data)
            tar.addfile(member, io.BytesIO(image.data))
    return Shard(buffer.getvalue(), samples=IMAGES)


def tar_shard(images: list[Encoded], chance: random.Random) -> Shard:
    """A damaged tar of sound images; or a sound one, of which it is known what is in it."""
    data, samples = damaged_tar([image for image in images if len(image.data) < 20_000], chance)
    return Shard(data, samples, samples)


def run(command: list[str], folder: Path) -> tuple[int | None, str]:
    """Exit code (None for a hang) and stderr of a command, which gets a process group of its own."""
    with open(folder / "stderr", "w+b") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
        try:
            code: int | None = process.wait(HANG_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        errors.seek(0)
        return code, errors.read().decode(errors="replace")


def written(out: Path) -> dict[str, bytes]:
    """Every file whose bytes are promised, by its name; of done-marks, which hold times, the ledger."""
    files = {str(path.relative_to(out)): path for path in sorted(out.rglob("*")) if path.is_file()}
    return {
        name: json.dumps(json.loads(path.read_bytes())["ledger"]).encode() if "/done/" in name else path.read_bytes()
        for name, path in files.items()
        if name not in ("run.json", "progress.json", "owner.json") and not name.startswith("events/")
    }


def stored(out: Path) -> Iterator[tuple[str, dict[str, Any], np.ndarray, Any]]:
    """Name of the shard, done-mark, array and metadata of every part, whatever the names of files hold beside it."""
    shards = pq.read_table(out / "pool/parts.parquet").to_pylist()
    for shard in shards:
        number = f"{shard['part']:08d}"
        (mark,) = (out / "pool/done").glob(f"{number}-*.json")
        (array,) = (out / "pool/img_emb").glob(f"img_emb_{number}*.npy")
        (table,) = (out / "pool/metadata").glob(f"metadata_{number}*.parquet")
        yield Path(shard["url"]).name, json.loads(mark.read_bytes()), np.load(array), pq.read_table(table)


def faults(shards: dict[str, Shard], out: Path, count: Count) -> Iterator[tuple[str, str]]:
    """Name of a shard and what is wrong with its part."""
    lines = 0
    for name, mark, array, table in stored(out):
        count.samples += mark["seen"]
        count.embedded += mark["embedded"]
        count.lines.update(line[4] for line in mark["ledger"])
        count.slowest = max(count.slowest, mark["seconds"]["total"])
        lines += len(mark["ledger"])
        yield from ((name, text) for text in part_faults(shards[name], mark, array, table.to_pylist()))
    if (rows := pq.read_metadata(out / "quarantine.parquet").num_rows) != lines:
        yield "", f"the ledger has {rows} lines, the done-marks {lines}"


def part_faults(shard: Shard, mark: dict[str, Any], array: np.ndarray, rows: list[dict[str, Any]]) -> Iterator[str]:
    """What is wrong with a part."""
    if mark["seen"] != mark["embedded"] + len(mark["ledger"]) or not mark["embedded"] == len(array) == len(rows):
        yield f"{mark['seen']} seen, {mark['embedded']} embedded, {len(array)} vectors, {len(rows)} rows"
    if shard.samples not in (None, mark["seen"]) or shard.embedded not in (None, mark["embedded"]):
        yield f"{shard.samples} samples, of which {mark['seen']} were seen and {mark['embedded']} embedded"
    norms = np.linalg.norm(array.astype(np.float32), axis=1)
    if not np.allclose(norms, 1, atol=0.01):
        yield "vectors that are not of unit length"
    if len({row["image_path"] for row in rows}) < len(rows):
        yield "a key twice"
    for row in rows:
        if hashlib.sha256(shard.data[row["offset"] : row["offset"] + row["size"]]).hexdigest() != row["sha256"]:
            yield f"{row['image_path']}: other bytes than those at its offset"


def try_batch(kind: str, shards: dict[str, Shard], folder: Path, count: Count) -> Iterator[tuple[str, str, str]]:
    """Embed a batch twice; yields a kind of failure, a shard where one is known, and a detail."""
    for name, shard in shards.items():
        (folder / name).write_bytes(shard.data)
    outs = [folder / "out-1", folder / "out-2"]
    for workers, out in enumerate(outs, start=1):
        flags = ["--pool", f"{folder}/*.tar", "--out", str(out), "--workers", str(workers)]
        code, told = run([*COMMAND, *flags], folder)
        while code == 2 and (refused := REFUSED.search(told)):
            # It is right to refuse what begins like an image: the user gave a wrong file.
            (folder / refused[1]).unlink()
            count.refused += 1
            code, told = run([*COMMAND, *flags], folder)
        if code != 0:
            yield "hang" if code is None else "crash", "", f"exit code {code}: {told[-2000:]}"
            return
        noise = [line for line in told.splitlines() if not EXPECTED.match(line)]
        if noise:
            yield "noise", "", "\n".join(noise[:20])
    for name, text in faults(shards, outs[0], count):
        yield "account", name, text
    first, second = map(written, outs)
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name):
            yield "difference", "", name


def fuzz(
    kind: str,
    make: Callable[[random.Random], Shard],
    batches: range,
    minutes: float,
    seed: int,
    keep: Path,
) -> Count:
    """Batches until the time or they are over. A batch is a function of the seed and its number."""
    count = Count()
    end = time.monotonic() + 60 * minutes
    for batch in batches:
        if time.monotonic() > end:
            break
        chance = random.Random(f"{kind} {seed} {batch}")
        shards = {f"{number:04d}.tar": make(chance) for number in range(SHARDS[kind])}
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            folder = Path(name)
            for failure, shard, detail in try_batch(kind, shards, folder, count):
                count.failures[failure] += 1
                again = f"python -m benchmarks.fuzz --{kind} 99 --seed {seed} --only {batch}"
                print(f"{failure} in batch {batch} {shard}: {detail}\n  {again}", file=sys.stderr, flush=True)
                kept = keep / f"{kind}-{seed}-{batch}"
                kept.mkdir(parents=True, exist_ok=True)
                for path in [folder / shard] if shard else folder.glob("*.tar"):
                    shutil.copy(path, kept)
        count.batches += 1
        count.inputs += len(shards) * (IMAGES if kind == "images" else 1)
        print(f"  {kind}: batch {batch}, {count}", file=sys.stderr, flush=True)
    return count


def main() -> int:
    """Print what was tried and what came of it; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=float, default=0, metavar="MINUTES", help="fuzz images for so long")
    parser.add_argument("--tars", type=float, default=0, metavar="MINUTES", help="fuzz tars for so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batches", type=int, default=10_000, help="at most so many of each kind")
    parser.add_argument("--only", type=int, help="this batch alone, to see a failure again")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where failing inputs go")
    given = parser.parse_args()
    batches = range(given.batches) if given.only is None else range(given.only, given.only + 1)
    images = sound_images()
    failed = 0
    for kind, make, minutes in (("images", image_shard, given.images), ("tars", tar_shard, given.tars)):
        if not minutes:
            continue
        count = fuzz(kind, partial(make, images), batches, minutes, given.seed, given.keep)
        lines = ", ".join(f"{reason} {number:,}" for reason, number in count.lines.most_common())
        print(
            f"{kind}: {count.batches} batches, {count.inputs:,} inputs, each twice; {count.refused} refused; "
            f"{count.samples:,} samples = {count.embedded:,} embedded + {count.lines.total():,} lines ({lines}); "
            f"the slowest shard took {count.slowest:.1f} s; failures: {dict(count.failures) or 'none'}",
            flush=True,
        )
        failed += count.failures.total()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
