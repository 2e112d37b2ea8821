"""What a failed request means: the object is missing, access is denied, or the same request may succeed later.

Every filesystem brings a client of its own, with its own errors (aiohttp, botocore, requests, httpx, ...), and new
ones come. So nothing is looked up in a list of errors that pass: a status that the server sent decides; without one,
every error of a network client or of the operating system may pass, but for those named here that will not.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from enum import Enum, auto
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from curator.errors import CuratorError, InputError
from curator.io.names import public_text

__all__ = [
    "ChangedError",
    "Fault",
    "denied_is_input",
    "fault_of",
    "is_transient",
    "lacks_credentials",
    "reason_of",
    "status_of",
]

PRECONDITION_FAILED = 412
TRANSIENT_STATUS = (408, 425, 429)
# Sent by S3 with a status of 400 or 403.
TRANSIENT_CODES = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "RequestTimeTooSkewed")
# Sent by S3 with a status of 400.
DENIED_CODES = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired")
# Errors of the operating system that no wait changes.
LASTING = {
    getattr(errno, name)
    for name in (
        *("EBADF", "EDQUOT", "EEXIST", "EFBIG", "EINVAL", "EISDIR", "ELOOP", "EMFILE", "ENAMETOOLONG", "ENOSPC"),
        *("ENOTDIR", "ENOTEMPTY", "ENOTSUP", "EROFS", "EXDEV"),
    )
}
# Before any request is sent: botocore and google-auth found nothing to sign it with.
NO_CREDENTIALS = {
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "TokenRetrievalError",
}
# Other errors of clients that come from the machine's settings.
LASTING_NAMES = {
    "NoRegionError",
    "OfflineModeIsEnabled",
    "ParamValidationError",
    "SSLCertVerificationError",
    "TooManyRedirects",
}


A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")


class ChangedError(OSError):
    """The file under a URL is in another state than it was before."""


class Fault(Enum):
    """What a failed request means."""

    MISSING = auto()
    DENIED = auto()
    TRANSIENT = auto()
    """The same request may succeed later: 408, 429, 5xx, a lost connection, a timeout, an unknown host."""
    LASTING = auto()
    """Anything else that a store or the operating system answered."""
    OURS = auto()
    """No answer of a store at all, such as a TypeError: never translated, never hidden."""


def fault_of(error: BaseException) -> Fault:
    """What an error of a request, or what caused it, means.

    >>> fault_of(ConnectionResetError()).name, fault_of(FileNotFoundError()).name, fault_of(TypeError()).name
    ('TRANSIENT', 'MISSING', 'OURS')
    """
    links = list(_chain(error))
    if any(isinstance(link, CuratorError | ChangedError) for link in links):
        return Fault.OURS
    for link in links:
        if (status := _status(link)) is not None:
            return _fault_of_status(status, _code(link))
    # Filesystems translate, and often say "no such file" for whatever their client met: the first cause knows best.
    return next((fault for link in reversed(links) if (fault := _fault_of_link(link)) is not None), Fault.OURS)


def denied_is_input(
    look: Callable[Concatenate[A, str, P], T],
) -> Callable[Concatenate[A, str, P], T]:
    """For functions of (what, field, ...) that look at inputs before work starts: denied access is an `InputError`."""

    @wraps(look)
    def looked(what: A, field: str, /, *arguments: P.args, **options: P.kwargs) -> T:
        try:
            return look(what, field, *arguments, **options)
        except PermissionError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise InputError(
                public_text(f"{where}{error.strerror or error}"),
                field=field,
                advice="check that it is readable with the credentials that are set",
            ) from error

    return looked


def is_transient(error: BaseException) -> bool:
    """True if the same request may well succeed later."""
    return fault_of(error) is Fault.TRANSIENT


def lacks_credentials(error: BaseException) -> bool:
    """True if a request could not be made for want of credentials."""
    return any(not NO_CREDENTIALS.isdisjoint(_names(link)) for link in _chain(error))


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error, or what caused it, stands for; None if there was no answer."""
    return next((status for link in _chain(error) if (status := _status(link)) is not None), None)


def reason_of(error: BaseException) -> str:
    """Why a request failed, in words for a person, on one line."""
    status = status_of(error)
    words = {
        401: "access denied, credentials are missing or not known (HTTP 401)",
        403: "access denied (HTTP 403)",
        404: "no such file (HTTP 404)",
        410: "no such file any more (HTTP 410)",
        416: "it ends before the range that was asked for (HTTP 416)",
        429: "the server is asked too often (HTTP 429)",
    }
    if status in words:
        return words[status]
    if status is not None:
        who = "the server failed" if status >= 500 else "the server refuses the request"
        return f"{who} (HTTP {status})"
    if isinstance(error, PermissionError):
        return "access denied"
    if isinstance(error, FileNotFoundError) and error.__cause__ is None:
        return "no such file"
    cause = list(_chain(error))[-1]
    if isinstance(cause, ConnectionRefusedError):
        return "nobody answers at this address (connection refused)"
    if isinstance(cause, socket.gaierror):
        return f"the host's name is not known ({cause.strerror})"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    text = " ".join(public_text(str(cause)).split())
    return text if isinstance(cause, OSError) and text else f"{type(cause).__name__}: {text}".rstrip(": ")


def _fault_of_status(status: int, code: str) -> Fault:
    if status >= 500 or status in TRANSIENT_STATUS or code in TRANSIENT_CODES:
        return Fault.TRANSIENT
    if status in (401, 403, 407) or code in DENIED_CODES:
        return Fault.DENIED
    return Fault.MISSING if status in (404, 410) else Fault.LASTING


def _fault_of_link(error: BaseException) -> Fault | None:
    """What one error says; None if it says nothing about a request."""
    if not (NO_CREDENTIALS | LASTING_NAMES).isdisjoint(_names(error)):
        return Fault.LASTING
    if isinstance(error, ConnectionError | TimeoutError):
        return Fault.TRANSIENT
    if isinstance(error, FileNotFoundError):
        return Fault.MISSING
    if isinstance(error, PermissionError):
        return Fault.DENIED
    if isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
        return Fault.LASTING
    if type(error).__module__ == "builtins" and not isinstance(error, OSError):
        return None
    # A client's own kind of ValueError (an invalid URL, a parameter that it refuses) stays one.
    if isinstance(error, ValueError | TypeError | LookupError | NotImplementedError):
        return Fault.LASTING
    return Fault.LASTING if isinstance(error, OSError) and error.errno in LASTING else Fault.TRANSIENT


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    # Not `__context__`: what else was being handled is often another request's failure.
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _status(error: BaseException) -> int | None:
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        # aiohttp, azure, gcsfs. The `code` of aiohttp's parser is its own, 400 for an answer that broke off.
        own = ("status",) if type(error).__module__.startswith("aiohttp") else ("status", "status_code", "code")
        status = next((getattr(error, name) for name in own if hasattr(error, name)), None)
        # requests, httpx and the Hub's client
        status = getattr(answer, "status_code", None) if status is None else status
    number = int(status) if isinstance(status, int) or (isinstance(status, str) and status.isdecimal()) else None
    # A client that got no answer may say 0.
    return number if number and number >= 100 else None


def _code(error: BaseException) -> str:
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""
