"""A lease: an object in a store, or a file, that names its holder and that counts as long as the holder renews it."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from curator.errors import CuratorError
from curator.io import storage
from curator.io.conditional import can_put_if, object_state, object_version, place_of, put_if, renew_if, was_refused

__all__ = ["Lease"]

# A lease that was not renewed for so many seconds may be taken over.
SECONDS = 60.0
# Seconds between renewals: three may fail before the lease runs out.
RENEW_EVERY = 15.0

_log = logging.getLogger(__name__)


class Lease:
    """One process's lease on one object. Inside a `with` block a thread renews it; at the end it is removed.

    Args:
        url: the URL of the object.
        content: JSON that names the holder and is like no other holder's.
    """

    def __init__(self, url: str, content: bytes) -> None:
        self.url = url
        self._holder = json.loads(content)
        self._filesystem, self._path = place_of(url)
        self._renewed = time.monotonic()
        self._lost = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @staticmethod
    def is_possible(url: str) -> bool:
        """True for disks, and for stores that can write an object on a condition."""
        return can_put_if(url)

    @staticmethod
    def seconds_left(url: str) -> float:
        """How long the stored lease still counts, by the store's clock; at most 0 if it ran out or is gone."""
        return Lease.state(url)[0]

    @staticmethod
    def state(url: str) -> tuple[float, str]:
        """As `seconds_left`, and the version of the object of which that is said; empty if it is gone."""
        try:
            state = object_state(*place_of(url))
        except FileNotFoundError:
            return 0.0, ""
        return SECONDS - (state.now - state.written).total_seconds(), state.version

    def take(self) -> bytes | None:
        """Create the object, unless there is one. Returns another holder's content; None if this process holds it."""
        try:
            put_if(self._filesystem, self._path, self._record(), None)
            self._renewed = time.monotonic()
        except OSError as error:
            if not was_refused(error):
                raise
            try:
                content = storage.read_bytes(self.url)
            except FileNotFoundError:
                return self.take()
            # A first attempt whose answer was lost may have created it.
            if not self._is_ours(content):
                return content
        return None

    def take_over(self, content: bytes, version: str) -> None:
        """Overwrite a lease that ran out, unless it has changed since. The caller then calls `take` again.

        Args:
            content: of the lease.
            version: that was found to be too old; a file that was renewed since has another, and the same content.
        """
        with contextlib.suppress(FileNotFoundError):
            if version and storage.read_bytes(self.url) == content:
                self._replace(version)

    def check(self) -> None:
        """Raise `CuratorError` if this process does not hold the lease any more.

        A process that was stopped for long finds out here, before it goes on.
        """
        if not self._lost and time.monotonic() - self._renewed > SECONDS / 2:
            self._renew()
        if self._lost:
            raise CuratorError(f"{self.url.rpartition('/')[0]} {self._lost}: this run stops; what it finished is kept")

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if not self._lost and self._is_ours(storage.read_bytes(self.url)):
                storage.remove(self.url)

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_EVERY):
            self._renew()

    def _renew(self) -> None:
        with self._lock:
            if self._lost or self._ended.is_set():
                return
            try:
                version = object_version(self._filesystem, self._path)
                if not (self._is_ours(storage.read_bytes(self.url)) and self._replace(version, renew_if)):
                    self._lost = "was taken over by another run"
            except FileNotFoundError:
                self._lost = "has no lease any more: someone removed it"
            except OSError as error:
                if time.monotonic() - self._renewed > SECONDS:
                    self._lost = f"could not be reached for {SECONDS:.0f} s ({error}), so its lease ran out"
                _log.warning("the lease on %s could not be renewed: %s", self.url, error)

    def _replace(self, version: str, put: Callable[[Any, str, bytes, str], None] = put_if) -> bool:
        """Overwrite the object if it has this version; False if it has another and is not ours."""
        try:
            put(self._filesystem, self._path, self._record(), version)
            self._renewed = time.monotonic()
        except OSError as error:
            if was_refused(error) or isinstance(error, FileNotFoundError):
                # The object is ours after all if the answer to a first attempt was lost.
                with contextlib.suppress(FileNotFoundError):  # while another replaces it on a disk
                    return self._is_ours(storage.read_bytes(self.url))
                return False
            raise
        return True

    def _record(self) -> bytes:
        record = self._holder | {"renewed": datetime.now(UTC).isoformat()}
        return (json.dumps(record) + "\n").encode()

    def _is_ours(self, content: bytes) -> bool:
        try:
            return bool(json.loads(content)["run"] == self._holder["run"])
        except (ValueError, LookupError, TypeError):
            return False
