"""Training: the loop on real shards, on one batch in memory, and lightly's loader on a folder, in one run.

    python -m benchmarks.training [--arch resnet18] [--image-size 64] [--batch-size 128] [--steps 30] [--rounds 3]
        [--workers 2]

Floor: the same loop on a batch that is ready. Where loader and model share the cores, the ideal is not the floor but
1 / (1/step + 1/load), as in `benchmarks.embed`. Peer: a plain script with lightly's dataset, transform, heads and loss,
in the same precision and memory layout; left out where lightly is not installed. All threads wait as those of
`curator train` do, the peer's too.
"""
# ruff: noqa: E402

from __future__ import annotations

from curator_pipelines.executors import prepare_threads

prepare_threads()

import argparse
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path

import torch

from benchmarks.data import describe_machine, pool_sources
from curator_ssl import train_loop
from curator_ssl.backbones import feature_dim, make_backbone
from curator_ssl.config import TrainConfig
from curator_ssl.data import Batch, Samples, StepDataset, find_samples, load_steps, make_schedule
from curator_ssl.resolve import resolve_length, resolve_machine

# Steps before the clock starts: the loop tells of its progress after every tenth.
WARM = 10
THREADS = len(os.sched_getaffinity(0))


class Clock:
    """Listens to a training run and notes when the steps were done."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.times: list[tuple[int, float]] = []

    def say(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""

    def report_step(self, step: int, steps: int, loss: float) -> None:
        """Note the time."""
        self.times.append((step, time.perf_counter()))

    def rate(self) -> float:
        """Images a second after the first steps."""
        (first, start), *_, (last, end) = self.times
        return (last - first) * self.batch_size / (end - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    flags = parser.parse_args()
    request = TrainConfig(
        arch=flags.arch,
        image_size=flags.image_size,
        batch_size=flags.batch_size,
        steps=WARM + flags.steps,
        loader_workers=flags.workers,
    )
    with tempfile.TemporaryDirectory() as folder:
        shards = [source.url for source in pool_sources()[:2]]
        samples = find_samples([], shards, folder).samples
        config = resolve_length(resolve_machine(request), samples)
        images = _folder_of_images(shards, Path(folder, "images"))
        has_peer = find_spec("lightly") is not None
        rates: dict[str, list[float]] = {"fixed": [], "load": [], "ours": [], "lightly": []}
        for number in range(flags.rounds):
            run = config.model_copy(update={"out": f"{folder}/{number}"})
            rates["fixed"].append(_on_one_batch(run, samples))
            rates["load"].append(_load_rate(run, samples))
            rates["ours"].append(_on_shards(run, samples))
            if has_peer:
                rates["lightly"].append(_lightly_rate(run, images))
    ideal = [
        1 / (1 / step + 1 / load) if config.device == "cpu" else min(step, load)
        for step, load in zip(rates["fixed"], rates["load"], strict=True)
    ]
    print(
        f"training {flags.arch} at {flags.image_size} px, {config.precision}, batch {flags.batch_size}, "
        f"{flags.workers} loader workers, {describe_machine()}, load {os.getloadavg()[0]:.0f}; "
        f"medians of {flags.rounds} rounds\n"
    )
    print("| | images/s | ours against it |\n|---|---|---|")
    rows: dict[str, list[float]] = {
        "ours, from shards": rates["ours"],
        "the same loop on one batch in memory": rates["fixed"],
        "loader alone": rates["load"],
        "ideal of the two": ideal,
    }
    if has_peer:
        rows["lightly's loader and a plain loop, from a folder"] = rates["lightly"]
    for name, values in rows.items():
        ratio = statistics.median(ours / value for ours, value in zip(rates["ours"], values, strict=True))
        print(f"| {name} | {statistics.median(values):,.0f} | {ratio:.2f} |")


def _on_shards(config: TrainConfig, samples: Samples) -> float:
    clock = Clock(config.batch_size)
    train_loop.train(config, samples, [], clock, THREADS)
    return clock.rate()


def _on_one_batch(config: TrainConfig, samples: Samples) -> float:
    batch = StepDataset(samples, make_schedule(config, samples), config.image_size)[0]
    real = train_loop.load_steps

    def the_same(dataset: StepDataset, start: int, stop: int, *_: object, **__: object) -> Iterator[Batch]:
        return (Batch(step, batch.views, batch.images, []) for step, batch in zip(range(start, stop), repeat(batch)))

    train_loop.load_steps = the_same
    try:
        return _on_shards(config.model_copy(update={"out": f"{config.out}-fixed"}), samples)
    finally:
        train_loop.load_steps = real


def _load_rate(config: TrainConfig, samples: Samples) -> float:
    dataset = StepDataset(samples, make_schedule(config, samples), config.image_size)
    batches = load_steps(dataset, 0, config.steps, config.loader_workers)
    for _ in range(WARM):
        next(batches)
    start = time.perf_counter()
    count = sum(1 for _ in batches)
    return count * config.batch_size / (time.perf_counter() - start)


def _folder_of_images(shards: list[str], folder: Path) -> Path:
    """The same images as files."""
    (folder / "all").mkdir(parents=True)
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None and member.name.endswith((".jpg", ".png")):
                    (folder / "all" / member.name).write_bytes(file.read())
    return folder


def _lightly_rate(config: TrainConfig, images: Path) -> float:
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    device = torch.device(config.device)
    torch.set_num_threads(THREADS)
    transform = SimCLRTransform(input_size=config.image_size, min_scale=0.2, cj_strength=1.0, gaussian_blur=0.0)
    loader = torch.utils.data.DataLoader(
        LightlyDataset(str(images), transform=transform),
        config.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=config.loader_workers,
    )
    backbone = make_backbone(config.arch, config.image_size, 0)
    width = feature_dim(backbone)
    model = torch.nn.Sequential(backbone.model, SimCLRProjectionHead(width, width, 128))
    model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    loss_of = NTXentLoss(temperature=0.5)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    mixed = config.precision == "bf16"
    done, start = 0, 0.0
    while done < config.steps:
        for (first, second), *_ in loader:
            views = [view.to(device, memory_format=torch.channels_last) for view in (first, second)]
            with torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext():
                loss = loss_of(*(model(view) for view in views))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            done += 1
            if done == WARM:
                start = time.perf_counter()
            if done == config.steps:
                break
    loss.item()
    return (config.steps - WARM) * config.batch_size / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
