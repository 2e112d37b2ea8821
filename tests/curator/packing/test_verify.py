from __future__ import annotations

import io
import json
import os
import tarfile

import pytest

from curator.io import parquet, schemas, storage
from curator.packing import finish as finish_module, ranges
from curator.packing.finish import begin_packing, finish_packing, write_manifest_only
from curator.packing.plan import plan_shards
from curator.packing.verify import verify_shards
from curator.packing.write import pack_shard


def pack(pool, ids=None, size=8):
    plan = plan_shards(pool.store, pool.chosen(ids), size, 0)
    begin_packing(pool.out, plan)
    for unit in plan:
        pack_shard(pool.store, unit, pool.out)
    finish_packing(pool.out, plan)
    return plan


def verify(pool, ids=None, **more):
    return verify_shards(pool.out, pool.store, pool.ids if ids is None else ids, **more)


def shards(pool, *names):
    return storage.join(pool.out, "shards", *names)


def rows_of(pool):
    return parquet.read_table(shards(pool, "manifest.parquet"), schemas.MANIFEST).to_pylist()


def rewrite(pool, rows):
    parquet.write_table(shards(pool, "manifest.parquet"), schemas.MANIFEST, rows)


def edit_tar(pool, name, change):
    """Take a packed tar apart, change its list of (name, data), and put it together again."""
    with tarfile.open(fileobj=io.BytesIO(storage.read_bytes(shards(pool, name)))) as tar:
        entries = [(info.name, tar.extractfile(info).read()) for info in tar]
    change(entries)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member, data in entries:
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    storage.write_bytes(shards(pool, name), buffer.getvalue())


def flip(url, position):
    data = bytearray(storage.read_bytes(url))
    data[position] ^= 1
    storage.write_bytes(url, bytes(data))


def places_in(pool, name):
    """Member name -> offset of its data in a packed tar."""
    with tarfile.open(fileobj=io.BytesIO(storage.read_bytes(shards(pool, name)))) as tar:
        return {info.name: info.offset_data for info in tar}


@pytest.fixture
def packed(pool):
    pack(pool)
    return pool


def test_nothing_differs_after_packing(make_pool, make_tar, make_entries, anywhere):
    pool = make_pool(anywhere, [make_tar(make_entries(10, 2000, seed)) for seed in range(2)])
    told = []
    pack(pool)
    assert verify(pool, report=lambda name, count: told.append((name, count))) == []
    assert told == [(f"curated-{number:06d}.tar", 0) for number in range(3)]


def test_nothing_differs_when_members_are_larger_than_a_read(packed, monkeypatch):
    monkeypatch.setattr(ranges, "MAX_READ", 1024)
    assert verify(packed) == []


@pytest.mark.parametrize("ext", ["jpg", "txt", "cls"])
def test_a_flipped_byte_in_a_tar(packed, ext):
    row = rows_of(packed)[9]
    name = f"{row['out_key']}.{ext}"
    flip(shards(packed, "curated-000001.tar"), places_in(packed, "curated-000001.tar")[name])
    assert verify(packed) == [f"curated-000001.tar: {name} differs from its source, {row['key']} of {row['shard']}"]


def test_a_flipped_byte_in_a_header(packed):
    name, offset = list(places_in(packed, "curated-000002.tar").items())[6]
    flip(shards(packed, "curated-000002.tar"), offset - 512)
    lines = verify(packed)
    assert any("bad_header" in line for line in lines)
    assert any(f"{name} of the manifest is missing" in line for line in lines)
    assert all(line.startswith("curated-000002.tar: ") for line in lines)


def test_a_truncated_tar(packed):
    os.truncate(shards(packed, "curated-000000.tar"), 9000)
    assert any("truncated" in line for line in verify(packed))


def test_a_removed_tar(packed):
    storage.remove(shards(packed, "curated-000003.tar"))
    assert verify(packed) == ["curated-000003.tar of the manifest is missing"]


def test_an_extra_tar(packed):
    storage.write_bytes(shards(packed, "curated-000099.tar"), b"")
    assert verify(packed) == ["curated-000099.tar is not in the manifest"]


def test_an_extra_member(packed):
    edit_tar(packed, "curated-000000.tar", lambda entries: entries.append(("stranger.jpg", b"x")))
    assert verify(packed) == ["curated-000000.tar: holds stranger.jpg, which the manifest does not"]


def test_a_missing_member(packed):
    gone = []
    edit_tar(packed, "curated-000000.tar", lambda entries: gone.append(entries.pop(5)))
    assert verify(packed) == [f"curated-000000.tar: {gone[0][0]} of the manifest is missing"]


def test_a_member_of_another_length(packed):
    row = rows_of(packed)[0]

    def lengthen(entries):
        names = [name for name, _ in entries]
        copy = names.index(f"{row['out_key']}.txt")
        entries[copy] = (entries[copy][0], entries[copy][1] + b"!")

    edit_tar(packed, "curated-000000.tar", lengthen)
    (line,) = verify(packed)
    assert line.startswith(f"curated-000000.tar: {row['out_key']}.txt has")


def test_another_order(packed):
    edit_tar(packed, "curated-000000.tar", lambda entries: entries.sort(reverse=True, key=lambda e: e[0][:15]))
    (line,) = verify(packed)
    assert line.endswith("another order")


def test_a_changed_image_in_a_source(packed):
    sample = packed.samples[int(packed.ids[25])]
    flip(sample.shard, sample.image.offset)
    lines = verify(packed)
    assert any(line.startswith(f"{sample.shard}: {sample.key}: its image has another sha256") for line in lines)
    assert any(f"differs from its source, {sample.key} of {sample.shard}" in line for line in lines)
    assert len(lines) == 2


def test_a_changed_caption_in_a_source(packed):
    sample = packed.samples[int(packed.ids[25])]
    flip(sample.shard, sample.members[1].offset)
    (line,) = verify(packed)
    assert ".txt differs from its source" in line


def test_a_removed_source(packed):
    storage.remove(packed.shards[1])
    lines = verify(packed)
    assert {line.partition(" cannot")[0] for line in lines} == {packed.shards[1]}


def test_edited_sizes(packed):
    sizes = json.loads(storage.read_bytes(shards(packed, "sizes.json")))
    sizes["curated-000001.tar"] = 7
    del sizes["curated-000002.tar"]
    storage.write_bytes(shards(packed, "sizes.json"), json.dumps(sizes).encode())
    assert verify(packed) == [
        "sizes.json says 7 of curated-000001.tar, the manifest 8",
        "sizes.json says nothing of curated-000002.tar, the manifest 8",
    ]


@pytest.mark.parametrize(("data", "word"), [(None, "missing"), (b"{", "cannot be read"), (b"[1]", "cannot be read")])
def test_missing_or_damaged_sizes(packed, data, word):
    if data is None:
        storage.remove(shards(packed, "sizes.json"))
    else:
        storage.write_bytes(shards(packed, "sizes.json"), data)
    (line,) = verify(packed)
    assert line.startswith("sizes.json")
    assert word in line


def test_no_manifest(packed):
    storage.remove(shards(packed, "manifest.parquet"))
    (line,) = verify(packed)
    assert "manifest.parquet is missing" in line


def test_a_missing_row_of_the_manifest(packed):
    rows = rows_of(packed)
    gone = rows.pop(3)
    rewrite(packed, rows)
    lines = verify(packed)
    assert sum(f"holds {gone['out_key']}." in line for line in lines) == 3
    assert "sizes.json says 8 of curated-000000.tar, the manifest 7" in lines
    assert f"1 ids are selected and not in the manifest, the first {gone['id']}" in lines
    assert len(lines) == 5


def test_a_row_twice(packed):
    rows = rows_of(packed)
    rewrite(packed, [*rows[:2], *rows[1:]])
    assert f"1 ids are in the manifest more than once, the first {rows[1]['id']}" in verify(packed)


def test_another_selection(packed):
    assert verify(packed, packed.ids[1:]) == [f"1 ids are in the manifest and not selected, the first {packed.ids[0]}"]


@pytest.mark.parametrize(("column", "value"), [("key", "other"), ("sha256", "0" * 64), ("offset", 512), ("width", 1)])
def test_an_edited_manifest_is_held_against_the_pool(packed, column, value):
    rows = rows_of(packed)
    rows[12][column] = value
    rewrite(packed, rows)
    lines = verify(packed)
    assert any(line.startswith(f"manifest.parquet: id {rows[12]['id']} has {column} {value}") for line in lines)


def test_many_differences_are_counted_not_listed(packed):
    os.truncate(shards(packed, "curated-000000.tar"), 0)
    lines = verify(packed)
    assert len(lines) == 21
    assert lines[-1] == "curated-000000.tar: 5 more differences"


def test_sources_are_read_where_urls_says(packed, tmp_path):
    moved = tmp_path / "moved.tar"
    os.rename(packed.shards[0], moved)
    assert verify(packed) != []
    assert verify(packed, urls={packed.shards[0]: str(moved)}) == []


def test_a_manifest_alone(pool):
    ids = pool.ids[::3]
    write_manifest_only(pool.store, pool.chosen(ids), pool.out)
    assert verify(pool, ids) == []
    sample = pool.samples[int(ids[2])]
    flip(sample.shard, sample.image.offset + 1)
    assert verify(pool, ids) == [
        f"{sample.shard}: {sample.key}: its image has another sha256 than when it was embedded"
    ]
    storage.write_bytes(shards(pool, "curated-000000.tar"), b"")
    assert "curated-000000.tar is not in the manifest" in verify(pool, ids)


def test_a_manifest_alone_tells_another_caption(pool):
    write_manifest_only(pool.store, pool.chosen(), pool.out)
    sample = pool.samples[int(pool.ids[2])]
    caption = next(member for member in sample.members if member.ext == "txt")
    flip(sample.shard, caption.offset)
    assert verify(pool) == [f"{sample.shard}: {sample.key}: its members have another sha256 than when it was embedded"]


def test_a_manifest_alone_is_checked_block_by_block(pool, monkeypatch):
    monkeypatch.setattr(finish_module, "BLOCK_ROWS", 25)
    write_manifest_only(pool.store, pool.chosen(), pool.out)
    told = []
    assert verify(pool, report=lambda name, count: told.append(name)) == []
    assert told == ["manifest.parquet"] * 3


def test_a_manifest_of_ready_embeddings_has_nothing_to_compare(pool):
    url = pool.store.metadata_url(0)
    rows = parquet.read_table(url, schemas.METADATA).to_pylist()
    for row in rows:
        row |= {"shard": None, "offset": None, "size": None, "sha256": None, "sample_sha256": None, "members": None}
    parquet.write_table(url, schemas.METADATA, rows)
    write_manifest_only(pool.store, pool.chosen(pool.ids[:5]), pool.out)
    assert verify(pool, pool.ids[:5]) == []
