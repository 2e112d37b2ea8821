"""The public names with their types, for editors and type checkers. `make format` writes this file anew."""

import os
from collections.abc import Sequence
from typing import Any, Literal

from curator.encoders.load import load_encoder as load_encoder
from curator.errors import CuratorError as CuratorError
from curator.errors import CuratorWarning as CuratorWarning
from curator.errors import InputError as InputError
from curator.errors import TooManyBad as TooManyBad
from curator.errors import UnusableInput as UnusableInput
from curator.search.memory_pool import MemoryPool as MemoryPool
from curator.selection.result import Selection as Selection
from curator_pipelines.api.results import Coreset as Coreset
from curator_pipelines.api.results import PackResult as PackResult
from curator_pipelines.api.results import SelectResult as SelectResult
from curator_pipelines.jobs.select.summary import EmbedSummary as EmbedSummary

__all__ = [
    "Coreset",
    "CuratorError",
    "CuratorWarning",
    "EmbedSummary",
    "InputError",
    "MemoryPool",
    "PackResult",
    "SelectResult",
    "Selection",
    "TooManyBad",
    "UnusableInput",
    "__version__",
    "embed",
    "load_encoder",
    "pack",
    "select",
    "select_rows",
]

__version__: str

def embed(
    *,
    out: str | os.PathLike[str],
    pool: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    address: str | os.PathLike[str] | None = None,
    workers: int | str | None = None,
    gpus_per_worker: float = 1.0,
    encoder: str | os.PathLike[str] = "warmup",
    weights: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    min_side: int = 0,
    max_bad: float | str = 0.01,
    redo: Literal["pool"] | None = None,
    progress: bool = False,
) -> EmbedSummary:
    """Embed a pool once, to select from it many times, as `curator embed` does.

    Later selections take it as `pool="OUT/pool"`, with the same encoder, and embed nothing again.

    Args:
        address: of a Ray cluster, or `local` to start one here; None for RAY_ADDRESS where it is set, else for
            worker processes on this machine.
        workers: how many; None or `auto` for one a GPU, else by CPUs (without Ray: one).
        gpus_per_worker: GPUs, or the share of one, of a Ray worker.
        encoder: see `curator.encoders.load_encoder`.
        weights: local weights file, or `random`.
        batch_size: images a forward pass; None for the device's default.
        precision: `auto` is bf16 where the hardware has it.
        device: `auto` is the GPU if there is one.
        min_side: pool images with a shorter side than this many pixels are left out.
        max_bad: share of the samples seen that may be bad.
        out: see `out` of the command
        pool: see `pool` of the command
        redo: see `redo` of the command
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

def pack(
    *,
    out: str | os.PathLike[str],
    address: str | os.PathLike[str] | None = None,
    workers: int | str | None = None,
    gpus_per_worker: float = 1.0,
    pool: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = [],
    shard_size: int = 1000,
    manifest_only: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> PackResult:
    """Pack a finished selection again, with other settings, as `curator pack` does.

    Args:
        address: of a Ray cluster, or `local` to start one here; None for RAY_ADDRESS where it is set, else for
            worker processes on this machine.
        workers: how many; None or `auto` for one a GPU, else by CPUs (without Ray: one).
        gpus_per_worker: GPUs, or the share of one, of a Ray worker.
        out: see `out` of the command
        pool: see `pool` of the command
        shard_size: see `shard_size` of the command
        manifest_only: see `manifest_only` of the command
        seed: see `seed` of the command
        progress: tell on stderr what goes on, in a notebook too.

    Returns:
        the result, as `curator.select` gives it, without the summary.

    Raises:
        InputError: there is no finished selection, or a setting cannot work.
        CuratorError: a source changed or cannot be read; calling it again resumes.

    Warns:
        CuratorWarning: as `curator.select` does.
    """

def select(
    *,
    out: str | os.PathLike[str],
    target: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    pool: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    address: str | os.PathLike[str] | None = None,
    workers: int | str | None = None,
    gpus_per_worker: float = 1.0,
    encoder: str | os.PathLike[str] = "warmup",
    weights: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    min_side: int = 0,
    max_bad: float | str = 0.01,
    clusters: int = 100,
    budget: str | float | None = None,
    stop: str | float | None = None,
    reference_round: int = 1,
    selector: Literal["simcore", "knn", "random"] = "simcore",
    dedup: float | None = None,
    exclude: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = [],
    exclude_above: float = 0.95,
    search: Literal["exact", "ivf"] = "exact",
    recall: float = 0.99,
    deny: str | os.PathLike[str] | None = None,
    manifest_only: bool = False,
    shard_size: int = 1000,
    seed: int = 0,
    warmup_epochs: int | None = None,
    redo: Literal["warmup", "embed", "target", "pool", "exclude", "select", "pack"] | None = None,
    progress: bool = False,
) -> SelectResult:
    """Choose from a pool the images nearest to a target, and pack them, as `curator select` does.

    Call it again with the same settings to resume. The settings have the names, defaults and checks of the command;
    None stands for the default.

    Args:
        address: of a Ray cluster, or `local` to start one here; None for RAY_ADDRESS where it is set, else for
            worker processes on this machine.
        workers: how many; None or `auto` for one a GPU, else by CPUs (without Ray: one).
        gpus_per_worker: GPUs, or the share of one, of a Ray worker.
        encoder: see `curator.encoders.load_encoder`.
        weights: local weights file, or `random`.
        batch_size: images a forward pass; None for the device's default.
        precision: `auto` is bf16 where the hardware has it.
        device: `auto` is the GPU if there is one.
        min_side: pool images with a shorter side than this many pixels are left out.
        max_bad: share of the samples seen that may be bad.
        out: see `out` of the command
        target: the domain's images; `NAME=URLS` for several targets.
        pool: the open-set to choose from.
        clusters: K, the number of centroids.
        budget: `N` or `P%`; None for no limit.
        stop: share of the reference round's mean similarity below which to stop, or `off`. None: 0.95 where there
            is no budget either, else off.
        reference_round: the round that the stop rule compares with.
        selector: `simcore`, `knn` or `random`.
        dedup: similarity from which a sample shows what a chosen one shows; None compares nothing.
        exclude: evaluation images, near to which nothing is chosen.
        exclude_above: similarity from which a sample is too near to one of them.
        search: `exact` reads every vector, `ivf` what an index thinks worth it.
        recall: share of the rows that matter which `ivf` aims to read.
        deny: file of samples never to choose.
        manifest_only: write no tars.
        shard_size: samples an output shard.
        seed: of k-means, of the random selector and of the order inside output shards.
        warmup_epochs: how long `--encoder warmup` trains; None for what a person can wait for.
        redo: the stage from which to start anew.
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

def select_rows(
    target: Any,
    pool: Any,
    *,
    clusters: int = 100,
    budget: str | float | None = None,
    stop: str | float | None = None,
    reference_round: int = 1,
    selector: Literal["simcore", "knn", "random"] = "simcore",
    seed: int = 0,
    keys: Sequence[str] | None = None,
) -> Selection:
    """Choose from the rows of a pool in memory those nearest to the rows of a target.

    It chooses what `curator.select` would choose if these were the embeddings.

    Args:
        target: the target's vectors (n, d): an array, or what numpy makes one of.
        pool: the pool's vectors (N, d), likewise, or a `curator.MemoryPool`, or any object with its method `parts`.
        keys: a name for each row of the pool, for the selection's table.
        clusters: K, the number of centroids.
        budget: `N` or `P%`; None for no limit.
        stop: share of the reference round's mean similarity below which to stop, or `off`. None: 0.95 where there
            is no budget either, else off.
        reference_round: the round that the stop rule compares with.
        selector: `simcore`, `knn` or `random`.
        seed: of k-means, of the random selector and of the order inside output shards.

    Returns:
        the selection. Its `ids` are numbers of rows of the pool, best first; `table()` is an Arrow table.

    Raises:
        InputError: a setting, or the vectors, cannot work.

    >>> import curator
    >>> selection = curator.select_rows([[1, 0], [0, 1]], [[9, 1], [-1, -1], [1, 8]], budget=2, keys=["a", "b", "c"])
    >>> selection
    <Selection: 2 of 3 candidates, rounds: 1, ended by: budget>
    >>> selection.ids.tolist(), selection.table()["key"].to_pylist()
    ([0, 2], ['a', 'c'])
    """
