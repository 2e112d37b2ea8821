"""Checks and rates on a GPU: bf16 against fp32, equal bits on repetition, embedding against the encoder alone."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from benchmarks.data import describe_machine
from curator.encoders.load import load_encoder

MODELS = ("timm:resnet50", "timm:vit_base_patch32_224", "timm:vit_large_patch14_clip_224")
BATCHES = 20
MIN_COSINE = 0.999


def main() -> None:
    """Print a line for each model; exit 1 if bf16 and fp32 disagree or a repetition differs."""
    if not torch.cuda.is_available():
        sys.exit("no GPU here")
    print(f"gpu, {describe_machine()}")
    sound = [_check(spec) for spec in MODELS]
    sys.exit(0 if all(sound) else 1)


def _check(spec: str) -> bool:
    fp32 = load_encoder(spec, weights="random", device="cuda", precision="fp32")
    bf16 = load_encoder(spec, weights="random", device="cuda", precision="bf16")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, bf16.input_shape, dtype=torch.uint8, generator=generator)
    first = bf16.encode(pixels)
    cosine = float((first * fp32.encode(pixels)).sum(axis=1).min())
    same = np.array_equal(first, bf16.encode(pixels))
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(BATCHES):
        bf16.encode(pixels)
    rate = BATCHES * bf16.batch_size / (time.perf_counter() - started)
    print(f"{spec:34} bf16 {rate:9,.0f} images/s from host memory  cosine to fp32 {cosine:.5f}  repeats {same}")
    return same and cosine >= MIN_COSINE


if __name__ == "__main__":
    main()
