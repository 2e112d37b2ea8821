from __future__ import annotations

import gc
import hashlib
import io
import os
import tarfile
import tracemalloc
import warnings

import pytest
import webdataset as wds

from curator.errors import CuratorError
from curator.io import parquet, schemas, storage
from curator.packing import ranges, write
from curator.packing.names import extensions
from curator.packing.plan import plan_shards
from curator.packing.write import pack_shard
from curator.types import split_id


def pack(pool, ids=None, size=1000, seed=0):
    plan = plan_shards(pool.store, pool.chosen(ids), size, seed)
    return plan, [pack_shard(pool.store, unit, pool.out) for unit in plan]


def manifest(pool, unit):
    return parquet.read_table(unit.mark_url(pool.out), schemas.MANIFEST).to_pylist()


def check_against_sources(pool, unit, found):
    """`found`: out key -> extension -> bytes, as some reader gave them."""
    rows = manifest(pool, unit)
    assert list(found) == [row["out_key"] for row in rows]
    for row in rows:
        sample = pool.samples[row["id"]]
        exts = extensions([member.ext for member in sample.members])
        wanted = dict(zip(exts, (member.data for member in sample.members), strict=True))
        assert found[row["out_key"]] == wanted
        assert (row["shard"], row["key"]) == (sample.shard, sample.key)


def by_tarfile(data):
    found = {}
    with warnings.catch_warnings(), tarfile.open(fileobj=io.BytesIO(data)) as tar:
        warnings.simplefilter("error")
        for info in tar:
            assert info.isreg()
            assert (info.mode, info.uid, info.gid, info.mtime, info.uname) == (0o644, 0, 0, 0, "")
            base, _, ext = info.name.partition(".")
            found.setdefault(base, {})[ext] = tar.extractfile(info).read()
    return found


def test_every_member_is_its_sources_bytes(make_pool, make_tar, make_entries, anywhere):
    kinds = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    pool = make_pool(anywhere, [make_tar(make_entries(12, 3000, seed), kind) for seed, kind in enumerate(kinds)])
    plan, packed = pack(pool, pool.ids[::2], size=8)
    for unit, told in zip(plan, packed, strict=True):
        data = storage.read_bytes(unit.url(pool.out))
        check_against_sources(pool, unit, by_tarfile(data))
        assert told.samples == len(unit.ids)
        assert told.size == len(data)


def test_images_that_are_hard_links_to_one_another(make_pool, tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "MAX_READ", 1024)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        first = tarfile.TarInfo("a.jpg")
        first.size = 5000
        tar.addfile(first, io.BytesIO(bytes(range(250)) * 20))
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "a.jpg"
        tar.addfile(link)
    pool = make_pool(str(tmp_path), [buffer.getvalue()])

    plan, _ = pack(pool)

    packed = by_tarfile(storage.read_bytes(plan[0].url(pool.out)))
    assert [members["jpg"] for members in packed.values()] == [bytes(range(250)) * 20] * 2


def test_an_empty_member_may_state_no_size(make_pool, make_tar, make_entries, tmp_path):
    data = bytearray(make_tar([("a.jpg", b"image"), ("a.txt", b""), *make_entries(2, 100, 1)]))
    at = data.index(b"a.txt")
    data[at + 124 : at + 136] = b" " * 12
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    pool = make_pool(str(tmp_path), [bytes(data)])

    plan, _ = pack(pool)

    packed = by_tarfile(storage.read_bytes(plan[0].url(pool.out)))
    assert {"jpg": b"image", "txt": b""} in packed.values()


def by_webdataset(url):
    return {
        sample["__key__"]: {ext: data for ext, data in sample.items() if not ext.startswith("__")}
        for sample in wds.WebDataset(url, shardshuffle=False)
    }


# webdataset leaves the closing of its files to the garbage collector.
leaves_files_open = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@leaves_files_open
def test_webdataset_reads_the_tars(pool):
    (unit,), _ = pack(pool)
    check_against_sources(pool, unit, by_webdataset(unit.url(pool.out)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ray_data_reads_the_tars(pool):
    pytest.importorskip("pandas", reason="ray.data imports it")
    ray = pytest.importorskip("ray")
    plan, _ = pack(pool, size=25)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        for unit in plan:
            rows = ray.data.read_webdataset(unit.url(pool.out), decoder=None).take_all()
            found = {row["__key__"]: {e: bytes(row[e]) for e in ("jpg", "txt", "cls")} for row in rows}
            by_key = {row["out_key"]: found[row["out_key"]] for row in manifest(pool, unit)}
            assert len(rows) == len(unit.ids)
            check_against_sources(pool, unit, by_key)
    finally:
        ray.shutdown()


STRANGE = ["a.b/c", "a b/x y", "日本/写真", "k" * 300, "../up", "UPPER/lower", "tab\tkey", "é" * 90]


def test_strange_keys_survive_in_the_manifest(make_pool, make_tar, tmp_path):
    entries = [entry for key in STRANGE for entry in ((f"{key}.jpg", key.encode()), (f"{key}.é.json", b"{}"))]
    pool = make_pool(str(tmp_path), [make_tar(entries, tarfile.PAX_FORMAT)])
    (unit,), _ = pack(pool)
    rows = manifest(pool, unit)
    assert sorted(row["key"] for row in rows) == sorted(STRANGE)
    found = by_tarfile(storage.read_bytes(unit.url(pool.out)))
    for row in rows:
        assert found[row["out_key"]] == {"jpg": row["key"].encode(), "é.json": b"{}"}
        assert row["out_key"].isascii()


@leaves_files_open
def test_webdataset_reads_twins_and_reserved_names_too(make_pool, make_tar, tmp_path):
    entries = [("x.jpg", b"1"), ("x.JPG", b"2"), ("x.jpg", b"3"), ("x.__bad__", b"4"), ("x.jpeg", b"5")]
    pool = make_pool(str(tmp_path), [make_tar(entries)])
    (unit,), _ = pack(pool)
    (found,) = by_webdataset(unit.url(pool.out)).values()
    assert found == {"jpg": b"1", "2.jpg": b"2", "3.jpg": b"3", "2.__bad__": b"4", "jpeg": b"5"}


def test_the_manifest_says_where_all_came_from_in_tar_order(pool):
    (unit,), _ = pack(pool, pool.ids[::2])
    rows = manifest(pool, unit)
    assert [row["id"] for row in rows] == unit.ids[unit.order()].tolist()
    columns = {
        int(i): (s, int(c), int(r))
        for i, s, c, r in zip(unit.ids, unit.chosen.score, unit.chosen.centroid, unit.chosen.round, strict=True)
    }
    for row in rows:
        image = pool.samples[row["id"]].image
        assert row["out_shard"] == "curated-000000.tar"
        assert row["out_key"].startswith(f"{split_id(row['id'])[0]:08d}_")
        assert (row["offset"], row["size"]) == (image.offset, image.size)
        assert row["sha256"] == hashlib.sha256(image.data).hexdigest()
        assert (row["width"], row["height"]) == (10, 20)
        assert (row["score"], row["centroid"], row["round"]) == columns[row["id"]]
        assert [member["ext"] for member in row["members"]] == ["jpg", "txt", "cls"]


def test_more_members_than_one_call_writes(make_pool, make_tar, tmp_path, monkeypatch):
    entries = [("a.jpg", b"image"), *((f"a.{number:03d}.txt", b"%d" % number) for number in range(900))]
    pool = make_pool(str(tmp_path), [make_tar(entries)])
    whole, pieces_of = os.pwritev, []

    def counted(file, pieces, position):
        pieces_of.append(len(pieces))
        return whole(file, pieces, position)

    monkeypatch.setattr(os, "pwritev", counted)
    (unit,), _ = pack(pool)
    assert 100 < max(pieces_of) < os.sysconf("SC_IOV_MAX")
    check_against_sources(pool, unit, by_tarfile(storage.read_bytes(unit.url(pool.out))))


def test_what_comes_to_stand_side_by_side_is_written_by_one_call(make_pool, make_tar, tmp_path, monkeypatch):
    pool = make_pool(str(tmp_path), [make_tar([("a.jpg", b"image"), ("a.txt", b"text"), ("a.cls", b"7")])])
    whole, positions = os.pwritev, []

    def counted(file, pieces, position):
        positions.append(position)
        return whole(file, pieces, position)

    monkeypatch.setattr(os, "pwritev", counted)
    pack(pool)
    assert positions == [0]


def test_garbage_is_collected_again_after_the_layout(make_pool, make_tar, make_entries, tmp_path, monkeypatch):
    pool = make_pool(str(tmp_path), [make_tar(make_entries(3, 300))])
    collects = []
    monkeypatch.setattr(write, "lay_out", lambda *given: collects.append(gc.isenabled()) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack(pool)
    assert collects == [False]
    assert gc.isenabled()


def test_a_system_that_writes_a_little_at_a_time(make_pool, make_tar, make_entries, tmp_path, monkeypatch):
    pool = make_pool(str(tmp_path), [make_tar(make_entries(9, 3000))])
    whole, at_once = os.pwrite, []

    def little(file, data, position):
        at_once.append(len(data))
        return whole(file, bytes(data)[:1000], position)

    monkeypatch.setattr(os, "pwrite", little)
    monkeypatch.setattr(os, "pwritev", lambda file, pieces, position: little(file, b"".join(pieces), position))
    (unit,), _ = pack(pool)
    assert max(at_once) > 1000
    check_against_sources(pool, unit, by_tarfile(storage.read_bytes(unit.url(pool.out))))


def test_the_same_plan_gives_the_same_bytes(pool, tmp_path):
    plan, _ = pack(pool, size=25)
    pool.out = str(tmp_path / "again")
    for unit in reversed(plan):
        pack_shard(pool.store, unit, pool.out)
        for url in (unit.url, unit.mark_url):
            first, second = url(str(tmp_path / "run")), url(pool.out)
            assert storage.read_bytes(first) == storage.read_bytes(second)


def test_a_changed_image_is_caught_and_nothing_is_left(make_pool, make_tar, make_entries, anywhere):
    pool = make_pool(anywhere, [make_tar(make_entries(9, 3000))])
    data = bytearray(storage.read_bytes(pool.shards[0]))
    victim = pool.samples[int(pool.ids[4])]
    data[victim.image.offset + 17] ^= 1
    told = rf"{pool.shards[0]} changed since it was embedded.*redo='pool'"
    if storage.is_local(anywhere):
        # Same size, same time: only the hash tells.
        time = os.stat(pool.shards[0]).st_mtime_ns
        told = rf"{pool.shards[0]}: {victim.key}: .*sha256.*redo='pool'"
    storage.write_bytes(pool.shards[0], bytes(data))
    if storage.is_local(anywhere):
        os.utime(pool.shards[0], ns=(time, time))
    with pytest.raises(CuratorError, match=told):
        pack(pool)
    assert storage.list_tree(storage.join(pool.out, "shards")) == []
    assert storage.list_tree(storage.join(pool.out, "packing")) == []
    if storage.is_local(anywhere):
        pack(pool, pool.ids[:4])


@pytest.mark.parametrize("victim", [0, 4, 8])
def test_a_change_in_any_of_many_reads_is_caught(make_pool, make_tar, make_entries, tmp_path, monkeypatch, victim):
    monkeypatch.setattr(ranges, "MAX_READ", 1024)
    pool = make_pool(str(tmp_path), [make_tar(make_entries(9, 3000)), make_tar(make_entries(9, 3000, 1))])
    sample = pool.samples[int(pool.ids[victim])]
    data = bytearray(storage.read_bytes(pool.shards[0]))
    data[sample.image.offset + 17] ^= 1
    time = os.stat(pool.shards[0]).st_mtime_ns
    storage.write_bytes(pool.shards[0], bytes(data))
    os.utime(pool.shards[0], ns=(time, time))
    # What is read after it cannot be read at all: the change comes first.
    os.remove(pool.shards[1])
    with pytest.raises(CuratorError, match=rf"shard-000\.tar: {sample.key}: its members have another sha256"):
        pack(pool)
    assert storage.list_tree(storage.join(pool.out, "shards")) == []


def test_a_changed_image_is_caught_where_no_hash_of_the_sample_is_known(make_pool, make_tar, tmp_path):
    pool = make_pool(str(tmp_path), [make_tar([("a.jpg", b"image"), ("b.jpg", b"other")])], hashed=False)
    pack(pool)
    time = os.stat(pool.shards[0]).st_mtime_ns
    storage.write_bytes(pool.shards[0], make_tar([("a.jpg", b"image"), ("b.jpg", b"0ther")]))
    os.utime(pool.shards[0], ns=(time, time))
    with pytest.raises(CuratorError, match=r"shard-000\.tar: b: its image has another sha256; the source changed"):
        pack(pool)


@pytest.mark.parametrize("ending", ["txt", "cls"])
def test_a_changed_caption_of_the_same_size_and_time_is_caught(make_pool, make_tar, make_entries, tmp_path, ending):
    entries = make_entries(9, 3000)
    pool = make_pool(str(tmp_path), [make_tar(entries)])
    changed = [(name, b"9" * len(data) if name == f"000004.{ending}" else data) for name, data in entries]
    time = os.stat(pool.shards[0]).st_mtime_ns
    storage.write_bytes(pool.shards[0], make_tar(changed))
    os.utime(pool.shards[0], ns=(time, time))
    with pytest.raises(CuratorError, match=r"shard-000\.tar: 000004: its members have another sha256; the source"):
        pack(pool)
    assert storage.list_tree(storage.join(pool.out, "shards")) == []


def test_an_exception_half_way_leaves_nothing(make_pool, make_tar, make_entries, anywhere, monkeypatch, request):
    pool = make_pool(anywhere, [make_tar(make_entries(9, 3000, seed)) for seed in range(2)])
    whole = ranges.fetch_reads

    def breaking(*arguments):
        iterator = whole(*arguments)
        yield next(iterator)
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "fetch_reads", breaking)
    with pytest.raises(KeyboardInterrupt):
        pack(pool)
    assert storage.list_tree(storage.join(pool.out, "shards")) == []
    assert storage.list_tree(storage.join(pool.out, "packing")) == []
    if not storage.is_local(anywhere):
        client = request.getfixturevalue("s3_client")
        assert "Uploads" not in client.list_multipart_uploads(Bucket=anywhere.split("/")[2])


def test_what_stood_before_stands_until_it_is_replaced(pool, monkeypatch):
    (unit,), _ = pack(pool)
    before = storage.read_bytes(unit.url(pool.out))
    os.truncate(pool.shards[2], 5000)
    with pytest.raises(CuratorError):
        pack_shard(pool.store, unit, pool.out)
    assert storage.read_bytes(unit.url(pool.out)) == before


def test_memory_holds_two_reads_whatever_the_sizes(make_pool, make_tar, tmp_path, monkeypatch):
    big = os.urandom(1 << 20) * 24
    entries = [("a.jpg", big), ("a.bin", big), ("b.jpg", big[1:]), ("b.txt", b"small")]
    pool = make_pool(str(tmp_path), [make_tar(entries)])
    plan = plan_shards(pool.store, pool.chosen(), 10, 0)
    monkeypatch.setattr(ranges, "MAX_READ", 1 << 20)
    tracemalloc.start()
    try:
        pack_shard(pool.store, plan[0], pool.out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 << 20
    check_against_sources(pool, plan[0], by_tarfile(storage.read_bytes(plan[0].url(pool.out))))


def test_bytes_read_stay_within_a_fifth_of_those_chosen(make_pool, make_tar, make_entries, tmp_path, monkeypatch):
    pool = make_pool(str(tmp_path), [make_tar(make_entries(40, 100_000, seed)) for seed in range(2)])
    asked = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, n, at: asked.append(n) or pread(file, n, at))
    _, (told,) = pack(pool, pool.ids[::5])
    chosen = sum(len(m.data) for i in pool.ids[::5].tolist() for m in pool.samples[i].members)
    assert told.bytes_chosen == chosen
    assert sum(asked) == told.bytes_read
    assert chosen <= told.bytes_read <= 1.2 * chosen
