"""Several processes that train together: torchrun's launcher, with errors a person can read."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

from curator.errors import CuratorError, Use
from curator.io import scratch_folder
from curator_pipelines.jobs.train.request import TrainRequest
from curator_pipelines.jobs.train.train_rank import error_file, request_file, result_file
from curator_ssl.train_loop import Interrupted, TrainResult

__all__ = ["launch_ranks"]


def launch_ranks(request: TrainRequest, count: int) -> TrainResult:
    """Train in `count` processes on this machine.

    Args:
        request: the run; OUT/samples.parquet holds its samples.
        count: how many processes.

    Raises:
        CuratorError: a process died or failed, the others are stopped; the error of the first one that failed.
        Interrupted: stopped by a signal; the error of the first process.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with scratch_folder() as folder:
        # Addresses may carry secrets: this folder is the owner's alone, and gone in the end.
        request_file(folder).write_text(json.dumps(request.to_json()))
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=0.2,
        )
        try:
            rank = ("-m", "curator_pipelines.jobs.train.train_rank", str(folder), str(os.getpid()))
            elastic_launch(config, sys.executable)(*rank)
        except SignalException as error:
            # The launcher has passed the signal on and waited; what became of the step is the first rank's to say.
            first = _error_of(folder, 0)
            raise first or Interrupted("interrupted before the step at hand was saved") from error
        except ChildFailedError as error:
            raise _first_error(error, folder) from error
        return TrainResult(**json.loads(result_file(folder).read_text()))


def _first_error(error: Any, folder: Path) -> CuratorError:
    """The error of the first process that failed, or how it ended."""
    rank, failure = error.get_first_failure()
    if failure.exitcode < 0:
        name = signal.Signals(-failure.exitcode).name
        return CuratorError(
            f"process {rank} of the training died of {name} (out of memory, perhaps); the others were stopped",
            advice=Use("resume", True),
        )
    for number in (rank, *range(len(error.failures) + rank + 1)):
        if known := _error_of(folder, number):
            return known
    return CuratorError(f"process {rank} of the training ended with exit code {failure.exitcode}; see above")


def _error_of(folder: Path, number: int) -> CuratorError | None:
    """The error that a process wrote when it ended; None where it wrote none."""
    try:
        error: CuratorError = pickle.loads(error_file(folder, number).read_bytes())
    except FileNotFoundError:
        return None
    return error
