"""Where a command's work runs: processes on this machine, actors of a Ray cluster, or external workers."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING

from curator.errors import InputError, Leave, counted
from curator.io import public_name, storage
from curator_pipelines.config import EncodingConfig, ExecutorConfig, MeasureConfig
from curator_pipelines.executors import Executor, LocalExecutor, Needs, ray_address
from curator_pipelines.external import ExternalExecutor
from curator_pipelines.jobs.measure.hardware import RunHardware

if TYPE_CHECKING:
    from curator_pipelines.executors import Cluster, RayExecutor

__all__ = ["executor_begun", "make_executor", "own_executor"]

# The address of a Ray that is started here, for this process.
LOCAL = "local"

_log = logging.getLogger(__name__)


@contextmanager
def executor_begun(
    config: EncodingConfig | MeasureConfig, out: str | None, *, keeps: bool, waits: bool = True
) -> Iterator[RunHardware]:
    """While the block runs, start Ray or join it in the background, where that is asked for: it takes seconds.

    Args:
        config: how to embed, and where.
        out: see `RunHardware`.
        keeps: see `RunHardware`.
        waits: see `RunHardware`.

    Yields:
        what the run computes with; the block goes on until that is asked.

    Raises:
        InputError: at the end of the block, as `make_executor` would.
    """
    address = _ray_address_of(config)
    if not address or _is_connected():
        cluster = (lambda: _connect(address)) if address and address != LOCAL else None
        yield RunHardware(config, cluster, out, keeps=keeps, waits=waits)
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
        # A Ray that is started here has the hardware that this process has.
        cluster = None if address == LOCAL else connected.result
        yield RunHardware(config, cluster, out, keeps=keeps, waits=waits)
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


def make_executor(config: ExecutorConfig, device: str, out: str | None, precision: str = "") -> Executor:
    """The executor that was asked for.

    Args:
        config: with the address of a Ray cluster, if any; RAY_ADDRESS counts where it has none. External workers do
            without Ray.
        device: `cuda` if the work is for GPUs.
        out: URL of the run directory, which all workers must be able to write to; None where they write nothing.
        precision: in which images are encoded; empty where none are.

    Raises:
        InputError: the cluster cannot be joined, or none of its nodes could write to OUT; the store of OUT is none for
            external workers.
    """
    address = _ray_address_of(config)
    if address:
        return _on_ray(config, address, Needs(device, precision, config.gpus_per_worker), out)
    workers = _count_of(config)
    if device == "cuda":
        import torch

        devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        local = LocalExecutor(workers=workers or len(devices), devices=devices)
    else:
        local = LocalExecutor(workers=workers or 1)
    return ExternalExecutor(out, local) if config.workers == "external" and out is not None else local


def own_executor(executor: Executor) -> Executor:
    """The executor for what external workers do not do: the one that runs beside them, else the executor itself."""
    return executor.beside if isinstance(executor, ExternalExecutor) else executor


def _count_of(config: ExecutorConfig) -> int | None:
    return config.workers if isinstance(config.workers, int) else None


def _ray_address_of(config: ExecutorConfig) -> str | None:
    """The Ray cluster to work on; None for none.

    Raises:
        InputError: external workers are asked for, and a cluster too.
    """
    if config.workers != "external":
        return ray_address(config.address)
    if config.address is not None:
        raise InputError(
            "external workers are no actors of a cluster", field="workers", value="external", advice=Leave("address")
        )
    return None


def _on_ray(config: ExecutorConfig, address: str, needs: Needs, out: str | None) -> RayExecutor:
    cluster = _connect(address)
    from curator_pipelines.executors import RayExecutor, Survey

    survey, workers = None, _count_of(config)
    if address != LOCAL:
        shared = out if out is not None and storage.is_local(out) else None
        survey = Survey(wants_hardware=bool(needs.precision), out=shared)
        nodes = cluster.nodes()
        survey.settle(nodes)
        survey.check_reached(nodes)
    executor = RayExecutor(
        cluster,
        workers,
        needs=needs,
        survey=survey,
        wait_seconds=config.wait_for_workers,
        label=f"worker of {public_name(out)}" if out is not None else "worker",
    )
    room = sum(placement.count for placement in executor.placements)
    if room < (workers or 1):
        more = counted((workers or 1) - room, "worker")
        _log.warning("the cluster has room for %s; a node for %s more is waited for", counted(room, "worker"), more)
    return executor
