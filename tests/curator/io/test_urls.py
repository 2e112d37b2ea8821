from __future__ import annotations

import os
from pathlib import Path

import pytest

from curator.errors import InputError
from curator.io import storage
from curator.io.urls import absolute, expand


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
        ("/d/{a..c}.tar", ["/d/a.tar", "/d/b.tar", "/d/c.tar"]),
        ("/d/{A..E..2}.tar", ["/d/A.tar", "/d/C.tar", "/d/E.tar"]),
        ("/d/{0..10..5}.tar", ["/d/0.tar", "/d/5.tar", "/d/10.tar"]),
        ("/d/{000..010..5}.tar", ["/d/000.tar", "/d/005.tar", "/d/010.tar"]),
        ("s3://b/{00..01}.tar", ["s3://b/00.tar", "s3://b/01.tar"]),
        ("https://h/{0..1}.tar?x=1", ["https://h/0.tar?x=1", "https://h/1.tar?x=1"]),
    ],
)
def test_braces(pattern, wanted):
    assert expand([pattern]) == wanted


@pytest.mark.parametrize("inside", ["3..1", "", "a", ",", "1..", "c..a"])
def test_an_empty_range_is_an_error_that_shows_the_pattern(inside):
    pattern = f"/d/{{{inside}}}.tar"
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


def test_a_list_in_the_folder_of_a_ray_job_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "list.txt").write_text("/a.tar\n")
    monkeypatch.chdir(folder)
    for listed in ("@list.txt", "/z.tar::@./list.txt", f"@{folder}/list.txt"):
        with pytest.raises(InputError, match=r"list\.txt is inside the folder that Ray unpacks.*@s3://BUCKET/LIST"):
            expand([listed])
    (tmp_path / "list.txt").write_text("/a.tar\n")
    assert expand([f"@{tmp_path}/list.txt"]) == ["/a.tar"]


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


@pytest.mark.parametrize("pattern", ["/d/{0..999999999}.tar", "/d/{0..9999}/{0..9999}.tar"])
def test_a_slip_of_the_keyboard_is_counted_before_it_is_expanded(pattern: str) -> None:
    with pytest.raises(InputError, match=r"URLs, more than 2,000,000") as caught:
        expand([pattern])
    assert pattern in str(caught.value)


def test_a_step_of_nothing() -> None:
    with pytest.raises(InputError, match="step of 0"):
        expand(["/d/{0..9..0}.tar"])


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf/d/a.tar\r\n/d/b.tar\r\n",
        b"url\n/d/a.tar\n/d/b.tar\n",
        b'\xef\xbb\xbfURL,caption\n/d/a.tar,a\n"/d/b.tar","b, or not"\n',
        b"id\tpath\n1\t/d/a.tar\n2\t/d/b.tar\n",
    ],
)
def test_lists_of_other_tools(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list").write_bytes(content)
    assert expand([f"@{tmp_path}/list"]) == ["/d/a.tar", "/d/b.tar"]


def test_a_table_without_urls_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("where,what\n/d/a.tar,x\n")
    with pytest.raises(InputError, match=r"columns where, what; none of them is called url: give a text file"):
        expand([f"@{tmp_path}/list.csv"])


@pytest.mark.parametrize("name", ["run[ab]", "run?", "run*", "a::b"])
def test_a_folder_that_is_really_called_so(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    for root in (str(tmp_path), request.getfixturevalue("s3_bucket") + "/x"):
        for folder in (name, "runa", "run1"):
            storage.write_bytes(f"{root}/{folder}/c/1.tar", b"x")
        if "::" in name:  # a list of two for whoever gives it as a source
            continue
        assert expand([f"{root}/{name}"]) == [f"{root}/{name}"]
        assert expand([f"{root}/{name}/c/1.tar"]) == [f"{root}/{name}/c/1.tar"]
        assert expand([f"{root}/{name}/*/*.tar"]) == [f"{root}/{name}/c/1.tar"]
        assert expand([f"{root}/run[a1]/c/*.tar"]) == [f"{root}/run1/c/1.tar", f"{root}/runa/c/1.tar"]


def test_urls_that_would_get_one_name_are_refused() -> None:
    with pytest.raises(InputError, match=r"one name, https://h/get, as doc may be a secret") as caught:
        expand(["https://h/get?doc=AAA", "https://h/get?doc=BBB"])
    assert "AAA" not in str(caught.value)
    # One file under two signatures.
    assert len(expand(["https://h/a?X-Amz-Signature=1", "https://h/a?X-Amz-Signature=2"])) == 2


def test_a_program_is_no_url() -> None:
    with pytest.raises(InputError, match=r"pipe:aws s3 cp s3://b/a.tar -' runs a program.*: give what it reads"):
        expand(["pipe:aws s3 cp s3://b/a.tar -"])
