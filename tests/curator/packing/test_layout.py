from __future__ import annotations

import tarfile
import tempfile

from hypothesis import HealthCheck, given, settings, strategies as st

from curator.packing import ustar
from curator.packing.finish import finish_packing
from curator.packing.layout import lay_out, member_order, sample_copies
from curator.packing.plan import plan_shards
from curator.packing.verify import verify_shards
from curator.packing.write import COLUMNS, pack_shard
from curator.types import Member


def test_members_are_sorted():
    members = [Member("jpg", 0, 1), Member("cls", 0, 1), Member("json", 0, 1)]
    assert member_order(members, ["jpg", "cls", "json"], 0) == [1, 0, 2]


def test_the_embedded_image_stays_the_first_image():
    members = [Member("txt", 0, 1), Member("png", 0, 1), Member("jpg", 0, 1), Member("cls", 0, 1)]
    assert member_order(members, ["txt", "png", "jpg", "cls"], 1) == [3, 1, 2, 0]
    twins = [Member("jpg", 0, 1), Member("JPG", 0, 1)]
    assert member_order(twins, ["jpg", "2.JPG"], 0) == [0, 1]


def test_only_the_image_has_a_hash():
    row = {
        "shard": "s.tar",
        "key": "a/b",
        "sha256": "f00",
        "members": [
            {"ext": "txt", "offset": 512, "size": 3},
            {"ext": "jpg", "offset": 1536, "size": 4},
            {"ext": "JPG", "offset": 2560, "size": 5},
        ],
    }
    copies = sample_copies("00000000_n", row)
    assert [(copy.name, copy.source_offset, copy.size, copy.sha256) for copy in copies] == [
        ("00000000_n.jpg", 1536, 4, "f00"),
        ("00000000_n.2.JPG", 2560, 5, ""),
        ("00000000_n.txt", 512, 3, ""),
    ]


def test_every_place_is_known_before_a_source_is_read(pool):
    for url in pool.shards:
        open(url, "w").close()
    (shard,) = plan_shards(pool.store, pool.chosen(), 100, 0)
    layout = lay_out(shard, pool.store.rows(shard.ids, COLUMNS))
    position = 0
    for copy in layout.copies:
        assert copy.target_offset == position + ustar.BLOCK
        position = copy.target_offset + ustar.padded(copy.size)
    assert layout.size == ustar.archive_size(position)
    in_order = [layout.keys[index] for index in shard.order()]
    assert [copy.name.partition(".")[0] for copy in layout.copies[::3]] == in_order


NAMES = st.text("abcé ./-", min_size=1, max_size=12).filter(lambda key: key.strip("/. ") == key and "//" not in key)
SAMPLE = st.tuples(
    st.binary(min_size=1, max_size=2000),
    st.lists(
        st.tuples(st.sampled_from(["txt", "TXT", "json", "png", "seg.png", "ä"]), st.binary(max_size=1500)),
        max_size=4,
    ),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=st.lists(SAMPLE, min_size=1, max_size=8),
    prefix=NAMES,
    kind=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    size=st.integers(1, 9),
)
def test_what_goes_in_comes_out(make_pool, make_tar, samples, prefix, kind, size):
    entries = []
    for index, (image, others) in enumerate(samples):
        key = f"{prefix.replace('.', '_')}{index}"
        entries += [(f"{key}.jpg", image), *((f"{key}.{ext}", data) for ext, data in others)]
    with tempfile.TemporaryDirectory() as root:
        pool = make_pool(root, [make_tar(entries, kind)])
        shards = plan_shards(pool.store, pool.chosen(), size, 0)
        found = {}
        for shard in shards:
            pack_shard(pool.store, shard, pool.out)
            with tarfile.open(shard.url(pool.out)) as tar:
                for info in tar:
                    base, _, ext = info.name.partition(".")
                    found.setdefault(base, []).append((ext, tar.extractfile(info).read()))
        finish_packing(pool.out, shards)
        assert verify_shards(pool.out, pool.store, pool.ids) == []
    assert sorted(sorted(data for _, data in members) for members in found.values()) == sorted(
        sorted([image, *(data for _, data in others)]) for image, others in samples
    )
