"""Claims: who works on which task of a run, so that workers that know nothing of each other share the tasks out.

    OUT/external/STAGE/tasks/NAME     what there is to do
    OUT/external/STAGE/claims/NAME    who does it: created on the condition that there is none

Any process creates a claim, by one conditional request of a store or by link(2) on a disk. Its holder makes it newer
now and then. The owner of OUT ends it: when it has been no newer for `LAPSE_SECONDS`, when the stage is over, or when
another owner takes OUT over. No clock is compared with another: the times are the store's, and how long one stood
still is counted by who watches.

Whoever holds a claim looks whether it still stands before everything that it writes. That saves work; what keeps a run
directory sound are whole and deterministic writes, whoever writes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from curator.errors import CuratorError
from curator.io import storage
from curator.io.conditional import object_version, place_of, put_if, renew_if, was_refused

__all__ = ["EXTERNAL", "LAPSE_SECONDS", "TASKS", "Claim", "ClaimEnded", "end_claims", "end_claims_of"]

# Where the stages stand in OUT whose tasks are claimed, and the folder of the tasks of one.
EXTERNAL, TASKS = "external", "tasks"
# A claim that was not made newer for so many seconds has lapsed.
LAPSE_SECONDS = 60.0
# Seconds between renewals: three may fail before a claim lapses.
BEAT_EVERY = 15.0
# A claim that was seen so many seconds ago is not looked at again before a write.
FRESH_SECONDS = 5.0
# A folder may get a file while it is removed.
REMOVALS = 5

_log = logging.getLogger(__name__)


class ClaimEnded(CuratorError):
    """The task is not this process's any more: what it would write is for another to write."""


class Claim:
    """One process's claim on one task. It may be sent to another process of the same holder.

    Args:
        url: of the claim.
        holder: names the holder, and is like no other holder's.
    """

    def __init__(self, url: str, holder: Mapping[str, Any]) -> None:
        self.url = url
        self._holder = dict(holder)
        self._seen = 0.0

    def create(self) -> bool:
        """Claim the task; False if somebody else has.

        Raises:
            FileNotFoundError: on a disk, the stage is gone.
            OSError: the store failed.
        """
        try:
            put_if(*place_of(self.url), self._record(), None)
        except OSError as error:
            if not was_refused(error):
                raise
            # A first attempt whose answer was lost may have created it.
            return self.stands()
        self._seen = time.monotonic()
        return True

    def check(self) -> None:
        """Raise `ClaimEnded` if the claim does not stand any more."""
        if time.monotonic() - self._seen > FRESH_SECONDS and not self.stands():
            raise ClaimEnded(f"the claim {self.url.rpartition('/')[2]} has ended")

    @contextlib.contextmanager
    def kept(self) -> Iterator[threading.Event]:
        """Make the claim newer while the block runs. The event is set once it has ended."""
        over, has_ended = threading.Event(), threading.Event()

        def keep() -> None:
            while not over.wait(BEAT_EVERY):
                try:
                    if not self._renew():
                        has_ended.set()
                        return
                except OSError as error:
                    _log.warning("the claim %s could not be renewed: %s", self.url, error)

        thread = threading.Thread(target=keep, name="claim", daemon=True)
        thread.start()
        try:
            yield has_ended
        finally:
            over.set()
            thread.join()

    def give_back(self) -> None:
        """Remove the claim, if it stands: the task is anybody's again."""
        if self.stands():
            storage.remove_files([self.url])

    def stands(self) -> bool:
        """Whether the claim is there and is this one."""
        try:
            stands: bool = json.loads(storage.read_bytes(self.url))["claim"] == self._holder["claim"]
        except FileNotFoundError:
            return False
        if stands:
            self._seen = time.monotonic()
        return stands

    def _renew(self) -> bool:
        place = place_of(self.url)
        try:
            version = object_version(*place)
            if not self.stands():
                return False
            renew_if(*place, self._record(), version)
        except FileNotFoundError:
            return False
        except OSError as error:
            if not was_refused(error):
                raise
            return self.stands()
        self._seen = time.monotonic()
        return True

    def _record(self) -> bytes:
        # The count makes the content, and so its etag, another.
        self._holder["beat"] = self._holder.get("beat", 0) + 1
        return (json.dumps(self._holder) + "\n").encode()


def end_claims(out: str) -> None:
    """End all claims on tasks of a run directory. Only its owner may do so."""
    folder = storage.join(out, EXTERNAL)
    for stage in sorted({name.partition("/")[0] for name, _ in storage.list_tree(folder)}):
        end_claims_of(storage.join(folder, stage))
    if storage.is_local(out):
        with contextlib.suppress(OSError):
            storage.local_path(folder).rmdir()


def end_claims_of(stage: str) -> None:
    """End a stage: its tasks, its claims and whatever else stands there are removed."""
    # Tasks first: who claimed one reads it afterwards, so no claim that counts comes after the listing of claims.
    for url in (storage.join(stage, TASKS), stage):
        for attempt in range(1, REMOVALS + 1):
            try:
                storage.remove(url)
                break
            except OSError:
                if attempt == REMOVALS:
                    raise
