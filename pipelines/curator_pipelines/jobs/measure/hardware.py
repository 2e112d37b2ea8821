"""The device and the precision of a run: resolved once, where the work will be done, and the same on all workers."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from curator.errors import InputError, counted
from curator.io import storage
from curator_pipelines.config import EncodingConfig, MeasureConfig
from curator_pipelines.executors import Needs, Patience, cluster_in_words

if TYPE_CHECKING:
    from curator.encoders import Hardware
    from curator_pipelines.executors import Cluster, Node, Survey

__all__ = ["ChosenHardware", "RunHardware"]

# OUT/NAME keeps what was chosen.
NAME = "hardware.json"
LOOK_EVERY = 0.25
# What throws the embeddings away begins on whatever hardware there is.
BEGINS_ANEW = ("warmup", "measure", "embed")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChosenHardware:
    """What a run computes with.

    Attributes:
        device: `cpu` or `cuda`.
        precision: `fp32` or `bf16`.
        name: of the device, for people.
        auto: the precision where none is asked for, as in a warm-up.
    """

    device: str
    precision: str
    name: str
    auto: str


class RunHardware:
    """The hardware of a run, looked at when it is first asked for: here, or on the nodes of the cluster.

    Args:
        config: how to embed, and where.
        cluster: waits for the connection to a cluster of other machines, and returns it; None where all work is done on
            this machine.
        out: URL of the run directory; None where nothing is kept.
        keeps: whether to write down there what was chosen.
        waits: whether to wait for a node that can do the work; if not, what is not known is taken as asked for.
    """

    def __init__(
        self,
        config: EncodingConfig | MeasureConfig,
        cluster: Callable[[], Cluster] | None,
        out: str | None,
        *,
        keeps: bool,
        waits: bool = True,
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._out = out
        self._keeps = keeps
        self._waits = waits

    @property
    def is_here(self) -> bool:
        """Whether it is this machine's."""
        return self._cluster is None

    @cached_property
    def chosen(self) -> ChosenHardware:
        """What the run computes with.

        Raises:
            InputError: this machine does not have what was asked for.
            CuratorError: no node of the cluster had it, for as long as was to be waited.
        """
        if self._cluster is None:
            from curator.encoders import look_at_hardware, resolve_device, resolve_precision

            device = resolve_device(self._config.device)
            name = "the CPU" if device.type == "cpu" else look_at_hardware().name("cuda")
            precision, auto = (resolve_precision(asked, device) for asked in (self._config.precision, "auto"))
            return ChosenHardware(device.type, precision, name, auto)
        chosen = self._on_cluster(self._cluster(), self._kept())
        if self._keeps and self._out is not None:
            storage.write_bytes(storage.join(self._out, NAME), json.dumps(asdict(chosen), indent=2).encode())
        return chosen

    def _kept(self) -> ChosenHardware | None:
        if self._out is None or getattr(self._config, "redo", None) in BEGINS_ANEW:
            return None
        url = storage.join(self._out, NAME)
        try:
            return ChosenHardware(**json.loads(storage.read_bytes(url)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise InputError(f"{url} is damaged ({error})", advice="remove it: it is made anew") from error

    def _on_cluster(self, cluster: Cluster, kept: ChosenHardware | None) -> ChosenHardware:
        from curator_pipelines.executors import Demand, Survey

        # Where nothing is kept, OUT may be a folder of this machine that no worker writes to.
        shared = self._out if self._keeps and self._out is not None and storage.is_local(self._out) else None
        survey, demand = Survey(wants_hardware=True, out=shared), Demand()
        patience = Patience(self._config.wait_for_workers)
        try:
            while True:
                nodes = cluster.nodes()
                survey.update(nodes)
                if not survey.is_looking:
                    survey.check_reached(nodes)
                    if (chosen := self._choose(nodes, survey, kept)) is not None:
                        return chosen
                    asked = Needs(self._device(nodes, survey, kept), gpus=self._config.gpus_per_worker)
                    if not self._waits:
                        auto = kept.auto if kept is not None else "fp32"
                        return ChosenHardware(asked.device, self._precision(kept, auto), "no node yet", auto)
                    demand.ask(1, cpus=1.0, gpus=asked.gpus if asked.on_gpus else 0.0, memory=0)
                    patience.wait_for(lambda asked=asked, nodes=nodes: _missing(asked, nodes, kept))  # type: ignore[misc]
                time.sleep(LOOK_EVERY)
        finally:
            demand.withdraw()

    def _choose(self, nodes: Sequence[Node], survey: Survey, kept: ChosenHardware | None) -> ChosenHardware | None:
        """What the nodes that are there give; None if no node can do the work."""
        device = self._device(nodes, survey, kept)
        needs = Needs(device, self._precision(kept, "fp32"), self._config.gpus_per_worker)
        able = [node for node in survey.fit(nodes, needs) if _size(node, device)]
        if not able:
            return None
        known = [(node, hardware) for node in able if (hardware := survey.hardware(node)) is not None]
        # What most of it has; the rest is left out.
        native = sum(_size(node, device) for node, hardware in known if device in hardware.bf16)
        auto = "bf16" if 2 * native >= sum(_size(node, device) for node in able) else "fp32"
        gpus = sum(node.gpus for node in nodes)
        if gpus and device == "cpu":
            _log.warning(
                "the cluster has %s, and the encoder runs on CPUs%s", counted(int(gpus), "GPU"), self._why_cpus(kept)
            )
        names = sorted({hardware.name(device) for _, hardware in known})
        auto = kept.auto if kept is not None else auto
        return ChosenHardware(device, self._precision(kept, auto), " and ".join(names) or device, auto)

    def _device(self, nodes: Sequence[Node], survey: Survey, kept: ChosenHardware | None) -> str:
        if self._config.device != "auto":
            return self._config.device
        if kept is not None:
            return kept.device
        return "cuda" if any(node.gpus and _sees_gpus(survey.hardware(node)) for node in nodes) else "cpu"

    def _why_cpus(self, kept: ChosenHardware | None) -> str:
        if self._config.device == "cpu":
            return ""
        return ", as this run was begun" if kept is not None else ": no node has one that torch sees"

    def _precision(self, kept: ChosenHardware | None, auto: str) -> str:
        if self._config.precision != "auto":
            return self._config.precision
        return kept.precision if kept is not None else auto


def _sees_gpus(hardware: Hardware | None) -> bool:
    return hardware is None or hardware.gpus > 0


def _size(node: Node, device: str) -> float:
    """How much of a kind of device a node has."""
    return node.gpus if device == "cuda" else node.cpus


def _missing(needs: Needs, nodes: Sequence[Node], kept: ChosenHardware | None) -> str:
    begun = ", with which this run was begun" if kept is not None and kept.device == needs.device else ""
    return f"a node with {needs.text()} for a worker{begun} ({cluster_in_words(nodes)})"
