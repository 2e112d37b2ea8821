"""Names of members: dots, order, ./, and letters with accents (cases 01, 02, 03 and 17)."""

from __future__ import annotations

import json
import tarfile
import unicodedata
from pathlib import Path

import pytest
from inputs_for_tests import Curator, chosen_keys, picture, select, write_tar


def test_01_dots_in_keys_are_grouped_as_webdataset_does_and_told(curator: Curator, tmp_path: Path) -> None:
    names = [f"2021.03.{day:02d}_cam{number}.jpg" for day in range(1, 4) for number in range(3)]
    others = [(f"plain{number}.jpg", picture(20 + number)) for number in range(5)]
    pool = write_tar(tmp_path / "pool.tar", [*((name, picture(number)) for number, name in enumerate(names)), *others])
    ran = select(curator, tmp_path, pool, "--budget", 6)
    assert ran.code == 0, ran.err
    assert sorted(chosen_keys(tmp_path)) == ["2021", *(f"plain{number}" for number in range(5))]
    assert "9 images lie several in one sample" in ran.err
    assert "2021.03.01_cam0.jpg belongs to 2021" in ran.err


def test_02_an_unsorted_tar_says_how_to_sort(curator: Curator, tmp_path: Path) -> None:
    keys = [f"{number:04d}" for number in range(12)]
    images = [(f"{key}.jpg", picture(int(key))) for key in keys]
    pool = write_tar(tmp_path / "pool.tar", [*images, *((f"{key}.json", b"{}") for key in keys)])
    told = "do not stand beside the others of this key: the tar is not sorted; pack it again in the order of names"
    ran = select(curator, tmp_path, pool)
    assert ran.code == 3
    line = ran.err.splitlines()[-1]
    assert line.startswith("curator: 12 of 24 samples of the pool are bad (50.00%)")
    assert told in line and "tar --sort=name" in line
    ran = curator("inspect", tmp_path / "run", "--bad")
    assert ran.out.count(f"{told}, as with tar --sort=name") == 12


def test_03_names_that_begin_with_dot_slash_are_the_same_keys(curator: Curator, tmp_path: Path) -> None:
    files = [(f"class_{number % 2}/{number:02d}.jpg", picture(number)) for number in range(8)]
    write_tar(tmp_path / "pool.tar", [(f"./{name}", data) for name, data in files])
    (tmp_path / "deny.txt").write_text("class_0/00\n./class_1/01\nclass_0/02.jpg\n")
    ran = select(curator, tmp_path, tmp_path / "pool.tar", "--budget", 8, "--deny", tmp_path / "deny.txt")
    assert ran.code == 0, ran.err
    assert sorted(chosen_keys(tmp_path)) == sorted(name.removesuffix(".jpg") for name, _ in files[3:])
    probe = ("probe", "--encoder", "timm:test_efficientnet", "--weights", "random", "--label", "folder", "--json")
    ran = curator(*probe, "--train", tmp_path / "pool.tar", "--test", tmp_path / "pool.tar")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["classes"], found["train"]["used"], found["train"]["unlabelled"]) == (2, 8, 0)


@pytest.mark.parametrize("spelling", ["NFC", "NFD", "with endings", "of Windows"])
def test_17_deny_lists_in_any_spelling(curator: Curator, tmp_path: Path, spelling: str) -> None:
    names = ["Käse", "Brötchen", "crème", *(f"photo {number}" for number in range(5))]
    with_records = []
    for number, name in enumerate(names):  # as tar on a Mac writes them
        decomposed = unicodedata.normalize("NFD", f"shop/{name}.jpg")
        with_records += [(decomposed.replace("shop/", "shop/._"), b"\0\5\x16\7"), (decomposed, picture(number))]
    pool = write_tar(tmp_path / "pool.tar", with_records, tarfile.PAX_FORMAT)
    entries = [unicodedata.normalize("NFC" if spelling == "NFC" else "NFD", f"shop/{name}") for name in names[:3]]
    ending = {"with endings": ".jpg\n", "of Windows": "\r\n"}.get(spelling, "\n")
    text = ("\ufeff" if spelling == "of Windows" else "") + "".join(entry + ending for entry in entries)
    (tmp_path / "deny.txt").write_bytes(text.encode())
    ran = select(curator, tmp_path, pool, "--budget", 8, "--deny", tmp_path / "deny.txt", "--manifest-only")
    assert ran.code == 0, ran.err
    assert sorted(chosen_keys(tmp_path)) == [f"shop/photo {number}" for number in range(5)]


def test_17_an_entry_that_matches_nothing_is_told_with_the_nearest_key(curator: Curator, tmp_path: Path) -> None:
    pool = write_tar(tmp_path / "pool.tar", [(f"shop/bread{number}.jpg", picture(number)) for number in range(6)])
    (tmp_path / "deny.txt").write_text("Shop/Bread3.jpg.txt\n")
    ran = select(curator, tmp_path, pool, "--deny", tmp_path / "deny.txt", "--manifest-only")
    assert ran.code == 0, ran.err
    assert "Shop/Bread3.jpg.txt (is shop/bread3 meant?)" in ran.err
