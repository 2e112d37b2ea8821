from __future__ import annotations

import hashlib
from pathlib import Path

from jobs_for_tests import picture

from curator_pipelines.jobs.pictures.thumbnails import NO_TIME, Original, read_thumbnails


def original(folder: Path, number: int, sha256: str | None = None) -> Original:
    data = picture(number)
    (folder / f"{number}.png").write_bytes(data)
    return Original("folder", str(folder), f"{number}.png", None, None, sha256 or hashlib.sha256(data).hexdigest())


def test_what_there_is_no_time_for_is_told(tmp_path: Path) -> None:
    found = read_thumbnails([original(tmp_path, number) for number in range(20)], seconds=-1.0)
    assert found.failures == [(NO_TIME, 20)] and not any(found.images)


def test_an_image_that_is_no_image_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"nothing")
    found = read_thumbnails([Original("folder", str(tmp_path), "x.png", None, None, None), original(tmp_path, 1)])
    assert found.images[0] is None and found.missing[0]
    assert found.images[1] is not None and found.images[1].url.startswith("data:image/jpeg")


def test_another_image_is_not_shown(tmp_path: Path) -> None:
    found = read_thumbnails([original(tmp_path, 1, sha256="0" * 64)])
    assert found.missing == ["its source changed since it was embedded"]
