"""Several processes that train together: torchrun's launcher, with errors a person can read."""

from __future__ import annotations

import json
import logging
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curator.errors import CuratorError, InputError, TooManyBad
from curator_ssl.data.find_samples import FoundSamples
from curator_ssl.settings import TrainSettings
from curator_ssl.train_loop import Interrupted, Trained

__all__ = ["launch_ranks"]

ERRORS = {error.exit_code: error for error in (CuratorError, InputError, TooManyBad, Interrupted)}


def launch_ranks(settings: TrainSettings, indexed: FoundSamples, count: int) -> Trained:
    """Train in `count` processes on this machine.

    Args:
        settings: of the run; OUT/samples.parquet holds its samples.
        indexed: what is in that file, and where the sources are.
        count: how many processes.

    Raises:
        CuratorError: a process died or failed; the others are stopped. What the first one that failed said.
        Interrupted: by a signal; what the first process said.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="curator-train-") as folder:
        request = Path(folder) / "request.json"
        # Addresses may carry secrets: this file is the owner's alone, and gone in the end.
        content = {"settings": asdict(settings), "addresses": dict(indexed.samples.addresses or {})}
        request.write_text(json.dumps(content))
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
            elastic_launch(config, sys.executable)("-m", "curator_pipelines.jobs.train.train_rank", str(request))
        except SignalException as error:
            # The launcher has passed the signal on and waited; what became of the step is the first rank's to say.
            told = _told(Path(folder), 0)
            raise told or Interrupted("interrupted before the step at hand was saved") from error
        except ChildFailedError as error:
            raise _readable(error, Path(folder)) from error
        return Trained(**json.loads((Path(folder) / "result.json").read_text()))


def _readable(error: Any, folder: Path) -> CuratorError:
    rank, failure = error.get_first_failure()
    if failure.exitcode < 0:
        name = signal.Signals(-failure.exitcode).name
        return CuratorError(
            f"process {rank} of the training died of {name} (out of memory, perhaps); the others were stopped: "
            "run again with --resume to go on from the last checkpoint"
        )
    for number in (rank, *range(len(error.failures) + rank + 1)):
        if told := _told(folder, number):
            return told
    return CuratorError(f"process {rank} of the training ended with exit code {failure.exitcode}; see above")


def _told(folder: Path, rank: int) -> CuratorError | None:
    """What a process said when it ended; None where it said nothing."""
    try:
        told = json.loads((folder / f"error-{rank}.json").read_text())
    except FileNotFoundError:
        return None
    return ERRORS.get(told["exit_code"], CuratorError)(told["message"])
