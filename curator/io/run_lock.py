"""One owner per run directory: a lock that dies with its holder, or a lease on an object store.

Both stand as OUT/owner.json and say who holds the directory. They save work that two runs would do twice; what
keeps a run directory sound are whole and deterministic writes, whoever writes.

A local lock is flock(2) on that file: the kernel drops it when the holder ends, however it ends. Where there is no
flock, as on Lustre and NFS that were mounted without it, a disk has a lease as stores have. A lease is
created on the condition that no object stands there, renewed on the condition that it is still ours, and taken
over on the condition that it is still the one that ran out (`curator.io.conditional`). Whether the holder of a
lease on another machine is alive shows by its renewals: a run that finds a lease waits for one, or for its end.
The file of a lock gets a new time as often as a lease is renewed, so that other machines see that its holder lives.

Who takes over a run directory ends all claims that workers of an earlier owner hold there (`curator.io.claim`).
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import logging
import math
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from curator.errors import Another, CuratorError, InputError
from curator.io import storage
from curator.io.claim import end_claims
from curator.io.filesystems import is_in_job_folder
from curator.io.lease import RENEW_EVERY, Lease
from curator.io.states import TEMPORARY

__all__ = ["Holder", "current_holder", "owned"]

NAME = "owner.json"
# A process that only looks whether the lock is held holds it for a moment: so many seconds are waited for that.
PATIENCE = 0.5
# The children of a holder that was killed share its lock until they notice.
ORPHANS_PATIENCE = 15.0
# A lease that nobody renews ends before that.
LEASE_PATIENCE = 90.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Who holds a run directory.

    Attributes:
        run: a random name of the run.
        host: the driver's machine.
        pid: the driver's process number.
        user: the user who started the run.
        since: the time at which the run started, ISO 8601 in UTC.
        is_lease: whether it holds the directory by a lease, and not by a lock.
    """

    run: str
    host: str
    pid: int
    user: str
    since: str
    is_lease: bool = False

    @classmethod
    def this_process(cls) -> Holder:
        """The holder that this process is, from now on."""
        return cls(
            uuid.uuid4().hex,
            socket.gethostname(),
            os.getpid(),
            _user(),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @classmethod
    def from_json(cls, data: bytes) -> Holder | None:
        """The holder that owner.json names; None if its content cannot be read."""
        try:
            record = json.loads(data)
            known = {field.name: record[field.name] for field in fields(cls) if field.name != "is_lease"}
            return cls(**known, is_lease="renewed" in record)
        except (ValueError, LookupError, TypeError):
            return None

    def to_json(self) -> bytes:
        """The content of owner.json."""
        record = asdict(self)
        del record["is_lease"]  # a lease says so by the time of its renewal
        return (json.dumps(record) + "\n").encode()

    def is_dead(self) -> bool:
        """True if the holder ran on this machine and has ended; False where that cannot be told."""
        return self._is_here() and not Path(f"/proc/{self.pid}").exists()

    def is_alive(self) -> bool:
        """True if the holder runs on this machine; False where that cannot be told."""
        return self._is_here() and Path(f"/proc/{self.pid}").exists()

    def _is_here(self) -> bool:
        return self.host == socket.gethostname() and Path("/proc/1").exists()

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since}"


class Owner:
    """This process, as the owner of a run directory.

    Attributes:
        holder: how others see it.
    """

    def __init__(self, holder: Holder, hold: Lease | _Lock | None = None) -> None:
        self.holder = holder
        self._hold = hold

    def check(self) -> None:
        """Raise `CuratorError` if another run took the directory over. The check is cheap, so call it often."""
        if self._hold is not None:
            self._hold.check()


@dataclass(frozen=True)
class _Lock:
    """A locked file, as it was opened."""

    path: Path
    file: int

    def check(self) -> None:
        """Raise `CuratorError` if a machine that has no flock put its lease in the file's place."""
        if self.path.exists() and not _is_at(self.path, self.file):
            raise CuratorError(
                f"{self.path.parent} was taken over by another run: this run stops; what it finished is kept"
            )


@contextlib.contextmanager
def owned(url: str) -> Iterator[Owner]:
    """Own a run directory while the block runs.

    Only the lock is written. A folder that was made for the lock is removed with it if it is empty. A lease whose
    holder may be dead is waited for, up to `LEASE_PATIENCE` seconds, and a log line says so. Where an interrupt or an
    error ends the block, what workers that were killed over it left is removed.

    Raises:
        InputError: another run holds the directory (the message says who, and since when), or the directory cannot be
            written to.
    """
    holder = Holder.this_process()
    if storage.is_local(url):
        _refuse_job_folder(storage.local_path(url))
        with _owned_folder(storage.local_path(url), holder) as hold:
            end_claims(url)
            yield Owner(holder, hold)
    elif Lease.is_possible(url):
        with _leased(url, holder) as lease:
            end_claims(url)
            with _swept(url, lease):
                yield Owner(holder, lease)
    else:
        yield Owner(holder)


def current_holder(url: str) -> Holder | None:
    """The holder of a run directory; None if it has none. Nothing is taken or changed."""
    try:
        holder = Holder.from_json(storage.read_bytes(storage.join(url, NAME)))
    except OSError:
        return None
    if holder is None or holder.is_dead():
        return None
    if storage.is_local(url) and not holder.is_lease:
        return holder if _is_locked(storage.local_path(url) / NAME) else None
    return holder if Lease.seconds_left(storage.join(url, NAME)) > 0 else None


def _refuse_job_folder(folder: Path) -> None:
    if is_in_job_folder(folder):
        raise InputError(
            "this is inside the folder that Ray unpacks for the job, and removes when it ends",
            field="out",
            value=str(folder),
            advice="give a URL that all machines reach, such as s3://BUCKET/RUN, or the whole path of a shared folder",
        )


@contextlib.contextmanager
def _owned_folder(folder: Path, holder: Holder) -> Iterator[Lease | _Lock]:
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with _locked(folder / NAME, holder) as lock:
            if lock is not None:
                yield lock
        if lock is None:
            with _leased(str(folder), holder) as lease:
                yield lease
    finally:
        with contextlib.suppress(OSError):
            for parent in created:
                parent.rmdir()


@contextlib.contextmanager
def _locked(path: Path, holder: Holder) -> Iterator[_Lock | None]:
    """Hold the lock; None where there is no flock, or where the holder before came from a machine that has none."""
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _open_locked(path) if _has_flock(folder) else None
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder} is a file, not a directory", advice=Another("out")) from error
    except PermissionError as error:
        raise InputError(f"{folder} cannot be written to ({error.strerror})", advice=Another("out")) from error
    if file is None:
        yield None
        return
    try:
        os.truncate(file, 0)
        os.write(file, holder.to_json())
        with _renewed(file):
            yield _Lock(path, file)
    finally:
        # A machine without flock may have put its lease there, if this one did not answer for long.
        if _is_at(path, file):
            path.unlink(missing_ok=True)
        os.close(file)


@contextlib.contextmanager
def _renewed(file: int) -> Iterator[None]:
    """Give an open file a new time now and then, which other machines see."""
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(RENEW_EVERY):
            with contextlib.suppress(OSError):
                os.utime(file)

    thread = threading.Thread(target=keep, name="lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _has_flock(folder: Path) -> bool:
    """Whether this machine can lock files of a folder: tried with one of its own, since owner.json is another's."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{NAME}.", suffix=TEMPORARY) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            _log.info("%s has no flock(2) (%s): it is held by a lease", folder, error.strerror)
            return False
    return True


def _open_locked(path: Path) -> int | None:
    """The open and locked file; None where it is for a lease."""
    started = time.monotonic()
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            holder = Holder.from_json(os.pread(file, 1 << 16, 0))
            if holder is not None and holder.is_lease:
                os.close(file)
                return None
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before may have removed the file that was opened here.
            if _is_at(path, file):
                return file
        except BlockingIOError as error:
            if time.monotonic() > started + (ORPHANS_PATIENCE if holder and holder.is_dead() else PATIENCE):
                os.close(file)
                raise _held(str(path.parent), str(holder or "another run")) from error
            time.sleep(0.05)
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is_at(path: Path, file: int) -> bool:
    """Whether the open file is the one of this name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _is_locked(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def _leased(url: str, holder: Holder) -> Iterator[Lease]:
    path = storage.join(url, NAME)
    lease = Lease(path, holder.to_json())
    try:
        _take(lease, url)
    except CuratorError:
        raise
    except (OSError, NotImplementedError) as error:
        raise InputError(f"{url} cannot be written to ({error})", advice=Another("out")) from error
    with lease:
        yield lease


@contextlib.contextmanager
def _swept(url: str, lease: Lease) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError, CuratorError):  # the first error is the one to tell
            lease.check()
            storage.remove_temporaries(url)
        raise


def _take(lease: Lease, url: str) -> None:
    first, started, before = b"", time.monotonic(), math.inf
    while (content := lease.take()) is not None:
        holder, (seconds, version) = Holder.from_json(content), Lease.state(lease.url)
        if seconds <= 0 or (holder and holder.is_dead()):
            lease.take_over(content, version)
            continue
        # A file that is renewed keeps its content. A renewal adds some fifteen seconds, the rounding of times one.
        is_renewed = first not in (b"", content) or seconds > before + RENEW_EVERY / 3
        before = seconds
        if is_renewed or (holder and holder.is_alive()) or time.monotonic() - started > LEASE_PATIENCE:
            raise _held(url, str(holder or "another run"))
        if not first:
            first = content
            name = holder or "another run"
            _log.warning("%s is held by %s; if that is dead, its lease ends in %.0f s: waiting", url, name, seconds)
        time.sleep(min(1.0, seconds))


def _held(url: str, holder: str) -> InputError:
    return InputError(f"{url} is in use by {holder}", advice=("wait for that run or stop it", Another("out")))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
