"""The bytes of samples, by their places: packed tars, a manifest's source shards, and folders alike."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from curator.errors import CuratorError, Reason, SampleError
from curator.io import storage
from curator_ssl.data.samples import Place, Samples

__all__ = ["SampleReader"]

OPEN_FILES = 256
REMOTE_READS = 16


class SampleReader:
    """Reads images by number. Opened files stay open, the least used are closed; remote reads run side by side.

    Args:
        samples: where every sample is.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self._files: OrderedDict[str, int] = OrderedDict()
        self._threads: ThreadPoolExecutor | None = None

    def read(self, numbers: np.ndarray) -> list[bytes | SampleError]:
        """The images' bytes, in the order asked for; fewer than they should be where a shard ends too soon.

        An image of a folder that cannot be read is one bad sample; a shard that cannot be read ends the run.

        Raises:
            CuratorError: the storage does not answer, or a shard is gone or not what was indexed.
        """
        places = [self.samples.place(int(number)) for number in numbers]
        if all(storage.is_local(place.url) for place in places):
            # In the order of the disk.
            order = sorted(range(len(places)), key=lambda index: (places[index].url, places[index].offset))
            found = {index: _readable(places[index], self._local) for index in order}
            return [found[index] for index in range(len(places))]
        self._threads = self._threads or ThreadPoolExecutor(REMOTE_READS)
        return list(self._threads.map(lambda place: _readable(place, _by_range), places))

    def _local(self, place: Place) -> bytes:
        file = self._files.pop(place.url, None)
        if file is None:
            file = os.open(storage.local_path(place.url), os.O_RDONLY)
            if len(self._files) >= OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
        self._files[place.url] = file
        if place.state is not None:
            storage.check_unchanged(place.url, place.state, storage.local_stat(file))
        return os.pread(file, place.size, place.offset)

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])


def _by_range(place: Place) -> bytes:
    return storage.read_range(place.url, place.offset, place.offset + place.size, place.state)


def _readable(place: Place, read: Callable[[Place], bytes]) -> bytes | SampleError:
    try:
        return read(place)
    except storage.ChangedError as error:
        raise CuratorError(
            f"{place.name} changed since it was indexed: let it be as it was and run again, or give another --out"
        ) from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:200].replace(place.url, "it")
        if place.is_image:
            return SampleError(Reason.TRUNCATED, f"cannot be read: {reason}")
        raise CuratorError(f"{place.name} cannot be read: {reason}; make it readable and run again") from error
