"""URLs as users write them (brace ranges, globs, lists), and their names in the files that curator writes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit, urlunsplit

from curator.errors import InputError
from curator.io import storage

__all__ = ["absolute", "expand", "public_name", "public_text"]

# A range as the shell writes it, {000000..000041}, or a list, {a,b}; without nesting.
BRACE = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
RANGE_ADVICE = "write a range as {000000..000041}"
GLOB = re.compile(r"[*?\[]")
# URLs inside of other text; several may be joined by `::`, and what ends a clause ends a URL.
IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]*://(?:(?!::)[^\s\"'<>])+(?<![:,.;)])", re.IGNORECASE)
SECRET_PARAMETER = re.compile(
    r"x-amz-.*|x-goog-.*|x-ms-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id"
    r"|sig|se|sp|sv|sr|st|skoid|sktid|skt|ske|sks|skv|token|access_token|auth",
    re.IGNORECASE,
)


def public_name(url: str) -> str:
    """A URL without userinfo and signature parameters: the name of a shard in every file that curator writes.

    >>> public_name("https://me:pw@host/a.tar?X-Amz-Signature=12&versionId=3")
    'https://host/a.tar?versionId=3'
    """
    if storage.is_local(url):
        return url
    scheme, netloc, path, query, fragment = urlsplit(url)
    # Split, not parsed: an object's key may hold a `?`, and what is kept must stay readable under this name.
    kept = [field for field in query.split("&") if not SECRET_PARAMETER.fullmatch(field.partition("=")[0])]
    return urlunsplit((scheme, netloc.rpartition("@")[2], path, "&".join(kept), fragment))


def public_text(text: str) -> str:
    """Any text, such as a setting's value or an error's message, with the public names of the URLs in it.

    >>> public_text("404 at https://host/a.tar?X-Amz-Signature=12: run again")
    '404 at https://host/a.tar: run again'
    """
    return IN_TEXT.sub(_public_match, text)


def _public_match(match: re.Match[str]) -> str:
    try:
        return public_name(match[0])
    except ValueError:  # not a URL after all, so what it hides cannot be told
        return match[0].partition("://")[0] + "://..."


def absolute(url: str) -> str:
    """A local path made absolute (`~` expanded, no `..`). Other URLs only lose a slash at the end."""
    if storage.is_local(url):
        return os.path.abspath(storage.local_path(url).expanduser())
    return url.rstrip("/")


def expand(patterns: Iterable[str]) -> list[str]:
    """Every URL that the patterns stand for, in their order, each once.

    A pattern is a URL, a brace range or list, a glob (its matches sorted), several of these joined by
    `::`, or `@FILE`, a text file with a pattern a line (`#` begins a comment).

    Raises:
        InputError: a pattern stands for nothing; the message shows it.

    >>> expand(["/data/{a,b}-{008..010}.tar"])[:3]
    ['/data/a-008.tar', '/data/a-009.tar', '/data/a-010.tar']
    """
    urls: dict[str, None] = {}
    for pattern in _listed(patterns):
        for url in _braces(pattern, pattern):
            urls.update(dict.fromkeys(_matches(absolute(url), pattern)))
    return list(urls)


def _listed(patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        for piece in pattern.split("::"):
            if piece.startswith("@"):
                yield from _lines(piece[1:])
            elif piece:
                yield piece
            else:
                raise InputError(f"empty URL in '{pattern}'", advice="write A::B, or one URL")


def _lines(url: str) -> list[str]:
    try:
        text = storage.read_bytes(absolute(url)).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list of URLs @{url}: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise InputError(f"the list of URLs @{url} is empty")
    if nested := [line for line in lines if line.startswith("@")]:
        raise InputError(f"the list of URLs @{url} names another list, {nested[0]}", advice="write its URLs instead")
    return list(_listed(lines))


def _braces(text: str, pattern: str) -> Iterator[str]:
    """Expand the first brace and recurse; `pattern` is what the user wrote, for messages."""
    match = BRACE.search(text)
    if match is None:
        if "{" in text or "}" in text:
            raise InputError(f"unbalanced brace in '{pattern}'", advice=RANGE_ADVICE)
        yield text
        return
    for choice in _choices(match[1], pattern):
        yield from _braces(text[: match.start()] + choice + text[match.end() :], pattern)


def _choices(inside: str, pattern: str) -> list[str]:
    span = RANGE.fullmatch(inside)
    if span is not None:
        first, last = int(span[1]), int(span[2])
        if first > last:
            raise InputError(f"the range {{{inside}}} in '{pattern}' is empty: {first} is above {last}")
        width = len(span[1]) if span[1].startswith("0") or len(span[1]) == len(span[2]) else 0
        return [str(number).zfill(width) for number in range(first, last + 1)]
    if "," not in inside or not inside.replace(",", ""):
        raise InputError(f"the range {{{inside}}} in '{pattern}' is empty", advice=RANGE_ADVICE)
    return inside.split(",")


def _matches(url: str, pattern: str) -> list[str]:
    if url.startswith("http") or not GLOB.search(url):
        return [url]
    if storage.is_local(url) and storage.local_path(url).exists():
        # The file's own name holds a bracket.
        return [url]
    filesystem, path = storage.resolve(url)
    filesystem.invalidate_cache()
    scheme = "" if storage.is_local(url) else url.partition("://")[0] + "://"
    urls = [scheme + name.removeprefix(scheme) for name in sorted(filesystem.glob(path))]
    if not urls:
        raise InputError(f"nothing matches '{pattern}'")
    return urls
