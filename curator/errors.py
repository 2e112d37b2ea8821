"""Every error curator raises on purpose, from the general to the particular.

    CuratorError            exit code 1: the run failed; running it again resumes
    ├── InputError          exit code 2: bad usage, settings or input, found before anything is written
    ├── UnusableInput       exit code 2: the same, found only after something was written
    ├── TooManyBad          exit code 3: more bad samples than `max_bad` allows
    └── SampleError         never ends a run: one sample goes to the ledger, the next follows

A message is one line: what is wrong, where, and what to do. The setting it speaks of and the advice are values, so
that each front end spells them in its own way: `--manifest-only` on the command line, `manifest_only=True` in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypeAlias

__all__ = [
    "Advice",
    "Another",
    "Change",
    "CuratorError",
    "CuratorWarning",
    "InputError",
    "Leave",
    "Reason",
    "Redo",
    "SampleError",
    "Spell",
    "TooManyBad",
    "UnusableInput",
    "Use",
    "as_argument",
    "counted",
]

Spell: TypeAlias = Callable[[str, Any], str]
"""A setting's name and its value (None where only the name is meant) to text."""


def as_argument(field: str, value: Any = None) -> str:
    """A setting as Python writes it.

    >>> as_argument("manifest_only", True), as_argument("out")
    ('manifest_only=True', 'out')
    """
    return field if value is None else f"{field}={value!r}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun, for a person.

    Args:
        count: how many.
        noun: for one of them.
        plural: for all other numbers, where it is not the noun with an `s`.

    >>> counted(1, "part"), counted(1234, "part"), counted(2, "class", "classes")
    ('1 part', '1,234 parts', '2 classes')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


@dataclass(frozen=True, slots=True)
class Another:
    """Give another value for a setting.

    Attributes:
        field: the setting's name.
    """

    field: str

    def text(self, spell: Spell) -> str:
        """The advice in words."""
        return f"give another {spell(self.field, None)}"


@dataclass(frozen=True, slots=True)
class Use:
    """Give a setting.

    Attributes:
        field: the setting's name.
        value: the value to give; None where the user knows it.
    """

    field: str
    value: Any = None

    def text(self, spell: Spell) -> str:
        """The advice in words."""
        return f"give {spell(self.field, self.value)}"


@dataclass(frozen=True, slots=True)
class Change:
    """Give a setting a larger, smaller or otherwise different value.

    Attributes:
        field: the setting's name.
        how: an adjective, such as `higher` or `smaller`.
    """

    field: str
    how: str

    def text(self, spell: Spell) -> str:
        """The advice in words."""
        return f"give a {self.how} {spell(self.field, None)}"


@dataclass(frozen=True, slots=True)
class Leave:
    """Do not give a setting.

    Attributes:
        field: the setting's name.
    """

    field: str

    def text(self, spell: Spell) -> str:
        """The advice in words."""
        return f"leave {spell(self.field, None)} away"


@dataclass(frozen=True, slots=True)
class Redo:
    """Start a stage of the run anew.

    Attributes:
        stage: the stage's name, as `redo` takes it.
    """

    stage: str

    def text(self, spell: Spell) -> str:
        """The advice in words."""
        return f"give {spell('redo', self.stage)} to start that stage anew"

    @property
    def field(self) -> str:
        """The setting that it names."""
        return "redo"


Advice: TypeAlias = Another | Use | Change | Leave | Redo | str


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
        """False for samples that are sound but unwanted (`min_side`): `max_bad` does not count those."""
        return self is not Reason.TOO_SMALL


def _in_words(field: str, value: Any = None) -> str:
    name = field.replace("_", " ")
    return name if value is None else f"{name} {value}"


class CuratorWarning(UserWarning):
    """What a user of the Python functions should know although it is no error; the result lists it too."""


class CuratorError(Exception):
    """The run failed. What was finished is kept, and running the same command again resumes.

    Args:
        message: what is wrong and where, without the name of a flag.
        field: the setting that the message is about; written before the message.
        value: the value that was given for it; written beside the field.
        advice: what to do: one of the classes above, plain text, or several of them of which one is enough.

    >>> str(InputError("a run cannot be its own pool", field="pool", advice=Another("out")))
    'pool: a run cannot be its own pool: give another out'
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: Any = None,
        advice: Advice | tuple[Advice, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.value = value
        self.advice: tuple[Advice, ...] = tuple(advice) if isinstance(advice, tuple) else (advice,)

    def text(self, spell: Spell = as_argument, settings: Collection[str] | None = None) -> str:
        """The error as one line.

        Args:
            spell: writes a setting.
            settings: those that the caller can give; no advice names another, and a stage that it cannot start anew
                is that of the command that made the run. None for all.
        """

        def is_known(name: str) -> bool:
            return settings is None or name in settings

        start = ""
        if self.field:
            start = f"{(spell if is_known(self.field) else _in_words)(self.field, self.value)}: "
        words = []
        for advice in self.advice:
            if isinstance(advice, str):
                words.append(advice)
            elif is_known(advice.field):
                words.append(advice.text(spell))
            elif isinstance(advice, Redo):
                words.append(f"run the command that made it again, with {advice.text(spell).removeprefix('give ')}")
        return start + self.message + (f": {', or '.join(words)}" if words else "")

    def about(self, field: str) -> Self:
        """The same error about another setting, for who has another name for it."""
        self.field = field
        return self

    def __str__(self) -> str:
        return self.text()


class InputError(CuratorError):
    """The user's settings or data cannot work. Raised before anything is written."""

    exit_code = 2


class UnusableInput(CuratorError):
    """The user's settings or data cannot work, which showed only after something was written. That is kept."""

    exit_code = 2


class TooManyBad(CuratorError):
    """More of the samples seen were bad than `max_bad` allows."""

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

    def __reduce__(self) -> tuple[type[SampleError], tuple[Reason, str]]:
        return type(self), (self.reason, self.detail)
