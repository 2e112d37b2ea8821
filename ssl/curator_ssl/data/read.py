"""The bytes of samples, by their places: packed tars, a manifest's source shards, and folders alike."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from curator import storage
from curator.errors import CuratorError
from curator_ssl.data.samples import Samples

__all__ = ["SampleReader"]

OPEN_FILES = 256
REMOTE_READS = 16
TRIES = 3


class SampleReader:
    """Reads images by number. Opened files stay open, the least used are closed; remote reads run side by side.

    Args:
        samples: where every sample is.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self._files: OrderedDict[str, int] = OrderedDict()
        self._threads: ThreadPoolExecutor | None = None

    def read(self, numbers: np.ndarray) -> list[bytes]:
        """The images' bytes, in the order asked for; fewer than they should be where a shard ends too soon.

        Raises:
            CuratorError: the storage does not answer, or a shard is gone.
        """
        places = [self.samples.place(int(number)) for number in numbers]
        if all(storage.is_local(url) for url, _, _ in places):
            # In the order of the disk.
            order = sorted(range(len(places)), key=places.__getitem__)
            found = {index: self._local(*places[index]) for index in order}
            return [found[index] for index in range(len(places))]
        self._threads = self._threads or ThreadPoolExecutor(REMOTE_READS)
        return list(self._threads.map(lambda place: _remote(*place), places))

    def _local(self, url: str, offset: int, size: int) -> bytes:
        try:
            file = self._files.pop(url, None)
            if file is None:
                file = os.open(storage.local_path(url), os.O_RDONLY)
                if len(self._files) >= OPEN_FILES:
                    os.close(self._files.popitem(last=False)[1])
            self._files[url] = file
            return os.pread(file, size, offset)
        except OSError as error:
            raise CuratorError(f"{url} cannot be read: {error.strerror}; make it readable and run again") from error

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])


def _remote(url: str, offset: int, size: int) -> bytes:
    for attempt in range(TRIES):
        try:
            return storage.read_range(url, offset, offset + size)
        except CuratorError:
            raise
        except Exception as error:  # every filesystem has network errors of its own
            if attempt == TRIES - 1:
                reason = " ".join(str(error).split())[:200].replace(url, "it")
                raise CuratorError(f"a shard cannot be read ({reason}); make it readable and run again") from error
            time.sleep(2.0**attempt)
    raise AssertionError
