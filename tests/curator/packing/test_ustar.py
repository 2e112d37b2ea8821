from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, strategies as st

from curator.packing import ustar

GIB = 1 << 30


def tarfile_header(name: str, size: int, kind: int = tarfile.USTAR_FORMAT) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, 0, 0o644
    return info.tobuf(kind, "utf-8", "strict")


@pytest.mark.parametrize("size", [0, 1, 511, 512, 10**6, 8 * GIB - 1])
@pytest.mark.parametrize("name", ["a.jpg", "é.日本.png", "x" * 100])
def test_headers_are_tarfiles_own(name, size):
    assert ustar.header(name, size) == tarfile_header(name, size)


@given(
    st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=25),
    st.integers(0, 8 * GIB - 1),
)
def test_any_header_is_tarfiles_own(name, size):
    assert ustar.header(name, size) == tarfile_header(name, size)


@pytest.mark.parametrize("size", [8 * GIB, 8 * GIB + 1, 1 << 45])
def test_beyond_8_gib_the_size_is_base_256_as_gnu_tar_writes_it(size):
    header = ustar.header("big.bin", size)
    assert header[ustar.SIZE] == tarfile_header("big.bin", size, tarfile.GNU_FORMAT)[ustar.SIZE]
    info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    assert (info.name, info.size) == ("big.bin", size)
    assert ustar.stated_size(header) == size


@pytest.mark.parametrize("name", ["", "x" * 101, "é" * 51, "a\0b"])
def test_a_name_that_does_not_fit_is_refused(name):
    with pytest.raises(ValueError, match="no USTAR name"):
        ustar.header(name, 1)


@pytest.mark.parametrize("sizes", [[], [0], [1], [8192], [8193], [512, 512, 9000], [100] * 50])
def test_a_whole_archive_is_tarfiles_own(sizes):
    theirs = io.BytesIO()
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for index, size in enumerate(sizes):
            info = tarfile.TarInfo(f"{index}.bin")
            info.size = size
            tar.addfile(info, io.BytesIO(b"x" * size))
    ours = b""
    for index, size in enumerate(sizes):
        ours += ustar.header(f"{index}.bin", size) + (b"x" * size).ljust(ustar.padded(size), b"\0")
    ours = ours.ljust(ustar.archive_size(len(ours)), b"\0")
    assert ours == theirs.getvalue()


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [0, 7, 123456789])
def test_the_size_that_a_header_states(kind, size):
    assert ustar.stated_size(tarfile_header("a", size, kind)) == size


@pytest.mark.parametrize("block", [b"", bytes(512), b"z" * 512, b"\x01" * 512])
def test_what_is_no_header_states_none(block):
    assert ustar.stated_size(block) is None
