from __future__ import annotations

import io
import os
import threading
import time
from itertools import pairwise

import pytest

from benchmarks.fault_proxy import always, once_each
from curator.errors import CuratorError
from curator.io import ranges, retry, storage
from curator.io.ranges import RangeStream
from curator.io.retry import retried
from curator.sources.find import find_sources
from curator.sources.read import UnreadableShard, read_source

DATA = os.urandom(300_000)


@pytest.fixture
def shard(s3_bucket):
    url = f"{s3_bucket}/in/shard.tar"
    storage.write_bytes(url, DATA)
    return url


class TestRetried:
    @pytest.fixture
    def waits(self, monkeypatch):
        waits: list[float] = []
        monkeypatch.setattr(time, "sleep", waits.append)
        return waits

    def test_ends_after_some_attempts_with_growing_pauses(self, waits):
        calls = []

        def fail():
            calls.append(1)
            raise ConnectionResetError("again")

        with pytest.raises(OSError, match="again"):
            retried(fail)
        assert len(calls) == retry.ATTEMPTS
        assert all(1.1 * before < after for before, after in pairwise(waits))
        assert sum(waits) < 12

    def test_what_is_not_transient_is_tried_once(self, waits):
        calls = []

        def fail():
            calls.append(1)
            raise PermissionError

        with pytest.raises(PermissionError):
            retried(fail)
        assert len(calls) == 1
        assert not waits

    def test_a_call_that_gets_further_each_time_goes_on(self, waits):
        reached = []

        def creep():
            reached.append(1)
            if len(reached) < 4 * retry.ATTEMPTS:
                raise TimeoutError
            return "there"

        assert retried(creep, lambda: len(reached)) == "there"


class TestFaults:
    """Each request through a proxy that really fails."""

    @pytest.mark.parametrize("kind", ["503", "500", "drop", "cut"])
    def test_everything_survives(self, kind, faulty_s3, s3_bucket):
        faulty_s3.fault = once_each(kind)
        url = f"{s3_bucket}/run/file"
        storage.write_bytes(url, DATA)
        assert storage.exists(url)
        assert storage.stat(url).size == len(DATA)
        assert storage.read_bytes(url) == DATA
        assert storage.read_range(url, 1000, 200_000) == DATA[1000:200_000]
        assert storage.list_names(f"{s3_bucket}/run") == ["file"]
        assert [name for name, _ in storage.list_tree(f"{s3_bucket}/run")] == ["file"]
        assert sorted(storage.stat_many([url, f"{url}2", f"{url}3"])) == [url]
        with storage.open_stream(url) as stream:
            assert stream.read() == DATA
        storage.remove(f"{s3_bucket}/run")
        assert not storage.exists(url)
        assert faulty_s3.faults.total() >= 5

    def test_a_broken_read_goes_on_at_its_byte(self, faulty_s3, shard):
        faulty_s3.fault = always("cut", "GET")
        count = len(faulty_s3.requests)
        # Every answer is cut in half: only going on can end, with what is left halved each time.
        assert storage.read_range(shard, 1000, 200_000) == DATA[1000:200_000]
        spans = [span for method, _, span in faulty_s3.requests[count:] if method == "GET"]
        starts = [int(span.removeprefix("bytes=").partition("-")[0]) for span in spans]
        assert starts[:3] == [1000, 1000 + 199_000 // 2, 1000 + 199_000 // 2 + 99_500 // 2]
        assert all(span.endswith("-199999") for span in spans)

    def test_denied_and_missing_are_asked_once(self, faulty_s3, shard):
        faulty_s3.fault = always("403", "GET")
        count = len(faulty_s3.requests)
        with pytest.raises(PermissionError):
            storage.read_range(shard, 0, 10)
        assert len(faulty_s3.requests) == count + 1
        faulty_s3.fault = lambda *request: ""
        with pytest.raises(FileNotFoundError):
            storage.read_range(shard + "2", 0, 10)
        assert len(faulty_s3.requests) == count + 2

    def test_a_store_that_stays_away_is_given_up(self, faulty_s3, shard):
        (source,) = find_sources([shard], "pool", folders=False)
        count = len(faulty_s3.requests)
        faulty_s3.fault = always("503", "GET")
        with pytest.raises(UnreadableShard, match=r"shard\.tar"):
            list(read_source(source))
        asked = [method for method, _, _ in faulty_s3.requests[count:] if method == "GET"]
        assert len(asked) == retry.ATTEMPTS


class TestChanged:
    def test_a_range_of_another_state(self, shard):
        before = storage.stat(shard)
        assert storage.read_range(shard, 5, 9, before) == DATA[5:9]
        storage.write_bytes(shard, DATA[::-1])
        with pytest.raises(storage.ChangedError):
            storage.read_range(shard, 5, 9, before)

    def test_a_stream_that_is_replaced_while_it_is_read(self, shard, monkeypatch):
        monkeypatch.setattr(ranges, "BLOCK", 50_000)
        stream = storage.open_stream(shard, storage.stat(shard))
        assert stream.read(10) == DATA[:10]
        storage.write_bytes(shard, DATA[::-1])
        with pytest.raises(storage.ChangedError):
            stream.read()
        stream.close()

    @pytest.mark.parametrize("where", ["local", "s3"])
    def test_a_source_that_is_not_what_was_listed(self, where, tmp_path, request):
        url = str(tmp_path / "shard.tar") if where == "local" else request.getfixturevalue("s3_bucket") + "/shard.tar"
        storage.write_bytes(url, DATA[:10_240])
        (source,) = find_sources([url], "pool", folders=False)
        assert list(read_source(source))
        storage.write_bytes(url, bytes(20_480))
        with pytest.raises(CuratorError, match=r"shard\.tar changed") as caught:
            list(read_source(source))
        assert not isinstance(caught.value, UnreadableShard)


class TestRangeStream:
    @pytest.fixture
    def asked(self, monkeypatch):
        monkeypatch.setattr(ranges, "BLOCK", 1000)
        return []

    def stream(self, asked, data=DATA):
        lock = threading.Lock()

        def read(start, end):
            with lock:
                asked.append(start)
            return data[start:end]

        return io.BufferedReader(RangeStream(read, len(data)), 100)

    def test_is_the_file(self, asked):
        with self.stream(asked) as stream:
            assert stream.read(1234) == DATA[:1234]
            assert stream.tell() == 1234
            stream.seek(-10, io.SEEK_END)
            assert stream.read() == DATA[-10:]
            stream.seek(99_990)
            assert stream.read(20) == DATA[99_990:100_010]
            assert stream.read(0) == b""

    @pytest.mark.parametrize("size", [1, 999, 1000, 4096, 10_000, 10_001, 160_000, 1_000_001])
    def test_small_blocks_at_both_ends(self, size, monkeypatch):
        monkeypatch.setattr(ranges, "BLOCK", 10_000)
        monkeypatch.setattr(ranges, "HEAD", 1000)
        data = os.urandom(size)
        asked = []
        with self.stream(asked, data) as stream:
            assert stream.read() == data
            stream.seek(max(0, size - 5000))
            assert stream.read() == data[-5000:]
        with self.stream(asked, data) as stream:
            asked.clear()
            stream.read(10)
            stream.seek(-1, io.SEEK_END)
            stream.read()
            assert sorted(set(asked)) == sorted({0, max(0, size - 1000)})

    def test_each_block_is_asked_for_once(self, asked):
        with self.stream(asked) as stream:
            assert stream.read() == DATA
        assert sorted(asked) == list(range(0, 300_000, 1000))

    def test_a_look_at_the_head_or_the_end_reads_one_block(self, asked):
        with self.stream(asked) as stream:
            stream.read(500)
            stream.seek(-8, io.SEEK_END)
            stream.read()
        assert asked == [0, 299_000]

    def test_blocks_ahead_are_bounded(self, asked):
        with self.stream(asked) as stream:
            stream.read(1500)
            time.sleep(0.05)
            assert sorted(asked) == [0, 1000, 2000, 3000, 4000]

    def test_an_empty_file(self, asked):
        with self.stream(asked, b"") as stream:
            assert stream.read() == b""
        assert asked == []
