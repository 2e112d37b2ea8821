"""Where a command's work runs: worker processes on this machine, or actors of a Ray cluster."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING

from curator.errors import Change, InputError, counted
from curator_pipelines.config import ExecutorConfig
from curator_pipelines.executors import Executor, LocalExecutor, check_shared, ray_address

if TYPE_CHECKING:
    from curator_pipelines.executors import Cluster, RayExecutor

__all__ = ["executor_begun", "make_executor"]


@contextmanager
def executor_begun(config: ExecutorConfig) -> Iterator[None]:
    """While the block runs, start Ray or join it in the background, where that is asked for: it takes seconds.

    Raises:
        InputError: at the end of the block, as `make_executor` would.
    """
    address = ray_address(config.address)
    if not address or _is_connected():
        yield
        return
    connected: Future[Cluster] = Future()

    def connect() -> None:
        try:
            connected.set_result(_connect(address))
        except BaseException as error:
            connected.set_exception(error)
        # The processes of a Ray that is started here end with the thread that started them, not with the process.
        threading.Event().wait()

    threading.Thread(target=connect, name="ray", daemon=True).start()
    try:
        yield
    finally:
        wait([connected])  # a process that ends while Ray starts may crash
    connected.result()


def _is_connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _connect(address: str) -> Cluster:
    try:
        from curator_pipelines.executors import connect
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise InputError(
            "ray is not installed",
            field="address",
            value=address,
            advice=("pip install 'ray[default]'", "leave it and RAY_ADDRESS away"),
        ) from error
    return connect(address)


def make_executor(config: ExecutorConfig, device: str, out: str | None) -> Executor:
    """The executor that was asked for.

    Args:
        config: with the address of a Ray cluster, if any; RAY_ADDRESS counts where it has none.
        device: `cuda` if the work is for GPUs.
        out: URL of the run directory, which all workers must be able to write to; None where they write nothing.

    Raises:
        InputError: the cluster cannot be joined, has no room for a worker, or could not write to OUT.
    """
    address = ray_address(config.address)
    if address:
        return _on_ray(config, address, device, out)
    if device != "cuda":
        return LocalExecutor(workers=config.workers or 1)
    import torch

    devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return LocalExecutor(workers=config.workers or len(devices), devices=devices)


def _on_ray(config: ExecutorConfig, address: str, device: str, out: str | None) -> RayExecutor:
    cluster = _connect(address)
    from curator_pipelines.executors import RayExecutor

    if out is not None:
        check_shared(out, {node.machine for node in cluster.nodes()})
    executor = RayExecutor(cluster, config.workers, gpus_per_worker=config.gpus_per_worker, on_gpus=device == "cuda")
    room = sum(placements.count for placements in executor.placements)
    if not room or room < (config.workers or 0):
        each = f"{config.gpus_per_worker:g} GPU" if device == "cuda" else "CPUs"
        raise InputError(
            f"the cluster has room for {counted(room, 'worker')} with {each} each",
            field="address",
            value=address,
            advice=(Change("workers", "smaller"), Change("gpus_per_worker", "smaller")),
        )
    return executor
