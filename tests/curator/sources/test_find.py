from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from curator.errors import InputError, Reason
from curator.io import parquet, schemas, storage
from curator.sources import find as find_module, tar_members
from curator.sources.find import find_sources
from curator.sources.folder import list_images, read_folder
from curator.store.done_mark import DoneMark
from curator.store.part_store import PartStore
from curator.types import EmbeddingBlock, Member, SampleRow


def tar_bytes(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


def find(*patterns, folders=True):
    return find_sources(list(patterns), "pool", folders=folders)


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket")


@pytest.fixture
def shards(root: str) -> list[str]:
    urls = [storage.join(root, "in", f"{name}.tar") for name in ("b", "a", "c")]
    for url in urls:
        storage.write_bytes(url, tar_bytes("x.jpg"))
    return urls


def test_tars_in_first_seen_order_each_once(shards):
    found = find(shards[0], shards[2], shards[0], shards[1])
    assert [source.url for source in found] == [shards[0], shards[2], shards[1]]
    for source in found:
        assert (source.kind, source.stored_kind, source.name) == ("tar", "tar", source.url)
        assert source.stat == storage.stat(source.url)


def test_a_directory_of_tars_is_its_tars_sorted(shards, root):
    storage.write_bytes(storage.join(root, "in", "sizes.json"), b"{}")
    assert [source.url for source in find(storage.join(root, "in"))] == sorted(shards)
    assert find(storage.join(root, "in") + "/") == find(storage.join(root, "in"))
    both = find(shards[0], storage.join(root, "in"))
    assert [source.url for source in both] == [shards[0], shards[1], shards[2]]


def test_nothing_given():
    with pytest.raises(InputError, match="pool: nothing is given"):
        find()


def test_a_file_that_is_not_there(root, shards):
    with pytest.raises(InputError, match=r"pool: no such file: .*/in/missing\.tar"):
        find(shards[0], storage.join(root, "in", "missing.tar"))


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (gzip.compress(b"x", mtime=0), "gzip"),
        # Read as signed bytes, these add up to 0, which is what the empty field for a tar's checksum would say.
        (gzip.compress(b"x", mtime=1795848116), "gzip"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xff\xd8\xff\xe0", "is an image"),
    ],
)
def test_what_is_no_plain_tar_is_refused_by_its_first_bytes(root, head, word):
    url = storage.join(root, "x.tar")
    storage.write_bytes(url, head + bytes(1000))
    with pytest.raises(InputError, match=word) as caught:
        find(url)
    assert url in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 270000000\n",
            "a git-lfs pointer.*git lfs pull",
        ),
        (b"\n<!DOCTYPE html>\n<html><title>Login</title></html>", "an HTML page.*download it again"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>' + bytes(600), "an XML document"),
    ],
)
def test_what_stands_in_a_shards_place_is_named(root, content, told):
    url = storage.join(root, "x.tar")
    storage.write_bytes(url, content)
    with pytest.raises(InputError, match=told) as caught:
        find(url)
    assert url in str(caught.value)


def test_the_one_pointer_of_a_large_pool_is_found(root, monkeypatch):
    monkeypatch.setattr(find_module, "MAX_HEADS", 2)
    urls = [storage.join(root, f"{number}.tar") for number in range(9)]
    for number, url in enumerate(urls):
        storage.write_bytes(url, tar_bytes("x.jpg") if number != 3 else b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"3\.tar is a git-lfs pointer"):
        find(*urls)


def test_a_tar_whose_first_name_looks_like_a_page(root):
    url = storage.join(root, "x.tar")
    storage.write_bytes(url, tar_bytes("<html>.jpg"))
    assert [source.kind for source in find(url)] == ["tar"]


@pytest.mark.parametrize("name", ["BMW.jpg", "BZhang.jpg", "RIFF.jpg", "GIF8.jpg"])
@pytest.mark.parametrize("called", ["x.tar", "x"])
def test_a_tar_whose_first_name_looks_like_a_format(root, name, called):
    url = storage.join(root, called)
    storage.write_bytes(url, tar_bytes(name))
    assert [source.kind for source in find(url)] == ["tar"]


def test_what_is_called_a_tar_and_is_none_is_the_readers_business(root):
    url = storage.join(root, "x.tar")
    storage.write_bytes(url, b"some text" * 100)
    assert [source.kind for source in find(url)] == ["tar"]


@pytest.mark.parametrize("content", [b"some text" * 100, b"short", b""])
def test_what_is_neither_called_a_tar_nor_is_one(root, content):
    url = storage.join(root, "list.txt")
    storage.write_bytes(url, content)
    with pytest.raises(InputError, match="is no tar"):
        find(url)


def test_an_empty_tar_is_the_readers_business(root):
    url = storage.join(root, "empty.tar")
    storage.write_bytes(url, b"")
    assert [source.stat.size for source in find(url)] == [0]


def test_a_folder_of_images(root):
    folder = storage.join(root, "images")
    for name in ("b.JPG", "deep/a.png", "notes.txt", ".hidden.jpg", ".git/x.jpg"):
        storage.write_bytes(storage.join(folder, name), name.encode())
    (source,) = find(folder)
    assert (source.kind, source.url, source.stat.size) == ("folder", folder, len("b.JPGdeep/a.png"))
    with pytest.raises(InputError, match=r"pool=.*: a folder of images; here shards"):
        find(folder, folders=False)
    storage.write_bytes(storage.join(folder, "deep", "c.webp"), b"x")
    assert find(folder)[0].stat.version != source.stat.version


def test_links_between_folders_end_and_show_each_image_once(tmp_path):
    for name in ("b/1.jpg", "b/deep/2.jpg", "elsewhere/3.jpg"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(b"x")
    (tmp_path / "images" / "elsewhere").rename(tmp_path / "elsewhere")
    for link, place in {"a": "b", "b/deep/up": "..", "b/deep/round": ".", "c": "../elsewhere"}.items():
        (tmp_path / "images" / link).symlink_to((tmp_path / "images" / link).parent / place)

    assert [path for path, _ in list_images(str(tmp_path / "images"))] == ["b/1.jpg", "b/deep/2.jpg", "c/3.jpg"]


def test_an_image_of_a_folder_may_be_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_members, "MAX_SAMPLE_BYTES", 2)
    (tmp_path / "1.jpg").write_bytes(b"12")
    (tmp_path / "2.jpg").write_bytes(b"123")
    sample, line = read_folder(str(tmp_path), "x")
    assert (sample.key, line.key, line.reason) == ("1.jpg", "2.jpg", Reason.TOO_LARGE)


def test_a_folder_without_anything_of_use(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"no image, no \*\.tar and no img_emb/"):
        find(str(tmp_path))


def ready_embeddings(root: str, count: int = 2) -> str:
    url = storage.join(root, "emb")
    for index in range(count):
        buffer = io.BytesIO()
        np.save(buffer, np.ones((2, 4), np.float16))
        storage.write_bytes(storage.join(url, "img_emb", f"img_emb_{index}.npy"), buffer.getvalue())
        storage.write_bytes(storage.join(url, "metadata", f"metadata_{index}.parquet"), b"parquet")
    return url


def test_ready_embeddings(root):
    url = ready_embeddings(root)
    found = find(url, folders=False)
    assert [(source.kind, source.stored_kind) for source in found] == [("embeddings", "embeddings")] * 2
    assert [source.url for source in found] == [f"{url}/img_emb/img_emb_{index}.npy" for index in (0, 1)]
    assert [source.metadata for source in found] == [f"{url}/metadata/metadata_{i}.parquet" for i in (0, 1)]


def test_ready_embeddings_without_their_metadata(root):
    url = ready_embeddings(root)
    storage.remove(storage.join(url, "metadata", "metadata_1.parquet"))
    with pytest.raises(InputError, match=r"img_emb_1\.npy has no metadata/metadata_1\.parquet"):
        find(url)


def test_metadata_without_an_array_is_counted(root):
    url = ready_embeddings(root)
    storage.remove(storage.join(url, "img_emb", "img_emb_1.npy"))
    (source,) = find(url)
    assert source.left_out == (("metadata without an array", 1),)


def test_tars_in_sub_folders_are_told_how_to_give_them(root, shards):
    with pytest.raises(InputError, match=r"no \*\.tar .* in this folder.*: give .*/\*\*/\*\.tar"):
        find(root)


def own_run(root: str, shards: list[str]) -> PartStore:
    store = PartStore(storage.join(root, "other", "pool"))
    for part in store.register(find(*shards)):
        row = SampleRow("x", 512, 3, "00", 1, 1, (Member("jpg", 512, 3),))
        block = EmbeddingBlock([row], np.zeros((1, 4), np.float16))
        store.commit(part.part, part.identity, block, part.url, DoneMark(1, 1, 4, {}, []))
    return store


def test_the_pool_of_another_run_keeps_the_shards_names_and_kind(root, shards):
    store = own_run(root, shards)
    found = find(store.url, folders=False)
    assert [source.name for source in found] == shards
    assert [(source.kind, source.stored_kind) for source in found] == [("part", "tar")] * 3
    assert [source.stat for source in found] == [storage.stat(url) for url in shards]
    assert found[1].url == store.array_url(1)
    assert found[1].metadata == store.metadata_url(1)


def test_a_run_that_is_not_finished_cannot_be_a_pool(root, shards):
    store = own_run(root, shards)
    storage.remove(store.done_url(1, store.registered()[1].identity))
    with pytest.raises(InputError, match=r"is not finished: 1 part is missing, the first of .*/a\.tar"):
        find(store.url)


def test_a_shard_given_twice_under_one_name_is_one_source(root, shards):
    store = own_run(root, shards[:2])
    found = find(store.url, *shards)
    assert [source.name for source in found] == shards
    assert [source.kind for source in found] == ["part", "part", "tar"]


def test_presigned_urls_of_one_shard_are_one_source(monkeypatch):
    urls = [f"https://host/a.tar?Signature={index}" for index in range(2)]
    monkeypatch.setattr(storage, "stat_many", lambda urls: dict.fromkeys(urls, storage.Stat(9, "v")))
    monkeypatch.setattr(storage, "read_range", lambda url, start, end: b"x.jpg\0\0\0")
    monkeypatch.setattr(storage, "is_directory", lambda url: False)
    (source,) = find(*urls)
    assert source.name == "https://host/a.tar"
    assert source.url == urls[0]


def test_a_relative_path_and_an_absolute_one_are_one_source(tmp_path, monkeypatch):
    (tmp_path / "a.tar").write_bytes(tar_bytes("x.jpg"))
    monkeypatch.chdir(tmp_path)
    (source,) = find("a.tar", f"{tmp_path}{os.sep}a.tar")
    assert source.name == str(tmp_path / "a.tar")


def test_another_runs_parts_file_of_unknown_version_is_refused(root, shards):
    store = own_run(root, shards)
    url = storage.join(store.url, "parts.parquet")
    labels = schemas.PARTS.metadata | {b"curator.version": b"7"}
    parquet.write_table(url, schemas.PARTS.with_metadata(labels), [])
    with pytest.raises(InputError, match="version 7"):
        find(store.url)
