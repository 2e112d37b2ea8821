"""The samples of any source that holds images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from curator.errors import CuratorError, Redo
from curator.io import Fault, fault_of, public_text, reason_of, storage
from curator.sources.folder import list_folder, read_folder
from curator.sources.remarks import Remarks
from curator.sources.source import Source
from curator.sources.tar import read_samples
from curator.types import LedgerLine, Member, RawSample

__all__ = ["UnreadableShard", "read_source"]


class UnreadableShard(CuratorError):
    """A shard could not be read to its end: not there any more, no permission, failing storage.

    Args:
        message: which shard, and why.
        fault: what the store's answer means.
        why: the answer in words, without the shard's name; shards that fail for the same reason have the same.
    """

    def __init__(self, message: str, fault: Fault = Fault.LASTING, why: str = "") -> None:
        super().__init__(message)
        self.fault = fault
        self.why = why


def read_source(
    source: Source,
    *,
    keep: Callable[[Member], bool] = lambda member: True,
    remarks: Remarks | None = None,
    hashed: bool = False,
) -> Iterator[RawSample | LedgerLine]:
    """The samples of a tar or a folder, in order, and a ledger line in place of each bad one.

    Args:
        source: one that holds images.
        keep: which members' bytes to keep.
        remarks: filled with what is no damage and should be known: see `read_samples`.
        hashed: whether a tar's samples are hashed as they stream; those of a folder have one member and are not.

    Raises:
        UnreadableShard: storage failed on the way.
        CuratorError: the source is not what it was when it was listed, or changed while it was read.
    """
    try:
        if source.kind == "folder":
            yield from read_folder(source.url, source.name)
            if list_folder(source.url).stat != source.read_stat:
                raise storage.ChangedError
            return
        with storage.open_stream(source.url, source.read_stat) as stream:
            reread = None if storage.is_local(source.url) else partial(_reread, source)
            yield from read_samples(stream, source.name, keep=keep, remarks=remarks, reread=reread, hashed=hashed)
        storage.check_unchanged(source.url, source.read_stat)
    except storage.ChangedError as error:
        raise CuratorError(
            f"{source.name} changed since the run began", advice=("let it be as it was and run again", Redo("pool"))
        ) from error
    except OSError as error:
        why = reason_of(error)
        raise UnreadableShard(f"{source.name}: {public_text(str(error))}", fault_of(error), why) from error


def _reread(source: Source, start: int, end: int) -> bytes:
    return storage.read_range(source.url, start, end, source.read_stat) if end > start else b""
