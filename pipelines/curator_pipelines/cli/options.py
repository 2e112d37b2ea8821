"""Flags shared by commands, the YAML config, and lists of URLs as the shell hands them over."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

import click

from curator.errors import InputError

__all__ = ["UrlCommand", "config_option", "encoding_options", "executor_options", "json_option", "option"]

F = TypeVar("F", bound=Callable[..., Any])
URL_FLAGS = ("--target", "--pool", "--exclude", "--shards", "--train", "--test")


class UrlCommand(click.Command):
    """A command whose URL flags take every word up to the next flag.

    So that a glob which the shell expanded, `--pool shards/*.tar`, just works.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the words that follow a URL flag into one `::` list."""
        return super().parse_args(ctx, _join_words(args))


def _join_words(args: list[str]) -> list[str]:
    joined: list[str] = []
    open_flag = False  # the last word was a URL flag's value
    rest = iter(args)
    for word in rest:
        if word in URL_FLAGS:
            value = next(rest, None)
            joined += [word] if value is None else [word, value]
            open_flag = value is not None
        elif open_flag and not word.startswith("-"):
            joined[-1] += "::" + word
        else:
            joined.append(word)
            open_flag = any(word.startswith(flag + "=") for flag in URL_FLAGS)
    return joined


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """A click option whose default stands in the config model, so it is None here."""
    return click.option(*names, default=None, **settings)


def _load_config(ctx: click.Context, parameter: click.Parameter, path: str | None) -> None:
    if path is None:
        return
    import yaml

    from curator.io import storage
    from curator.io.urls import absolute

    try:
        values = yaml.safe_load(storage.read_bytes(absolute(path)))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"--config {path}: write one 'flag: value' a line")
    options = {p.name: p for p in ctx.command.params if p.name and p is not parameter}
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in options:
            near = difflib.get_close_matches(name, options, 1, 0.4)
            hint = f"; did you mean '{near[0]}'?" if near else f"; one of {', '.join(sorted(options))}"
            raise InputError(f"--config {path}: unknown key '{key}'{hint}")
        # YAML 1.1 reads a bare `off` as false.
        value = "off" if value is False and name == "stop" else value
        defaults[name] = [value] if options[name].multiple and not isinstance(value, list) else value
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def config_option(command: F) -> F:
    """`--config FILE`."""
    return click.option(
        "--config",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_load_config,
        help="YAML file of flags, without the dashes; flags on the command line win.",
    )(command)


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")(command)


def executor_options(command: F) -> F:
    """Where the work runs."""
    for decorate in reversed(
        [
            option(
                "--address",
                metavar="URL|local",
                help="Ray cluster to join (HOST:6379), or 'local' to start one here. "
                "[default: RAY_ADDRESS, else processes on this machine]",
            ),
            option(
                "--workers",
                metavar="N|auto",
                help="Worker processes or Ray actors. [default: auto: one a GPU, else by CPUs on Ray, else 1]",
            ),
            option(
                "--gpus-per-worker",
                metavar="X",
                help="GPUs, or the share of one, that a Ray worker gets. [default: 1]",
            ),
        ]
    ):
        command = decorate(command)
    return command


def encoding_options(command: F) -> F:
    """How images become embeddings."""
    for decorate in reversed(
        [
            option(
                "--encoder",
                metavar="SPEC",
                help="lite0, timm:MODEL, torchvision:MODEL, open_clip:MODEL/PRETRAINED or checkpoint:PATH[@ARCH]; for "
                "`curator select` also warmup, its default.",
            ),
            option("--weights", metavar="PATH", help="Local weights file, or 'random' for tests."),
            option("--batch-size", metavar="N", help="Images a forward pass. [default: by device]"),
            option(
                "--precision",
                metavar="auto|fp32|bf16",
                help="[default: auto: bf16 where the hardware has it]",
            ),
            option("--device", metavar="auto|cpu|cuda", help="[default: auto: the GPU if there is one]"),
            option("--min-side", metavar="N", help="Leave out pool images with a shorter side below N pixels."),
            option("--max-bad", metavar="P%", help="Bad samples to put up with before exit 3. [default: 1%]"),
        ]
    ):
        command = decorate(command)
    return command
