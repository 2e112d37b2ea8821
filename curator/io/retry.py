"""Requests to storage that fails now and then: which are made again, and what is raised in the end.

One place decides about retries; filesystems' own are kept to a few, since attempts of nested layers multiply.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from curator.io.faults import Fault, fault_of, lacks_credentials, reason_of
from curator.io.names import public_name
from curator.io.traffic import count_traffic

__all__ = ["attempts_of", "retried"]

T = TypeVar("T")

ATTEMPTS = 6
# Seconds before the second attempt. Each further wait is twice as long, which makes 8 seconds in all.
FIRST_WAIT = 0.25
# The Hub's client makes six attempts of its own, in 23 seconds, and cannot be told not to.
HUB_ATTEMPTS = 2


def attempts_of(filesystem: Any) -> int:
    """How often a request to a filesystem is made at most."""
    return HUB_ATTEMPTS if "hf" in filesystem.protocol else ATTEMPTS


def retried(
    call: Callable[[], T],
    progress: Callable[[], int] = lambda: 0,
    where: str = "",
    attempts: int | None = None,
) -> T:
    """The result of `call`, which is tried again after transient errors, with growing pauses.

    Args:
        call: a function that may be repeated without harm.
        progress: tells how far the calls got. A call that got further starts the count anew.
        where: the path or URL that is asked for, for messages.
        attempts: how often it is tried at most, `ATTEMPTS` times unless told.

    Raises:
        FileNotFoundError: the store says that it is missing. A store that failed to answer never does.
        PermissionError: the store denied access.
        OSError: any other failure of the store, the last one where it was tried again.
    """
    attempt, reached = 0, progress()
    while True:
        count_traffic(requests=1)
        try:
            return call()
        except Exception as error:
            fault = fault_of(error)
            if fault is not Fault.TRANSIENT:
                _raise(error, fault, where)
            attempt, reached = (1 if progress() > reached else attempt + 1), progress()
            if attempt >= (attempts or ATTEMPTS):
                _raise(error, fault, where)
        # Jitter: workers that one hiccup hit together should not come back together.
        time.sleep(FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))


def _raise(error: Exception, fault: Fault, where: str) -> None:
    """Raise an error as the kind of OSError that it stands for, with where and why."""
    is_told = fault is Fault.OURS or (fault is Fault.LASTING and isinstance(error, OSError))
    if is_told or lacks_credentials(error):
        raise error
    # OSError makes the kind of the number.
    number = {Fault.MISSING: errno.ENOENT, Fault.DENIED: errno.EACCES}.get(fault, errno.EIO)
    name = getattr(error, "filename", None) or public_name(where) or None
    raise OSError(number, reason_of(error), name) from error
