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
from curator_pipelines.jobs.compare.comparison import Comparison as Comparison
from curator_pipelines.jobs.select.summary import EmbedSummary as EmbedSummary

__all__ = [
    "Comparison",
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
    "compare",
    "embed",
    "load_encoder",
    "pack",
    "select",
    "select_rows",
]

__version__: str

def compare(
    *,
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    label: str | None = None,
    out: str | os.PathLike[str] = "compare.html",
    progress: bool = False,
) -> Comparison:
    """Say what finished selections have in common, and what only one has, as `curator compare` does.

    Args:
        runs: The run directories of finished selections; of one with several targets RUN/NAME.
        label: Where labels are, to say how many chosen images are of the target's classes.
        out: The page with the pictures, a file that ends with .html.
        progress: tell on stderr what goes on, in a notebook too.

    Returns:
        the numbers; `str` of it is what the command prints, and its `page` has the pictures.

    Raises:
        InputError: a run is not there or not finished, or a setting cannot work.
    """

def embed(
    *,
    pool: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    encoder: str,
    redo: Literal["pool"] | None = None,
    weights: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    min_side: int = 0,
    update_pool: bool = False,
    copy_pool: bool = False,
    max_bad: float | str | None = None,
    give_up_shards: bool = False,
    metrics_file: str | os.PathLike[str] | None = None,
    address: str | None = None,
    workers: int | str | None = None,
    gpus_per_worker: float = 1.0,
    wait_for_workers: float | str = 900.0,
    progress: bool = False,
) -> EmbedSummary:
    """Embed a pool once, to select from it many times, as `curator embed` does.

    Later selections take it as `pool="OUT/pool"`, with the same encoder, and embed nothing again.

    Args:
        pool: The pool: shards, or ready embeddings.
        out: The run directory; parts go to OUT/pool.
        redo: The stage from which to start anew.
        encoder: The encoder: lite0, timm:MODEL, torchvision:MODEL, open_clip:MODEL/PRETRAINED or
            checkpoint:PATH[@ARCH]. It must be named: without a target nothing tells which one is good.
        weights: A local file of weights for the encoder, or 'random' for tests.
        batch_size: The number of images in a forward pass. Default: by device.
        precision: The number format of the forward pass. Default: auto: bf16 where the hardware of the workers has
            it.
        device: The device that encodes images. Default: auto: GPUs if the workers' machines have any.
        min_side: Pool images with a shorter side below N pixels are left out.
        update_pool: Pool shards that are gone or changed since they were embedded are given up or embedded anew,
            and no others.
        copy_pool: The embeddings of another run's pool are copied into OUT, and not read where they are.
        max_bad: The share of bad samples above which the run ends with exit code 3. Default: 1%, but at least 10
            samples and at most a third of each set.
        give_up_shards: Shards that kill every worker count as unreadable, as max_bad allows, and do not fail the
            run.
        metrics_file: The file that gets the run's numbers while it goes on, for Prometheus' node exporter.
        address: The Ray cluster to join (HOST:6379), or 'local' to start one on this machine. Default: RAY_ADDRESS,
            else processes on this machine.
        workers: The number of worker processes or Ray actors; external for those that `curator work` starts
            anywhere. Default: auto: one for each GPU, else by CPUs on Ray, else 1.
        gpus_per_worker: The number of GPUs, or the share of one, that a Ray worker gets.
        wait_for_workers: How long to wait while a cluster has no node for a worker, before the run ends with exit
            code 1. Default: 15m.
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
    pool: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = [],
    manifest_only: bool = False,
    shard_size: int = 1000,
    seed: int = 0,
    metrics_file: str | os.PathLike[str] | None = None,
    address: str | None = None,
    workers: int | str | None = None,
    gpus_per_worker: float = 1.0,
    wait_for_workers: float | str = 900.0,
    progress: bool = False,
) -> PackResult:
    """Pack a finished selection again, with other settings, as `curator pack` does.

    Args:
        out: The run directory with a finished selection.
        pool: Where the shards are read, if their URLs carry secrets.
        manifest_only: The manifest is written, but no tars.
        shard_size: The number of samples in an output shard.
        seed: The seed of the order in output shards.
        metrics_file: The file that gets the run's numbers while it goes on, for Prometheus' node exporter.
        address: The Ray cluster to join (HOST:6379), or 'local' to start one on this machine. Default: RAY_ADDRESS,
            else processes on this machine.
        workers: The number of worker processes or Ray actors; external for those that `curator work` starts
            anywhere. Default: auto: one for each GPU, else by CPUs on Ray, else 1.
        gpus_per_worker: The number of GPUs, or the share of one, that a Ray worker gets.
        wait_for_workers: How long to wait while a cluster has no node for a worker, before the run ends with exit
            code 1. Default: 15m.
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
    target: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    pool: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    preset: Literal["paper", "authors"] | None = None,
    clusters: int | str | None = None,
    budget: str | float | None = None,
    stop: str | float | None = None,
    reference_round: int = 1,
    selector: str = "simcore",
    per_target: int = 4,
    skip_own: bool = True,
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
    warmup_arch: str | float | None = None,
    warmup_size: int | None = None,
    report: bool = True,
    report_by: str | float | None = None,
    redo: str | None = None,
    encoder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = ["auto"],
    weights: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    min_side: int = 0,
    update_pool: bool = False,
    copy_pool: bool = False,
    max_bad: float | str | None = None,
    give_up_shards: bool = False,
    metrics_file: str | os.PathLike[str] | None = None,
    address: str | None = None,
    workers: int | str | None = None,
    gpus_per_worker: float = 1.0,
    wait_for_workers: float | str = 900.0,
    progress: bool = False,
) -> SelectResult:
    """Choose from a pool the images nearest to a target, and pack them, as `curator select` does.

    Call it again with the same settings to resume. The settings have the names, defaults and checks of the command;
    None stands for the default.

    Args:
        target: The images of your domain: shards, a folder, or embeddings; NAME= for several, in one pass over the
            pool.
        pool: The images to choose from: shards, embeddings, or another run's pool.
        out: The run directory; a finished part in it is not done again.
        preset: Encoder, centroids and stop rule go together: as in the paper, or as in its authors' code.
        clusters: The number of centroids of the target. Default: auto: one for each distinct target image, of more
            than 2,000 images 1,000.
        budget: The largest number of samples to choose. Default: no limit.
        stop: The selection stops below this share of the reference round's mean; auto finds it by the target's own
            images. Default: auto, off with `budget`.
        reference_round: The round whose mean `stop` compares with.
        selector: The way to choose.
        per_target: How many times its fair share one image of `target` may have of what csls chooses.
        skip_own: A pool image that is one of the target's own is skipped. Default: on.
        dedup: A sample is skipped if it is at least this similar to a chosen one. No threshold finds copies and
            nothing else: with lite0 0.95 finds half of the altered copies, and skips drawings that differ.
        exclude: Evaluation images: nothing near to one is chosen.
        exclude_above: The similarity from which a sample is too near to an image of `exclude`.
        search: How the pool is read: exact reads every vector, ivf reads the promising lists of an index.
        recall: The share of the samples of the exact answer that ivf aims at; 1 gives the exact answer.
        deny: A list of samples never to choose: KEY or SHARD<TAB>KEY a line, or parquet.
        manifest_only: The manifest is written, but no tars.
        shard_size: The number of samples in an output shard.
        seed: The seed of the warm-up, of k-means, of the random selector and of the order in output shards.
        warmup_epochs: The number of epochs for which the encoder warmup is trained. Default: 400 steps on a CPU,
            2,000 on a GPU.
        warmup_arch: The network that the warm-up trains: small_resnet, or any timm or torchvision image model;
            resnet50 as in the paper. Default: small_resnet.
        warmup_size: The side of a view in the warm-up, in pixels; images are embedded at twice of it. Default: 32.
        report: OUT/report.html and OUT/contact_sheet.jpg are written, which show what was chosen. Default: on.
        report_by: The report also counts where images come from by this field of their .json members.
        redo: The stage from which to start anew: warmup, measure, embed, target, pool, exclude, index, select,
            pack.
        encoder: The encoder: lite0, timm:MODEL, torchvision:MODEL, open_clip:MODEL/PRETRAINED or
            checkpoint:PATH[@ARCH]; auto measures the ready ones on your images, warmup trains one on the target.
            Given several times, these are measured and the best is taken.
        weights: A local file of weights for the encoder, or 'random' for tests.
        batch_size: The number of images in a forward pass. Default: by device.
        precision: The number format of the forward pass. Default: auto: bf16 where the hardware of the workers has
            it.
        device: The device that encodes images. Default: auto: GPUs if the workers' machines have any.
        min_side: Pool images with a shorter side below N pixels are left out.
        update_pool: Pool shards that are gone or changed since they were embedded are given up or embedded anew,
            and no others.
        copy_pool: The embeddings of another run's pool are copied into OUT, and not read where they are.
        max_bad: The share of bad samples above which the run ends with exit code 3. Default: 1%, but at least 10
            samples and at most a third of each set.
        give_up_shards: Shards that kill every worker count as unreadable, as max_bad allows, and do not fail the
            run.
        metrics_file: The file that gets the run's numbers while it goes on, for Prometheus' node exporter.
        address: The Ray cluster to join (HOST:6379), or 'local' to start one on this machine. Default: RAY_ADDRESS,
            else processes on this machine.
        workers: The number of worker processes or Ray actors; external for those that `curator work` starts
            anywhere. Default: auto: one for each GPU, else by CPUs on Ray, else 1.
        gpus_per_worker: The number of GPUs, or the share of one, that a Ray worker gets.
        wait_for_workers: How long to wait while a cluster has no node for a worker, before the run ends with exit
            code 1. Default: 15m.
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
    preset: Literal["paper", "authors"] | None = None,
    clusters: int | str | None = None,
    budget: str | float | None = None,
    stop: str | float | None = None,
    reference_round: int = 1,
    selector: str = "simcore",
    per_target: int = 4,
    seed: int = 0,
    keys: Sequence[str] | None = None,
) -> Selection:
    """Choose from the rows of a pool in memory those nearest to the rows of a target.

    It chooses what `curator.select` would choose if these were the embeddings.

    Args:
        target: the target's vectors (n, d): an array, or what numpy makes one of.
        pool: the pool's vectors (N, d), likewise, or a `curator.MemoryPool`, or any object with its method `parts`.
        keys: a name for each row of the pool, for the selection's table.
        preset: Encoder, centroids and stop rule go together: as in the paper, or as in its authors' code.
        clusters: The number of centroids of the target. Default: auto: one for each distinct target image, of more
            than 2,000 images 1,000.
        budget: The largest number of samples to choose. Default: no limit.
        stop: The selection stops below this share of the reference round's mean; auto finds it by the target's own
            images. Default: auto, off with `budget`.
        reference_round: The round whose mean `stop` compares with.
        selector: The way to choose.
        per_target: How many times its fair share one image of `target` may have of what csls chooses.
        seed: The seed of the warm-up, of k-means, of the random selector and of the order in output shards.

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
