"""The bytes of images, by their locations: packed tars, a manifest's source shards, and folders alike."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from curator.errors import Another, CuratorError, Reason, SampleError
from curator.io import storage
from curator_ssl.data.samples import ImageLocation, Samples

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

    def read(self, numbers: NDArray[np.int64]) -> list[bytes | SampleError]:
        """The images' bytes, in the order asked for; fewer than they should be where a shard ends too soon.

        An image of a folder that cannot be read is one bad sample; a shard that cannot be read ends the run.

        Raises:
            CuratorError: the storage does not answer, or a shard is gone or not what was found before.
        """
        locations = [self.samples.location(int(number)) for number in numbers]
        if all(storage.is_local(location.url) for location in locations):
            # In the order of the disk.
            order = sorted(range(len(locations)), key=lambda index: (locations[index].url, locations[index].offset))
            data = {index: _read(locations[index], self._local) for index in order}
            return [data[index] for index in range(len(locations))]
        self._threads = self._threads or ThreadPoolExecutor(REMOTE_READS)
        return list(self._threads.map(lambda location: _read(location, _by_range), locations))

    def _local(self, location: ImageLocation) -> bytes:
        file = self._files.pop(location.url, None)
        if file is None:
            file = os.open(storage.local_path(location.url), os.O_RDONLY)
            if len(self._files) >= OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
        self._files[location.url] = file
        if location.state is not None:
            storage.check_unchanged(location.url, location.state, storage.local_stat(file))
        return os.pread(file, location.size, location.offset)

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])


def _by_range(location: ImageLocation) -> bytes:
    return storage.read_range(location.url, location.offset, location.offset + location.size, location.state)


def _read(location: ImageLocation, read: Callable[[ImageLocation], bytes]) -> bytes | SampleError:
    try:
        return read(location)
    except storage.ChangedError as error:
        raise CuratorError(
            f"{location.name} changed since its samples were found",
            advice=("let it be as it was and run again", Another("out")),
        ) from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:200].replace(location.url, "it")
        if location.is_image:
            return SampleError(Reason.TRUNCATED, f"cannot be read: {reason}")
        raise CuratorError(
            f"{location.name} cannot be read: {reason}", advice="make it readable and run again"
        ) from error
