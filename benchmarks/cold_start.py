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
    print("| | median | all | against `ray.init` |\n|---|---|---|---|")
    _row("`ray.init` alone", ray, ray)
    for part, what in enumerate(("until work begins", "whole command")):
        without, with_ray = [run[part] for run in plain], [run[part] for run in local]
        _row(f"embed, {what}", without, ray)
        _row(f"embed --address local, {what}", with_ray, ray)
        _row(f"added, {what}", [b - a for a, b in zip(without, with_ray, strict=True)], ray)
    print(f"\n{rounds} rounds, load {os.getloadavg()[0]:.0f}")


def _row(name: str, seconds: list[float], ray: list[float]) -> None:
    ratio = statistics.median(mine / its for mine, its in zip(seconds, ray, strict=True))
    print(f"| {name} | {statistics.median(seconds):.1f} s | {', '.join(f'{s:.1f}' for s in seconds)} | {ratio:.2f} |")


def _embed(shard: Path, out: str, *flags: str) -> tuple[float, float]:
    """Seconds until the workers are told of, and until the end."""
    encoder = ["--encoder", "timm:test_efficientnet", "--weights", "random", "--max-bad", "100%"]
    command = [sys.executable, "-m", "curator_pipelines", "embed", "--pool", str(shard), "--out", out, *encoder, *flags]
    start = time.monotonic()
    begun = None
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        for line in run.stderr or ():
            if line.startswith("running on"):
                begun = time.monotonic() - start
    if run.returncode or begun is None:
        raise RuntimeError(f"{' '.join(command)} ended with {run.returncode}")
    return begun, time.monotonic() - start


if __name__ == "__main__":
    main()
