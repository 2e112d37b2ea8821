"""What the nodes of a cluster turn out to be, looked at by a task on each."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from curator.encoders import Hardware, look_at_hardware
from curator.errors import InputError
from curator.io import storage
from curator_pipelines.executors.failures import summary_of
from curator_pipelines.executors.fitness import Needs, unfit
from curator_pipelines.executors.ray_cluster import Cluster, Node
from curator_pipelines.executors.shared_storage import SEEN_AFTER, SharedFolder, answer_from_node
from curator_pipelines.executors.watch import note_event

__all__ = ["Survey", "check_shared"]

# A node that has not answered by then is left out: importing torch from a slow disk took half a minute.
ANSWER_SECONDS = 180.0
HEAR_EVERY = 0.1

_log = logging.getLogger(__name__)
# Node id -> what was found there by this process: hardware does not change, and a look costs an import of torch.
_known: dict[str, Hardware | None] = {}
# Nodes that were found to reach a directory: node id, URL.
_reached: set[tuple[str, str]] = set()
# Nodes that were left out, and why, as far as that was told.
_told: set[tuple[str, str]] = set()


def check_shared(out: str, cluster: Cluster) -> None:
    """Refuse a run directory on a path that does not lead to the same folder on all nodes that there are.

    Args:
        out: URL of the run directory.
        cluster: whose nodes are asked, unless they reach the URL from anywhere.

    Raises:
        InputError: with the nodes.
    """
    if not storage.is_local(out):
        return
    survey, nodes = Survey(wants_hardware=False, out=out), cluster.nodes()
    survey.settle(nodes)
    if problems := [f"{node.machine}: {survey.problem(node)}" for node in nodes if survey.problem(node)]:
        raise _not_shared(out, problems)


def _not_shared(out: str, problems: Sequence[str]) -> InputError:
    """The error of a run directory that nodes do not reach."""
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return InputError(
        f"not all nodes reach it ({problems[0]}{more})",
        field="out",
        value=out,
        advice="give a path that all of them mount, or a URL such as s3://BUCKET/RUN",
    )


@dataclass
class _Look:
    """A task that looks at a node."""

    reference: Any
    node: Node
    shared: SharedFolder | None
    began: float = field(default_factory=time.monotonic)
    heard: float | None = None


class Survey:
    """Looks at nodes once each, as they come; nothing is reserved for that, so busy nodes answer too.

    Args:
        wants_hardware: whether it matters what torch sees.
        out: URL of a local directory that all nodes must reach; None for none.

    Attributes:
        left_out: ids of the nodes that `fit` found to be of no use.
    """

    def __init__(self, *, wants_hardware: bool, out: str | None = None) -> None:
        self._wants_hardware = wants_hardware
        self._out = out
        self._looks: dict[str, _Look] = {}
        self._problems: dict[str, str] = {}
        self.left_out: set[str] = set()

    @property
    def is_looking(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._looks)

    def hardware(self, node: Node) -> Hardware | None:
        """What torch sees on a node; None where that is not known, or not yet."""
        return _known.get(node.id)

    def problem(self, node: Node) -> str:
        """Why a node is of no use for any work; empty if nothing is known against it."""
        return self._problems.get(node.id, "")

    def update(self, nodes: Sequence[Node]) -> None:
        """Ask those of the nodes that were not asked yet, and hear who has answered.

        Raises:
            InputError: the directory cannot be written here.
        """
        for node in nodes:
            if self._is_known(node):
                self._problems.setdefault(node.id, "")
        if new := [node for node in nodes if not self._is_asked(node)]:
            shared = SharedFolder(self._out) if self._out is not None else None
            try:
                question = shared.ask() if shared else ""
            except OSError as error:
                raise InputError(f"it cannot be written: {error}", field="out", value=self._out) from error
            for node in new:
                self._looks[node.id] = _Look(_ask(node, question, self._wants_hardware), node, shared)
        self._hear()

    def settle(self, nodes: Sequence[Node]) -> None:
        """As `update`, until all of them have answered or were given up."""
        self.update(nodes)
        while self.is_looking:
            time.sleep(HEAR_EVERY)
            self.update(nodes)

    def fit(self, nodes: Sequence[Node], needs: Needs) -> list[Node]:
        """Those of the nodes that were looked at and can do the work. Why one is left out is told, once."""
        able = []
        for node in nodes:
            if node.id in self._looks or not self._is_asked(node):
                continue
            reason = self.problem(node) or unfit(node, self.hardware(node), needs)
            if not reason:
                able.append(node)
                continue
            self.left_out.add(node.id)
            if (node.id, reason) not in _told:
                _told.add((node.id, reason))
                text = f"node {node.machine} ({node.id[:8]}) is left out: {reason}"
                _log.warning("%s", text)
                note_event("node_left_out", text, machine=node.machine, node=node.id)
        return able

    def check_reached(self, nodes: Sequence[Node]) -> None:
        """Refuse a directory that not one of the nodes that can do work reaches.

        Raises:
            InputError: so it is.
        """
        # A head without CPUs, on which the driver is, reaches it and does no work.
        working = [node for node in nodes if node.cpus or node.gpus]
        problems = [f"{node.machine}: {self.problem(node)}" for node in working if self.problem(node)]
        if self._out is not None and problems and len(problems) == len(working):
            raise _not_shared(self._out, problems)

    def _is_known(self, node: Node) -> bool:
        """Whether an earlier look of this process has found all that matters, and nothing wrong."""
        return (not self._wants_hardware or node.id in _known) and (
            self._out is None or (node.id, self._out) in _reached
        )

    def _is_asked(self, node: Node) -> bool:
        return node.id in self._looks or node.id in self._problems

    def _hear(self) -> None:
        looks = {look.reference: look for look in self._looks.values()}
        ready, late = ray.wait(list(looks), num_returns=len(looks), timeout=0) if looks else ([], [])
        for reference in ready:
            look = looks[reference]
            look.heard = look.heard or time.monotonic()
            if (problem := self._answer(look, look.heard)) is not None:
                self._end(look, problem)
        for reference in late:
            if time.monotonic() - looks[reference].began > ANSWER_SECONDS:
                ray.cancel(reference, force=True)
                self._end(looks[reference], f"it did not answer within {ANSWER_SECONDS:.0f} seconds")

    def _answer(self, look: _Look, heard: float) -> str | None:
        """Take in what a node says; returns what is wrong with it, None where its file may still come to be seen."""
        try:
            problem, hardware = ray.get(look.reference)
        except ray.exceptions.RayError as error:
            _log.info("node %s could not be looked at: %s", look.node.machine, summary_of(error))
            _known.setdefault(look.node.id, None)
            if look.shared:
                return f"whether it reaches {look.shared.folder} could not be found out ({summary_of(error)})"
            # Its workers will fail in the same way, and what follows from that is the dispatcher's to decide.
            return ""
        if hardware is not None:
            _known[look.node.id] = hardware
        if look.shared and not problem and not look.shared.is_answered(look.node.id):
            if time.monotonic() - heard < SEEN_AFTER:
                return None
            return f"{look.shared.folder} there is not the folder of that name here"
        return str(problem)

    def _end(self, look: _Look, problem: str) -> None:
        del self._looks[look.node.id]
        self._problems[look.node.id] = problem
        if self._out is not None and not problem:
            _reached.add((look.node.id, self._out))
        if look.shared and all(other.shared is not look.shared for other in self._looks.values()):
            look.shared.close()


def _ask(node: Node, question: str, wants_hardware: bool) -> Any:
    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_calls": 1,  # a process of its own, which ends: it may have begun to use the GPU
        "max_retries": 1,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False),
    }
    look: Any = ray.remote(**options)(_look_around)
    named = look.options(name="curator looks at a node")
    return named.remote(node.id, question, wants_hardware and node.id not in _known)


def _look_around(node_id: str, question: str, wants_hardware: bool) -> tuple[str, Hardware | None]:
    """On the node: what is wrong with its storage, and what torch sees."""
    problem = answer_from_node(question, node_id) if question else ""
    return problem, look_at_hardware() if wants_hardware else None
