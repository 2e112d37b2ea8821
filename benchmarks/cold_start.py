"""What `--address local` adds to a run, against `ray.init` alone: `python -m benchmarks.cold_start [ROUNDS]`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.data import pool_sources

# As the executor calls it, until the first actor could start.
RAY_ALONE = """
import time
import ray
start = time.monotonic()
ray.init(address="local", log_to_driver=False, logging_level="CRITICAL")
print(time.monotonic() - start)
"""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "small.tar"
        with open(pool_sources()[0].url, "rb") as whole:
            shard.write_bytes(whole.read(1 << 20))
        ray, plain, local = [], [], []
        for number in range(rounds):
            ray.append(float(subprocess.check_output([sys.executable, "-c", RAY_ALONE], stderr=subprocess.DEVNULL)))
            plain.append(_embed(shard, f"{folder}/plain-{number}"))
            local.append(_embed(shard, f"{folder}/local-{number}", "--address", "local"))
    added = [with_ray - without for with_ray, without in zip(local, plain, strict=True)]
    print("| | median | all |\n|---|---|---|")
    for name, seconds in (("ray.init", ray), ("embed", plain), ("embed --address local", local), ("added", added)):
        print(f"| {name} | {statistics.median(seconds):.1f} s | {', '.join(f'{s:.1f}' for s in seconds)} |")
    ratio = statistics.median(a / r for a, r in zip(added, ray, strict=True))
    print(f"\nadded / ray.init: {ratio:.2f} (median of {rounds} rounds, load {os.getloadavg()[0]:.0f})")


def _embed(shard: Path, out: str, *flags: str) -> float:
    encoder = ["--encoder", "timm:test_efficientnet", "--weights", "random", "--max-bad", "100%"]
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "curator_pipelines", "embed", "--pool", str(shard), "--out", out, *encoder, *flags],
        check=True,
        capture_output=True,
    )
    return time.monotonic() - start


if __name__ == "__main__":
    main()
