"""Every error curator raises on purpose, from the general to the particular.

    CuratorError            exit code 1: the run failed; running it again resumes
    ├── InputError          exit code 2: bad usage, config or input, found before work starts
    ├── TooManyBad          exit code 3: more bad samples than --max-bad
    └── SampleError         never ends a run: one sample goes to the ledger, the next follows

A message is one line: what is wrong, where, and what to do.
"""

from enum import StrEnum

__all__ = ["CuratorError", "InputError", "Reason", "SampleError", "TooManyBad"]


class Reason(StrEnum):
    """Why a sample is in the quarantine ledger. Values are part of the ledger's format."""

    NO_IMAGE = "no_image"
    DUPLICATE_KEY = "duplicate_key"
    TRUNCATED = "truncated"
    BAD_HEADER = "bad_header"
    UNREADABLE_SHARD = "unreadable_shard"
    EMPTY_IMAGE = "empty_image"
    TOO_LARGE = "too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    DECODE_ERROR = "decode_error"
    DECODER_CRASH = "decoder_crash"
    BAD_EMBEDDING = "bad_embedding"

    @property
    def is_damage(self) -> bool:
        """False for samples that are fine but unwanted (`--min-side`): `--max-bad` does not count those."""
        return self is not Reason.TOO_SMALL


class CuratorError(Exception):
    """The run failed. What was finished is kept, and running the same command again resumes."""

    exit_code = 1


class InputError(CuratorError):
    """The user's flags, config or data cannot work. Raised before anything is written."""

    exit_code = 2


class TooManyBad(CuratorError):
    """More of the samples seen were bad than `--max-bad` allows."""

    exit_code = 3


class SampleError(CuratorError):
    """One sample cannot be used; `reason` and `detail` go to the ledger.

    Args:
        reason: the ledger's reason.
        detail: one line for a person, such as the decoder's own message.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["SampleError"], tuple[Reason, str]]:
        return type(self), (self.reason, self.detail)
