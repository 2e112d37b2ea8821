"""Damaged tars for `benchmarks.fuzz`: sound ones in all formats that people pack, and what may happen to them."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable
from itertools import pairwise

from benchmarks.fuzz_images import Encoded

BLOCK = 512
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
# Fields of a header: where each begins and how long it is.
FIELDS = {"name": (0, 100), "size": (124, 12), "sum": (148, 8), "kind": (156, 1), "link": (157, 100), "magic": (257, 8)}
PREFIX = (345, 155)
KINDS = b"0\x001234567LKxgXSVMNDA9z"
NUMBERS = (0, 1, 511, 512, 513, 1023, 8192, 1 << 20, (1 << 28) + 1, (1 << 33) - 1, 1 << 40, 1 << 62, (1 << 63) - 1)
PAX_RECORDS = (
    b"size=%d" % (1 << 63),
    b"size=-1",
    b"size=" + b"9" * 5000,
    b"size=12",
    b"size=",
    b"path=" + b"a/" * 300 + b"x.jpg",
    b"path=",
    b"path=\xff\xfe.jpg",
    b"path=nul\0.jpg",
    b"path=../../x.jpg",
    b"linkpath=nowhere.jpg",
    b"GNU.sparse.major=1",
    b"GNU.sparse.name=sparse.jpg",
    b"GNU.sparse.map=0,512,1024,512",
    b"GNU.sparse.realsize=99999999",
    b"hdrcharset=BINARY",
)


def damaged_tar(images: list[Encoded], chance: random.Random) -> tuple[bytes, int | None]:
    """A tar after one to three accidents, or a sound one (every tenth).

    Returns:
        its bytes; and the number of its samples, all of them good, or None where the accidents decide.
    """
    data, samples = sound_tar(images, chance)
    if chance.random() < 0.1:
        return data, samples
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        data = chance.choice(ACCIDENTS)(data, chance)
    if chance.random() < 0.1:
        data = _joined(data, sound_tar(images, chance)[0], chance)
    return data, None


def sound_tar(images: list[Encoded], chance: random.Random) -> tuple[bytes, int]:
    """A tar of a few samples with all that belongs to no sample, or is one in an unusual way; and their number."""
    buffer = io.BytesIO()
    form = chance.choice(FORMATS)
    samples = chance.randrange(1, 12)
    options = {"pax_headers": {"comment": "made by a test"}} if form == tarfile.PAX_FORMAT else {}
    with tarfile.open(fileobj=buffer, mode="w", format=form, **options) as tar:  # type: ignore[call-overload]
        earlier = ""
        for number in range(samples):
            stem, image = _stem(number, form, chance), chance.choice(images)
            for extra in chance.sample(("folder/", ".hidden.jpg", "README", "pipe"), chance.choice((0, 0, 1, 2))):
                _add(tar, extra, b"" if extra in ("folder/", "pipe") else b"text", _kind(extra))
            name = f"{stem}.{image.ending}"
            if earlier and chance.random() < 0.1 and (len(earlier) <= 100 or form != tarfile.USTAR_FORMAT):
                _add(tar, f"{stem}.{earlier.rpartition('.')[2]}", b"", tarfile.LNKTYPE, earlier)
            else:
                _add(tar, name, image.data)
                earlier = name
            for ending in chance.sample(("json", "cls", "seg.npy"), chance.choice((0, 1, 2))):
                _add(tar, f"{stem}.{ending}", chance.randbytes(chance.choice((0, 1, 511, 512, 600))))
            if chance.random() < 0.05:
                _add(tar, f"{stem}.link", b"", tarfile.SYMTYPE, "somewhere")
    return buffer.getvalue(), samples


def _stem(number: int, form: int, chance: random.Random) -> str:
    stems = [f"{number:05d}", f"./{number:05d}", f"a/b c/{number:05d}", f"{'d' * 120}/{number:05d}"]
    if form != tarfile.USTAR_FORMAT:
        stems += [f"{'long' * 70}{number:05d}", f"Äpfel-日本-{number:05d}"]
    return chance.choice(stems)


def _kind(name: str) -> bytes:
    return {"folder/": tarfile.DIRTYPE, "pipe": tarfile.FIFOTYPE}.get(name, tarfile.REGTYPE)


def _add(tar: tarfile.TarFile, name: str, data: bytes, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, len(data)
    tar.addfile(member, io.BytesIO(data))


def change_header(data: bytes, chance: random.Random) -> bytes:
    """Damage one header; two times of three its checksum is right all the same."""
    start = chance.choice(_headers(data))
    header = bytearray(data[start : start + BLOCK].ljust(BLOCK, b"\0"))
    place, length = chance.choice((*FIELDS.values(), PREFIX))
    kind = chance.randrange(3)
    if place == FIELDS["size"][0]:
        header[place : place + length] = _number(chance)
    elif place == FIELDS["kind"][0]:
        header[place] = chance.choice(KINDS)
    elif kind == 0:
        header[place : place + length] = chance.choice((bytes(length), b" " * length, b"\xff" * length, b"7" * length))
    else:
        for _ in range(chance.choice((1, 2, 8))):
            header[place + chance.randrange(length)] = chance.randrange(256)
    if place != FIELDS["sum"][0] and chance.random() < 2 / 3:
        _write_sum(header)
    return data[:start] + bytes(header) + data[start + BLOCK :]


def add_header(data: bytes, chance: random.Random) -> bytes:
    """Put a header before another that says something odd of it: PAX records, a long name or target, a sparse map."""
    start = chance.choice(_headers(data))
    kind = chance.choice(b"xxxgXLKS")
    content = b"".join(_record(chance) for _ in range(chance.choice((1, 2, 4))))
    if kind in b"LKS":
        content = chance.choice((b"x.jpg\0", b"", b"a" * 2000 + b".jpg", b"\0\0", bytes(chance.randbytes(700))))
    header = bytearray(BLOCK)
    header[0:8], header[156], header[257:265] = b"odd.jpg\0", kind, chance.choice((b"ustar\00000", b"ustar  \0"))
    told = _number(chance) if chance.random() < 0.2 else b"%011o\0" % len(content)
    header[124:136] = told
    if kind == ord("S"):
        header[386:482], header[482] = b"".join(_number(chance) for _ in range(8)), chance.randrange(2)
    _write_sum(header)
    return data[:start] + bytes(header) + content + bytes(-len(content) % BLOCK) + data[start:]


def move_blocks(data: bytes, chance: random.Random) -> bytes:
    """Duplicate, remove, empty, or exchange runs of blocks, half of the time those of whole members."""
    places = _headers(data) if chance.random() < 0.5 else range(0, len(data), BLOCK)
    edges = sorted({0, len(data), *chance.sample(places, min(len(places), 4))})
    pieces = [data[start:end] for start, end in pairwise(edges)] or [b""]
    first, second = chance.randrange(len(pieces)), chance.randrange(len(pieces))
    kind = chance.randrange(4)
    if kind == 0:
        pieces.insert(second, pieces[first])
    elif kind == 1:
        pieces[first], pieces[second] = pieces[second], pieces[first]
    elif kind == 2:
        del pieces[first]
    else:
        pieces[first] = bytes(len(pieces[first]))
    return b"".join(pieces)


def truncate(data: bytes, chance: random.Random) -> bytes:
    """Cut the end off: anywhere, or between two blocks."""
    end = chance.randrange(len(data) + 1)
    return data[: end - end % BLOCK if chance.random() < 0.3 else end]


def insert(data: bytes, chance: random.Random) -> bytes:
    """Put bytes in: whole blocks or not, zeros, or anything."""
    place = chance.randrange(len(data) + 1)
    if chance.random() < 0.7:
        place -= place % BLOCK
    size = chance.choice((1, 100, BLOCK, 3 * BLOCK, 3 * BLOCK + 7))
    return data[:place] + chance.choice((bytes(size), chance.randbytes(size), data[:size])) + data[place:]


def nest(data: bytes, chance: random.Random) -> bytes:
    """Put the whole tar into another one, as a member of an honest or a dishonest name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add(tar, chance.choice(("inner.tar", "inner.jpg", "inner.json", "inner")), data)
    return buffer.getvalue()


def flip(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes anywhere."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 8, 64)) if data else 0):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


ACCIDENTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    change_header,
    change_header,
    add_header,
    move_blocks,
    truncate,
    insert,
    nest,
    flip,
)


def _joined(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Two archives one after the other, with or without the end mark between them."""
    return (data.rstrip(b"\0") + bytes(chance.randrange(BLOCK)) if chance.random() < 0.5 else data) + other


def _headers(data: bytes) -> list[int]:
    """Where headers are; the first block where there is none."""
    return [place for place in range(0, len(data), BLOCK) if data[place + 257 : place + 262] == b"ustar"] or [0]


def _number(chance: random.Random) -> bytes:
    """A header's number of 12 bytes: octal, base-256 (negative, too), or none."""
    number = chance.choice((*NUMBERS, chance.randrange(1 << chance.randrange(1, 24))))
    kind = chance.randrange(6)
    if kind == 0:
        return b"\x80" + number.to_bytes(11, "big")
    if kind == 1:
        return b"\xff" + (-1 - number).to_bytes(11, "big", signed=True)
    if kind == 2:
        return chance.choice(
            (bytes(12), b" " * 12, b"-0000000001\0", b"0x000000010\0", b"9" * 11 + b"\0", b"1_000000000\0")
        )
    return (b"%011o\0" % number)[-12:]


def _record(chance: random.Random) -> bytes:
    content = chance.choice(PAX_RECORDS)
    length = len(content) + 2
    length += len(str(length + len(str(length))))
    told = length if chance.random() < 0.8 else chance.choice((0, 1, 5, length + 1, 10**6, 10**18))
    return b"%d %s\n" % (told, content)


def _write_sum(header: bytearray) -> None:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
