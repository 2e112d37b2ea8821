"""The connection to a Ray cluster: joining or starting it, and what its nodes have."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import ray

from curator.errors import CuratorError, InputError

__all__ = ["Cluster", "Node", "connect"]

_log = logging.getLogger(__name__)

# The head of a cluster has this many seconds to answer.
CONNECT_SECONDS = 10.0
# A node whose Ray does not take a connection in so many seconds is lost.
ANSWER_SECONDS = 3.0
# Why a node has ended, in Ray's NodeDeathInfo: nobody knows, or it was lost. All else was meant.
UNSPECIFIED, UNEXPECTED = 0, 2


@dataclass(frozen=True)
class Node:
    """A living node.

    Attributes:
        id: Ray's id of the node.
        machine: its network address; test clusters run several nodes on one machine.
        cpus: the CPUs that it offers to Ray.
        gpus: the GPUs that it offers to Ray.
        memory: the bytes of memory that it offers to Ray.
        port: where its Ray (raylet) listens; 0 where that is not known.
    """

    id: str
    machine: str
    cpus: float
    gpus: float
    memory: float = 0.0
    port: int = 0

    def answers(self) -> bool:
        """Whether its Ray still listens. The head may take ten seconds and more to find out that it does not."""
        if not self.port:
            return True
        try:
            socket.create_connection((self.machine, self.port), timeout=ANSWER_SECONDS).close()
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        name: says for people which cluster it is.
        dashboard: the URL of its dashboard; empty where there is none.
        home: the id of the node through which this process is connected; empty if that node is not watched.
    """

    name: str
    dashboard: str
    home: str = ""
    _announced: set[str] = field(default_factory=set, compare=False, repr=False)

    def was_announced(self, node_id: str) -> bool:
        """Whether a node had said that it would leave, when `nodes` was last asked."""
        return node_id in self._announced

    def nodes(self) -> list[Node]:
        """The nodes that are alive now and mean to stay, as far as Ray knows.

        Raises:
            CuratorError: the node of this process has ended, so nothing can be started any more.
        """
        records: list[dict[str, Any]] = ray.nodes()
        alive = sorted((_node(record) for record in records if record["Alive"]), key=lambda node: node.id)
        if self.home and all(node.id != self.home for node in alive):
            raise CuratorError("Ray's own process on this machine (raylet) has ended", advice="run again to resume")
        # Such a node starts no actors any more, and what it has will be lost.
        self._announced.update(ray._private.state.state.get_draining_nodes())
        self._announced.update(record["NodeID"] for record in records if _was_told_to_end(record))
        return [node for node in alive if node.id not in self._announced]


def _node(record: dict[str, Any]) -> Node:
    resources = record["Resources"]
    return Node(
        record["NodeID"],
        record["NodeManagerAddress"],
        resources.get("CPU", 0.0),
        float(resources.get("GPU", 0.0)),
        float(resources.get("memory", 0.0)),
        record["NodeManagerPort"],
    )


def _was_told_to_end(record: dict[str, Any]) -> bool:
    """Whether a node has ended because its Ray was told to, by SIGTERM or by the autoscaler."""
    return not record["Alive"] and record.get("DeathReason", UNSPECIFIED) not in (UNSPECIFIED, UNEXPECTED)


def connect(address: str) -> Cluster:
    """Join the cluster at `address`, or start one on this machine for `local`.

    The connection lasts as long as the process; a second call returns the connection of the first.

    Raises:
        InputError: there is no cluster, or it cannot be joined.
        CuratorError: Ray did not start on this machine.
    """
    if "://" in address:
        raise InputError(
            "a URL is not the address of a cluster's head",
            field="address",
            value=address,
            advice=(
                "on a machine of the cluster give the address that 'ray start' printed (HOST:6379)",
                "from elsewhere use 'curator submit'",
            ),
        )
    if not ray.is_initialized():
        _check_listens(address)
        with _own_signals_and_output():
            _init(address)
    where = "on this machine" if address == "local" else f"at {ray.get_runtime_context().gcs_address}"
    url = ray._private.worker.global_worker.node.webui_url if ray._private.worker.global_worker.node else ""
    home = ray.get_runtime_context().get_node_id()
    return Cluster(f"Ray {where}", f"http://{url}" if url else "", home)


def _check_listens(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself tries for minutes before it says so."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"there is no Ray: {error}",
            field="address",
            value=address,
            advice="give the address that 'ray start' printed on the head",
        ) from error


def _init(address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address == "local":
            with _for_child_processes():
                ray.init(address="local", **quiet)
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises the bare class where a node does not come up in time
        if address == "local":
            message = f"Ray did not start on this machine: {_one_line(error)}"
            raise CuratorError(message, advice="run again: what is finished is kept") from error
        raise InputError(f"cannot join Ray: {_one_line(error)}", field="address", value=address) from error


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _for_child_processes() -> Iterator[None]:
    """Set what a cluster that is started here passes on to its workers."""
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
def _own_signals_and_output() -> Iterator[None]:
    """Undo what `ray.init` does to the process around it."""
    # It sets its own handler of SIGTERM, and prints every lost worker to stdout, where --json goes.
    handler = signal.getsignal(signal.SIGTERM)
    ray._private.worker.print_to_stdstream = _log_lines
    try:
        yield
    finally:
        with suppress(ValueError):  # not in the main thread, where ray.init changed nothing either
            signal.signal(signal.SIGTERM, handler)


def _log_lines(data: dict[str, Any], *arguments: object, **settings: object) -> None:
    for line in data.get("lines", ()):
        _log.debug("%s: %s", data.get("pid"), line)
