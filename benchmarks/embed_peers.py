"""Embedding against what users would write: webdataset with a DataLoader and Pillow, and Ray Data.

    python -m benchmarks.embed_peers [SPEC ...]

Same images, model (batch norms folded), precision and batch size for all, at the 192 px of the test shards and
enlarged to 500 px. The clock runs from the first batch to the last, so nobody pays for starting processes and loading
weights. Ours is the real stage in the worker of either executor, parts written. The ideal: see `benchmarks.embed`.
"""

from __future__ import annotations

import io
import logging
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.data import describe_machine, pool_sources
from benchmarks.embed import decode_rate, encode_rate
from curator.encoders import Encoder, load_encoder
from curator.sources import find_sources
from curator.store import PartStore
from curator_pipelines.executors import Executor, LocalExecutor, RayExecutor, connect
from curator_pipelines.stages import EmbedStage, EmbedTask, EncoderSettings

SPECS = ("timm:mobilenetv3_small_100", "lite0", "timm:resnet50")
SECONDS = 20
"""How long the encoder alone would take for the images of a comparison."""
MOST_IMAGES = 4000
SHARDS = 2
"""A DataLoader's workers share shards, never a shard."""
SMALL, LARGE = 192, 500
ROUNDS = 3


def main() -> None:
    """Print the table."""
    import ray

    ray.init(address="local", log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    print(f"embed, {describe_machine()}, load {os.getloadavg()[0]:.0f}; images a second, medians of {ROUNDS} rounds\n")
    print("| encoder | images | encoder alone | decoding alone | ours | ours on Ray | DataLoader | Ray Data |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="curator-peers-") as folder:
        for spec in sys.argv[1:] or SPECS:
            for size in (SMALL, LARGE):
                _compare(spec, size, Path(folder, f"{spec.rpartition(':')[2]}-{size}"))
    ray.shutdown()


def _compare(spec: str, size: int, folder: Path) -> None:
    weights = None if spec == "lite0" else "random"
    encoder = load_encoder(spec, weights=weights)
    threads = torch.get_num_threads()
    # Whole batches: real shards hold thousands of samples, and a last batch that is padded does not count there.
    whole = SHARDS * encoder.batch_size
    count = whole * max(1, min(MOST_IMAGES, round(SECONDS * encode_rate(encoder))) // whole)
    tars = _write_shards(folder, size if size == LARGE else None, count)
    source = find_sources(tars, "pool", folders=False)[0]
    rounds = []
    for _ in range(ROUNDS):
        encode, decode = encode_rate(encoder), decode_rate(source, encoder, threads)
        ours, on_ray = (
            _ours(executor, tars, encoder, weights) for executor in (LocalExecutor(), RayExecutor(connect("local")))
        )
        loader, data = _dataloader(tars, encoder), _ray_data(tars, spec, weights, encoder.batch_size)
        ideal = 1 / (1 / encode + 1 / decode)
        shares = (ours / ideal, on_ray / ideal, ours / loader, ours / data)
        rounds.append((encode, decode, ours, on_ray, loader, data, *shares))
    encode, decode, ours, on_ray, loader, data, share, ray_share, faster, than_ray = (
        statistics.median(column) for column in zip(*rounds, strict=True)
    )
    print(
        f"| {spec} {encoder.precision} | {size} px | {encode:,.0f} | {decode:,.0f} | {ours:,.0f} ({share:.2f} of the "
        f"ideal) | {on_ray:,.0f} ({ray_share:.2f}) | {loader:,.0f} ({faster:.2f}x) | {data:,.0f} ({than_ray:.2f}x) |",
        flush=True,
    )


def _write_shards(folder: Path, side: int | None, count: int) -> list[str]:
    """Photos of the pool as jpg, as they are or with a shorter side of `side`."""
    folder.mkdir()
    photos = _photos()
    tars = []
    for number in range(SHARDS):
        tars.append(str(folder / f"{number}.tar"))
        with tarfile.open(tars[-1], "w") as tar:
            for key in range(count // SHARDS):
                data = next(photos)
                if side:
                    data = _enlarged(data, side)
                member = tarfile.TarInfo(f"{key:06d}.jpg")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return tars


def _enlarged(data: bytes, side: int) -> bytes:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = side / min(image.size)
    buffer = io.BytesIO()
    image.resize((round(image.width * scale), round(image.height * scale))).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _photos() -> Iterator[bytes]:
    for source in pool_sources():
        with tarfile.open(source.url) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None and member.name.endswith(".jpg"):
                    yield file.read()


def _ours(executor: Executor, tars: list[str], encoder: Encoder, weights: str | None) -> float:
    """The real stage in a real worker, until the last part is stored."""
    settings = EncoderSettings(encoder.spec, weights, encoder.precision, encoder.batch_size, encoder.tensors_hash)
    total, start = 0, 0.0

    def on_progress(counts: dict[str, int]) -> None:
        nonlocal total, start
        if start:
            total += counts.get("samples", 0)
        else:
            start = time.perf_counter()

    with tempfile.TemporaryDirectory(prefix="curator-peers-") as folder:
        store = PartStore(f"{folder}/pool")
        sources = find_sources(tars, "pool", folders=False)
        parts = store.register(sources)
        tasks = [EmbedTask(source, part.part, "") for source, part in zip(sources, parts, strict=True)]
        for outcome in executor.map(EmbedStage(store.url, settings), tasks, on_progress=on_progress):
            outcome.unwrap()
    return total / (time.perf_counter() - start)


def _dataloader(tars: list[str], encoder: Encoder) -> float:
    import webdataset as wds

    dataset = (
        wds.WebDataset(tars, shardshuffle=False)
        .decode("pilrgb")
        .rename(image="jpg;png")
        .map_dict(image=encoder.pil_transform)
        .to_tuple("image")
        .batched(encoder.batch_size, partial=True)
    )
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=SHARDS)
    return _after_first(len(encoder.encode_normalised(images)) for (images,) in loader)


def _ray_data(tars: list[str], spec: str, weights: str | None, batch_size: int) -> float:
    import ray

    class Embed:
        def __init__(self) -> None:
            self.encoder = load_encoder(spec, weights=weights)

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            return {"embedding": self.encoder.encode_normalised(torch.from_numpy(np.stack(batch["image"])))}

    transform = load_encoder(spec, weights=weights).pil_transform

    def decode(row: dict[str, Any]) -> dict[str, Any]:
        return {"image": transform(Image.open(io.BytesIO(row["jpg"])).convert("RGB")).numpy()}

    # With its own decoders, or with shards that mix jpg and png, it fails: columns differ from row to row.
    images = ray.data.read_webdataset(tars, decoder=None).map(decode)
    embedded = images.map_batches(Embed, batch_size=batch_size, compute=ray.data.ActorPoolStrategy(size=1))
    return _after_first(len(batch["embedding"]) for batch in embedded.iter_batches(batch_size=None, prefetch_batches=0))


def _after_first(counts: Iterable[int]) -> float:
    """Items a second after the first batch has come."""
    total, start = 0, 0.0
    for count in counts:
        if start:
            total += count
        else:
            start = time.perf_counter()
    return total / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
