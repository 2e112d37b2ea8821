"""Folders of images as people have them: nothing in them vanishes."""

from __future__ import annotations

import io
import os

import pytest
from PIL import Image

from curator.errors import InputError, Reason
from curator.images import can_read_heif
from curator.io import storage
from curator.sources import folder as module
from curator.sources.find import find_sources
from curator.sources.folder import list_folder, read_folder
from curator.sources.read import read_source
from curator.sources.source import count_left_out, in_words
from curator.types import IMAGE_EXTENSIONS, LedgerLine

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
CR2 = b"II*\0\x10\0\0\0CR\x02\0" + bytes(100)


def image(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, form)
    return buffer.getvalue()


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path) -> str:
    return str(tmp_path / "photos") if request.param == "local" else request.getfixturevalue("s3_bucket") + "/photos"


def fill(root: str, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        storage.write_bytes(storage.join(root, name), data)


def keys(root: str) -> list[str]:
    return [sample.key for sample in read_folder(root, "photos")]


def find(root: str):
    return find_sources([root], "target", folders=True)


def test_every_ending_of_images_in_any_case(root):
    readable = sorted(IMAGE_EXTENSIONS - {"heic", "heif"})
    fill(root, {f"a.{ending}": b"x" for ending in readable} | {f"b.{e.upper()}": b"x" for e in readable})
    assert sorted(keys(root)) == sorted([f"a.{e}" for e in readable] + [f"b.{e.upper()}" for e in readable])
    assert list_folder(root).left_out == {}


def test_a_folder_of_phone_photos(root):
    heic = {f"IMG_{n:04d}.HEIC": HEIC for n in range(5)}
    avif = {
        "IMG_0100.HEIC": image("AVIF"),
        "web.avif": image("AVIF"),
        "old.jfif": image("JPEG"),
        "a.JPG": image("JPEG"),
    }
    videos = {"IMG_0200.MOV": b"\0\0\0\x14ftypqt  \0\0\0\0qt  \0\0\0\0"}
    fill(root, heic | avif | videos)
    expected = sorted(avif) if not can_read_heif() else sorted([*avif, *heic])
    assert sorted(keys(root)) == expected
    (source,) = find(root)
    assert count_left_out([source]) == ({".HEIC": 5} if not can_read_heif() else {}) | {".MOV": 1}
    if not can_read_heif():
        told = ", 6 files left out: .HEIC 5, .MOV 1 (pip install 'coreset-curator[heic]' reads HEIC)"
        assert in_words(list(count_left_out([source]).items())) == told


def test_files_without_an_ending_or_of_an_unknown_one_are_looked_at(root):
    fill(root, {"blob": image("PNG"), "b.jpg_large": image("JPEG"), "c.txt": b"BM is a text", "d": b"", "e.": b"x"})
    fill(root, {"raw.CR2": CR2, "scan": image("TIFF"), "f.pdf": b"%PDF"})
    samples = list(read_folder(root, "photos"))
    assert [(sample.key, sample.image.ext) for sample in samples] == [
        ("b.jpg_large", "jpg"),
        ("blob", "png"),
        ("scan", "tif"),
    ]
    assert list_folder(root).left_out == {".txt": 1, "no ending": 2, ".CR2": 1, ".pdf": 1}


def test_only_so_many_are_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_OPENED", 2)
    fill(str(tmp_path), {name: image("PNG") for name in ("a", "b", "c.x", "d.jpg")})
    assert keys(str(tmp_path)) == ["a", "b", "d.jpg"]
    assert list_folder(str(tmp_path)).left_out == {".x": 1}


def test_thumbnails_and_hidden_files_are_left_out_and_counted(root):
    names = ["a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", ".thumbnails/1.jpg", "d/.git/x", "._a.jpg", ".DS_Store"]
    fill(root, {name: image("JPEG") for name in names})
    assert keys(root) == ["a.jpg"]
    assert list_folder(root).left_out == {"@eaDir/": 1, ".thumbnails/": 1, ".git/": 1, "hidden": 2}


def test_what_is_left_out_changes_nothing_of_the_identity(root):
    fill(root, {"a.jpg": b"x"})
    (before,) = find(root)
    fill(root, {"notes.pdf": b"%PDF"})
    (after,) = find(root)
    assert before == after
    assert after.left_out == ((".pdf", 1),)
    assert len(list(read_source(before))) == 1


def test_a_folder_of_nothing_but_other_files_names_them(root):
    fill(root, {"a.cr2": CR2, "b.cr2": CR2, "c.pdf": b"%PDF"})
    with pytest.raises(InputError, match=r"no image.*, 3 files left out: \.cr2 2, \.pdf 1"):
        find(root)


def test_images_in_folders_beside_tars_are_counted_by_folder(tmp_path):
    names = ["a.tar", "x.jpg", "day 1/a.JPG", "day 1/deep/b.heic", "day 1/notes.txt", "more/c.tar", ".git/d.png"]
    thumbnails = ["day 1/@eaDir/a.JPG/THUMB.jpg"]
    fill(str(tmp_path), dict.fromkeys([*names, *thumbnails], bytes(1024)))
    for folders in (True, False):
        (source,) = find_sources([str(tmp_path)], "target", folders=folders)
        assert source.left_out == ((".jpg", 1), ("@eaDir/", 1), ("day 1/", 2), ("more/", 1))
    assert in_words(source.left_out) == ", 5 files left out: .jpg 1, @eaDir/ 1, day 1/ 2, more/ 1"


def test_folders_beside_tars_of_a_store_are_told_and_not_looked_into(s3_bucket):
    fill(f"{s3_bucket}/pool", dict.fromkeys(["a.tar", "more/c.tar", "days/x.jpg", ".tmp/y"], bytes(1024)))
    (source,) = find_sources([f"{s3_bucket}/pool"], "pool", folders=False)
    assert source.left_out == (("folders", 2),)
    assert in_words(source.left_out) == ", 2 folders beside the shards not looked into"


def test_images_and_archives_beside_tars_are_counted(root):
    fill(root, {"a.tar": bytes(1024), "b.tar.gz": b"x", "c.jpg": b"x", "a.json": b"{}", "d.TAR": b"x"})
    (source,) = find(root)
    assert source.left_out == ((".TAR", 1), (".jpg", 1), (".tar.gz", 1))


def test_thumbnails_below_a_folder_of_tars_are_counted(tmp_path):
    fill(str(tmp_path), {"a.tar": bytes(1024), "@eaDir/a.tar/t.jpg": b"x", "@eaDir/b": b"x", ".thumbnails/c.png": b"x"})
    (source,) = find(str(tmp_path))
    assert source.left_out == ((".thumbnails/", 1), ("@eaDir/", 2))


def test_links_to_images_are_images_and_a_dangling_one_is_a_line(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "blobs" / "1").write_bytes(image("JPEG"))
    (tmp_path / "photos" / "a.jpg").symlink_to("../blobs/1")
    (tmp_path / "photos" / "b.jpg").symlink_to("../blobs/2")
    (tmp_path / "photos" / "c.jpg").symlink_to("c.jpg")
    first, *others = read_folder(str(tmp_path / "photos"), "photos")
    assert first.key == "a.jpg"
    assert [(line.key, line.reason) for line in others] == [("b.jpg", Reason.TRUNCATED), ("c.jpg", Reason.TRUNCATED)]
    assert others[0].detail == "a symbolic link to ../blobs/2, which is not there"
    (source,) = find(str(tmp_path / "photos"))
    assert sum(isinstance(item, LedgerLine) for item in read_source(source)) == 2


def linked(tmp_path, count=3):
    """The layout of the Hub's cache: shards that are links to blobs."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for number in range(count):
        (tmp_path / "blobs" / f"{number}").write_bytes(bytes(10240))
        (tmp_path / "snapshot" / f"{number}.tar").symlink_to(f"../blobs/{number}")
    return tmp_path / "snapshot"


def test_shards_that_are_links(tmp_path):
    folder = linked(tmp_path)
    (folder / "3.tar").write_bytes(bytes(10240))
    expected = [str(folder / f"{number}.tar") for number in range(4)]
    for pattern in (str(folder), f"{folder}/*.tar", f"{folder}/{{0..3}}.tar"):
        assert [source.name for source in find_sources([pattern], "pool", folders=False)] == expected


def test_a_shard_that_is_a_dangling_link_is_named(tmp_path):
    folder = linked(tmp_path)
    os.remove(tmp_path / "blobs" / "1")
    for pattern in (str(folder), f"{folder}/*.tar"):
        with pytest.raises(InputError, match=r"no such file: .*/1\.tar, a symbolic link to \.\./blobs/1, which is not"):
            find_sources([pattern], "pool", folders=False)


def test_embeddings_that_are_links(tmp_path):
    for folder in ("img_emb", "metadata", "blobs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "blobs" / "e").write_bytes(b"x")
    (tmp_path / "img_emb" / "img_emb_0.npy").symlink_to("../blobs/e")
    (tmp_path / "metadata" / "metadata_0.parquet").symlink_to("../blobs/e")
    assert [source.kind for source in find(str(tmp_path))] == ["embeddings"]
    os.remove(tmp_path / "blobs" / "e")
    with pytest.raises(InputError, match=r"img_emb_0\.npy, a symbolic link to"):
        find(str(tmp_path))
