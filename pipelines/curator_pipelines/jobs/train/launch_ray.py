"""Processes of a Ray cluster that train together, by Ray Train."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from curator.errors import CuratorError, InputError
from curator.io import storage
from curator_pipelines.executors.ray_cluster import Cluster, connect
from curator_pipelines.executors.shared_storage import check_shared
from curator_ssl.data.find_samples import FoundSamples, stored_lines
from curator_ssl.data.samples import read_samples_file
from curator_ssl.settings import TrainSettings
from curator_ssl.train_loop import Listener, Trained, train

__all__ = ["launch_on_ray"]

LOOK_EVERY = 2.0
# As a rank of `torchrun` may wait for the others; see curator_ssl.distributed.ranks.
PATIENCE_SECONDS = 1800


def launch_on_ray(
    settings: TrainSettings, indexed: FoundSamples, address: str, count: int, listener: Listener
) -> Trained:
    """Train in `count` processes of a cluster, each with its share of the CPUs, and with a GPU if they compute on GPUs.

    Args:
        settings: of the run; OUT/samples.parquet holds its samples, and all machines reach OUT.
        indexed: what is in that file, and where the sources are.
        address: of the cluster, or `local`.
        count: how many processes.
        listener: is told how far they are, by OUT/metrics.jsonl.

    Raises:
        InputError: the cluster cannot be joined, or has no room.
        CuratorError: a process failed or was lost; the others were stopped, and `--resume` goes on.
    """
    cluster = connect(address)
    check_shared(settings.out, {node.machine for node in cluster.nodes()})
    cpus = _room(cluster, count, settings.device == "cuda")
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    gpus = {"GPU": 1.0} if settings.device == "cuda" else {}
    # Ray Train keeps its own notes of a run somewhere; what counts is in OUT.
    with tempfile.TemporaryDirectory(prefix="curator-train-") as folder, _told(settings, listener), _quiet():
        trainer = TorchTrainer(
            _rank,  # type: ignore[arg-type]
            train_loop_config={
                "settings": asdict(replace(settings, threads=cpus)),
                "addresses": dict(indexed.samples.addresses or {}),
            },
            torch_config=TorchConfig(timeout_s=PATIENCE_SECONDS),
            scaling_config=ScalingConfig(
                num_workers=count, use_gpu=bool(gpus), resources_per_worker={"CPU": float(cpus), **gpus}
            ),
            run_config=RunConfig(name="train", storage_path=folder, failure_config=FailureConfig(max_failures=0)),
        )
        try:
            result = trainer.fit()
        except TrainingFailedError as error:
            raise _readable(error) from error
    # The first process's; the annotations of Ray Train are those of its former self.
    return Trained(**result.return_value)  # type: ignore[attr-defined]


def _room(cluster: Cluster, count: int, on_gpus: bool) -> int:
    """CPUs for each process, so that all of them have room at once."""
    nodes = [node for node in cluster.nodes() if node.gpus >= 1 or not on_gpus]
    most = int(max((node.cpus for node in nodes), default=0))
    for cpus in range(most, 0, -1):
        placements = (min(node.cpus // cpus, node.gpus) if on_gpus else node.cpus // cpus for node in nodes)
        if sum(int(free) for free in placements) >= count:
            return cpus
    each = "a GPU and a CPU" if on_gpus else "a CPU"
    raise InputError(f"--nproc {count}: {cluster.name} has no room for so many processes with {each} each")


def _rank(request: dict[str, Any]) -> dict[str, Any]:
    """One process: the same loop as everywhere."""
    import ray.train.torch

    settings = TrainSettings(**request["settings"])
    if settings.device == "cuda":
        os.environ["LOCAL_RANK"] = str(ray.train.torch.get_device().index or 0)
    samples = read_samples_file(storage.join(settings.out, "samples.parquet"), request["addresses"])
    return asdict(train(settings, samples, stored_lines(settings.out), _Silent()))


class _Silent:
    """Nobody sees what a process of the cluster prints."""

    def say(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    def on_step(self, step: int, steps: int, loss: float) -> None:
        pass


@contextmanager
def _told(settings: TrainSettings, listener: Listener) -> Iterator[None]:
    """Tell the listener what the first process writes to metrics.jsonl."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY):
            try:
                lines = storage.read_bytes(storage.join(settings.out, "metrics.jsonl")).splitlines()
                last = json.loads(lines[-1])
                listener.on_step(last["step"] + 1, settings.steps, last["loss"])
            except (OSError, ValueError, LookupError):
                continue

    thread = threading.Thread(target=look, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("ray.train")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _readable(error: Exception) -> CuratorError:
    """What the first process that failed said."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        link: BaseException | None = failure
        while link is not None:
            if isinstance(link, CuratorError):
                return link
            # Ray Train wraps what a process raised.
            link = link.__cause__ or getattr(link, "_base_exc", None)
    lines = str(next(iter(failures.values()), error)).strip().splitlines() or [type(error).__name__]
    return CuratorError(
        f"the training on the cluster failed ({lines[-1]}): run again with --resume to go on from the last checkpoint"
    )
