from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, strategies as st

from curator.errors import CuratorError, InputError
from curator.io import storage
from curator.packing import ranges
from curator.packing.layout import MemberCopy, lay_out
from curator.packing.plan import plan_shards
from curator.packing.ranges import fetch_reads, plan_reads
from curator.packing.ustar import header, padded
from curator.packing.write import COLUMNS


def copies_of(pool, ids):
    (shard,) = plan_shards(pool.store, pool.chosen(ids), 10**6, 0)
    return lay_out(shard, pool.store.rows(shard.ids, COLUMNS)).copies


def cost(reads):
    return sum(read.end - read.start for read in reads)


def collect(reads, urls=None):
    """Every member's data, put together; chunks must come in order."""
    found: dict[tuple[str, int], bytes] = {}
    for read, data in fetch_reads(reads, urls or {}):
        for copy, start, chunk in read.chunks(data):
            before = found.setdefault((copy.shard, copy.source_offset), b"")
            assert len(before) == start
            found[copy.shard, copy.source_offset] = before + chunk
    return found


def test_a_densely_chosen_shard_is_streamed(pool):
    reads = plan_reads(copies_of(pool, pool.ids))
    assert len(reads) == 3
    assert all(read.start == 0 for read in reads[:2])


def test_sparse_samples_of_100_kb_cost_at_most_a_fifth_more(make_pool, make_tar, make_entries, tmp_path):
    pool = make_pool(str(tmp_path), [make_tar(make_entries(60, 100_000))])
    for ids in (pool.ids[::7], pool.ids[10:12], pool.ids[::2], pool.ids):
        copies = copies_of(pool, ids)
        chosen = sum(copy.size for copy in copies)
        assert chosen <= cost(plan_reads(copies)) <= 1.2 * chosen


def test_large_reads_are_cut_and_members_come_in_pieces(pool, monkeypatch):
    monkeypatch.setattr(ranges, "MAX_READ", 1024)
    copies = copies_of(pool, pool.ids)
    reads = plan_reads(copies)
    assert max(read.end - read.start for read in reads) == 1024
    found = collect(reads)
    assert len(found) == len(copies)
    for sample_id, sample in pool.samples.items():
        for member in sample.members:
            assert found[sample.shard, member.offset] == pool.members(sample_id)[member.ext]


@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=12),
    gaps=st.lists(st.integers(0, 12), min_size=12, max_size=12),
    order=st.randoms(use_true_random=False),
    longest=st.sampled_from([512, 1024, 4096, 8 << 20]),
)
def test_every_byte_of_every_member_comes_once_and_in_order(sizes, gaps, order, longest):
    content, copies = b"", []
    for index, (size, gap) in enumerate(zip(sizes, gaps, strict=False)):
        content += b"-" * 512 * gap + header(f"{index}.bin", size)
        data = bytes(index for _ in range(size))
        copies.append(MemberCopy("s", str(index), len(content), size, ""))
        content += data.ljust(padded(size), b"\0")
    order.shuffle(copies)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "MAX_READ", longest)
        reads = plan_reads(copies)
        found: dict[int, bytes] = {}
        for read in reads:
            assert 0 < read.end - read.start <= longest
            for copy, start, chunk in read.chunks(content[read.start : read.end]):
                assert len(found.setdefault(copy.source_offset, b"")) == start
                found[copy.source_offset] += chunk
    assert found == {
        copy.source_offset: content[copy.source_offset : copy.source_offset + copy.size] for copy in copies
    }
    assert cost(reads) <= sum(copy.size + 512 for copy in copies) + (len(copies) - 1) * ranges.MAX_GAP
    assert [(read.start, read.end) for read in reads] == sorted((read.start, read.end) for read in reads)


def test_local_and_remote_give_the_same(make_pool, make_tar, make_entries, anywhere, monkeypatch):
    monkeypatch.setattr(ranges, "MAX_READ", 4096)
    pool = make_pool(anywhere, [make_tar(make_entries(12, 3000, seed)) for seed in range(3)])
    found = collect(plan_reads(copies_of(pool, pool.ids[::2])))
    wanted = {
        (pool.samples[sample_id].shard, member.offset): member.data
        for sample_id in pool.ids[::2].tolist()
        for member in pool.samples[sample_id].members
    }
    assert found == wanted


def test_remote_reads_run_side_by_side_and_never_more_than_stated(monkeypatch):
    running, most, lock = 0, 0, threading.Lock()

    def read_range(url, start, end, state):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return b"x" * (end - start)

    monkeypatch.setattr(storage, "read_range", read_range)
    reads = [ranges.Read("s3://b/s.tar", n * 512, n * 512 + 512, ()) for n in range(40)]
    ahead = 0
    for count, _ in enumerate(fetch_reads(reads, {})):
        ahead = max(ahead, count)
    assert ahead == 39
    assert 1 < most <= ranges.REMOTE_READS


def test_a_reader_that_stops_early_leaves_no_reads_behind(monkeypatch):
    asked = []
    monkeypatch.setattr(storage, "read_range", lambda url, a, b, state: asked.append(a) or b"x" * (b - a))
    reads = [ranges.Read("s3://b/s.tar", n * 512, n * 512 + 512, ()) for n in range(100)]
    iterator = fetch_reads(reads, {})
    next(iterator)
    iterator.close()
    assert len(asked) <= ranges.REMOTE_READS + 1


def test_a_shard_is_read_where_urls_says(pool, tmp_path):
    moved = tmp_path / "elsewhere.tar"
    (tmp_path / "in" / "shard-001.tar").rename(moved)
    copies = copies_of(pool, pool.ids[20:40])
    with pytest.raises(CuratorError, match=r"shard-001\.tar cannot be read"):
        collect(plan_reads(copies))
    assert len(collect(plan_reads(copies), {pool.shards[1]: str(moved)})) == len(copies)


def test_a_shard_that_ends_early_is_named_with_the_sample(make_pool, make_tar, make_entries, anywhere):
    pool = make_pool(anywhere, [make_tar(make_entries(12, 30_000))])
    data = storage.read_bytes(pool.shards[0])
    last = pool.samples[int(pool.ids[-1])]
    for end in (last.offset + 1000, last.offset - 20_000, 0):
        storage.write_bytes(pool.shards[0], data[:end])
        with pytest.raises(CuratorError, match=r"shard-000\.tar: 0000\d\d: .*shard ends before.*redo='pool'") as caught:
            collect(plan_reads(copies_of(pool, pool.ids[2::3])))
        assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, InputError)


def test_a_caption_of_another_length_is_noticed(make_pool, make_tar, tmp_path):
    entries = [("a.jpg", b"i" * 600), ("a.txt", b"short")]
    pool = make_pool(str(tmp_path), [make_tar(entries)])
    storage.write_bytes(pool.shards[0], make_tar([entries[0], ("a.txt", b"longer")]))
    with pytest.raises(CuratorError, match=r"shard-000\.tar: a: no member of 5 bytes.*redo='pool'"):
        collect(plan_reads(copies_of(pool, pool.ids)))


def test_an_error_shows_no_signature(monkeypatch):
    url = "https://host/s.tar?X-Amz-Signature=secret"

    def refuse(at, *more):
        raise PermissionError(f"403 for {at}")

    monkeypatch.setattr(storage, "read_range", refuse)
    monkeypatch.setattr(storage, "stat", refuse)
    with pytest.raises(CuratorError, match="cannot be read: 403") as caught:
        collect([ranges.Read("https://host/s.tar", 0, 512, ())], {"https://host/s.tar": url})
    assert "secret" not in str(caught.value)


def test_a_server_that_ignores_ranges_is_found_out(web):
    web.knows_ranges = False
    web.files["/s.tar"] = bytes(32 << 20)
    url = f"{web.url}/s.tar?sig=secret"
    for start in (0, 1 << 20, (32 << 20) - 512):
        with pytest.raises(CuratorError, match=r"s\.tar: this server sends whole files") as caught:
            collect([ranges.Read("https://host/s.tar", start, start + 512, ())], {"https://host/s.tar": url})
        assert "secret" not in str(caught.value)
        # What stands in the buffers of three connections is sent, and not three files.
        assert web.sent < 32 << 20
