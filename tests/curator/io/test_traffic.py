"""What a process reads, writes and asks of stores is counted where it is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from curator.io import storage, traffic
from curator.io.traffic import Traffic


def counted(work: Callable[[], object]) -> Traffic:
    before = traffic()
    work()
    return Traffic(*(now - then for now, then in zip(traffic(), before, strict=True)))


def test_local_files(tmp_path: Path) -> None:
    url = str(tmp_path / "a")
    assert counted(lambda: storage.write_bytes(url, b"x" * 1000)) == Traffic(written=1000)
    assert counted(lambda: storage.read_bytes(url)) == Traffic(read=1000)
    assert counted(lambda: storage.read_range(url, 10, 30)) == Traffic(read=20)


@pytest.mark.parametrize("size", [-1, 64, 1 << 21])
def test_a_local_stream_counts_what_it_reads_and_gives_the_same_bytes(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(data)

    def read() -> None:
        with storage.open_stream(str(tmp_path / "a")) as stream:
            assert b"".join(iter(lambda: stream.read(size), b"")) == data

    assert counted(read) == Traffic(read=len(data))


def test_a_stream_that_skips_reads_little(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(32 << 20))

    def skip() -> None:
        with storage.open_stream(str(tmp_path / "a")) as stream:
            stream.seek(30 << 20)
            stream.read(10)

    assert counted(skip).read <= 1 << 20


def test_objects_and_requests() -> None:
    url = "memory://traffic/a"
    written = counted(lambda: storage.write_bytes(url, b"x" * 1000))
    assert written.written == 1000 and written.requests >= 1
    read = counted(lambda: storage.read_bytes(url))
    assert read.read == 1000 and read.requests >= 1


def test_every_attempt_is_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator.io.retry.FIRST_WAIT", 0.0)
    storage.write_bytes("memory://traffic/b", b"x")
    failures = [ConnectionError("lost"), ConnectionError("lost")]
    filesystem = type(fsspec.filesystem("memory"))
    cat_file = filesystem.cat_file

    def fails_twice(self: object, *arguments: object, **settings: object) -> bytes:
        if failures:
            raise failures.pop()
        data: bytes = cat_file(self, *arguments, **settings)
        return data

    once = counted(lambda: storage.read_range("memory://traffic/b", 0, 1)).requests
    monkeypatch.setattr(filesystem, "cat_file", fails_twice)
    assert counted(lambda: storage.read_range("memory://traffic/b", 0, 1)).requests == once + 2
