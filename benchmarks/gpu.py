"""All that a GPU changes, checked and measured in one run: `python -m benchmarks.gpu [--dry-run]`.

Encoders: bf16 against fp32, equal bits on repetition, our line from tar to vectors against the encoder alone and
decoding alone. nvJPEG against the CPU's decoder. Exact search over a pool too large for the card's memory. A training
step, from shards and on one batch in memory, against a bare loop. A dry run does the same on a CPU and small, to see
that the script works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torchvision.io import decode_jpeg

from benchmarks import training
from benchmarks.data import describe_machine, pool_sources
from benchmarks.embed import decode_rate, encode_rate
from curator.embedding import embed_source
from curator.encoders import load_encoder
from curator.sources import read_source
from curator.types import RawSample

MIN_COSINE = 0.999


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        models: encoders, at 224 px.
        jpegs: decoded by either decoder.
        rows: of the pool that is searched.
        dim: its columns.
        block: rows that are on the card at once.
        clusters: centroids.
        training: flags of `benchmarks.training`.
    """

    models: tuple[str, ...]
    jpegs: int
    rows: int
    dim: int
    block: int
    clusters: int
    training: tuple[str, ...]


WHOLE = Size(
    ("timm:resnet50", "timm:vit_base_patch32_224", "timm:vit_large_patch14_clip_224"),
    2_000,
    100_000_000,
    512,
    1 << 20,
    100,
    ("--arch", "resnet50", "--image-size", "224", "--steps", "60", "--rounds", "1", "--workers", "14"),
)
SMALL = Size(
    ("timm:test_efficientnet",), 50, 100_000, 64, 1 << 14, 10, ("--image-size", "32", "--steps", "10", "--rounds", "1")
)


def main() -> None:
    """Print a section for each; exit 1 if a check fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--dry-run", action="store_true")
    dry = parser.parse_args().dry_run
    if not dry and not torch.cuda.is_available():
        sys.exit("no GPU here")
    size, device = (SMALL, "cpu") if dry else (WHOLE, "cuda")
    print(f"gpu, {describe_machine()}{': a dry run, its figures mean nothing' if dry else ''}", flush=True)
    checks = [_check(spec, device) for spec in size.models]
    for spec in size.models:
        _embed(spec, device)
    _decode(size.jpegs, device)
    _search(size, device)
    sys.argv[1:] = size.training
    training.main()
    sys.exit(0 if all(checks) else 1)


def _check(spec: str, device: str) -> bool:
    fp32 = load_encoder(spec, weights="random", device=device, precision="fp32")
    bf16 = load_encoder(spec, weights="random", device=device, precision="bf16")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, bf16.input_shape, dtype=torch.uint8, generator=generator)
    first = bf16.encode(pixels)
    cosine = float((first * fp32.encode(pixels)).sum(axis=1).min())
    same = np.array_equal(first, bf16.encode(pixels))
    print(f"{spec:34} bf16: least cosine to fp32 {cosine:.5f}, repeats {same}", flush=True)
    return same and cosine >= MIN_COSINE


def _embed(spec: str, device: str) -> None:
    """From tar to vectors."""
    encoder = load_encoder(spec, weights="random", device=device, precision="bf16")
    threads = len(os.sched_getaffinity(0))
    sources = pool_sources()
    embed_source(sources[0], encoder, threads=threads)  # warm: kernels chosen, files cached
    encode, decode = encode_rate(encoder), decode_rate(sources[0], encoder, threads)
    started = time.perf_counter()
    count = sum(embed_source(source, encoder, threads=threads)[1].embedded for source in sources)
    rate = count / (time.perf_counter() - started)
    print(
        f"{spec:34} encoder alone {encode:,.0f}/s, decoding alone {decode:,.0f}/s on {threads} CPUs, ours "
        f"{rate:,.0f}/s = {rate / min(encode, decode):.2f} of the slower",
        flush=True,
    )


def _decode(count: int, device: str) -> None:
    """Decoding alone, both from memory: torchvision on the CPUs, and nvJPEG."""
    samples = (item for source in pool_sources() for item in read_source(source) if isinstance(item, RawSample))
    images = (sample.image.data for sample in samples if sample.image is not None and sample.image.ext == "jpg")
    encoded = [torch.frombuffer(bytearray(data or b""), dtype=torch.uint8) for data in islice(images, count)]
    torch.set_num_threads(1)

    def on_cpu() -> None:
        for data in encoded:
            decode_jpeg(data)

    cpu = len(encoded) / _seconds(on_cpu, "cpu")
    print(f"decoding {len(encoded):,} JPEGs: {cpu:,.0f}/s on one CPU", end="")
    if device == "cuda":
        card = len(encoded) / _seconds(lambda: decode_jpeg(encoded, device=device), device)
        largest = max(
            int((there.cpu().int() - here.int()).abs().max())
            for there, here in zip(decode_jpeg(encoded, device=device), map(decode_jpeg, encoded), strict=True)
        )
        print(f", {card:,.0f}/s by nvJPEG, which differs by up to {largest} of 255", end="")
    print(flush=True)
    torch.set_num_threads(len(os.sched_getaffinity(0)))


def _search(size: Size, device: str) -> None:
    """What exact search would be on the card: blocks of float16 rows go there, one product and a top-k each.

    The rows are one block of the host's memory again and again, so this is the rate of the link and the card, without
    storage. It is a measurement only: `curator select` searches on CPUs, whose float64 sums define a score.
    """
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(size.block, size.dim, generator=generator).half()
    rows = rows.pin_memory() if device == "cuda" else rows
    centroids = torch.randn(size.clusters, size.dim, generator=generator).to(device)
    blocks = size.rows // size.block

    def search() -> None:
        for _ in range(blocks):
            there = rows.to(device, non_blocking=True)
            (centroids @ there.float().T).topk(1000, dim=1)

    def copy() -> None:
        for _ in range(blocks):
            rows.to(device, non_blocking=True)

    seconds, floor = _seconds(search, device), _seconds(copy, device)
    done = blocks * size.block
    print(
        f"exact search, {done:,} x {size.dim}, {size.clusters} centroids: {seconds:.1f} s, "
        f"{done / seconds:,.0f} rows/s; copying alone {floor:.1f} s",
        flush=True,
    )


def _seconds(work: Callable[[], object], device: str) -> float:
    """Of the second run."""
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
