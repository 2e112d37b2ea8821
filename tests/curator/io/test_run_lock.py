from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.fault_proxy import once_each
from curator.errors import CuratorError, InputError
from curator.io import conditional, lease, run_lock, storage
from curator.io.lease import Lease
from curator.io.run_lock import NAME, Holder, current_holder, owned

ROOT = Path(__file__).parents[2]
FOREIGN = Holder("someone", "elsewhere", 17, "ann", "2026-01-01T00:00:00+00:00")
HOLD = """
import sys, time
from curator.io.lease import Lease
from curator.io.run_lock import owned
with owned(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


# As a training does, whose loaders outlive it for a moment.
HOLD_AND_LEAVE_A_CHILD = """
import os, sys, time
from curator.io.lease import Lease
from curator.io.run_lock import owned
with owned(sys.argv[1]):
    if os.fork():
        os.kill(os.getpid(), 9)
    time.sleep(2)
    os._exit(0)
"""


@pytest.fixture(params=["local", "s3"])
def out(request, tmp_path):
    return str(tmp_path / "deep" / "run") if request.param == "local" else request.getfixturevalue("s3_bucket") + "/run"


@contextlib.contextmanager
def another_process(out):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, out], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_nothing_is_left(out, tmp_path):
    with owned(out):
        assert storage.list_names(out) == [NAME]
    assert not storage.exists(out)
    assert not (tmp_path / "deep").exists()


def test_a_killed_holders_children_are_waited_for(tmp_path):
    out = str(tmp_path / "run")
    command = [sys.executable, "-c", HOLD_AND_LEAVE_A_CHILD, out]
    assert subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode == -signal.SIGKILL
    with owned(out):
        pass


def test_what_the_owner_wrote_stays(out):
    with owned(out):
        storage.write_bytes(storage.join(out, "run.json"), b"{}")
    assert storage.list_names(out) == ["run.json"]


def test_a_second_run_is_told_who_holds_it(out):
    with another_process(out) as process:
        with (
            pytest.raises(
                InputError,
                match=rf"in use by process {process.pid} of .+ on .+, since 20\d\d-.*: wait .*, or give another out$",
            ),
            owned(out),
        ):
            pass
        holder = current_holder(out)
        assert holder is not None
        assert holder.pid == process.pid
        # Stopped, not ended: still the owner.
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(InputError, match="in use"), owned(out):
            pass


def test_ownership_dies_with_its_holder(out):
    with another_process(out) as process:
        process.kill()
        process.wait()
        assert current_holder(out) is None
        with owned(out):
            holder = current_holder(out)
            assert holder is not None
            assert holder.pid == os.getpid()
    assert current_holder(out) is None


def test_an_error_in_the_block_passes_and_releases(out):
    with pytest.raises(ZeroDivisionError), owned(out):
        raise ZeroDivisionError
    with owned(out):
        pass


def test_not_even_this_process_twice(out):
    with owned(out), pytest.raises(InputError, match=f"process {os.getpid()} "), owned(out):
        pass


@pytest.mark.usefixtures("s3_bucket")
def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file, not a directory"), owned(str(tmp_path / "file")):
        pass
    with pytest.raises(InputError, match="cannot be written to"), owned("s3://no-such-bucket-anywhere/run"):
        pass


def test_the_folder_of_a_ray_job_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_0123456789abcdef"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    for out in ("run", "./deep/run", str(folder / "run")):
        with pytest.raises(InputError, match=r"Ray unpacks for the job.*give a URL .* s3://BUCKET/RUN"), owned(out):
            pass
    assert list(folder.iterdir()) == []
    with owned(str(tmp_path / "run")):
        pass


def test_a_run_inside_another_keeps_its_temporaries(tmp_path):
    left, kept = tmp_path / "runs" / "pool", tmp_path / "runs" / "x" / "pool"
    names = [folder / f".a.npy.0{storage.TEMPORARY}" for folder in (left, kept)]
    for name in names:
        name.parent.mkdir(parents=True)
        name.touch()
    with owned(str(tmp_path / "runs" / "x")):
        storage.remove_temporaries(str(tmp_path / "runs"))
    assert [name.exists() for name in names] == [False, True]


def test_a_run_inside_another_keeps_its_uploads_on_s3(s3_bucket, s3_client):
    bucket = s3_bucket.removeprefix("s3://")
    for key in ("runs/pool/a.npy", "runs/x/pool/a.npy"):
        s3_client.create_multipart_upload(Bucket=bucket, Key=key)
    with owned(f"{s3_bucket}/runs/x"):
        storage.remove_temporaries(f"{s3_bucket}/runs")
    uploads = s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert [upload["Key"] for upload in uploads] == ["runs/x/pool/a.npy"]


class TestLease:
    @pytest.fixture
    def out(self, s3_bucket, monkeypatch):
        monkeypatch.setattr(lease, "SECONDS", 2.0)
        monkeypatch.setattr(lease, "RENEW_EVERY", 0.2)
        return f"{s3_bucket}/run"

    def foreign(self, out):
        """The lease of a process on another machine, which this one cannot look at."""
        storage.write_bytes(storage.join(out, NAME), FOREIGN.to_json())

    def test_is_renewed(self, out):
        with owned(out) as owner:
            first = storage.read_bytes(storage.join(out, NAME))
            time.sleep(0.6)
            assert storage.read_bytes(storage.join(out, NAME)) != first
            owner.check()

    def test_of_a_machine_that_went_silent_is_waited_for(self, out, caplog):
        self.foreign(out)
        with owned(out) as owner:
            owner.check()
            holder = current_holder(out)
            assert holder is not None
            assert holder.pid == os.getpid()
        (said,) = [record.getMessage() for record in caplog.records if record.name == "curator.io.run_lock"]
        assert re.search(r"run is held by process 17 of ann on elsewhere.*its lease ends in \d s: waiting$", said)

    def test_of_another_machine_that_is_renewed_is_a_refusal(self, out):
        ended = threading.Event()

        def renew():
            for number in itertools.count():
                record = json.loads(FOREIGN.to_json()) | {"renewed": number}
                storage.write_bytes(storage.join(out, NAME), json.dumps(record).encode())
                if ended.wait(0.5):
                    return

        thread = threading.Thread(target=renew)
        thread.start()
        try:
            while not storage.exists(storage.join(out, NAME)):
                time.sleep(0.01)
            with pytest.raises(InputError, match="in use by process 17 of ann on elsewhere"), owned(out):
                pass
        finally:
            ended.set()
            thread.join()

    def test_of_another_machine_is_not_waited_for_for_ever(self, out, monkeypatch):
        monkeypatch.setattr(lease, "SECONDS", 600.0)
        monkeypatch.setattr(run_lock, "LEASE_PATIENCE", 1.0)
        self.foreign(out)
        with pytest.raises(InputError, match="in use by process 17 of ann on elsewhere"), owned(out):
            pass

    def test_that_was_taken_over_stops_its_holder_and_is_left_alone(self, out):
        with owned(out) as owner:
            self.foreign(out)
            time.sleep(0.6)
            with pytest.raises(CuratorError, match="taken over"):
                owner.check()
        assert json.loads(storage.read_bytes(storage.join(out, NAME)))["run"] == "someone"

    def test_that_someone_removed_stops_its_holder(self, out):
        with owned(out) as owner:
            storage.remove(storage.join(out, NAME))
            time.sleep(0.6)
            with pytest.raises(CuratorError, match="removed"):
                owner.check()

    def test_a_process_that_was_stopped_finds_out_at_the_next_check(self, out, monkeypatch):
        monkeypatch.setattr(lease, "RENEW_EVERY", 60.0)
        with owned(out) as owner:
            self.foreign(out)
            time.sleep(1.2)
            with pytest.raises(CuratorError, match="taken over"):
                owner.check()

    def test_over_a_line_that_fails(self, out, faulty_s3):
        # An attempt may have worked although its answer was lost.
        faulty_s3.fault = once_each("cut", "drop", "503")
        with owned(out) as owner:
            time.sleep(0.6)
            owner.check()
            with pytest.raises(InputError, match=re.escape(str(os.getpid()))), owned(out):
                pass
        assert storage.list_names(out) == []

    def test_only_one_of_many_takes_over(self, out):
        self.foreign(out)
        time.sleep(3.1)
        found = storage.read_bytes(storage.join(out, NAME))
        version = lease.object_state(*storage.resolve(storage.join(out, NAME))).version
        leases = [lease.Lease(storage.join(out, NAME), Holder.this_process().to_json()) for _ in range(4)]
        assert sum(one._replace(version) for one in leases) == 1
        assert storage.read_bytes(storage.join(out, NAME)) != found

    def interrupted(self, out, client, before=lambda: None):
        """Ctrl-C while a worker uploads."""
        with owned(out):
            before()
            client.create_multipart_upload(Bucket=out.split("/")[2], Key="run/shards/a.tar")
            raise KeyboardInterrupt

    def open_uploads(self, out, client):
        return client.list_multipart_uploads(Bucket=out.split("/")[2]).get("Uploads", [])

    def test_an_interrupted_run_leaves_no_unfinished_uploads(self, out, s3_client):
        with pytest.raises(KeyboardInterrupt):
            self.interrupted(out, s3_client)
        assert self.open_uploads(out, s3_client) == []

    def test_uploads_of_a_new_owner_are_left(self, out, s3_client):
        def lose():
            self.foreign(out)
            time.sleep(1.2)

        with pytest.raises(KeyboardInterrupt):
            self.interrupted(out, s3_client, lose)
        assert len(self.open_uploads(out, s3_client)) == 1


# ---- disks without flock


def no_flock(*arguments: object) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.fixture
def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", no_flock)


@pytest.mark.usefixtures("without_flock")
def test_a_disk_without_flock_has_a_lease(tmp_path):
    out = str(tmp_path / "deep" / "run")
    with owned(out) as owner:
        owner.check()
        holder = current_holder(out)
        assert holder is not None
        assert holder.is_lease
        with pytest.raises(InputError, match=f"in use by process {os.getpid()} of"), owned(out):
            pass
    assert current_holder(out) is None
    assert not (tmp_path / "deep").exists()


@pytest.mark.usefixtures("without_flock")
def test_a_lease_on_a_disk_is_waited_for_and_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "SECONDS", 1.0)
    url = foreign_lease(tmp_path)
    with owned(str(tmp_path)) as owner:
        assert json.loads(storage.read_bytes(url))["pid"] == os.getpid()
        owner.check()
    assert storage.list_names(str(tmp_path)) == []
    assert os.listdir(tmp_path) == [], "nothing hidden is left either"


@pytest.mark.usefixtures("without_flock")
def test_a_lease_on_a_disk_is_renewed_by_the_disks_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_EVERY", 0.05)
    out = str(tmp_path)
    with owned(out) as owner:
        path = tmp_path / NAME
        first = path.stat()
        while path.stat().st_mtime_ns == first.st_mtime_ns:
            time.sleep(0.01)
        assert path.stat().st_ino == first.st_ino
        # Another takes over, and the first finds out.
        stale = Lease.state(str(path))[1]
        while Lease.state(str(path))[1] == stale:
            time.sleep(0.01)
        # Not of what was renewed since it was found to be too old: its content is the same.
        Lease(str(path), FOREIGN.to_json()).take_over(path.read_bytes(), stale)
        owner.check()
        assert json.loads(path.read_bytes())["pid"] == os.getpid()
        end = time.monotonic() + 30
        while json.loads(path.read_bytes())["host"] != "elsewhere":
            assert time.monotonic() < end
            Lease(str(path), FOREIGN.to_json()).take_over(path.read_bytes(), Lease.state(str(path))[1])
        while not owner._hold._lost:
            assert time.monotonic() < end
            time.sleep(0.01)
        with pytest.raises(CuratorError, match="was taken over by another run"):
            owner.check()
    assert json.loads(path.read_bytes())["host"] == "elsewhere"


def test_a_lock_whose_file_was_replaced_ends_its_run_and_is_not_removed(tmp_path):
    with owned(str(tmp_path)) as owner:
        owner.check()
        os.rename(foreign_lease(tmp_path), tmp_path / "aside")
        os.replace(tmp_path / "aside", tmp_path / NAME)
        with pytest.raises(CuratorError, match="was taken over by another run"):
            owner.check()
    assert json.loads((tmp_path / NAME).read_bytes())["host"] == "elsewhere"


def test_a_machine_with_flock_respects_the_lease_of_one_without(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "LEASE_PATIENCE", 0.5)
    foreign_lease(tmp_path)
    with pytest.raises(InputError, match="in use by process 17 of ann on elsewhere"), owned(str(tmp_path)):
        pass


def test_of_many_who_take_over_a_lease_on_a_disk_one_has_it(tmp_path):
    url = foreign_lease(tmp_path)
    version = conditional.object_state(None, url).version
    leases = [run_lock.Lease(url, Holder.this_process().to_json()) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda one: one._replace(version), leases)) == 1


def test_a_lock_shows_that_its_holder_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "RENEW_EVERY", 0.05)
    with owned(str(tmp_path)):
        before = storage.stat(str(tmp_path / NAME))
        while storage.stat(str(tmp_path / NAME)) == before:
            time.sleep(0.01)


def foreign_lease(folder):
    """The lease of a process on another machine, which this one cannot look at."""
    url = str(folder / NAME)
    record = json.loads(FOREIGN.to_json()) | {"renewed": "2026-01-01T00:00:00+00:00"}
    storage.write_bytes(url, json.dumps(record).encode())
    return url
