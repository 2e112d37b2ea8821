"""What is given in a shard's place, and how shards are named (cases 05, 19 and 21)."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest
from inputs_for_tests import Curator, picture, refused, select, write_tar

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 270000000\n"
XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
HTML = b"<!DOCTYPE html>\n<html><title>Sign in</title></html>"


@pytest.mark.parametrize(
    ("content", "told"),
    [(POINTER, "a git-lfs pointer"), (HTML, "an HTML page"), (XML, "an XML document")],
    ids=["pointer", "HTML", "XML"],
)
def test_05_what_is_called_a_tar_and_is_none_is_refused_by_name(
    curator: Curator, tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "00000.tar").write_bytes(content)
    refused(select(curator, tmp_path, tmp_path / "pool"), "--pool", "00000.tar", told)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """Three shards of two samples, a gap in their numbers, and what img2dataset writes beside them."""
    folder = tmp_path / "web"
    folder.mkdir()
    for number in (0, 1, 3):
        write_tar(folder / f"{number:05d}.tar", [(f"{number}-{n}.jpg", picture(10 * number + n)) for n in range(2)])
        (folder / f"{number:05d}_stats.json").write_text('{"count": 2}')
        (folder / f"{number:05d}.parquet").write_bytes(b"PAR1")
    (tmp_path / "list.txt").write_bytes(f"\ufeff{folder}/00000.tar\r\n{folder}/00001.tar\r\n".encode())
    return folder


@pytest.mark.parametrize(
    ("url", "samples"),
    [
        ("{web}", 6),
        ("{web}/0000[01].tar", 4),
        ("{web}/{{00000..00001}}.tar", 4),
        ("{web}/00000.tar::{web}/00003.tar", 4),
        ("file://{web}/00000.tar", 2),
        ("@{web}/../list.txt", 4),
        ("{web}/../**/*.tar", 6),
    ],
)
def test_19_shards_in_the_words_of_other_tools_are_taken(curator: Curator, web: Path, url: str, samples: int) -> None:
    ran = curator("inspect", url.format(web=web))
    assert ran.code == 0, ran.err
    assert f"samples     {samples} good" in ran.out
    assert "bad         none" in ran.out


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("pipe:cat {web}/00000.tar", ("pipe:", "give")),
        ("pipe:aws s3 cp s3://b/{{00000..00001}}.tar -", ("pipe:", "s3://")),
        ("{web}/{{00000..00003}}.tar", ("no such file", "00002.tar")),
        ("{web}/{{00000}}.tar", ("{00000}.tar",)),
        ("{web}/../*.gz", ("00000.tar.gz", "gzip")),
        ("{web}/nothing-*.tar", ("nothing matches", "nothing-*.tar")),
    ],
)
def test_19_what_cannot_be_taken_is_one_line(curator: Curator, web: Path, url: str, told: tuple[str, ...]) -> None:
    (web.parent / "00000.tar.gz").write_bytes(gzip.compress((web / "00000.tar").read_bytes()))
    refused(curator("inspect", url.format(web=web)), *told)


@pytest.fixture
def hub(web: Path) -> Path:
    """The layout of the Hub's cache: shards that are links to blobs."""
    blobs, snapshot = web.parent / "hub" / "blobs", web.parent / "hub" / "snapshots" / "0123abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for shard in sorted(web.glob("*.tar")):
        blob = blobs / hashlib.sha256(shard.read_bytes()).hexdigest()
        shard.rename(blob)
        os.symlink(os.path.relpath(blob, snapshot), snapshot / shard.name)
    return snapshot


@pytest.mark.parametrize("pattern", ["", "/*.tar", "/0000{0,1,3}.tar"])
def test_21_links_to_shards_are_followed(curator: Curator, hub: Path, pattern: str) -> None:
    ran = curator("inspect", f"{hub}{pattern}")
    assert ran.code == 0, ran.err
    assert "samples     6 good" in ran.out


def test_21_a_dangling_link_is_named(curator: Curator, hub: Path, tmp_path: Path) -> None:
    os.symlink("../../blobs/gone", hub / "00002.tar")
    refused(curator("inspect", hub), "no such file", "00002.tar", "a symbolic link to ../../blobs/gone")
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "a-photo").write_bytes(picture(1))
    os.symlink(tmp_path / "a-photo", photos / "a.jpg")
    os.symlink(tmp_path / "gone", photos / "b.jpg")
    ran = curator("inspect", photos)
    assert ran.code == 0, ran.err
    assert "samples     1 good" in ran.out
    assert "b.jpg" in ran.out and f"a symbolic link to {tmp_path}/gone" in ran.out
