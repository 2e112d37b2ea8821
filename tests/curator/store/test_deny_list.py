from __future__ import annotations

import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from curator.errors import InputError
from curator.io.storage import Stat
from curator.sources.source import Source
from curator.store import deny_join
from curator.store.deny_join import text_hashes
from curator.store.deny_list import DenyList, LikelyKeys, read_deny_list
from curator.store.done_mark import DoneMark
from curator.store.part_store import PartStore
from curator.types import EmbeddingBlock, Member, SampleRow, join_id

KEYS = {0: ["shop/Käse", "shop/Müsli", "shop/bread"], 1: ["Käse.jpg", "dir.v2/plain", "two.png"]}


@pytest.fixture(params=["NFC", "NFD"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PartStore:
    """A tar's keys, and a folder's, which have endings; written by a Mac or by others."""
    store = PartStore(str(tmp_path / "pool"))
    names = ["/a.tar", "/folder"]
    parts = store.register([Source("tar", name, name, Stat(1, "v")) for name in names])
    for part, keys in KEYS.items():
        rows = [
            SampleRow(unicodedata.normalize(request.param, key), 0, 1, "0" * 64, 1, 1, (Member("jpg", 0, 1),))
            for key in keys
        ]
        block = EmbeddingBlock(rows, np.ones((len(rows), 2), np.float16))
        store.commit(part, parts[part].identity, block, names[part], DoneMark(len(rows), len(rows), 2, {}, []))
    return store


def denied(store: PartStore, *entries: str) -> tuple[list[int], int]:
    ids, unknown = DenyList(frozenset(entries), {}, "").find(store)
    return ids.tolist(), unknown


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("entry", ["shop/Käse", "./shop/Käse", "shop/Käse.jpg", "shop/Käse.JPG", "./shop/Käse.webp"])
def test_one_key_in_every_spelling(store: PartStore, form: str, entry: str) -> None:
    assert denied(store, unicodedata.normalize(form, entry)) == ([join_id(0, 0)], 0)


def test_keys_of_folders_have_their_ending(store: PartStore) -> None:
    assert denied(store, "Käse.jpg") == ([join_id(1, 0)], 0)
    assert denied(store, "two.png", "dir.v2/plain.jpg") == ([join_id(1, 1), join_id(1, 2)], 0)
    # Another ending is another file of the folder.
    assert denied(store, "two.jpg") == ([], 1)


def test_what_is_no_image_ending_is_part_of_the_key(store: PartStore) -> None:
    assert denied(store, "shop/bread.txt", "shop/bread.v2") == ([], 2)


def test_two_spellings_of_one_key_both_match(store: PartStore) -> None:
    assert denied(store, "shop/bread", "shop/bread.jpg", "nothing") == ([join_id(0, 2)], 1)


def test_in_one_shard_only(store: PartStore) -> None:
    deny = DenyList(frozenset(), {"/a.tar": frozenset(["Käse.jpg", "shop/bread.png"])}, "")
    ids, unknown = deny.find(store)
    assert (ids.tolist(), unknown) == ([join_id(0, 2)], 1)


def test_what_may_be_meant(store: PartStore) -> None:
    likely = LikelyKeys.of(["Shop/BREAD.jpeg.txt", "nobody"])
    found = [likely(part, table) for part, table in store.each_metadata(["image_path"])]
    hint = DenyList.hint_text(["Shop/BREAD.jpeg.txt", "nobody"], found)
    assert hint == "Shop/BREAD.jpeg.txt (is shop/bread meant?); nobody"


def test_lists_of_windows(tmp_path: Path) -> None:
    (tmp_path / "deny.txt").write_bytes("\ufeffshop/Käse\r\n# a comment\r\n/a.tar\tkey\r\n".encode())
    deny = read_deny_list(str(tmp_path / "deny.txt"))
    assert (deny.everywhere, deny.in_shard) == ({"shop/Käse"}, {"/a.tar": {"key"}})


def test_the_address_of_a_list_is_shown_without_its_secrets(web) -> None:
    web.status = lambda method, path: 403
    address = f"{web.url}/deny.txt?X-Amz-Signature=SECRET&api_key=SECRET"
    for url in (address, address.replace("http://", "http://me:SECRET@")):
        with pytest.raises(InputError, match=r"deny\.txt': access denied \(HTTP 403\)") as caught:
            read_deny_list(url)
        assert "SECRET" not in str(caught.value)
    web.status = lambda method, path: 404
    with pytest.raises(InputError, match="no such file") as caught:
        read_deny_list(address)
    assert "SECRET" not in str(caught.value)


def test_the_list_is_hashed_once_whatever_the_number_of_parts(tmp_path: Path, monkeypatch) -> None:
    rows, entries, hashed = 5, 1000, []

    def counted(texts):
        hashed.append(len(texts))
        return text_hashes(texts)

    monkeypatch.setattr(deny_join, "text_hashes", counted)
    deny = DenyList(frozenset(f"no-{number}" for number in range(entries)), {}, "")
    found = {}
    for parts in (4, 16):
        hashed.clear()
        store = PartStore(str(tmp_path / f"pool-{parts}"))
        names = [f"/{part}.tar" for part in range(parts)]
        for part, known in enumerate(store.register([Source("tar", name, name, Stat(1, "v")) for name in names])):
            keys = [SampleRow(f"{part}-{row}", 0, 1, None, 1, 1, ()) for row in range(rows)]
            block = EmbeddingBlock(keys, np.ones((rows, 2), np.float16))
            store.commit(part, known.identity, block, names[part], DoneMark(rows, rows, 2, {}, []))
        assert deny.find(store)[1] == entries
        found[parts] = sum(hashed)
    assert found[16] - found[4] == (16 - 4) * rows
    # What travels to a worker: eight bytes a spelling.
    assert len(pickle.dumps(deny.table().join())) < 8 * entries + 500


@given(st.lists(st.text(max_size=6), max_size=40), st.lists(st.text(max_size=6), max_size=6))
def test_equal_texts_have_equal_hashes_and_others_do_not(texts: list[str], more: list[str]) -> None:
    array = pa.array([*more, *texts], pa.large_string())
    hashes = dict(zip(array.to_pylist(), text_hashes(array).tolist(), strict=True))
    assert len(set(hashes.values())) == len(hashes)
    # A slice of an array has another place in its buffers.
    assert text_hashes(array[len(more) :]).tolist() == [hashes[text] for text in texts]


def test_texts_that_share_a_hash_are_told_apart(store: PartStore, monkeypatch) -> None:
    def bad_hashes(texts):
        return np.zeros(len(texts), np.uint64)

    monkeypatch.setattr(deny_join, "text_hashes", bad_hashes)
    deny = DenyList(
        frozenset(["shop/bread"]), {"/a.tar": frozenset(["shop/Müsli.jpg"]), "/b.tar": frozenset(["two.png"])}, ""
    )
    ids, unknown = deny.find(store)
    assert (ids.tolist(), unknown) == ([join_id(0, 1), join_id(0, 2)], 1)
