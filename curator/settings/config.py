"""Values from the command line, a config file or Python, checked against a model of settings."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from curator.errors import InputError
from curator.settings.setting import declared, did_you_mean, setting_of

__all__ = ["Config", "build"]

C = TypeVar("C", bound=BaseModel)


class Config(BaseModel):
    """Checked values; an unknown name is an error. Every field has a `Setting` in its type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="after")
    @classmethod
    def _check_choice(cls, value: Any, info: ValidationInfo) -> Any:
        setting = setting_of(cls.model_fields[info.field_name or ""])
        choices = setting.choices if setting else ()
        if value is not None and choices and isinstance(choices, tuple) and value not in choices:
            raise ValueError(f"should be one of {', '.join(choices)}")
        return value

    def resolved(self) -> dict[str, Any]:
        """Name -> the value in force, where a default depends on other settings."""
        return self.model_dump()

    def read_by(self, stage: str) -> frozenset[str]:
        """Names of the settings that a stage reads although they declare an earlier one."""
        return frozenset()

    def unread(self) -> frozenset[str]:
        """Names of the settings that change nothing beside the others that are given."""
        return frozenset()


def build(model: type[C], values: dict[str, Any]) -> C:
    """Check values against a model; None means the default, as does an empty list (a flag never given).

    Raises:
        InputError: about the first value that does not fit.
    """
    try:
        return model.model_validate({name: value for name, value in values.items() if value not in (None, (), [])})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        if first["type"] == "missing":
            raise InputError("is missing", field=field) from error
        if first["type"] == "extra_forbidden":
            raise InputError(f"there is no setting '{field}'{did_you_mean(str(field), declared(model))}") from error
        message = _in_our_words(first["msg"])
        if field and declared(model)[field].choices:
            message = f"unknown{did_you_mean(str(first['input']), declared(model)[field].choices)} ({message})"
        raise InputError(message, field=field, value=first["input"]) from error


def _in_our_words(message: str) -> str:
    """A library's message: what the value should be, without how it was read."""
    return message.removeprefix("Value error, ").removeprefix("Input ").partition(", unable to parse")[0]
