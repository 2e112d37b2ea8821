"""URLs and texts as they may be shown and stored: without secrets, and without what commands a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

__all__ = ["printable", "public_name", "public_text", "public_values", "secret_difference"]

# URLs inside of other text; several may be joined by `::`, and what ends a clause ends a URL.
IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]*://(?:(?!::)[^\s\"'<>])+(?<![:,.;)])", re.IGNORECASE)
# How urllib3, and what is built on it, names the rest of a URL.
REST_IN_TEXT = re.compile(r"(?<=with url: )/[^\s\"'<>]*")
# What servers of files call the file, or one state of it. Whatever is not named here may be a secret.
HARMLESS = {
    *("versionid", "version", "generation", "rev", "ref", "revision"),
    *("file", "filename", "path", "name", "id", "part", "partnumber", "index", "number", "shard", "split"),
    *("download", "dl", "raw", "alt", "format", "export"),
}
# Parts of the signatures of stores, which change from day to day for the same file.
SIGNATURES = re.compile(
    r"x-amz-.*|x-goog-.*|x-ms-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id"
    r"|sig|se|sp|sv|sr|st|spr|sip|ss|srt|skoid|sktid|skt|ske|sks|skv",
    re.IGNORECASE,
)
# Their URLs name a container before the @.
AZURE = ("az", "abfs", "abfss", "adl", "wasb", "wasbs")
# C0, DEL and C1, but for line feed and tab; marks that turn the direction of text; lone surrogates, which stand for
# bytes of a file's name that are no UTF-8, and which no terminal takes.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def public_name(url: str) -> str:
    """A URL without userinfo and secret parameters: the name of a shard in every file that curator writes.

    Of the parameters of an `http(s)://` URL only those stay that are known to be harmless. With other schemes a `?` is
    part of the name, and only a signature is left out.

    >>> public_name("https://me:pw@host/a.tar?X-Amz-Signature=12&versionId=3")
    'https://host/a.tar?versionId=3'
    >>> public_name("s3://bucket/what?.tar")
    's3://bucket/what?.tar'
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() == "file":
        return url
    rest = _without_userinfo(rest, scheme.lower())
    is_http = scheme.lower() in ("http", "https")
    if is_http:
        rest = rest.partition("#")[0]
    # Split, not parsed: what is kept must stay readable under this name.
    path, mark, query = rest.partition("?")
    fields = query.split("&")
    kept = [field for field in fields if (_is_harmless(field) if is_http else not _is_signature(field))]
    if len(kept) == len(fields):
        return f"{scheme}://{rest}"
    return f"{scheme}://{path}" + (mark + "&".join(kept) if kept else "")


def secret_difference(url: str, other: str) -> list[str]:
    """Names of the parameters in which two URLs of one public name differ, but for those of signatures."""
    one, another = (set(_left_out(address)) for address in (url, other))
    return sorted({name if value else "text" for name, value in one ^ another if not SIGNATURES.fullmatch(name)})


def public_text(text: str) -> str:
    """Any text, such as a setting's value or an error's message, with the public names of the URLs in it.

    >>> public_text("404 at https://host/a.tar?X-Amz-Signature=12: run again")
    '404 at https://host/a.tar: run again'
    """
    text = IN_TEXT.sub(lambda match: public_name(match[0]), text)
    return REST_IN_TEXT.sub(lambda match: public_name(f"http://{match[0]}").removeprefix("http://"), text)


def public_values(value: Any) -> Any:
    """A value as JSON has it, with the public names of the URLs in all of its texts."""
    if isinstance(value, str):
        return public_text(value)
    if isinstance(value, dict):
        return {name: public_values(inside) for name, inside in value.items()}
    return [public_values(inside) for inside in value] if isinstance(value, list | tuple) else value


def printable(text: str) -> str:
    """Text for a terminal: what would command it, such as escape sequences in a sample's key, is spelled out.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _without_userinfo(rest: str, scheme: str) -> str:
    host, slash, path = rest.partition("/")
    if scheme in AZURE and ":" not in host.partition("@")[0]:
        return rest
    if "@" in host:
        return host.rpartition("@")[2] + slash + path
    # A password may hold a slash. What looks like `user:password` and not like `host:port` hides what follows.
    user, colon, port = host.partition(":")
    if colon and not port.isdecimal() and not host.startswith(("[", "arn:")):
        return rest.rpartition("@")[2] if "@" in rest else f"{user}:..."
    return rest


def _is_harmless(field: str) -> bool:
    name, _, value = field.partition("=")
    # A value may be a URL with secrets of its own.
    return name.lower() in HARMLESS and "@" not in unquote(value) and "://" not in unquote(value)


def _is_signature(field: str) -> bool:
    name, equals, _ = field.partition("=")
    return bool(equals and SIGNATURES.fullmatch(name))


def _left_out(url: str) -> Iterator[tuple[str, str]]:
    if url.startswith(("http://", "https://")):
        for field in url.partition("#")[0].partition("?")[2].split("&"):
            if not _is_harmless(field):
                name, _, value = field.partition("=")
                yield name, value
