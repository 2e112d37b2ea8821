"""The numbers of a run for Prometheus: a text file that its node exporter collects, or Ray's own metrics.

No label holds a shard, a key or a worker: there may be millions of them, and each would be a time series.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from curator.errors import CuratorError
from curator.io import public_name, public_text, storage
from curator_pipelines.executors import USAGE, ray_gauges

__all__ = ["METRICS", "Metric", "Metrics", "exposition"]

Record = Mapping[str, Any]
Samples = list[tuple[dict[str, str], float]]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        help: what it is.
        kind: `gauge` or `counter`.
        labels: the names of its labels beside `out`.
        samples: its values, each with the values of those labels, of a record as OUT/progress.json has it.
    """

    help: str
    kind: str
    labels: tuple[str, ...]
    samples: Callable[[Record], Samples]


def _of_stage(name: str) -> Callable[[Record], Samples]:
    def samples(record: Record) -> Samples:
        value = record.get(name)
        return [] if value is None else [({"stage": record["stage"], "unit": record["unit"]}, float(value))]

    return samples


def _of_run(name: str, scale: float = 1.0) -> Callable[[Record], Samples]:
    def samples(record: Record) -> Samples:
        value = record.get(name)
        return [] if value is None else [({}, float(value) * scale)]

    return samples


def _used(name: str, scale: float = 1.0) -> Callable[[Record], Samples]:
    return lambda record: [({}, record.get("used", {}).get(name, 0) * scale)]


def _workers(record: Record) -> Samples:
    counts = record.get("worker_counts", {})
    return [({"state": state}, float(counts.get(state, 0))) for state in ("starting", "working", "idle")]


def _silence(record: Record) -> Samples:
    return [({}, max((float(each["silent"]) for each in record.get("workers", ()) if each["task"]), default=0.0))]


_STAGE = ("stage", "unit")
assert set(USAGE) == {"cpu_ms", "gpu_ms", "read_bytes", "written_bytes", "requests"}
METRICS: dict[str, Metric] = {
    "curator_running": Metric("1 while the run goes on, 0 after it.", "gauge", (), _of_run("is_running")),
    "curator_exit_code": Metric("How the run ended; absent while it goes on.", "gauge", (), _of_run("exit_code")),
    "curator_run_seconds": Metric("Seconds since the run began.", "gauge", (), _of_run("run_seconds")),
    "curator_run_eta_seconds": Metric(
        "Seconds that are left of the run, without stages whose length is unknown.", "gauge", (), _of_run("run_eta")
    ),
    "curator_stage_done": Metric("Units of the stage that are done.", "gauge", _STAGE, _of_stage("done")),
    "curator_stage_size": Metric("Units that the stage has, maybe estimated.", "gauge", _STAGE, _of_stage("total")),
    "curator_stage_bad": Metric("Bad samples of the stage.", "gauge", _STAGE, _of_stage("bad")),
    "curator_stage_seconds": Metric("Seconds since the stage began.", "gauge", _STAGE, _of_stage("seconds")),
    "curator_stage_per_second": Metric(
        "Units per second in the last minute.", "gauge", _STAGE, _of_stage("per_second")
    ),
    "curator_stage_eta_seconds": Metric("Seconds that are left of the stage.", "gauge", _STAGE, _of_stage("eta")),
    "curator_workers": Metric("Workers by what they do.", "gauge", ("state",), _workers),
    "curator_worker_silent_seconds": Metric(
        "How long the longest silent worker that has a task has said nothing.", "gauge", (), _silence
    ),
    "curator_workers_lost_total": Metric("Workers that were lost.", "counter", (), _of_run("lost")),
    "curator_preemptions_total": Metric(
        "Tasks handed back because their node left, as announced.", "counter", (), _of_run("preempted")
    ),
    "curator_cpu_seconds_total": Metric(
        "CPU time of the driver and its workers.", "counter", (), _used("cpu_ms", 0.001)
    ),
    "curator_gpu_seconds_total": Metric("Time that workers held GPUs.", "counter", (), _used("gpu_ms", 0.001)),
    "curator_read_bytes_total": Metric("Bytes read from files and stores.", "counter", (), _used("read_bytes")),
    "curator_written_bytes_total": Metric("Bytes written.", "counter", (), _used("written_bytes")),
    "curator_requests_total": Metric("Requests made to stores.", "counter", (), _used("requests")),
}


class _Sink(Protocol):
    def write(self, values: Mapping[str, Samples]) -> None:
        """Take the values of all metrics, by name."""


class Metrics:
    """Hands the numbers of a run on. What cannot be written is tried again with the next numbers.

    Args:
        sinks: where they go.
        out: the run directory, which tells runs apart.
    """

    def __init__(self, sinks: list[_Sink], out: str) -> None:
        self._sinks = sinks
        self._out = public_name(out)

    @classmethod
    def where_asked_for(cls, file: str | None, out: str) -> Metrics:
        """The metrics of a run: in `file` if given, and in Ray's once this process is connected to a cluster."""
        files: list[_Sink] = [_File(file)] if file else []
        return cls([*files, _Ray()], out)

    def write(self, record: Record, *, is_running: bool, exit_code: int | None = None) -> None:
        """Hand on the numbers of a record as OUT/progress.json has it."""
        now = {**record, "is_running": int(is_running), "exit_code": exit_code}
        values = {
            name: [({"out": self._out, **labels}, value) for labels, value in metric.samples(now)]
            for name, metric in METRICS.items()
        }
        for sink in self._sinks:
            # A run that lost its directory may write no file any more; that ends it elsewhere.
            with contextlib.suppress(OSError, CuratorError):
                sink.write(values)


class _File:
    def __init__(self, url: str) -> None:
        self._url = url

    def write(self, values: Mapping[str, Samples]) -> None:
        storage.write_bytes(self._url, exposition(values).encode())


class _Ray:
    """Ray's gauges, whose names get `ray_` in front. Made when the process is connected, which may be in mid-run."""

    def __init__(self) -> None:
        self._set: Callable[[Mapping[str, Samples]], None] | None = None

    def write(self, values: Mapping[str, Samples]) -> None:
        if self._set is None:
            labels = {name: ("out", *metric.labels) for name, metric in METRICS.items()}
            self._set = ray_gauges({name: metric.help for name, metric in METRICS.items()}, labels)
        if self._set is not None:
            self._set(values)


def exposition(values: Mapping[str, Samples]) -> str:
    r"""Metrics in Prometheus' text format.

    >>> print(exposition({"curator_run_seconds": [({"out": "a\"b"}, 2.0)]}), end="")
    # HELP curator_run_seconds Seconds since the run began.
    # TYPE curator_run_seconds gauge
    curator_run_seconds{out="a\"b"} 2
    """
    lines = []
    for name, samples in values.items():
        if samples:
            lines += [f"# HELP {name} {METRICS[name].help}", f"# TYPE {name} {METRICS[name].kind}"]
        for labels, value in samples:
            inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            lines.append(f"{name}{{{inside}}} {value:.17g}")
    return "".join(line + "\n" for line in lines)


def _escaped(text: str) -> str:
    return public_text(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
