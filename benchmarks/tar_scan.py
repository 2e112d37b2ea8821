"""Tar scan: samples a second of our reader, of tarfile and of webdataset, over the same shards in memory.

Floor: copying the shards' bytes. `python -m benchmarks.tar_scan`
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable

from benchmarks.data import describe_machine, pool_sources
from curator.io import storage
from curator.sources import read_samples

ROUNDS = 3


def main() -> None:
    """Print the table."""
    shards = [storage.read_bytes(source.url) for source in pool_sources()[:4]]
    readers: dict[str, Callable[[bytes], int]] = {
        "floor: copy": lambda data: len(bytes(bytearray(data))) and 0,
        "curator": lambda data: sum(1 for _ in read_samples(io.BytesIO(data), "x")),
        "tarfile": _tarfile,
        "webdataset": _webdataset,
    }
    samples = sum(readers["curator"](data) for data in shards)
    print(f"tar scan, {samples} samples, {sum(map(len, shards)) / 1e6:.0f} MB; {describe_machine()}")
    best: dict[str, float] = {}
    for _ in range(ROUNDS):  # in turn, so that a slow moment of the machine hits all of them
        for name, read in readers.items():
            started = time.perf_counter()
            for data in shards:
                read(data)
            best[name] = min(best.get(name, 1e9), time.perf_counter() - started)
    for name, seconds in best.items():
        ratio = best[name] / best["curator"]
        print(f"{name:12} {samples / seconds:10,.0f} samples/s   {ratio:6.2f} x curator's time")


def _tarfile(data: bytes) -> int:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return sum(1 for member in tar if (file := tar.extractfile(member)) and file.read())


def _webdataset(data: bytes) -> int:
    from webdataset.tariterators import group_by_keys, tar_file_iterator

    files = ({"fname": name, "data": bytes_, "__url__": "x"} for name, bytes_ in tar_file_iterator(io.BytesIO(data)))
    return sum(1 for _ in group_by_keys(files))


if __name__ == "__main__":
    main()
