"""Batches of augmented views, made in processes of their own, in the order of the steps."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from curator.errors import CuratorError
from curator.io import main_module_hidden, storage
from curator.types import LedgerLine
from curator_ssl.data.augment import SOURCE_SCALE, TwoViews, sample_seed
from curator_ssl.data.samples import Samples
from curator_ssl.data.schedule import Schedule
from curator_ssl.data.squares import Squares

__all__ = ["Batch", "StepDataset", "load_steps"]


@dataclass(frozen=True)
class Batch:
    """What a rank trains on in one step.

    Attributes:
        step: which step.
        views: uint8 (2, B, 3, h, w).
        images: int64 (B,): the number of each sample; -1 where a copy of another image stands in for a bad one.
        lines: the bad samples.
    """

    step: int
    views: torch.Tensor
    images: torch.Tensor
    lines: list[LedgerLine]


class StepDataset(Dataset[Batch]):
    """Step -> batch of one rank; a function of (samples, schedule, step, rank, ranks) alone.

    Args:
        samples: where the images are.
        schedule: which of them a step takes.
        image_size: side of a view.
        rank: of this process.
        ranks: how many there are.
    """

    def __init__(self, samples: Samples, schedule: Schedule, image_size: int, rank: int = 0, ranks: int = 1) -> None:
        self.samples, self.schedule = samples, schedule
        self.views = TwoViews(image_size)
        self.rank, self.ranks = rank, ranks
        self.squares = Squares(samples, SOURCE_SCALE * image_size)

    def __getitem__(self, step: int) -> Batch:
        numbers, passes = self.schedule.batch(step, self.rank, self.ranks)
        squares, aspects, bad = self.squares.read(numbers)
        seeds = [
            sample_seed(self.schedule.seed, int(turn), int(number))
            for turn, number in zip(passes, numbers, strict=True)
        ]
        with _one_thread():
            views = self.views(squares, aspects, seeds)
        images = torch.from_numpy(numbers.astype(np.int64))
        images[list(bad)] = -1
        if bad:
            _fill(views, images >= 0)
        lines = [
            LedgerLine(*self.samples.describe(int(numbers[place])), "decode", error.reason, error.detail)
            for place, error in bad.items()
        ]
        return Batch(step, views, images, lines)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a loader process, so that products of matrices round in the same way there and here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _fill(views: torch.Tensor, valid: torch.Tensor) -> None:
    """Copies of good images in place of bad ones: ranks need equal batches, and batch norms real images."""
    good = valid.nonzero().flatten()
    bad = (~valid).nonzero().flatten()
    views[:, bad] = views[:, good[torch.arange(len(bad)) % len(good)]] if len(good) else 0


def load_steps(dataset: StepDataset, start: int, stop: int, workers: int, pin: bool = False) -> Iterator[Batch]:
    """The batches of steps [start, stop), in order, whatever the number of worker processes.

    Raises:
        CuratorError: a worker died, or storage failed.
    """
    local = all(storage.is_local(url) for url in dataset.samples.urls)
    # Clients of remote stores hold threads, which do not survive a fork.
    context = multiprocessing.get_context("fork" if local else "spawn")
    dataset.squares.share(context, max(1, workers))
    # Once over the whole set costs more than it saves where few steps are left.
    if (stop - start) * dataset.schedule.batch_size > len(dataset.samples):
        dataset.squares.keep(max(1, workers))
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        pin_memory=pin,
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context=context if workers else None,
    )
    try:
        with main_module_hidden():
            batches = iter(loader)  # starts the processes
        yield from batches
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):
            raise
        raise CuratorError(
            f"a loader process died ({' '.join(str(error).split())[:120]}); an image may crash the decoder, which "
            "inspecting the sources would show, or memory is short",
            advice="run again to go on",
        ) from error


def _start_worker(number: int) -> None:
    # Its rank stops it. A Ctrl-C or SIGTERM to the whole group is the rank's to answer, which needs its batches until
    # the step at hand is saved; only the next SIGTERM is one to a worker that hangs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
