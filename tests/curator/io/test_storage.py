from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from curator.errors import CuratorError, InputError, UnusableInput
from curator.io import storage
from curator.io.storage import TEMPORARY


@pytest.fixture(params=["local", "s3"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket") + "/prefix"


def open_uploads(client, url):
    return client.list_multipart_uploads(Bucket=url.split("/")[2]).get("Uploads", [])


def test_write_and_read(anywhere):
    url = storage.join(anywhere, "deep", "down", "file.bin")
    assert not storage.exists(url)
    storage.write_bytes(url, b"0123456789")
    assert storage.exists(url)
    assert storage.read_bytes(url) == b"0123456789"
    assert storage.read_range(url, 3, 6) == b"345"
    assert storage.read_range(url, 8, 100) == b"89"
    with storage.open_stream(url) as stream:
        assert stream.read(4) == b"0123"
        assert stream.read() == b"456789"
    assert storage.is_directory(storage.join(anywhere, "deep"))
    assert not storage.is_directory(url)


def write_half(url, error):
    with storage.write_file(url) as path:
        path.write_bytes(b"half")
        raise error


def test_an_exception_while_writing_leaves_nothing(anywhere, request):
    url = storage.join(anywhere, "run", "file.bin")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            write_half(url, error)
    assert not storage.exists(url)
    assert storage.list_tree(anywhere) == []
    if not storage.is_local(anywhere):
        assert open_uploads(request.getfixturevalue("s3_client"), anywhere) == []


def test_what_stood_before_stands_until_it_is_replaced(anywhere):
    url = storage.join(anywhere, "file.bin")
    storage.write_bytes(url, b"before")
    with pytest.raises(KeyboardInterrupt):
        write_half(url, KeyboardInterrupt)
    assert storage.read_bytes(url) == b"before"
    with storage.write_file(url) as path:
        path.write_bytes(b"after")
        assert storage.read_bytes(url) == b"before"
    assert storage.read_bytes(url) == b"after"
    assert [name for name, _ in storage.list_tree(anywhere)] == ["file.bin"]


def test_a_file_that_cannot_be_written_is_found_before_it_is(anywhere):
    storage.check_writable(storage.join(anywhere, "new", "file.bin"), "out")
    assert storage.list_names(storage.join(anywhere, "new")) == []


def test_a_folder_and_a_place_below_a_file_are_no_files_to_write(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match="it is a folder"):
        storage.check_writable(str(tmp_path), "out")
    with pytest.raises(InputError, match="cannot be written"):
        storage.check_writable(str(tmp_path / "file" / "new.bin"), "out")


def test_forgetting_to_fill_the_path_is_an_error(anywhere):
    with pytest.raises(FileNotFoundError), storage.write_file(storage.join(anywhere, "x")):
        pass
    assert storage.list_tree(anywhere) == []


@pytest.fixture
def small_parts(monkeypatch):
    core = pytest.importorskip("s3fs.core")
    monkeypatch.setattr(core, "calculate_chunksize", lambda size, chunksize=None, **more: 5 << 20)
    return core


def test_a_large_object_goes_up_in_parts(s3_bucket, s3_client, small_parts, monkeypatch):
    calls = []
    call = small_parts.S3FileSystem._call_s3

    async def counted(self, method, *args, **kwargs):
        calls.append(method)
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(small_parts.S3FileSystem, "_call_s3", counted)
    data = os.urandom(1 << 20) * 12
    storage.write_bytes(f"{s3_bucket}/large", data)
    assert calls.count("upload_part") == 3
    assert storage.read_bytes(f"{s3_bucket}/large") == data
    assert open_uploads(s3_client, s3_bucket) == []


def test_an_upload_that_fails_half_way_is_aborted(s3_bucket, s3_client, small_parts, monkeypatch):
    call = small_parts.S3FileSystem._call_s3
    failed = []

    async def failing(self, method, *args, **kwargs):
        if method == "upload_part" and kwargs.get("PartNumber") == 2:
            failed.append(method)
            raise OSError("connection lost")
        return await call(self, method, *args, **kwargs)

    storage.write_bytes(f"{s3_bucket}/large", b"before")
    monkeypatch.setattr(small_parts.S3FileSystem, "_call_s3", failing)
    with pytest.raises(OSError, match="connection lost"):
        storage.write_bytes(f"{s3_bucket}/large", bytes(12 << 20))
    assert failed
    assert storage.read_bytes(f"{s3_bucket}/large") == b"before"
    assert open_uploads(s3_client, s3_bucket) == []


def test_names_are_sorted_files_only_and_fresh(anywhere):
    folder = storage.join(anywhere, "folder")
    assert storage.list_names(folder) == []
    for name in ("b", "a", "below/c"):
        storage.write_bytes(storage.join(folder, name), b"x")
    assert storage.list_names(folder) == ["a", "b"]
    assert storage.list_names(folder + "/") == ["a", "b"]
    storage.write_bytes(storage.join(folder, "0"), b"x")
    assert storage.list_names(folder) == ["0", "a", "b"]


def test_temporaries_are_not_listed_and_can_be_removed(tmp_path):
    (tmp_path / "deep").mkdir()
    left = [tmp_path / f".a.123{TEMPORARY}", tmp_path / "deep" / f".b.456{TEMPORARY}"]
    kept = [tmp_path / "a", tmp_path / ".hidden", tmp_path / f"visible{TEMPORARY}.txt"]
    for path in (*left, *kept):
        path.write_bytes(b"x")
    assert storage.list_names(str(tmp_path)) == sorted(path.name for path in kept)
    storage.remove_temporaries(str(tmp_path))
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_temporaries_of_nothing(s3_bucket, tmp_path):
    storage.remove_temporaries(s3_bucket)
    storage.remove_temporaries(str(tmp_path / "nowhere"))


def test_the_tree_is_sorted_with_relative_paths(anywhere):
    assert storage.list_tree(storage.join(anywhere, "tree")) == []
    for name in ("b/x", "a", "b/a/y", "ab"):
        storage.write_bytes(storage.join(anywhere, "tree", name), name.encode())
    storage.write_bytes(storage.join(anywhere, "tree2", "z"), b"z")
    found = storage.list_tree(storage.join(anywhere, "tree"))
    assert [(name, state.size) for name, state in found] == [("a", 1), ("ab", 2), ("b/a/y", 5), ("b/x", 3)]
    for name, state in found:
        assert state == storage.stat(storage.join(anywhere, "tree", name))


@pytest.mark.parametrize("count", [1, 5])
def test_many_states_at_once_are_those_of_each(anywhere, count):
    urls = [storage.join(anywhere, "many", f"{index}.tar") for index in range(count)]
    for index, url in enumerate(urls):
        storage.write_bytes(url, b"x" * (index + 1))
    missing = [storage.join(anywhere, "many", "9.tar"), storage.join(anywhere, "nowhere", "1.tar")]
    states = storage.stat_many([*urls, *missing])
    assert sorted(states) == sorted(urls)
    assert states == {url: storage.stat(url) for url in urls}
    assert [states[url].size for url in urls] == list(range(1, count + 1))
    assert all(state.version for state in states.values())


def test_many_states_below_a_folder_that_is_not_there(anywhere):
    urls = [storage.join(anywhere, "nowhere", f"{index}.tar") for index in range(5)]
    assert storage.stat_many(urls) == {}


def test_a_state_below_a_file_is_missing_like_any_other(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    assert storage.stat_many([str(tmp_path / "file" / "below.tar")]) == {}


def test_a_state_tells_versions_apart(anywhere):
    url = storage.join(anywhere, "file")
    storage.write_bytes(url, b"one")
    before = storage.stat(url)
    if storage.is_local(anywhere):
        os.utime(url, ns=(1, 1))
    else:
        storage.write_bytes(url, b"two")
    after = storage.stat(url)
    assert after.size == before.size
    assert after.version != before.version
    with pytest.raises(FileNotFoundError):
        storage.stat(storage.join(anywhere, "missing"))


def test_removing_takes_what_is_below_and_nothing_beside(anywhere):
    for name in ("shards/a", "shards/b/c", "shards2/a", "shards.txt"):
        storage.write_bytes(storage.join(anywhere, name), b"x")
    storage.remove(storage.join(anywhere, "shards"))
    storage.remove(storage.join(anywhere, "shards"))
    storage.remove(storage.join(anywhere, "never", "was"))
    assert [name for name, _ in storage.list_tree(anywhere)] == ["shards.txt", "shards2/a"]
    storage.remove(storage.join(anywhere, "shards.txt"))
    assert [name for name, _ in storage.list_tree(anywhere)] == ["shards2/a"]


ODD_NAMES = ["run[ab]", "run?", "run*", "run**", "run[!x]", "{a,b}", "a::b", "~", "~root", "run#1", "run%2A", "run&x=1"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_taken_as_it_is(anywhere, name):
    """Beside folders that it would match if it were a pattern, and where it would lead if it were expanded."""
    others = ["runa/x", "runb/x", "run1/deep/x", "run/x", "a/x", "b/x", "root/x"]
    for other in others:
        storage.write_bytes(storage.join(anywhere, other), b"other")
    folder = storage.join(anywhere, name)
    assert not storage.exists(folder)
    assert storage.list_names(folder) == []
    assert storage.list_tree(folder) == []
    storage.remove(folder)
    for inside in ("x", "deep/[x]*?.tar", "deep/y"):
        storage.write_bytes(storage.join(folder, inside), inside.encode())
    assert storage.list_names(folder) == ["x"]
    assert storage.list_names(storage.join(folder, "deep")) == ["[x]*?.tar", "y"]
    assert [path for path, _ in storage.list_tree(folder)] == ["deep/[x]*?.tar", "deep/y", "x"]
    odd = storage.join(folder, "deep/[x]*?.tar")
    assert storage.read_bytes(odd) == b"deep/[x]*?.tar"
    assert storage.read_range(odd, 5, 8) == b"[x]"
    with storage.open_stream(odd) as stream:
        assert stream.read() == b"deep/[x]*?.tar"
    assert storage.is_directory(folder)
    assert set(storage.stat_many([odd, storage.join(folder, "deep/y"), storage.join(folder, "deep/z")])) == {
        odd,
        storage.join(folder, "deep/y"),
    }
    storage.remove(odd)
    assert [path for path, _ in storage.list_tree(folder)] == ["deep/y", "x"]
    storage.remove(folder)
    assert not storage.exists(folder)
    assert [path for path, _ in storage.list_tree(anywhere)] == sorted(others)


def test_an_object_that_begins_others_goes_with_them(s3_bucket):
    for name in ("a", "a/b", "ab"):
        storage.write_bytes(f"{s3_bucket}/{name}", b"x")
    storage.remove(f"{s3_bucket}/a")
    assert [name for name, _ in storage.list_tree(s3_bucket)] == ["ab"]


def test_more_objects_than_one_request_removes(s3_bucket, s3_client):
    for number in range(1005):
        s3_client.put_object(Bucket=s3_bucket.removeprefix("s3://"), Key=f"run/{number}", Body=b"")
    storage.remove(f"{s3_bucket}/run")
    assert not storage.exists(f"{s3_bucket}/run")


def test_what_a_store_does_not_remove_is_told(s3_bucket, monkeypatch):
    core = pytest.importorskip("s3fs.core")
    storage.write_bytes(f"{s3_bucket}/run/x", b"x")

    answer = {"Errors": [{"Key": "run/x", "Code": "AccessDenied", "Message": "Access Denied"}]}
    monkeypatch.setattr(core.S3FileSystem, "call_s3", lambda self, method, **arguments: answer)
    with pytest.raises(OSError, match="run/x: Access Denied"):
        storage.remove(f"{s3_bucket}/run")


def test_one_version_of_an_object_is_never_written(s3_bucket):
    storage.write_bytes(f"{s3_bucket}/run", b"x")
    for call in (storage.remove, lambda url: storage.write_bytes(url, b"y")):
        with pytest.raises(UnusableInput, match="names one version of an object"):
            call(f"{s3_bucket}/run?versionId=3/x")
    assert storage.read_bytes(f"{s3_bucket}/run") == b"x"


@pytest.mark.parametrize("bucket", ["AKIAID:hunter2@bucket", "AKIAID:hun/ter2@bucket", "AKIAID@bucket"])
def test_credentials_in_a_bucket_url_are_one_line(bucket):
    for scheme in ("s3", "gs"):
        with pytest.raises(UnusableInput, match="hold no credentials, only a bucket and a key: set ") as caught:
            storage.exists(f"{scheme}://{bucket}/x")
        assert "ter2" not in str(caught.value)


class TestWhatKilledWritersLeft:
    def begin_upload(self, client, bucket, key):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=b"x")

    def test_unfinished_uploads_below_the_directory_and_nowhere_else(self, s3_bucket, s3_client):
        bucket = s3_bucket.removeprefix("s3://")
        own = ["runs/shards/a.tar", "runs/encoder.pt", "runs/pool/img_emb/x.npy"]
        others = ["runs/x/shards/a.tar", "runs2/shards/a.tar", "runs", "other/a"]
        storage.write_bytes(f"{s3_bucket}/runs/owner.json", b"{}")
        storage.write_bytes(f"{s3_bucket}/runs/x/owner.json", b"{}")
        for key in own + others:
            self.begin_upload(s3_client, bucket, key)
        storage.remove_temporaries(f"{s3_bucket}/runs")
        assert sorted(upload["Key"] for upload in open_uploads(s3_client, s3_bucket)) == sorted(others)

    def test_temporaries_of_another_run_below_are_left(self, tmp_path):
        own, other = tmp_path / "runs" / "shards", tmp_path / "runs" / "x" / "shards"
        left = [folder / f".a.tar.123{TEMPORARY}" for folder in (own, other)]
        for path in left:
            path.parent.mkdir(parents=True)
            path.write_bytes(b"x")
        for run in ("runs", "runs/x"):
            (tmp_path / run / "owner.json").write_text("{}")
        storage.remove_temporaries(str(tmp_path / "runs"))
        assert [path.exists() for path in left] == [False, True]
        storage.remove_temporaries(str(tmp_path / "runs" / "x"))
        assert [path.exists() for path in left] == [False, False]

    def test_an_upload_that_is_interrupted(self, s3_bucket, s3_client, small_parts, monkeypatch, tmp_path):
        """Ctrl-C reaches the process while the filesystem's thread uploads the second part."""
        call = small_parts.S3FileSystem._call_s3

        async def slow(self, method, *args, **kwargs):
            if method == "upload_part" and kwargs.get("PartNumber") == 2:
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(3600)
            return await call(self, method, *args, **kwargs)

        monkeypatch.setattr(small_parts.S3FileSystem, "_call_s3", slow)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            storage.write_bytes(f"{s3_bucket}/large", bytes(12 << 20))
        assert open_uploads(s3_client, s3_bucket) == []
        assert list(tmp_path.iterdir()) == []

    def test_scratch_of_a_killed_process_and_not_of_a_living_one(self, tmp_path):
        program = (
            "import sys, time\nfrom curator.io import storage\nwith storage.scratch_folder() as folder:\n"
            "    (folder / 'object').write_bytes(b'x' * 1000)\n    print(folder, flush=True)\n    time.sleep(600)\n"
        )
        environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
        started = [
            subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        try:
            dead, living = (Path(process.stdout.readline().strip()) for process in started)
            started[0].kill()
            started[0].wait()
            assert (dead / "object").exists()
            sweep = "from curator.io import storage; storage.remove_temporaries('/nowhere')"
            subprocess.run([sys.executable, "-c", sweep], env=environment, check=True)
            assert not dead.exists()
            assert (living / "object").exists()
        finally:
            for process in started:
                process.kill()
                process.wait()
                process.stdout.close()

    def test_no_room_to_build_an_object(self, s3_bucket):
        with (
            pytest.raises(CuratorError, match=r"no room in .*a file of .* is built there.*: set TMPDIR"),
            storage.write_file(f"{s3_bucket}/x", size=1 << 60),
        ):
            pass
        with pytest.raises(CuratorError, match=r"no room in .*bytes left: set TMPDIR"):
            write_half(f"{s3_bucket}/x", OSError(errno.ENOSPC, "No space left on device"))
        assert not storage.exists(f"{s3_bucket}/x")


def test_free_space(tmp_path, s3_bucket):
    assert storage.free_bytes(str(tmp_path / "not" / "yet" / "there")) > 0
    assert storage.free_bytes(s3_bucket) is None


def test_an_unknown_scheme_is_the_users_mistake():
    with pytest.raises(UnusableInput, match="cannot open nonsense://x"):
        storage.exists("nonsense://x")


def test_local_urls_are_local():
    assert storage.is_local("/a/b")
    assert storage.is_local("file:///a/b")
    assert not storage.is_local("s3://a/b")
    assert storage.local_path("file:///a/b") == Path("/a/b")
    assert storage.join("s3://b/run/", "x", "y") == "s3://b/run/x/y"
