"""What people hand to a tool like this: all of it is in the summary, as samples, as bad ones, or as left out."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from curator.errors import InputError
from curator.store import Account
from curator_pipelines.jobs.queries.inspect import inspect_sources
from curator_pipelines.jobs.select.summary import account_line
from curator_pipelines.run import Reporter


def picture(seed, form="JPEG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((64, 48)).save(buffer, form)
    return buffer.getvalue()


def write_tar(path, *entries):
    """Entries are (name, bytes), or (name, the name that it is a hard link to)."""
    with tarfile.open(path, "w") as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            if isinstance(data, str):
                info.type, info.linkname, data = tarfile.LNKTYPE, data, b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def inspect(*urls):
    return inspect_sources([str(url) for url in urls], Reporter(quiet=True))


def test_a_folder_of_phone_photos_accounts_for_every_file(tmp_path):
    files = {f"IMG_{n}.HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" for n in range(3)}
    files |= {"a.jfif": picture(1), "b.avif": picture(2, "AVIF"), "c.JPG": picture(3), "d": picture(4, "PNG")}
    files |= {"notes.pdf": b"%PDF", "broken.jpg": b"no image"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = inspect(tmp_path)
    heic = found.left_out.get(".HEIC", 0)
    assert found.samples == 4
    assert found.bad == {"decode_error": 1 + 3 - heic}
    assert found.samples + sum(found.bad.values()) + sum(found.left_out.values()) == len(files)
    assert "files left out: .HEIC 3, .pdf 1" in found.to_text() or heic == 0
    assert found.to_json()["left_out"] == found.left_out


def test_dots_in_keys_are_a_note(tmp_path):
    names = [f"2021.03.{day:02d}_cam{n}.jpg" for day in (1, 2) for n in range(3)]
    found = inspect(write_tar(tmp_path / "pool.tar", *((name, picture(7)) for name in names)))
    assert (found.samples, sum(found.bad.values())) == (1, 0)
    assert "note        6 images lie several in one sample" in found.to_text()
    assert found.to_json()["remarks"] == {"dotted_keys": [6, "2021.03.01_cam0.jpg belongs to 2021"]}


def test_hard_links_are_samples(tmp_path):
    entries = [("a.jpg", picture(1)), ("a.txt", b"one"), ("b.jpg", "a.jpg"), ("b.txt", b"again"), ("c.jpg", "b.jpg")]
    found = inspect(write_tar(tmp_path / "pool.tar", *entries))
    assert (found.samples, found.formats, found.bad) == (3, {"jpg": 3}, {})


def test_members_in_the_order_of_their_endings_are_bad_with_the_reason(tmp_path):
    entries = [(f"{key}.{ext}", picture(1)) for ext in ("jpg", "txt") for key in "ab"]
    found = inspect(write_tar(tmp_path / "pool.tar", *entries))
    assert (found.samples, found.bad) == (2, {"duplicate_key": 2})
    assert "--sort=name" in found.examples[0]


def test_pointers_and_pages_are_refused_before_work(tmp_path):
    (tmp_path / "00000.tar").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 27\n")
    with pytest.raises(InputError, match=r"00000\.tar is a git-lfs pointer, not a shard: .*`git lfs pull`"):
        inspect(tmp_path)


def test_the_summary_of_a_run_names_what_was_left_out():
    line = account_line(Account(seen=3, embedded=3, left_out={".mov": 2, ".pdf": 1}))
    assert line == "3 samples seen, 3 embedded, 0 bad, 3 files left out: .mov 2, .pdf 1"
