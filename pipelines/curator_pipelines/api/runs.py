"""The jobs of the command line as functions.

They leave the process around them as it was: no signal handler stays, no environment variable is set, nothing ends the
process, and torch's number of threads and random state are put back. (The command sets one variable for its own
process, see `executors.threads`; worker processes set theirs.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from curator.errors import CuratorWarning, InputError
from curator.io import absolute
from curator_pipelines.api.results import PackResult, SelectResult, coresets_of
from curator_pipelines.api.signature import takes
from curator_pipelines.config import CompareConfig, Config, EmbedConfig, PackConfig, SelectConfig, build
from curator_pipelines.jobs.compare import Comparison
from curator_pipelines.jobs.select import EmbedSummary
from curator_pipelines.run import Reporter

__all__ = ["compare", "embed", "pack", "select"]

C = TypeVar("C", bound=Config)
R = TypeVar("R")


@takes(SelectConfig)
def select(*, progress: bool = False, **settings: Any) -> SelectResult:
    """Choose from a pool the images nearest to a target, and pack them, as `curator select` does.

    Call it again with the same settings to resume. The settings have the names, defaults and checks of the command;
    None stands for the default.

    Args:
        **settings: see below.
        progress: tell on stderr what goes on, in a notebook too.

    Returns:
        the result: `selection`, `shards`, `manifest`, `summary` and `warnings`; with several targets `coresets[NAME]`.

    Raises:
        InputError: a setting or the data cannot work; nothing was written.
        TooManyBad: after embedding; everything is kept.
        CuratorError: the run failed; calling it again resumes.

    Warns:
        CuratorWarning: what the command would print as a warning, unless `progress` has printed it.
    """
    for name in ("target", "pool"):
        if not isinstance(settings[name], str | list):
            raise InputError("give URLs, or give arrays to curator.select_rows", field=name)
    from curator_pipelines.jobs.select import run_select

    config = build(SelectConfig, settings)
    with _torch_restored():
        summary, warnings = _run(run_select, config, progress)
    packed = {name: result.packed for name, result in summary.results.items()}
    return SelectResult(summary.out, coresets_of(summary.out, packed), warnings, summary)


@takes(EmbedConfig)
def embed(*, progress: bool = False, **settings: Any) -> EmbedSummary:
    """Embed a pool once, to select from it many times, as `curator embed` does.

    Later selections take it as `pool="OUT/pool"`, with the same encoder, and embed nothing again.

    Args:
        **settings: see below.
        progress: tell on stderr what goes on, in a notebook too.

    Returns:
        the counts of samples, and the warnings.

    Raises:
        InputError: a setting or the data cannot work; nothing was written.
        TooManyBad: after embedding; everything is kept.
        CuratorError: the run failed; calling it again resumes.

    Warns:
        CuratorWarning: as `curator.select` does.
    """
    from curator_pipelines.jobs.select import run_embed

    config = build(EmbedConfig, settings)
    with _torch_restored():
        return _run(run_embed, config, progress)[0]


@takes(PackConfig)
def pack(*, progress: bool = False, **settings: Any) -> PackResult:
    """Pack a finished selection again, with other settings, as `curator pack` does.

    Args:
        **settings: see below.
        progress: tell on stderr what goes on, in a notebook too.

    Returns:
        the result, as `curator.select` gives it, without the summary.

    Raises:
        InputError: there is no finished selection, or a setting cannot work.
        CuratorError: a source changed or cannot be read; calling it again resumes.

    Warns:
        CuratorWarning: as `curator.select` does.
    """
    from curator_pipelines.jobs.select import run_pack

    config = build(PackConfig, settings)
    packed, warnings = _run(run_pack, config, progress)
    out = absolute(config.out)
    return PackResult(out, coresets_of(out, packed), warnings)


@takes(CompareConfig)
def compare(*, progress: bool = False, **settings: Any) -> Comparison:
    """Say what finished selections have in common, and what only one has, as `curator compare` does.

    Args:
        **settings: see below.
        progress: tell on stderr what goes on, in a notebook too.

    Returns:
        the numbers; `str` of it is what the command prints, and its `page` has the pictures.

    Raises:
        InputError: a run is not there or not finished, or a setting cannot work.
    """
    from curator_pipelines.jobs.compare import run_compare

    return _run(run_compare, build(CompareConfig, settings), progress)[0]


def _run(job: Callable[[C, Reporter], R], config: C, progress: bool) -> tuple[R, list[str]]:
    """Run a job and return its result and warnings; these become Python's where nobody has seen them."""
    with Reporter(quiet=not progress) as reporter:
        try:
            return job(config, reporter), reporter.warnings
        finally:
            for text in () if progress else reporter.warnings:
                # The caller of the function that `takes` made of ours.
                warnings.warn(text, CuratorWarning, stacklevel=4)


@contextmanager
def _torch_restored() -> Iterator[None]:
    """Put back what a job changes of torch in this process."""
    import torch

    threads = torch.get_num_threads()
    # Each GPU's state too, where there is one to put back: CUDA was in use before.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            torch.set_num_threads(threads)
