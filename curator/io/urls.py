"""URLs as users write them: brace ranges, globs, lists of files."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterable, Iterator

from fsspec.implementations.local import LocalFileSystem

from curator.errors import InputError
from curator.io import storage
from curator.io.braces import count_braces, expand_braces
from curator.io.filesystems import is_in_job_folder
from curator.io.names import public_name, public_text, secret_difference
from curator.io.retry import retried

__all__ = ["absolute", "expand"]

# More URLs than this are a slip of the keyboard: the largest public pools have some hundred thousand shards.
MAX_URLS = 2_000_000
MAGIC = frozenset("*?[")
# Columns of a table that hold URLs, the likeliest first.
URL_COLUMNS = ("url", "urls", "uri", "shard", "shards", "path", "file", "filename")


def absolute(url: str) -> str:
    """A local path made absolute (`~` expanded, no `..`). Other URLs only lose a slash at the end."""
    if storage.is_local(url):
        return os.path.abspath(storage.local_path(url).expanduser())
    return url.rstrip("/")


def expand(patterns: Iterable[str]) -> list[str]:
    """Every URL that the patterns stand for, in their order, each once.

    A pattern is a URL, a brace range or list, a glob (its matches sorted), several of these joined by
    `::`, or `@FILE`: a text file with a pattern a line (`#` begins a comment), or a table (csv, tsv) with a header
    that names a column `url`, `shard`, `path` or `file`. A file or folder whose name holds a `*`, `?` or `[` is itself.

    Raises:
        InputError: a pattern stands for nothing, or for more than `MAX_URLS`; the message shows it. Or two URLs differ
            only in what is left out of names, so that their samples could not be told apart.

    >>> expand(["/data/{a,b}-{008..010}.tar"])[:3]
    ['/data/a-008.tar', '/data/a-009.tar', '/data/a-010.tar']
    """
    urls: dict[str, None] = {}
    count = 0
    for pattern in _listed(patterns):
        count += count_braces(pattern)
        if count > MAX_URLS:
            message = f"with '{pattern}' these are {count:,} URLs, more than {MAX_URLS:,}"
            raise InputError(message, advice="check the range")
        for url in expand_braces(pattern):
            urls.update(dict.fromkeys(_matches(absolute(url), pattern)))
    _check_names(urls)
    return list(urls)


def _listed(patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        for piece in pattern.split("::"):
            if piece.startswith("@"):
                yield from _lines(piece[1:])
            elif piece.startswith("pipe:"):
                raise InputError(
                    f"'{piece}' runs a program, whose output cannot be read by ranges",
                    advice="give what it reads, such as s3://BUCKET/KEY, gs://, hf:// or https://",
                )
            elif piece:
                yield piece
            else:
                raise InputError(f"empty URL in '{pattern}'", advice="write A::B, or one URL")


def _lines(url: str) -> list[str]:
    name = public_name(url)
    if storage.is_local(url) and is_in_job_folder(storage.local_path(absolute(url))):
        raise InputError(
            f"the list of URLs @{name} is inside the folder that Ray unpacks for the job, and removes when it ends",
            advice="put it where all machines reach it and give that, such as @s3://BUCKET/LIST or a whole path",
        )
    try:
        # Editors on Windows begin a file with a byte order mark.
        text = storage.read_bytes(absolute(url)).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        where = "" if not storage.is_local(url) or os.path.isabs(url) else f" (looked for in {os.getcwd()})"
        raise InputError(
            f"cannot read the list of URLs @{name}{where}: {public_text(str(error))}",
            advice="give a URL or a whole path",
        ) from error
    lines = [line.strip() for line in text.splitlines()]
    lines = _column([line for line in lines if line and not line.startswith("#")], name)
    if not lines:
        raise InputError(f"the list of URLs @{name} is empty")
    if nested := [line for line in lines if line.startswith("@")]:
        raise InputError(f"the list of URLs @{name} names another list, {nested[0]}", advice="write its URLs instead")
    return list(_listed(lines))


def _column(lines: list[str], name: str) -> list[str]:
    """The column of URLs, if the lines are a table; the lines themselves if not."""
    if not lines or "/" in lines[0]:
        return lines
    delimiter = "\t" if "\t" in lines[0] else ";" if ";" in lines[0] else ","
    header = [cell.strip() for cell in next(csv.reader(lines[:1], delimiter=delimiter))]
    known = [column for column in URL_COLUMNS if column in map(str.lower, header)]
    if not known:
        if len(header) > 1 and len(lines) > 1 and "{" not in lines[0]:
            raise InputError(
                f"the list of URLs @{name} is a table with the columns {', '.join(header)}; none of them is called url",
                advice="give a text file with a URL a line",
            )
        return lines
    place = [cell.lower() for cell in header].index(known[0])
    rows = csv.reader(lines[1:], delimiter=delimiter)
    return [row[place].strip() for row in rows if len(row) > place and row[place].strip()]


def _matches(url: str, pattern: str) -> list[str]:
    if url.startswith(("http://", "https://")) or MAGIC.isdisjoint(url):
        return [url]
    literal = _escaped(url)
    if literal is None:
        return [url]
    if storage.is_local(url):
        urls = sorted(LocalFileSystem().glob(literal))
    else:
        filesystem, path = storage.resolve(literal)
        filesystem.invalidate_cache()
        scheme = url.partition("://")[0] + "://"
        urls = [
            scheme + name.removeprefix(scheme) for name in sorted(retried(lambda: filesystem.glob(path), where=path))
        ]
    if not urls:
        raise InputError(f"nothing matches '{pattern}'")
    return urls


def _escaped(url: str) -> str | None:
    """The URL as a glob, with folders escaped that are really called so; None if all of it is a name that exists."""
    scheme, separator, path = url.rpartition("://")
    pieces = path.split("/")
    for count in range(1, len(pieces) + 1):
        if MAGIC.isdisjoint(pieces[count - 1]):
            continue
        if not storage.exists(scheme + separator + "/".join(pieces[:count])):
            escaped = [glob.escape(piece) for piece in pieces[: count - 1]]
            return scheme + separator + "/".join(escaped + pieces[count - 1 :])
    return None


def _check_names(urls: Iterable[str]) -> None:
    """Refuse URLs that would get one name although they are not one file."""
    by_name: dict[str, str] = {}
    for url in urls:
        if "?" not in url:
            continue
        other = by_name.setdefault(name := public_name(url), url)
        if parameters := secret_difference(url, other):
            raise InputError(
                f"two URLs have one name, {name}, as {', '.join(parameters)} may be a secret and is left out of names",
                advice="give shards under addresses that differ before the '?'",
            )
