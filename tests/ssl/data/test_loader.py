from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from training_for_tests import picture, write_tar

from curator.errors import CuratorError, Reason
from curator.io import storage
from curator_ssl.data.loader import Batch, StepDataset, load_steps
from curator_ssl.data.sample_finder import find_samples
from curator_ssl.data.sample_reader import SampleReader
from curator_ssl.data.samples import Samples
from curator_ssl.data.schedule import Schedule


@pytest.fixture(scope="module")
def samples(shards: list[str], tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return find_samples(shards, [], str(tmp_path_factory.mktemp("index"))).samples


def batches(samples: Samples, steps: range, workers: int = 0, rank: int = 0, ranks: int = 1) -> list[Batch]:
    dataset = StepDataset(samples, Schedule(len(samples), 0, 8, seed=3), 32, rank, ranks)
    return list(load_steps(dataset, steps.start, steps.stop, workers))


def by_sample(samples: Samples, step: int, ranks: int, found: list[Batch]) -> dict[int, torch.Tensor]:
    schedule = Schedule(len(samples), 0, 8, seed=3)
    return {
        int(number): batch.views[:, row]
        for rank, batch in enumerate(found)
        for row, number in enumerate(schedule.batch(step, rank, ranks)[0])
    }


def test_worker_processes_change_nothing(samples: Samples) -> None:
    alone, helped = batches(samples, range(6)), batches(samples, range(6), workers=2)
    assert [batch.step for batch in helped] == list(range(6))
    for ours, theirs in zip(alone, helped, strict=True):
        assert ours.views.equal(theirs.views)


def test_views_do_not_depend_on_ranks(samples: Samples) -> None:
    one = by_sample(samples, 5, 1, batches(samples, range(5, 6)))
    two = by_sample(samples, 5, 2, [batches(samples, range(5, 6), rank=rank, ranks=2)[0] for rank in range(2)])
    assert one.keys() == two.keys()
    assert all(one[number].equal(two[number]) for number in one)


def test_views_of_a_sample_differ_between_epochs(samples: Samples) -> None:
    steps = [by_sample(samples, step, 1, batches(samples, range(step, step + 1))) for step in range(8)]
    seen = [views for step in steps for number, views in step.items() if number == 0]
    assert len(seen) == 2 and not seen[0].equal(seen[1])


def test_bad_samples_are_lines_and_do_not_count(tmp_path: Path) -> None:
    images = {f"{index:02d}.png": picture(index) for index in range(8)}
    images["03.png"] = b"\x89PNG\r\n\x1a\n and nothing more"
    images["05.png"] = b""
    write_tar(tmp_path / "a.tar", images)
    samples = find_samples([str(tmp_path / "a.tar")], [], str(tmp_path / "out")).samples

    (batch,) = batches(samples, range(1))

    assert {(line.key, line.reason) for line in batch.lines} == {
        ("03", Reason.DECODE_ERROR),
        ("05", Reason.EMPTY_IMAGE),
    }
    numbers = Schedule(8, 0, 8, seed=3).batch(0)[0]
    bad = batch.images < 0
    assert sorted(numbers[bad.numpy()]) == [3, 5]
    assert batch.images[~bad].tolist() == numbers[~bad.numpy()].tolist()
    # Their places hold real images, for the batch norms.
    assert np.isin([0], batch.views[:, bad].float().std(dim=(0, 2, 3, 4)).numpy(), invert=True).all()


def test_images_that_a_step_holds_twice_have_one_number(samples: Samples) -> None:
    schedule = Schedule(len(samples), 3, 8, seed=3, target_share=0.75)
    images = StepDataset(samples, schedule, 32)[0].images
    assert sorted(images[:6].tolist()) == [0, 0, 1, 1, 2, 2] and len(set(images[6:].tolist())) == 2


def test_a_photo_that_is_gone_is_one_bad_sample(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(8):
        (photos / f"{index}.png").write_bytes(picture(index))
    samples = find_samples([str(photos)], [], str(tmp_path / "out")).samples
    (photos / "3.png").unlink()

    (batch,) = batches(samples, range(1))

    (line,) = batch.lines
    assert (line.key, line.reason) == ("3.png", Reason.TRUNCATED) and "No such file" in line.detail
    assert (batch.images < 0).sum() == 1


@pytest.mark.parametrize("opened", [False, True])
def test_a_shard_that_was_replaced_is_not_read(opened: bool, tmp_path: Path) -> None:
    shard = tmp_path / "a.tar"
    write_tar(shard, {f"{index:02d}.png": picture(index) for index in range(8)})
    samples = find_samples([str(shard)], [], str(tmp_path / "out")).samples
    reader = SampleReader(samples)
    if opened:
        reader.read(np.arange(2))
    write_tar(shard, {f"{index:02d}.png": picture(index + 50) for index in range(8)})

    with pytest.raises(CuratorError, match=r"a.tar changed since its samples were found"):
        reader.read(np.arange(2))


def test_an_object_that_was_replaced_is_not_read(s3_bucket: str, tmp_path: Path) -> None:
    for first in (0, 50):
        write_tar(tmp_path / "a.tar", {f"{index:02d}.png": picture(index + first) for index in range(8)})
        storage.write_bytes(f"{s3_bucket}/a.tar", (tmp_path / "a.tar").read_bytes())
        if first == 0:
            samples = find_samples([f"{s3_bucket}/a.tar"], [], str(tmp_path / "out")).samples

    with pytest.raises(CuratorError, match=r"a.tar changed since its samples were found"):
        SampleReader(samples).read(np.arange(2))


def test_a_shard_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    shard = tmp_path / "a.tar"
    write_tar(shard, {f"{index:02d}.png": picture(index) for index in range(8)})
    samples = find_samples([str(shard)], [], str(tmp_path / "out")).samples
    shard.unlink()

    with pytest.raises(CuratorError, match=r"a.tar cannot be read: No such file"):
        batches(samples, range(1))


def test_a_dead_worker_is_one_clear_line(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StepDataset, "__getitem__", lambda self, step: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(CuratorError, match="a loader process died"):
        batches(samples, range(2), workers=1)
