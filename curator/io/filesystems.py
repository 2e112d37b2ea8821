"""Which filesystem a URL belongs to, and the exact path inside it.

A name is only ever looked up, never interpreted: fsspec's own helpers expand `*`, `?` and `[...]` where they remove,
`::` where they open, and `~` where they list.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec

from curator.errors import UnusableInput
from curator.io.names import public_name, public_text

__all__ = ["is_in_job_folder", "is_local", "join", "local_path", "resolve", "resolve_fresh", "resolve_writable"]

# Stores whose URLs begin with a bucket; keys for them come from the environment or from a profile.
BUCKETS = ("s3", "s3a", "gs", "gcs")
# How Ray begins the name of the folder that it unpacks for a job, and removes after it.
JOB_FOLDER = "_ray_pkg_"
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "az", "abfs": "az", "abfss": "az"}


def is_local(url: str) -> bool:
    """True for plain paths and `file://` URLs."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> Path:
    """The path of a local URL."""
    return Path(url.removeprefix("file://"))


def is_in_job_folder(path: Path) -> bool:
    """True inside the folder that Ray unpacks for a job, and removes after it."""
    return any(name.startswith(JOB_FOLDER) for name in path.absolute().parts)


def join(url: str, *names: str) -> str:
    """A URL below another.

    >>> join("s3://bucket/run/", "pool", "done")
    's3://bucket/run/pool/done'
    """
    return "/".join([url.rstrip("/"), *names])


def resolve(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a remote URL and the path inside it.

    Raises:
        UnusableInput: the scheme is unknown, its package (s3fs, gcsfs, ...) is not installed, or the URL holds
            credentials that the store does not read.
    """
    scheme = url.partition("://")[0]
    _refuse_credentials(url, scheme)
    try:
        kind = fsspec.get_filesystem_class(scheme)
        filesystem = fsspec.filesystem(scheme, **kind._get_kwargs_from_urls(url))
        path = kind._strip_protocol(url)
    except ImportError as error:
        extra = EXTRAS.get(scheme)
        advice = f"pip install 'coreset-curator[{extra}]'" if extra else ()
        raise UnusableInput(f"cannot open {public_name(url)}: {public_text(str(error))}", advice=advice) from error
    except ValueError as error:
        raise UnusableInput(f"cannot open {public_name(url)}: {public_text(str(error))}") from error
    if "s3" in filesystem.protocol:
        # Attempts of nested layers multiply, and `retried` makes enough of them.
        filesystem.retries = 1
    return filesystem, path


def resolve_fresh(url: str) -> tuple[Any, str]:
    """As `resolve`, with remembered listings dropped, because other processes write to the same place."""
    filesystem, path = resolve(url)
    filesystem.invalidate_cache()
    return filesystem, path


def resolve_writable(url: str) -> tuple[Any, str]:
    """As `resolve_fresh`, for what is written or removed.

    Raises:
        UnusableInput: the name is one that the store would cut, so that something else would be written or removed.
    """
    filesystem, path = resolve_fresh(url)
    if "s3" in filesystem.protocol and "?versionId=" in url:
        raise UnusableInput(
            f"{public_name(url)} names one version of an object, and cannot be written", advice="write elsewhere"
        )
    return filesystem, path


def _refuse_credentials(url: str, scheme: str) -> None:
    bucket = url.partition("://")[2].partition("/")[0]
    # No bucket has an @ or a colon in its name, but for access points (arn:aws:s3:...).
    if scheme in BUCKETS and ("@" in bucket or ":" in bucket) and not bucket.startswith("arn:"):
        s3 = scheme.startswith("s3")
        raise UnusableInput(
            f"{scheme}:// URLs hold no credentials, only a bucket and a key",
            advice="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and take them out of the URL"
            if s3
            else "set GOOGLE_APPLICATION_CREDENTIALS, and take them out of the URL",
        )
