"""Hard links and holes (cases 04 and 14)."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from inputs_for_tests import Curator, chosen_keys, encoded, picture, select
from PIL import Image


def test_04_hard_links_are_samples_with_their_own_captions(curator: Curator, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "pool.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for number in range(6):
            first = number < 4
            info = tarfile.TarInfo(f"{number}.jpg")
            data = picture(number) if first else b""
            info.size, info.type = len(data), tarfile.REGTYPE if first else tarfile.LNKTYPE
            info.linkname = "" if first else f"{number - 4}.jpg"
            tar.addfile(info, io.BytesIO(data))
            caption = tarfile.TarInfo(f"{number}.txt")
            caption.size = 3
            tar.addfile(caption, io.BytesIO(b"n %d" % number))
    ran = select(curator, tmp_path, tmp_path / "pool.tar", "--budget", 6)
    assert ran.code == 0, ran.err
    assert sorted(chosen_keys(tmp_path)) == [str(number) for number in range(6)]
    packed: dict[str, bytes] = {}
    for shard in (tmp_path / "run" / "shards").glob("*.tar"):
        with tarfile.open(shard) as tar:
            packed |= {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert packed["00000000_4.jpg"] == packed["00000000_0.jpg"] == picture(0)
    assert packed["00000000_4.txt"] == b"n 4"


def holes(name: str, data: bytes, first: int, form: str) -> tuple[tarfile.TarInfo, bytes]:
    """A member of which all from `first` on is a hole, as `tar --sparse` and a Mac's tar store it."""
    info = tarfile.TarInfo(name)
    stored = data[:first]
    if form == "pax":
        stored = f"2\n0\n{first}\n{len(data)}\n0\n".encode().ljust(512, b"\0") + stored
        info.name = f"GNUSparseFile.0/{name}"
        size = {"GNU.sparse.realsize": str(len(data)), "GNU.sparse.name": name}
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", **size}
    info.size = len(stored)
    return info, stored


def write_sparse(path: Path, form: str) -> None:
    """Photos, with a scan of white paper (BMP) and a mask beside a photo that have holes."""
    page = encoded(Image.new("RGB", (80, 60)), "BMP")
    members = [holes("scan.bmp", page, 1024, form), holes("photo0.npy", bytes(4096), 512, form)]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT if form == "pax" else tarfile.GNU_FORMAT) as tar:
        for number in range(6):
            data = picture(number)
            info = tarfile.TarInfo(f"photo{number}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            if number == 0:
                _add_sparse(tar, *members[1], form)
        _add_sparse(tar, *members[0], form)


def _add_sparse(tar: tarfile.TarFile, info: tarfile.TarInfo, stored: bytes, form: str) -> None:
    if form == "pax":
        tar.addfile(info, io.BytesIO(stored))
        return
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"%011o\0%011o\0" % (0, len(stored))
    header[483:495] = b"%011o\0" % (2 * len(stored))
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    tar.fileobj.write(bytes(header) + stored + bytes(-len(stored) % 512))  # type: ignore[union-attr]
    tar.offset += 512 + len(stored) + -len(stored) % 512


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_14_sparse_members_are_told_and_never_their_map_taken_for_the_image(
    curator: Curator, tmp_path: Path, form: str
) -> None:
    write_sparse(tmp_path / "pool.tar", form)
    with tarfile.open(tmp_path / "pool.tar") as tar:
        assert [member.name for member in tar if member.issparse()] == ["photo0.npy", "scan.bmp"]
    ran = select(curator, tmp_path, tmp_path / "pool.tar", "--budget", 6)
    assert ran.code == 0, ran.err
    assert sorted(chosen_keys(tmp_path)) == [f"photo{number}" for number in range(6)]
    assert "1 members beside images have holes and were left out, the first photo0.npy" in ran.err
    ran = curator("inspect", tmp_path / "run", "--bad")
    assert "scan" in ran.out and "sparse" in ran.out
    assert curator("verify", tmp_path / "run").code == 0
