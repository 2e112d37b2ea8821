import hashlib
import io
import tarfile
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from curator.errors import Reason
from curator.sources import tar, tar_members
from curator.sources.remarks import Remark, Remarks
from curator.sources.tar import read_samples
from curator.sources.tar_headers import plain_name, split_name
from curator.types import LedgerLine, RawSample

BLOCK = 512
Files = list[tuple[str, bytes]]


def make_tar(files: Files, format: int = tarfile.USTAR_FORMAT, end: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        size = tar.offset
    return buffer.getvalue() if end else buffer.getvalue()[:size]


def read(data: bytes, **options: object) -> tuple[list[RawSample], list[LedgerLine]]:
    items = list(read_samples(io.BytesIO(data), "x.tar", **options))  # type: ignore[arg-type]
    return (
        [item for item in items if isinstance(item, RawSample)],
        [item for item in items if isinstance(item, LedgerLine)],
    )


def header_of(data: bytes, name: str) -> int:
    """Where the header of a member begins."""
    return data.index(name.encode().ljust(100, b"\0"))


ABC: Files = [(f"{key}.{ext}", f"{key}-{ext}".encode()) for key in "abc" for ext in ("jpg", "json")]


def test_members_come_with_bytes_offsets_and_sizes() -> None:
    data = make_tar([("d/a.jpg", b"12345"), ("d/a.seg.png", b"67"), ("b.json", b"{}"), ("b.webp", b"8")])
    samples, lines = read(data)
    assert not lines
    assert [sample.key for sample in samples] == ["d/a", "b"]
    assert [m.ext for m in samples[0].members] == ["jpg", "seg.png"]
    for sample in samples:
        for member in sample.members:
            assert data[member.offset : member.offset + member.size] == member.data
    assert samples[0].offset == 0
    assert samples[1].image is not None
    assert samples[1].image.ext == "webp"


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("kept", [True, False])
def test_the_hash_of_a_sample_is_that_of_its_range(format: int, kept: bool) -> None:
    name = "n" * 90
    files = [("a.jpg", b"1" * 700), ("a.txt", b"2"), (f"d/{name}.jpg", b"3"), (f"d/{name}.json", b"4"), ("z.png", b"")]
    data = make_tar(files, format)
    samples, _ = read(data, hashed=True, keep=lambda member: kept)
    assert [sample.key for sample in samples] == ["a", f"d/{name}", "z"]
    for sample in samples:
        start, last = sample.members[0].offset - BLOCK, sample.members[-1]
        assert sample.sha256 == hashlib.sha256(data[start : last.offset + last.size]).hexdigest()
    assert {sample.sha256 for sample in read(data)[0]} == {None}


def test_samples_whose_members_do_not_stand_together_have_no_hash_and_are_counted() -> None:
    buffer, remarks = io.BytesIO(), Remarks()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, data in [("a.jpg", b"1"), ("b.jpg", b"2"), (".far", bytes(99_000)), ("b.txt", b"3"), ("c.png", b"4")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("d.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "a.jpg"
        file.addfile(link)
    samples, _ = read(buffer.getvalue(), hashed=True, remarks=remarks)
    assert [(sample.key, sample.sha256 is None) for sample in samples] == [
        *(("a", False), ("b", True), ("c", False), ("d", True))
    ]
    assert remarks.counts == {Remark.UNHASHED: 2}
    assert "the first b of x.tar" in remarks.texts()[0]


def test_a_device_between_the_members_of_a_sample_is_in_its_range() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, kind in [("a.jpg", tarfile.REGTYPE), ("b.dev", tarfile.FIFOTYPE), ("a.txt", tarfile.REGTYPE)]:
            info = tarfile.TarInfo(name)
            info.type = kind
            file.addfile(info, io.BytesIO())
    (sample,), _ = read(buffer.getvalue(), hashed=True)
    assert sample.sha256 == hashlib.sha256(buffer.getvalue()[: 3 * BLOCK]).hexdigest()


def test_bytes_not_wanted_are_not_kept_but_placed() -> None:
    samples, _ = read(make_tar(ABC), keep=lambda member: member.is_image)
    assert [[m.data for m in s.members] for s in samples] == [
        [b"a-jpg", None],
        [b"b-jpg", None],
        [b"c-jpg", None],
    ]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_formats_and_long_names(format: int) -> None:
    long = "folder/" + "k" * 90 if format == tarfile.USTAR_FORMAT else "ü/" + "k" * 300
    samples, lines = read(make_tar([(long + ".jpg", b"1"), ("b.png", b"2")], format))
    assert [sample.key for sample in samples] == [long, "b"]
    assert not lines


def test_dotfiles_directories_and_names_without_a_dot_are_no_samples() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("d.jpg")
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
        for name in (".hidden.jpg", "README", "d/._a.jpg", "a.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"1"))
    samples, lines = read(buffer.getvalue())
    assert [sample.key for sample in samples] == ["a"]
    assert not lines


def test_two_images_in_a_sample_the_first_counts() -> None:
    samples, lines = read(make_tar([("x.jpg", b"first"), ("x.JPG", b"second")]))
    assert not lines
    assert len(samples) == 1
    assert len(samples[0].members) == 2
    assert samples[0].image is not None
    assert samples[0].image.data == b"first"


def test_a_sample_without_image() -> None:
    samples, lines = read(make_tar([("a.jpg", b"1"), ("b.txt", b"2"), ("c.jpg", b"3")]))
    assert [sample.key for sample in samples] == ["a", "c"]
    assert [(line.key, line.reason) for line in lines] == [("b", Reason.NO_IMAGE)]


def test_what_cannot_be_used_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_members, "MAX_SAMPLE_BYTES", 3 << 20)
    many: Files = [(f"a.{number}.jpg", bytes(1 << 20)) for number in range(30)]
    data = make_tar([*many, ("b.jpg", b"1")])

    tracemalloc.start()
    items = list(read_samples(io.BytesIO(data), "x.tar"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 6 << 20
    assert [item.reason if isinstance(item, LedgerLine) else item.key for item in items] == [Reason.TOO_LARGE, "b"]


def test_a_sample_of_too_many_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MAX_SAMPLE_MEMBERS", 2)
    samples, lines = read(make_tar([("a.jpg", b""), ("a.1", b""), ("a.2", b""), ("a.3", b""), *ABC[2:]]))
    assert [sample.key for sample in samples] == ["b", "c"]
    assert [(line.key, line.offset, line.reason) for line in lines] == [("a", 0, Reason.TOO_LARGE)]


def test_interleaved_members_are_second_runs_of_their_keys() -> None:
    data = make_tar([("a.jpg", b"1"), ("b.jpg", b"2"), ("a.json", b"3"), ("b.json", b"4")])
    samples, lines = read(data)
    assert [(s.key, len(s.members)) for s in samples] == [("a", 1), ("b", 1)]
    assert [(line.key, line.reason) for line in lines] == [
        ("a", Reason.DUPLICATE_KEY),
        ("b", Reason.DUPLICATE_KEY),
    ]
    assert lines[0].offset == header_of(data, "a.json")


def test_an_empty_tar_has_no_samples_and_no_damage() -> None:
    assert read(make_tar([])) == ([], [])


def test_an_empty_file_is_no_tar() -> None:
    samples, lines = read(b"")
    assert not samples
    assert [line.reason for line in lines] == [Reason.TRUNCATED]


def test_cut_inside_a_member() -> None:
    data = make_tar(ABC)
    samples, lines = read(data[: header_of(data, "b.json") + BLOCK + 2])
    assert [sample.key for sample in samples] == ["a"]
    assert [(line.key, line.reason, line.offset) for line in lines] == [
        ("b", Reason.TRUNCATED, header_of(data, "b.json"))
    ]
    assert "2 bytes into a member of 6" in lines[0].detail


def test_cut_inside_a_header() -> None:
    data = make_tar(ABC)
    samples, lines = read(data[: header_of(data, "c.jpg") + 100])
    assert [sample.key for sample in samples] == ["a", "b"]
    assert [(line.reason, line.offset) for line in lines] == [(Reason.TRUNCATED, header_of(data, "c.jpg"))]
    assert "100 bytes not read" in lines[0].detail


def test_cut_between_two_members_is_noticed_by_the_missing_end_mark() -> None:
    samples, lines = read(make_tar(ABC, end=False))
    assert [sample.key for sample in samples] == ["a", "b", "c"]
    assert [line.reason for line in lines] == [Reason.TRUNCATED]


@pytest.mark.parametrize(
    ("damaged", "good", "bad"),
    [("b.jpg", ["a", "c"], "b"), ("b.json", ["a", "c"], "b"), ("a.jpg", ["b", "c"], "a"), ("c.json", ["a", "b"], "c")],
)
def test_a_bad_header_costs_its_own_sample_only(damaged: str, good: list[str], bad: str) -> None:
    data = bytearray(make_tar(ABC))
    data[header_of(bytes(data), damaged) + 150] ^= 0xFF  # the checksum; the name can still be read
    samples, lines = read(bytes(data))
    assert [sample.key for sample in samples] == good
    assert [(line.key, line.reason) for line in lines] == [(bad, Reason.BAD_HEADER)]


def test_a_header_overwritten_whole_costs_one_line_at_its_place() -> None:
    data = bytearray(make_tar(ABC))
    at = header_of(bytes(data), "b.jpg")
    data[at : at + BLOCK] = b"\xff" * BLOCK
    samples, lines = read(bytes(data))
    assert [sample.key for sample in samples] == ["a", "c"]
    # b.json is left of the sample: without its image it is the one that was hit.
    assert [(line.key, line.reason, line.offset) for line in lines] == [("b", Reason.BAD_HEADER, at)]
    assert f"{2 * BLOCK} bytes not read" in lines[0].detail


def test_tarfile_is_silent_where_we_are_not() -> None:
    data = bytearray(make_tar(ABC))
    data[header_of(bytes(data), "b.jpg") + 150] ^= 0xFF
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as tar:
        assert tar.getnames() == ["a.jpg", "a.json"]  # and not a word about the rest


def test_bytes_after_the_end_mark_are_read_when_they_are_a_tar() -> None:
    joined = make_tar([("a.jpg", b"1")]) + make_tar([("b.jpg", b"2")])
    samples, lines = read(joined)
    assert [sample.key for sample in samples] == ["a", "b"]
    assert samples[1].image is not None
    assert joined[samples[1].image.offset : samples[1].image.offset + 1] == b"2"
    assert not lines


def test_a_file_that_is_no_tar_at_all() -> None:
    samples, lines = read(b"hello, world\n" * 1000)
    assert not samples
    assert [line.reason for line in lines] == [Reason.BAD_HEADER]
    assert "13000 bytes not read" in lines[0].detail


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("a/b.c/d.e.f", ("a/b.c/d", "e.f")),
        ("./a.jpg", ("a", "jpg")),
        ("././/d/a.jpg", ("d/a", "jpg")),
        ("./.a.jpg", None),
        ("../a.jpg", ("../a", "jpg")),
        ("a.", None),
        (".a", None),
        ("a", None),
        ("a.b/", None),
        ("a b ü.jpg", ("a b ü", "jpg")),
    ],
)
def test_split_name(name: str, answer: tuple[str, str] | None) -> None:
    assert split_name(name) == answer


names = st.builds(
    "{}.{}".format,
    st.text("abü/ ._-", min_size=1, max_size=12).filter(lambda s: not s.startswith("/") and "//" not in s),
    st.sampled_from(["jpg", "json", "PNG", "seg.png", "cls"]),
)


@given(st.lists(st.tuples(names, st.binary(max_size=1200)), max_size=12), st.sampled_from([0, 1, 2]))
def test_agrees_with_tarfile_on_sound_tars(files: Files, format: int) -> None:
    try:
        data = make_tar(files, format)
    except ValueError:
        return  # USTAR cannot hold the name
    samples, lines = read(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = {(plain_name(m.name), m.offset_data, m.size) for m in tar if m.isreg() and split_name(m.name)}
    found = {(f"{s.key}.{m.ext}", m.offset, m.size) for s in samples for m in s.members}
    assert found <= expected
    # What is not in a sample is in the ledger.
    keys = {split_name(name)[0] for name, _, _ in expected - found if split_name(name)}  # type: ignore[index]
    assert keys <= {line.key for line in lines}


@given(st.data())
def test_any_damage_keeps_the_accounts(data: st.DataObject) -> None:
    sound = make_tar([(f"{n:03d}.jpg", bytes([n]) * data.draw(st.integers(0, 1500))) for n in range(6)])
    damage: Callable[[bytes], bytes] = data.draw(
        st.sampled_from([_cut(data, len(sound)), _overwrite(data, len(sound))])
    )
    broken = damage(sound)
    samples, lines = read(broken)
    originals = {s.key: s for s in read(sound)[0]}
    for sample in samples:
        assert sample.key in originals
        for member in sample.members:
            assert broken[member.offset : member.offset + member.size] == member.data
    if len(samples) < 6:
        assert lines, "samples are missing and nothing says so"


def _cut(data: st.DataObject, size: int) -> Callable[[bytes], bytes]:
    at = data.draw(st.integers(0, size - 1))
    return lambda sound: sound[:at]


def _overwrite(data: st.DataObject, size: int) -> Callable[[bytes], bytes]:
    at = data.draw(st.integers(0, size // BLOCK - 1)) * BLOCK
    return lambda sound: sound[:at] + b"\xfe" * BLOCK + sound[at + BLOCK :]
