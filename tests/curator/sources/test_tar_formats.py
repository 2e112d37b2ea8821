"""What tars hold beside plain files: links, holes, odd names and odd numbers. Python's tarfile is the slow twin."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from curator.errors import Reason
from curator.sources.remarks import Remark, Remarks
from curator.sources.tar import read_samples
from curator.sources.tar_headers import plain_name, split_name
from curator.types import LedgerLine, RawSample

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", **pax: str):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.pax_headers = len(data), kind, link, pax
    return info, data


def hard(name: str, link: str):
    return entry(name, kind=tarfile.LNKTYPE, link=link)


def soft(name: str, link: str):
    return entry(name, kind=tarfile.SYMTYPE, link=link)


def make_tar(*entries, form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read(data: bytes, **options):
    remarks = Remarks()
    items = list(read_samples(io.BytesIO(data), "x.tar", remarks=remarks, **options))
    samples = {item.key: item for item in items if isinstance(item, RawSample)}
    return samples, [item for item in items if isinstance(item, LedgerLine)], remarks


# Hard links


@pytest.mark.parametrize("form", FORMATS)
def test_a_hard_link_is_the_bytes_it_leads_to(form):
    long = "f/" + "k" * (90 if form == tarfile.USTAR_FORMAT else 200) + ".jpg"
    first = entry(long, b"picture")
    data = make_tar(first, hard("b.jpg", long), entry("b.txt", b"caption"), hard("c.jpg", "b.jpg"), form=form)
    samples, lines, remarks = read(data)
    assert not lines and not remarks.counts
    assert [sample.image.data for sample in samples.values()] == [b"picture"] * 3
    for sample in samples.values():
        for member in sample.members:
            assert data[member.offset : member.offset + member.size] == member.data
    assert [member.ext for member in samples["b"].members] == ["jpg", "txt"]
    assert samples["c"].offset > samples["b"].offset > samples[long.removesuffix(".jpg")].offset


def test_a_hard_link_to_what_is_no_sample_itself():
    samples, lines, _ = read(make_tar(entry(".store/abc", b"picture"), hard("./a.jpg", "./.store/abc")))
    assert samples["a"].image.data == b"picture"
    assert not lines


def test_bytes_not_wanted_are_not_read_again():
    def reread(start, end):
        pytest.fail("read")

    data = make_tar(entry("a.jpg", b"picture"), hard("b.jpg", "a.jpg"))
    samples, _, _ = read(data, keep=lambda member: False, reread=reread)
    assert samples["b"].image.data is None
    assert samples["b"].image.size == 7


def test_ranges_are_used_where_they_are_given():
    data = make_tar(entry("a.jpg", b"picture"), hard("b.jpg", "a.jpg"), entry("c.jpg", b"other"))
    ranges = []

    def reread(start, end):
        ranges.append((start, end))
        return data[start:end]

    class OneWay(io.BytesIO):
        def seek(self, *position):
            raise OSError("not seekable")

    samples = [s for s in read_samples(OneWay(data), "x.tar", reread=reread) if isinstance(s, RawSample)]
    assert [sample.image.data for sample in samples] == [b"picture", b"picture", b"other"]
    assert ranges == [(samples[0].image.offset, samples[0].image.offset + 7)]


@pytest.mark.parametrize("link", [hard("b.jpg", "gone.jpg"), hard("b.jpg", "c.jpg"), soft("b.jpg", "a.jpg")])
def test_an_image_that_is_another_link_is_a_line(link):
    data = make_tar(entry("a.jpg", b"1"), link, entry("b.txt", b"2"), entry("c.jpg", b"3"))
    samples, lines, remarks = read(data)
    assert list(samples) == ["a", "c"]
    assert [(line.key, line.reason) for line in lines] == [("b", Reason.NO_IMAGE)]
    assert "link to" in lines[0].detail
    assert not remarks.counts


def test_other_links_are_counted():
    data = make_tar(
        entry("a.jpg", b"1"), soft("a.png", "x"), soft("a.txt", "y"), soft("b.txt", "y"), soft("noname", "y")
    )
    samples, lines, remarks = read(data)
    assert [member.ext for member in samples["a"].members] == ["jpg"]
    assert not lines
    assert remarks.counts == {Remark.LINKS: 3}
    assert remarks.examples[Remark.LINKS].startswith("a.png of x.tar (a symbolic link to x")


# Holes

SPARSE_PAX = {
    "0.0": {"GNU.sparse.size": "1024", "GNU.sparse.numblocks": "1"},
    "0.1": {"GNU.sparse.size": "1024", "GNU.sparse.map": "0,3", "GNU.sparse.name": "b.jpg"},
    "1.0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.size": "1024", "GNU.sparse.name": "b.jpg"},
}


@pytest.mark.parametrize("version", SPARSE_PAX)
def test_a_sparse_image_is_a_line_and_its_map_no_image(version):
    name = "b.jpg" if version == "0.0" else "GNUSparseFile.7/b.jpg"
    stored = (b"1\n0\n3\n".ljust(512, b"\0") if version == "1.0" else b"") + b"abc"
    data = make_tar(entry("a.jpg", b"1"), entry(name, stored, **SPARSE_PAX[version]), entry("c.jpg", b"3"))
    samples, lines, _ = read(data)
    assert list(samples) == ["a", "c"]
    assert [(line.key, line.reason) for line in lines] == [("b", Reason.NO_IMAGE)]
    assert "sparse" in lines[0].detail


def test_a_sparse_sidecar_is_counted():
    mask = entry("GNUSparseFile.7/a.npy", b"1\n0\n3\n".ljust(512, b"\0") + b"abc", **SPARSE_PAX["1.0"])
    mask[0].pax_headers["GNU.sparse.name"] = "a.npy"
    samples, lines, remarks = read(make_tar(entry("a.jpg", b"1"), mask))
    assert [member.ext for member in samples["a"].members] == ["jpg"]
    assert not lines
    assert remarks.counts == {Remark.SPARSE: 1}


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar")
@pytest.mark.parametrize("flags", [["--format=gnu"], ["--format=posix"], ["--format=posix", "--sparse-version=0.1"]])
def test_what_gnu_tar_stores_with_many_holes(tmp_path: Path, flags):
    if "GNU tar" not in subprocess.run(["tar", "--version"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("tar is not GNU tar")
    for name in "abc":
        with open(tmp_path / f"{name}.bmp", "wb") as file:
            # More pieces than the four of an old header, and than the 21 of its first extension.
            for piece in range(60 if name == "b" else 1):
                file.seek(piece << 17)
                file.write(b"x" * 4096)
    names = ["a.bmp", "b.bmp", "c.bmp"]
    subprocess.run(
        ["tar", *flags, "--sparse", "--hole-detection=raw", "-cf", "x.tar", *names], cwd=tmp_path, check=True
    )
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert [member.name for member in tar if member.issparse()] == ["b.bmp"]
    samples, lines, _ = read((tmp_path / "x.tar").read_bytes())
    assert list(samples) == ["a", "c"]
    assert [(line.key, line.reason) for line in lines] == [("b", Reason.NO_IMAGE)]


# Names and numbers


def test_names_that_begin_with_dot_slash():
    samples, lines, _ = read(
        make_tar(entry("./", kind=tarfile.DIRTYPE), entry("./d/a.jpg", b"1"), entry("./.b.jpg", b"2"))
    )
    assert list(samples) == ["d/a"]
    assert not lines


def test_numbers_of_thousands_of_digits_are_damage():
    info, data = entry("b.jpg", b"2", size="9" * 5000)
    samples, lines, _ = read(make_tar(entry("a.jpg", b"1"), (info, data), entry("c.jpg", b"3")))
    assert list(samples) == ["a", "c"]
    assert [line.reason for line in lines] == [Reason.BAD_HEADER]
    assert "a pax header gives '9999" in lines[0].detail and len(lines[0].detail) < 120


def test_a_record_of_thousands_of_digits_is_damage():
    broken = bytearray(make_tar(entry("a.jpg", b"1", comment="x" * 600)))
    at = broken.index(b" comment=")
    broken[at - 3 : at + 600] = b"9" * 603
    samples, lines, _ = read(bytes(broken))
    assert not samples
    assert [line.reason for line in lines] == [Reason.BAD_HEADER]


DAMAGED_NAMES = {
    "the sum of a pax header": lambda at: (at + 150, b"\xff"),
    "the magic of a pax header": lambda at: (at + 257, b"\xff"),
    "the kind of a pax header": lambda at: (at + 156, b"\xff"),
    "the whole of a pax header": lambda at: (at, b"\xff" * 512),
    "a pax record's length": lambda at: (at + 512, b"x"),
    "the end of a pax record": lambda at: (at + 512 + len("19 path=Äpfel.jpg".encode()), b"x"),
}


@pytest.mark.parametrize("damage", DAMAGED_NAMES)
def test_no_member_is_called_by_what_is_left_of_its_name(damage):
    """Beside a damaged pax header stands a member called ?pfel.jpg: its real name was there."""
    broken = bytearray(make_tar(entry("a.jpg", b"1"), entry("Äpfel.jpg", b"2"), entry("c.jpg", b"3")))
    at, byte = DAMAGED_NAMES[damage](broken.index(b"././@PaxHeader"))
    broken[at : at + len(byte)] = byte
    samples, lines, _ = read(bytes(broken))
    assert list(samples) == ["a", "c"]
    assert [line.reason for line in lines] == [Reason.BAD_HEADER]
    assert "the member" in lines[0].detail


@pytest.mark.parametrize(("at", "byte"), [(150, b"\xff"), (156, b"\xff"), (257, b"\xff"), (0, b"\xff" * 512)])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_no_member_is_called_by_the_first_hundred_letters_of_its_name(form, at, byte):
    long = "k" * 93 + "/a3.jpg" + ".d/" + "l" * 90 + ".jpg"  # the first hundred end in .jpg
    broken = bytearray(make_tar(entry("a.jpg", b"1"), entry(long, b"2"), entry("c.jpg", b"3"), form=form))
    at += broken.index(b"././@LongLink" if form == tarfile.GNU_FORMAT else b"././@PaxHeader")
    broken[at : at + len(byte)] = byte
    samples, lines, _ = read(bytes(broken))
    assert list(samples) == ["a", "c"]
    assert [(line.key, line.reason) for line in lines] == [("", Reason.BAD_HEADER)]


def test_what_follows_a_bad_header_with_a_long_name_is_of_its_sample():
    key = "d" * 120 + "/b"
    broken = bytearray(make_tar(*(entry(f"{key}.{ext}", b"1") for ext in ("jpg", "cls")), form=tarfile.USTAR_FORMAT))
    broken[150] = 0xFF
    samples, lines, _ = read(bytes(broken))
    assert not samples
    assert [(line.key, line.reason) for line in lines] == [(key, Reason.BAD_HEADER)]


@pytest.mark.parametrize("name", [b"\xff" * 100, b"x.json".ljust(100, b"\0")], ids=["no name", "a wrong name"])
def test_a_bad_header_in_the_middle_of_a_sample_is_of_it_whatever_name_it_has(name):
    """One line, and none that says that the tar is not sorted."""
    broken = bytearray(make_tar(*(entry(f"a.{ext}", b"1") for ext in ("jpg", "json", "cls")), entry("b.jpg", b"2")))
    at = broken.index(b"a.json\0")
    broken[at : at + 100] = name
    samples, lines, _ = read(bytes(broken))
    assert list(samples) == ["b"]
    assert [(line.key, line.reason, line.offset) for line in lines] == [("a", Reason.BAD_HEADER, at)]


def test_padding_that_a_pax_header_counts_is_none_of_its_records():
    counted = bytearray(make_tar(entry("Äpfel.jpg", b"1")))
    header = counted[:512]
    header[124:136] = b"%011o\0" % 512
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    counted[:512] = header
    samples, lines, _ = read(bytes(counted))
    assert list(samples) == ["Äpfel"] and not lines


def test_an_unsorted_tar_says_so_and_how_to_sort():
    data = make_tar(*(entry(f"{key}.{ext}", b"1") for ext in ("jpg", "json") for key in "ab"))
    samples, lines, _ = read(data)
    assert list(samples) == ["a", "b"]
    assert [(line.key, line.reason) for line in lines] == [("a", Reason.DUPLICATE_KEY), ("b", Reason.DUPLICATE_KEY)]
    assert "not sorted" in lines[0].detail and "--sort=name" in lines[0].detail


def test_an_unsorted_tar_whose_images_come_last():
    _, lines, _ = read(make_tar(*(entry(f"{key}.{ext}", b"1") for ext in ("json", "jpg") for key in "ab")))
    assert [line.reason for line in lines] == [Reason.NO_IMAGE] * 2 + [Reason.DUPLICATE_KEY] * 2
    assert "not sorted" in lines[2].detail


def test_a_second_image_of_a_key_is_no_matter_of_sorting():
    _, lines, _ = read(make_tar(entry("a.jpg", b"1"), entry("b.jpg", b"2"), entry("a.jpg", b"3")))
    assert [line.reason for line in lines] == [Reason.DUPLICATE_KEY]
    assert "sort" not in lines[0].detail


def test_dots_in_keys_are_told_with_count_and_example():
    names = [f"2021.03.{day:02d}_cam{n}.{ext}" for day in (1, 2) for n in range(3) for ext in ("jpg", "json")]
    samples, lines, remarks = read(make_tar(*(entry(name, b"1") for name in names)))
    assert list(samples) == ["2021"]
    assert not lines
    assert remarks.counts == {Remark.DOTTED_KEYS: 6}
    (text,) = remarks.texts()
    assert "6 images" in text and "2021.03.01_cam0.jpg belongs to 2021" in text


@pytest.mark.parametrize("names", [["a.jpg", "a.seg.png"], ["a.jpg", "a.JPG"], ["a.jpg", "a.thumb.jpg"]])
def test_several_images_of_one_sample_are_usual(names):
    _, _, remarks = read(make_tar(*(entry(name, b"1") for name in names)))
    assert not remarks.counts


# All of it at once


NAMES = st.builds(
    "{}{}.{}".format,
    st.sampled_from(["", "./", "d/", "./d/"]),
    st.sampled_from("abcd"),
    st.sampled_from(["jpg", "txt"]),
)
ENTRIES = st.lists(
    st.one_of(
        st.builds(entry, NAMES, st.binary(max_size=700)),
        st.builds(hard, NAMES, NAMES),
        st.builds(soft, NAMES, NAMES),
        st.builds(lambda name: entry(name, kind=tarfile.DIRTYPE), NAMES),
    ),
    max_size=10,
)


def twin(data: bytes) -> list[tuple[str, bytes | None]]:
    """Every file and link in order: its plain name, and its bytes by Python's tarfile, None where there are none."""
    found: list[tuple[str, bytes | None]] = []
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            name = plain_name(member.name)
            if member.isreg():
                found.append((name, tar.extractfile(member).read()))
            elif member.islnk():
                target = plain_name(member.linkname)
                earlier = [content for other, content in found if other == target and content is not None]
                found.append((name, earlier[-1] if earlier else None))
            elif member.issym():
                found.append((name, None))
    return found


@given(ENTRIES, st.sampled_from(FORMATS))
def test_every_member_is_what_tarfile_says_or_is_told(entries, form):
    data = make_tar(*entries, form=form)
    expected = [(split_name(name), content) for name, content in twin(data)]
    samples, lines, remarks = read(data)
    told = {line.key for line in lines}
    for (key, ext), content in expected:
        if content is not None and key not in told:
            assert content in [member.data for member in samples[key].members if member.ext == ext]
    absent = [key for (key, _), content in expected if content is None and key not in told]
    assert remarks.counts.get(Remark.LINKS, 0) >= len(absent)
    for sample in samples.values():
        for member in sample.members:
            assert data[member.offset : member.offset + member.size] == member.data
