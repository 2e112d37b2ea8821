"""Storage that all machines of a cluster can write to."""

from __future__ import annotations

from curator.errors import InputError
from curator.io import storage

__all__ = ["check_shared"]


def check_shared(out: str, machines: set[str]) -> None:
    """Refuse a run directory on the disk of one machine when workers of several machines would write to it.

    Args:
        out: the URL of the run directory.
        machines: the network addresses of the machines.

    Raises:
        InputError: the run directory is on one machine's disk and there are several machines.
    """
    if len(machines) > 1 and storage.is_local(out):
        raise InputError(
            f"{out} is on the disk of this machine, and the cluster has {len(machines)} machines",
            field="out",
            advice="give a URL that all of them reach, such as s3://BUCKET/RUN",
        )
