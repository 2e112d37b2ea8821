"""Processes of a Ray cluster that train together, by Ray Train."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from curator.errors import CuratorError, InputError, Use
from curator.io import scratch_folder
from curator_pipelines.executors import Cluster, check_shared, connect
from curator_pipelines.jobs.train.request import TrainRequest
from curator_pipelines.jobs.train.train_progress import metrics_followed
from curator_ssl.distributed import PATIENCE
from curator_ssl.reporter import SilentReporter, TrainReporter
from curator_ssl.train_loop import TrainResult

__all__ = ["launch_on_ray"]


def launch_on_ray(request: TrainRequest, address: str, count: int, reporter: TrainReporter) -> TrainResult:
    """Train in `count` processes of a cluster, each with its share of the CPUs, and with a GPU if they compute on GPUs.

    Args:
        request: the run; OUT/samples.parquet holds its samples, and all machines reach OUT.
        address: of the cluster, or `local`.
        count: how many processes.
        reporter: is told how far they are, by OUT/metrics.jsonl.

    Raises:
        InputError: the cluster cannot be joined, or has no room.
        CuratorError: a process failed or was lost; the others were stopped, and the run can be resumed.
    """
    config = request.config
    cluster = connect(address)
    check_shared(config.out, cluster)
    cpus = _cpus_of_each(cluster, count, config.device == "cuda")
    from ray.exceptions import RayError
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    gpus = {"GPU": 1.0} if config.device == "cuda" else {}
    train_rank: Any = _train_rank
    # Ray Train keeps its own notes of a run somewhere; what counts is in OUT.
    with (
        scratch_folder() as folder,
        metrics_followed(config, reporter),
        _quiet(),
    ):
        trainer = TorchTrainer(
            train_rank,
            train_loop_config=replace(request, threads=cpus).to_json(),
            torch_config=TorchConfig(timeout_s=int(PATIENCE.total_seconds())),
            scaling_config=ScalingConfig(
                num_workers=count, use_gpu=bool(gpus), resources_per_worker={"CPU": float(cpus), **gpus}
            ),
            run_config=RunConfig(name="train", storage_path=str(folder), failure_config=FailureConfig(max_failures=0)),
        )
        try:
            result: Any = trainer.fit()
        except (TrainingFailedError, RayError) as error:
            raise _first_error(error) from error
    # What the first process returned; the annotations of Ray Train are those of its former self.
    return TrainResult(**result.return_value)


def _cpus_of_each(cluster: Cluster, count: int, on_gpus: bool) -> int:
    """CPUs for each process, so that all of them have room at once."""
    nodes = [node for node in cluster.nodes() if node.gpus >= 1 or not on_gpus]
    most = int(max((node.cpus for node in nodes), default=0))
    for cpus in range(most, 0, -1):
        placements = (min(node.cpus // cpus, node.gpus) if on_gpus else node.cpus // cpus for node in nodes)
        if sum(int(free) for free in placements) >= count:
            return cpus
    each = "a GPU and a CPU" if on_gpus else "a CPU"
    raise InputError(f"{cluster.name} has no room for so many processes with {each} each", field="nproc", value=count)


def _train_rank(content: dict[str, Any]) -> dict[str, Any]:
    """One process: the same loop as everywhere. Nobody sees what a process of the cluster prints."""
    import ray.train.torch

    request = TrainRequest.from_json(content)
    if request.config.device == "cuda":
        os.environ["LOCAL_RANK"] = str(ray.train.torch.get_device().index or 0)
    return asdict(request.train(SilentReporter()))


@contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("ray.train")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _first_error(error: Exception) -> CuratorError:
    """The error of the first process that failed."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        link: BaseException | None = failure
        while link is not None:
            if isinstance(link, CuratorError):
                return link
            # Ray Train wraps what a process raised.
            link = link.__cause__ or getattr(link, "_base_exc", None)
    lines = str(next(iter(failures.values()), error)).strip().splitlines() or [type(error).__name__]
    return CuratorError(f"the training on the cluster failed ({lines[-1]})", advice=Use("resume", True))
