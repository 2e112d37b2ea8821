"""Embed: our line from tar to part, against the encoder alone and decoding alone, in one run.

Floor: on a CPU encoder and decoder share the cores, so the ideal rate is 1 / (1/encode + 1/decode); on a GPU it is the
slower of the two. `python -m benchmarks.embed [SPEC ...]`
"""

from __future__ import annotations

import os
import sys
import time
from itertools import islice

import torch

from benchmarks.data import describe_machine, pool_sources
from curator.embedding import Decoder, embed_source
from curator.encoders import Encoder, load_encoder
from curator.sources import Source, read_source
from curator.types import RawSample

BATCHES = 12


def main() -> None:
    """Print a line for each encoder."""
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    source = pool_sources()[0]
    print(f"embed, {describe_machine()}; {source.name.rpartition('/')[2]}")
    for spec in sys.argv[1:] or ["lite0"]:
        encoder = load_encoder(spec, weights=None if spec == "lite0" else "random")
        embed_source(source, encoder, threads=threads)  # warm: kernels chosen, file cached
        encode, decode = encode_rate(encoder), decode_rate(source, encoder, threads)
        started = time.perf_counter()
        _, mark = embed_source(source, encoder, threads=threads)
        rate = mark.embedded / (time.perf_counter() - started)
        ideal = min(encode, decode) if encoder.device.type == "cuda" else 1 / (1 / encode + 1 / decode)
        print(
            f"{spec:30} {encoder.precision}  encoder alone {encode:8,.0f}/s  decoding alone {decode:8,.0f}/s  "
            f"ours {rate:8,.0f}/s = {rate / ideal:.2f} of the ideal"
        )


def encode_rate(encoder: Encoder) -> float:
    """Images a second of the encoder alone, on a batch that is ready."""
    pixels = torch.randint(0, 256, encoder.input_shape, dtype=torch.uint8)
    encoder.encode(pixels)
    started = time.perf_counter()
    for _ in range(BATCHES):
        encoder.encode(pixels)
    return BATCHES * encoder.batch_size / (time.perf_counter() - started)


def decode_rate(source: Source, encoder: Encoder, threads: int) -> float:
    """Images a second of decoding and resizing alone, from memory."""
    samples = [item for item in islice(read_source(source), 1000) if isinstance(item, RawSample)]
    decoder = Decoder(encoder.preprocess.fit, 0, threads)
    started = time.perf_counter()
    count = sum(1 for _ in decoder.decode_all(samples))
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
