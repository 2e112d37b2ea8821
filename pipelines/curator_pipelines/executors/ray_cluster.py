"""The connection to a Ray cluster: joining or starting it, and what its nodes have."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray

from curator.errors import CuratorError, InputError

__all__ = ["Cluster", "Node", "connect"]

_log = logging.getLogger(__name__)

REACHED_WITHIN = 10.0
"""Seconds for the head of a cluster to answer."""


@dataclass(frozen=True)
class Node:
    """A living node.

    Attributes:
        id: Ray's.
        machine: its network address; test clusters run several nodes on one machine.
        cpus: that it offers to Ray.
        gpus: that it offers to Ray.
    """

    id: str
    machine: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        name: for people.
        dashboard: its URL; empty where there is none.
        home: id of the node through which this process is connected; empty for one that is not looked after.
    """

    name: str
    dashboard: str
    home: str = ""

    def nodes(self) -> list[Node]:
        """The nodes that are alive now, as far as Ray knows.

        Raises:
            CuratorError: the node of this process is not, so nothing can be started any more.
        """
        records: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        alive = sorted((_node(record) for record in records if record["Alive"]), key=lambda node: node.id)
        if self.home and all(node.id != self.home for node in alive):
            raise CuratorError("Ray's own process on this machine (raylet) has ended: run again to resume")
        return alive


def _node(record: dict[str, Any]) -> Node:
    resources = record["Resources"]
    return Node(
        record["NodeID"], record["NodeManagerAddress"], resources.get("CPU", 0.0), float(resources.get("GPU", 0.0))
    )


def connect(address: str) -> Cluster:
    """Join the cluster at `address`, or start one on this machine for `local`.

    The connection lasts as long as the process; a second call returns the first's.

    Raises:
        InputError: there is no cluster, or it cannot be joined.
    """
    if "://" in address:
        raise InputError(
            f"--address {address}: give the address that 'ray start' printed (HOST:6379), from a machine of the "
            "cluster; from elsewhere use 'curator submit'"
        )
    if not ray.is_initialized():
        _check_listens(address)
        with _signals_and_output_ours():
            _init(address)
    where = "on this machine" if address == "local" else f"at {ray.get_runtime_context().gcs_address}"
    url = ray._private.worker.global_worker.node.webui_url if ray._private.worker.global_worker.node else ""
    home = ray.get_runtime_context().get_node_id()
    return Cluster(f"Ray {where}", f"http://{url}" if url else "", home)


def _check_listens(address: str) -> None:
    """Ray itself tries for minutes before it says that nothing is there."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--address {address}: no Ray there: {error}; give the address that 'ray start --head' printed"
        ) from error


def _init(address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address == "local":
            with _for_child_processes():
                ray.init(address="local", **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise InputError(f"--address {address}: cannot join Ray: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _for_child_processes() -> Iterator[None]:
    """What a cluster started here passes on to its workers."""
    # They must find the modules that this process finds, as spawned workers do.
    settings = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "RAY_USAGE_STATS_ENABLED": "0"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _signals_and_output_ours() -> Iterator[None]:
    """Undo what `ray.init` does to the process around it."""
    # It makes SIGTERM an exit of its own, and prints every lost worker to stdout, where --json goes.
    ours = signal.getsignal(signal.SIGTERM)
    ray._private.worker.print_to_stdstream = _log_lines
    try:
        yield
    finally:
        with suppress(ValueError):  # not in the main thread, where ray.init changed nothing either
            signal.signal(signal.SIGTERM, ours)


def _log_lines(data: dict[str, Any], *arguments: object, **settings: object) -> None:
    for line in data.get("lines", ()):
        _log.debug("%s: %s", data.get("pid"), line)
