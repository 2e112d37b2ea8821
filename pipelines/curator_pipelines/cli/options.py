"""Options from a model of settings, the YAML config, and lists of URLs as the shell hands them over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from curator.errors import InputError
from curator.settings import Declared, declared, did_you_mean
from curator_pipelines.cli.spelling import spelled

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["UrlCommand", "config_option", "json_option", "option", "options"]

F = TypeVar("F", bound=Callable[..., Any])


class Unjudged(click.ParamType[Any]):
    """Takes any value as it is: the model judges flags and YAML alike, in the same words."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value itself."""
        return value


class Names(Unjudged, click.Choice[str]):
    """Names that a shell completes; a plug-in's name passes too."""


class PathName(Unjudged, click.Path):
    """A path that a shell completes."""


class UrlList(PathName):
    """URLS: takes every word up to the next flag."""


class UrlCommand(click.Command):
    """A command whose URL flags take every word up to the next flag.

    So that a glob which the shell expanded, `--pool shards/*.tar`, just works.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the words that follow a URL flag into one `::` list."""
        options = [item for item in self.params if isinstance(item, click.Option) and isinstance(item.type, UrlList)]
        flags = [flag for option in options for flag in option.opts]
        return super().parse_args(ctx, join_words(args, flags))


def join_words(words: list[str], url_flags: list[str]) -> list[str]:
    """The words of a command line, with what follows a URL flag up to the next flag as one word."""
    joined: list[str] = []
    open_flag = False  # the last word was a URL flag's value
    rest = iter(words)
    for word in rest:
        if word in url_flags:
            value = next(rest, None)
            joined += [word] if value is None else [word, value]
            open_flag = value is not None
        elif open_flag and not word.startswith("-"):
            joined[-1] += "::" + word
        else:
            joined.append(word)
            open_flag = any(word.startswith(flag + "=") for flag in url_flags)
    return joined


def options(model: type[BaseModel]) -> Callable[[F], F]:
    """Decorate a command with one option for each setting of a model, in the order of `declared`.

    An option that is not given is None: the default stands in the model.
    """

    def decorate(command: F) -> F:
        for setting in reversed(declared(model).values()):
            command = _decorator(setting)(command)
        return command

    return decorate


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """A click option whose default stands in the config model, so it is None here."""
    return click.option(*names, default=None, **settings)


def _decorator(setting: Declared) -> Callable[[F], F]:
    if setting.setting.is_argument:
        return click.argument(
            setting.name,
            metavar=setting.setting.metavar or None,
            nargs=-1 if setting.is_list else 1,
            required=setting.required,
            type=_type(setting),
        )
    flag = "--" + setting.name.replace("_", "-")
    if setting.type is bool:
        flag += f"/--no-{flag[2:]}" if setting.optional or setting.default else ""
        return click.option(flag, setting.name, is_flag=True, default=None, help=_help(setting))
    return click.option(
        flag,
        setting.name,
        default=None,
        multiple=setting.is_list or setting.is_mapping,
        metavar=setting.metavar,
        type=_type(setting),
        help=_help(setting),
    )


def _type(setting: Declared) -> click.ParamType[Any]:
    if setting.choices:
        return Names(setting.choices)
    if setting.is_list:
        return UrlList()
    return PathName() if setting.setting.is_path else Unjudged()


def _help(setting: Declared) -> str:
    default = f" [default: {setting.default_text}]" if setting.default_text else ""
    return spelled(setting.setting.help + default)


def _load_config(ctx: click.Context, parameter: click.Parameter, path: str | None) -> None:
    if path is None:
        return
    import yaml

    from curator.io import absolute, storage

    try:
        values = yaml.safe_load(storage.read_bytes(absolute(path)))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(" ".join(str(error).split()), field="config", value=path) from error
    if not isinstance(values, dict):
        raise InputError("write one 'flag: value' a line", field="config", value=path)
    known = {option.name: option for option in ctx.command.params if option.name and option is not parameter}
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise InputError(f"unknown key '{key}'{did_you_mean(name, sorted(known))}", field="config", value=path)
        defaults[name] = [value] if known[name].multiple and not isinstance(value, list) else value
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def config_option(command: F) -> F:
    """`--config FILE`."""
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(readable=False),
        is_eager=True,
        expose_value=False,
        callback=_load_config,
        help="YAML file of flags, without the dashes; flags on the command line win.",
    )(command)


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")(command)
