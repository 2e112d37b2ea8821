"""Growth: the whole job on pools of 1, 2, 4 and 8 times the size; seconds a sample and memory should stay flat.

    python -m benchmarks.growth [--samples 2500] [--encoder timm:mobilenetv3_small_100] [--largest 8]

The pools are real photos, repeated with changed bytes, in shards of 1,000. Each stage is a command of its own, so that
its memory is its own too: `embed`, `select --manifest-only` (search), `select` (pack). Writes growth.png beside this
file and prints the table.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from benchmarks.data import describe_machine, pool_sources
from benchmarks.measure import measure
from curator_pipelines.run import RunDirectory

SHARD = 1000
TARGET = 300
BUDGET = "10%"
STAGES = ("embed", "search", "pack")
RECORDED = {"search": "select", "pack": "pack"}
PLOT = Path(__file__).parent / "growth.png"


def main() -> None:
    """Measure, print the table, draw the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("--samples", type=int, default=2500)
    parser.add_argument("--encoder", default="timm:mobilenetv3_small_100")
    parser.add_argument("--largest", type=int, default=8)
    flags = parser.parse_args()
    encoder = ["--encoder", flags.encoder, *([] if flags.encoder == "lite0" else ["--weights", "random"])]
    print(f"growth, {flags.encoder}, budget {BUDGET}; {describe_machine()}, load {os.getloadavg()[0]:.0f}\n")
    print("| samples | stage | seconds | ms a sample | MB, largest process | MB, all |\n|---|---|---|---|---|---|")
    sizes = [flags.samples << power for power in range(flags.largest.bit_length())]
    costs = []
    with tempfile.TemporaryDirectory(prefix="curator-growth-") as folder:
        target = _write_tars(Path(folder, "target"), TARGET)
        for size in sizes:
            pool = _write_tars(Path(folder, f"pool-{size}"), size)
            costs.append(_cost(Path(folder, f"run-{size}"), target, pool, encoder))
            for stage, (seconds, largest, together) in costs[-1].items():
                each = f"{1000 * seconds / size:.3f}"
                print(f"| {size:,} | {stage} | {seconds:.2f} | {each} | {largest:,.0f} | {together:,.0f} |", flush=True)
    _draw(sizes, costs)


def _cost(run: Path, target: str, pool: str, encoder: list[str]) -> dict[str, tuple[float, float, float]]:
    """Stage -> seconds, MB of its largest process, MB of all its processes."""
    select = ["select", "--target", target, "--pool", pool, "--budget", BUDGET]
    commands = (
        ("embed", ["embed", "--pool", pool]),
        ("search", [*select, "--manifest-only"]),
        ("pack", select),
    )
    costs = {}
    for stage, words in commands:
        found = measure(_curator, [*words, "--out", str(run), *encoder])
        stages = RunDirectory(str(run)).record["stages"]
        # Without the start of the worker, which is the same for all sizes.
        seconds = stages["pool"]["work"]["total"] if stage == "embed" else stages[RECORDED[stage]]["seconds"]
        costs[stage] = (float(seconds), found.largest, found.anonymous)
    return costs


def _curator(words: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "curator_pipelines", *words], check=True, capture_output=True)


def _write_tars(folder: Path, samples: int) -> str:
    """Shards of so many photos; the pattern that names them."""
    folder.mkdir()
    photos = _photos()
    for shard in range(-(-samples // SHARD)):
        with tarfile.open(folder / f"{shard:06d}.tar", "w") as tar:
            for key, data in enumerate(islice(photos, min(SHARD, samples - shard * SHARD))):
                member = tarfile.TarInfo(f"{shard:06d}{key:06d}.jpg")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return f"{folder}/*.tar"


def _photos() -> Iterator[bytes]:
    """The photos of the pool again and again; what follows a JPEG's end changes its bytes, not its pixels."""
    for again in count():
        for source in pool_sources():
            with tarfile.open(source.url) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    if file is not None and member.name.endswith(".jpg"):
                        yield file.read() + f"{again}".encode()


def _draw(sizes: list[int], costs: list[dict[str, tuple[float, float, float]]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for stage in STAGES:
        time.plot(sizes, [1000 * cost[stage][0] / size for size, cost in zip(sizes, costs, strict=True)], "o-")
        memory.plot(sizes, [cost[stage][1] for cost in costs], "o-", label=stage)
    labels: tuple[tuple[Any, str], ...] = ((time, "ms a sample"), (memory, "MB of the largest process"))
    for axes, label in labels:
        axes.set(xlabel="samples in the pool", ylabel=label, xscale="log", xticks=sizes, ylim=(0, None))
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
    memory.legend()
    figure.savefig(PLOT, dpi=110)


if __name__ == "__main__":
    main()
