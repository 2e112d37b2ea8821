"""Start-up: `curator --help`, the first byte of work after `curator select`, and what Ray adds to both.

    python -m benchmarks.startup [ROUNDS]

Floors: a Python that does nothing; one that imports what the command line is made of; one that imports torch and loads
the same encoder; `ray.init` alone. Medians; ratios are medians of the rounds' ratios.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.data import describe_machine, pool_sources

ENCODER = "timm:test_efficientnet"
# As the executor calls it, until the first actor could start.
RAY_ALONE = """
import ray
ray.init(address="local", log_to_driver=False, logging_level="CRITICAL")
print("ready", flush=True)
"""
ENCODER_ALONE = f"""
import torch
from curator.encoders.load import load_encoder
encoder = load_encoder({ENCODER!r}, weights="random")
encoder.encode(torch.zeros(encoder.input_shape, dtype=torch.uint8))
print("ready", flush=True)
"""
CURATOR = [sys.executable, "-m", "curator_pipelines"]


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="curator-startup-") as folder:
        shard = str(Path(folder, "small.tar"))
        with open(pool_sources()[0].url, "rb") as whole:
            Path(shard).write_bytes(whole.read(1 << 20))
        for number in range(rounds):
            for name, value in _round(folder, shard, number).items():
                seconds.setdefault(name, []).append(value)
    seconds["added by Ray, until work begins"] = _difference(seconds, "until work begins")
    seconds["added by Ray, whole command"] = _difference(seconds, "whole command")
    print(f"start-up, {describe_machine()}, load {os.getloadavg()[0]:.0f}; medians of {rounds} rounds\n")
    print("| what | seconds | from, to | floor | times the floor |\n|---|---|---|---|---|")
    floors = {
        "curator --help": "import click",
        "select, until work begins": "encoder alone",
        "added by Ray, until work begins": "ray.init alone",
        "added by Ray, whole command": "ray.init alone",
    }
    for name, values in seconds.items():
        floor = floors.get(name)
        ratio = "" if floor is None else f"{_median_ratio(values, seconds[floor]):.2f}"
        spread = f"{min(values):.2f}, {max(values):.2f}"
        print(f"| {name} | {statistics.median(values):.2f} | {spread} | {floor or ''} | {ratio} |")


def _round(folder: str, shard: str, number: int) -> dict[str, float]:
    plain = _select(shard, f"{folder}/plain-{number}")
    on_ray = _select(shard, f"{folder}/ray-{number}", "--address", "local")
    return {
        "python alone": _whole([sys.executable, "-c", "pass"]),
        "import click": _whole([sys.executable, "-c", "import click"]),
        "curator --help": _whole([*CURATOR, "--help"]),
        "encoder alone": _until([sys.executable, "-c", ENCODER_ALONE], "ready")[0],
        "ray.init alone": _until([sys.executable, "-c", RAY_ALONE], "ready")[0],
        "select, until work begins": plain[0],
        "select, whole command": plain[1],
        "select on Ray, until work begins": on_ray[0],
        "select on Ray, whole command": on_ray[1],
    }


def _select(shard: str, out: str, *flags: str) -> tuple[float, float]:
    """Seconds until the workers are told of, and until the end."""
    what = ["--target", shard, "--pool", shard, "--out", out, "--budget", "10", "--clusters", "5"]
    how = ["--encoder", ENCODER, "--weights", "random", "--max-bad", "100%", *flags]
    return _until([*CURATOR, "select", *what, *how], "running on")


def _until(command: list[str], sign: str) -> tuple[float, float]:
    """Seconds until a line begins with `sign`, and until the end."""
    start = time.monotonic()
    begun = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout or ():
            if line.startswith(sign) and begun is None:
                begun = time.monotonic() - start
    if run.returncode or begun is None:
        raise RuntimeError(f"{' '.join(command)} ended with {run.returncode}")
    return begun, time.monotonic() - start


def _whole(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def _difference(seconds: dict[str, list[float]], part: str) -> list[float]:
    pairs = zip(seconds[f"select, {part}"], seconds[f"select on Ray, {part}"], strict=True)
    return [on_ray - plain for plain, on_ray in pairs]


def _median_ratio(values: list[float], floors: list[float]) -> float:
    return statistics.median(value / floor for value, floor in zip(values, floors, strict=True))


if __name__ == "__main__":
    main()
