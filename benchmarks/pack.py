"""Packing against copying files, and against reading all shards and writing with webdataset's ShardWriter.

    python -m benchmarks.pack [COPIES]

The pool is COPIES (4) of the test shards, embedded by a small network of random weights: packing does not look at
vectors. Floors of a dense selection: `cp` of as many bytes, which looks at none of them, and their sha256 alone. Pools
of large samples are noise, as JPEG of 100 KB and 1 MB. Peer of a sparse selection: what a user writes with webdataset.
Files are in the page cache. The last lines pack from a mock S3 that answers 50 ms late, into it, and count requests.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.data import describe_machine, pool_sources
from benchmarks.mock_s3 import mock_s3
from curator.packing import PackedShard, SelectedRows, begin_packing, finish_packing, pack_shard, plan_shards
from curator.store import PartStore

SHARD_SIZE = 10_000
ROUNDS = 3
SPARSE = 0.01
LATENCY = 0.05
S3_SHARDS = 4
# Pixels a side of noise that takes some 100 KB and 1 MB.
LARGE_SIDES = (290, 920)
LARGE_SHARDS = 4
LARGE_BYTES = 400_000_000


def main() -> None:
    """Print the table."""
    copies = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    with tempfile.TemporaryDirectory(prefix="curator-pack-") as folder:
        work = Path(folder)
        tars = _pool(work / "tars", copies)
        _embed([str(tar) for tar in tars], str(work / "run"))
        store = PartStore(str(work / "run" / "pool"))
        every = store.count()
        megabytes = sum(tar.stat().st_size for tar in tars) / 1e6
        print(
            f"pack, {every:,} samples, {megabytes:,.0f} MB in {len(tars)} shards; {describe_machine()}, "
            f"load {os.getloadavg()[0]:.0f}; medians of {ROUNDS} rounds\n"
        )
        print("| what | seconds | bytes read / bytes chosen | |\n|---|---|---|---|")
        dense, sparse = _choose(store, 1.0), _choose(store, SPARSE)
        packs, copied, few, written = [], [], [], []
        for number in range(ROUNDS):
            packs.append(_seconds(_pack, store, dense, str(work / f"dense-{number}")))
            copied.append(_seconds(_copy, tars, work / f"copied-{number}"))
            few.append(_seconds(_pack, store, sparse, str(work / f"sparse-{number}")))
            written.append(_seconds(_write_with_webdataset, store, sparse, tars, work / f"wds-{number}"))
        read = _amplification(_pack(store, dense, str(work / "again-dense")))
        thin = _amplification(_pack(store, sparse, str(work / "again-sparse")))
        _row("dense (all), ours", packs, f"{read:.3f}", f"{_ratio(copied, packs)} of the rate of `cp`")
        _row("`cp` of the same shards", copied, "", "")
        _row(f"sparse ({SPARSE:.0%}), ours", few, f"{thin:.3f}", f"{_ratio(written, few)} times as fast as webdataset")
        _row("read all, webdataset.ShardWriter", written, f"{1 / SPARSE:.0f}", "")
        for side in LARGE_SIDES:
            _dense(work / f"side-{side}", side)
        _on_s3(tars[:S3_SHARDS])


def _dense(work: Path, side: int) -> None:
    """All of a pool of large samples."""
    tars, size = _large(work / "tars", side)
    _embed([str(tar) for tar in tars], str(work / "run"))
    store = PartStore(str(work / "run" / "pool"))
    every = _choose(store, 1.0)
    packs, copied, hashed = [], [], []
    for number in range(ROUNDS):
        packs.append(_seconds(_pack, store, every, str(work / f"dense-{number}")))
        copied.append(_seconds(_copy, tars, work / f"copied-{number}"))
        started = time.perf_counter()
        _hash(tars)
        hashed.append(time.perf_counter() - started)
    read = _amplification(_pack(store, every, str(work / "again")))
    what = f"dense, {len(every.ids):,} samples of {size / 1e3:,.0f} KB"
    _row(f"{what}, ours", packs, f"{read:.3f}", f"{_ratio(copied, packs)} of the rate of `cp`")
    _row("`cp` of the same shards", copied, "", "")
    _row("sha256 of the same bytes, nothing written", hashed, "", f"{_ratio(copied, hashed)} of the rate of `cp`")


def _large(folder: Path, side: int) -> tuple[list[Path], int]:
    """Shards of noise, `side` pixels a side: their files, and the bytes of an image."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "jpeg", quality=95)
    image = buffer.getvalue()
    tars = [folder / f"{number}.tar" for number in range(LARGE_SHARDS)]
    for number, path in enumerate(tars):
        with tarfile.open(path, "w") as tar:
            for sample in range(LARGE_BYTES // LARGE_SHARDS // len(image)):
                # A decoder ignores what follows the image, so that each is another.
                data = image + f"{number} {sample}".encode()
                member = tarfile.TarInfo(f"{sample:06d}.jpg")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return tars, len(image)


def _hash(tars: list[Path]) -> None:
    for path in tars:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


def _on_s3(tars: list[Path]) -> None:
    with mock_s3() as traffic:
        import fsspec

        store = fsspec.filesystem("s3")
        store.mkdir("bench")
        for tar in tars:
            store.put_file(str(tar), f"bench/{tar.name}")
        _embed([f"s3://bench/{tar.name}" for tar in tars], "s3://bench/run")
        pool = PartStore("s3://bench/run/pool")
        chosen = _choose(pool, SPARSE)
        traffic.requests.clear()
        traffic.sent, traffic.latency = 0, LATENCY
        started = time.perf_counter()
        read = _amplification(packed := _pack(pool, chosen, "s3://bench/out"))
        seconds = time.perf_counter() - started
        asked = ", ".join(f"{count} {method}" for method, count in sorted(traffic.requests.items()))
        received = traffic.sent / sum(one.bytes_chosen for one in packed)
        what = f"sparse on S3, {LATENCY * 1e3:.0f} ms late: {len(chosen):,} samples of {len(tars)} shards"
        note = f"{asked}; {received:.2f} bytes received a byte chosen, metadata included"
        _row(what, [seconds], f"{read:.3f}", note)


def _row(what: str, seconds: list[float], read: str, note: str) -> None:
    print(f"| {what} | {statistics.median(seconds):.2f} | {read} | {note} |", flush=True)


def _pool(folder: Path, copies: int) -> list[Path]:
    """The test shards, several times over."""
    folder.mkdir()
    tars = []
    for copy in range(copies):
        for source in pool_sources():
            tars.append(folder / f"{copy}-{source.url.rpartition('/')[2]}")
            tars[-1].write_bytes(Path(source.url).read_bytes())
    return tars


def _embed(tars: list[str], out: str) -> None:
    encoder = ["--encoder", "timm:test_efficientnet", "--weights", "random", "--max-bad", "1%"]
    command = [sys.executable, "-m", "curator_pipelines", "embed", "--pool", *tars, "--out", out, *encoder]
    subprocess.run(command, check=True, capture_output=True)


def _choose(store: PartStore, share: float) -> SelectedRows:
    """Random rows, as a selector leaves them."""
    rows = store.count()
    ids = np.concatenate([(np.int64(part) << 32) + np.arange(len(vectors)) for part, vectors in store.parts()])
    chosen: NDArray[np.int64] = np.random.default_rng(0).permutation(ids)[: int(share * rows)]
    return SelectedRows.in_pool_order(
        chosen, np.ones(len(chosen), np.float32), np.zeros(len(chosen), np.int32), np.ones(len(chosen), np.int32)
    )


def _pack(store: PartStore, chosen: SelectedRows, out: str) -> list[PackedShard]:
    shards = plan_shards(store, chosen, SHARD_SIZE, 0)
    begin_packing(out, shards)
    packed = [pack_shard(store, shard, out) for shard in shards]
    finish_packing(out, shards)
    return packed


def _amplification(packed: list[PackedShard]) -> float:
    return sum(shard.bytes_read for shard in packed) / sum(shard.bytes_chosen for shard in packed)


def _copy(tars: list[Path], folder: Path) -> None:
    folder.mkdir()
    subprocess.run(["cp", *map(str, tars), str(folder)], check=True)


def _write_with_webdataset(store: PartStore, chosen: SelectedRows, tars: list[Path], folder: Path) -> None:
    import webdataset as wds

    folder.mkdir()
    wanted = {(row["shard"], row["image_path"]) for row in store.rows(chosen.ids, ["shard", "image_path"]).to_pylist()}
    with wds.ShardWriter(str(folder / "out-%06d.tar"), maxcount=SHARD_SIZE, verbose=0) as sink:
        for sample in wds.WebDataset([str(tar) for tar in tars], shardshuffle=False):
            if (sample["__url__"], sample["__key__"]) in wanted:
                sink.write(sample)


def _seconds(work: Callable[..., object], *args: object) -> float:
    """Of work whose last argument is the folder that it writes, which is removed: files that pile up cost time."""
    started = time.perf_counter()
    work(*args)
    seconds = time.perf_counter() - started
    shutil.rmtree(str(args[-1]), ignore_errors=True)
    return seconds


def _ratio(theirs: list[float], ours: list[float]) -> str:
    return f"{statistics.median(their / our for their, our in zip(theirs, ours, strict=True)):.2f}"


if __name__ == "__main__":
    main()
