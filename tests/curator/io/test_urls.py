from __future__ import annotations

import os
from pathlib import Path

import pytest

from curator.errors import InputError
from curator.io import storage
from curator.io.urls import absolute, expand, public_name, public_text


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("/d/{0..3}.tar", ["/d/0.tar", "/d/1.tar", "/d/2.tar", "/d/3.tar"]),
        ("/d/{008..011}.tar", ["/d/008.tar", "/d/009.tar", "/d/010.tar", "/d/011.tar"]),
        ("/d/{8..11}.tar", ["/d/8.tar", "/d/9.tar", "/d/10.tar", "/d/11.tar"]),
        ("/d/{10..11}.tar", ["/d/10.tar", "/d/11.tar"]),
        ("/d/{7..7}.tar", ["/d/7.tar"]),
        ("/d/{b,a}/{0..1}.tar", ["/d/b/0.tar", "/d/b/1.tar", "/d/a/0.tar", "/d/a/1.tar"]),
        ("/d/x{,-extra}.tar", ["/d/x.tar", "/d/x-extra.tar"]),
        ("s3://b/{00..01}.tar", ["s3://b/00.tar", "s3://b/01.tar"]),
        ("https://h/{0..1}.tar?x=1", ["https://h/0.tar?x=1", "https://h/1.tar?x=1"]),
    ],
)
def test_braces(pattern, wanted):
    assert expand([pattern]) == wanted


@pytest.mark.parametrize("pattern", ["/d/{3..1}.tar", "/d/{}.tar", "/d/{a}.tar", "/d/{,}.tar", "/d/{1..}.tar"])
def test_an_empty_range_is_an_error_that_shows_the_pattern(pattern):
    with pytest.raises(InputError) as caught:
        expand(["/other.tar", pattern])
    assert pattern in str(caught.value)
    assert "empty" in str(caught.value)


@pytest.mark.parametrize("pattern", ["/d/{0..1.tar", "/d/0..1}.tar", "/d/{a,{b,c}.tar"])
def test_an_unbalanced_brace_is_an_error_that_shows_the_pattern(pattern):
    with pytest.raises(InputError) as caught:
        expand([pattern])
    assert pattern in str(caught.value)


def test_joined_lists_keep_their_order_and_each_url_once():
    assert expand(["/b.tar::/a.tar", "/c.tar::/b.tar"]) == ["/b.tar", "/a.tar", "/c.tar"]


@pytest.mark.parametrize("pattern", ["", "::/a.tar", "/a.tar::", "/a.tar::::/b.tar"])
def test_an_empty_url_in_a_list_is_an_error(pattern):
    with pytest.raises(InputError, match="empty URL"):
        expand([pattern])


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket") + "/in"
    for name in ("b-1.tar", "b-0.tar", "c.txt", "deep/d.tar"):
        storage.write_bytes(storage.join(url, name), b"x")
    return url


def test_globs_are_sorted(folder):
    assert expand([folder + "/*.tar"]) == [folder + "/b-0.tar", folder + "/b-1.tar"]
    assert expand([folder + "/b-[1].tar"]) == [folder + "/b-1.tar"]
    assert expand([folder + "/*/d.tar"]) == [folder + "/deep/d.tar"]
    assert expand([folder + "/{b-0,c}.t*"]) == [folder + "/b-0.tar", folder + "/c.txt"]


def test_a_glob_without_a_match_is_an_error_that_shows_the_pattern(folder):
    with pytest.raises(InputError, match=r"nothing matches '.*/\*\.parquet'"):
        expand([folder + "/*.parquet"])


def test_a_glob_sees_what_was_just_written(folder):
    assert len(expand([folder + "/b-*.tar"])) == 2
    storage.write_bytes(folder + "/b-2.tar", b"x")
    assert len(expand([folder + "/b-*.tar"])) == 3


def test_a_file_whose_name_holds_a_bracket(tmp_path):
    path = tmp_path / "a[1].tar"
    path.write_bytes(b"x")
    assert expand([str(path)]) == [str(path)]


def test_a_file_of_urls(folder):
    listing = storage.join(folder, "list.txt")
    lines = ["# shards", "", f"{folder}/b-1.tar", f"  {folder}/{{x,y}}.tar::/z.tar  ", f"{folder}/b-0*"]
    storage.write_bytes(listing, "\n".join(lines).encode())
    assert expand([f"/first.tar::@{listing}"]) == [
        "/first.tar",
        *(f"{folder}/{name}.tar" for name in ("b-1", "x", "y")),
        "/z.tar",
        f"{folder}/b-0.tar",
    ]


def test_a_list_that_is_missing_or_empty_is_an_error(tmp_path):
    with pytest.raises(InputError, match="cannot read the list"):
        expand([f"@{tmp_path}/none.txt"])
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    with pytest.raises(InputError, match="is empty"):
        expand([f"@{tmp_path}/empty.txt"])
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot read the list"):
        expand([f"@{tmp_path}/binary.txt"])


def test_local_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert absolute("a/b.tar") == f"{tmp_path}/a/b.tar"
    assert absolute("./a/") == f"{tmp_path}/a"
    assert absolute(".") == str(tmp_path)
    assert absolute("~/a.tar") == "/home/someone/a.tar"
    assert absolute("file:///a/b.tar") == "/a/b.tar"
    assert absolute("s3://bucket/run/") == "s3://bucket/run"


def test_a_shard_has_one_name_from_wherever_it_is_given(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path)
    names = [absolute("pool/a.tar"), absolute("work/../pool/a.tar"), absolute("pool//a.tar")]
    monkeypatch.chdir(tmp_path / "work")
    names.append(absolute("../pool/a.tar"))
    assert set(names) == {f"{tmp_path}{os.sep}pool/a.tar"}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/data/a.tar", "/data/a.tar"),
        ("s3://bucket/a.tar", "s3://bucket/a.tar"),
        ("https://me:pw@host:8080/a.tar", "https://host:8080/a.tar"),
        ("https://h/a.tar?X-Amz-Signature=1&X-Amz-Date=2&X-Amz-Credential=3", "https://h/a.tar"),
        ("https://h/a.tar?sv=1&se=2&sr=b&sp=r&sig=3", "https://h/a.tar"),
        ("https://h/a.tar?X-Goog-Signature=1&generation=7", "https://h/a.tar?generation=7"),
        ("https://h/a.tar?Expires=1&Signature=2&Key-Pair-Id=3&part=4", "https://h/a.tar?part=4"),
        ("https://h/a.tar?token=t", "https://h/a.tar"),
        ("https://h/get?file=a%20b.tar&flag", "https://h/get?file=a%20b.tar&flag"),
        ("s3://bucket/what?.tar", "s3://bucket/what?.tar"),
        ("s3://bucket/a#1.tar", "s3://bucket/a#1.tar"),
    ],
)
def test_public_names(url, name):
    assert public_name(url) == name
    assert public_name(name) == name
    assert public_text(f"NAME={url}::/b.tar: '{url}', see ({url}).") == f"NAME={name}::/b.tar: '{name}', see ({name})."


def test_what_is_no_url_is_hidden_as_well():
    assert public_text("at https://[me:pw@host/x?sig=1") == "at https://..."
