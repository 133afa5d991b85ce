"""The dataclasses of settings -> tables: field, default, environment variable, meaning."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

import click

from _ext.artifact import settings_of_manifest
from _ext.commands import commands, option_help
from _ext.markdown import code, table
from vaewatch.service.settings import Settings
from vaewatch.training.config import TrainConfig

HEAD = ("setting", "default", "environment", "meaning")


def training_settings() -> str:
    """Every field of `TrainConfig`, the keyword arguments of `vaewatch.train`."""
    return table(HEAD, _rows(TrainConfig, "train"))


def service_settings() -> str:
    """Every field of the service's settings that a user can set."""
    known = _options("serve")
    return table(HEAD, (row for row in _rows(Settings, "serve") if row[0].strip("`") in known))


def _rows(settings: type[Any], command: str) -> Iterator[tuple[str, ...]]:
    options, meanings = _options(command), {**_comments(settings), **settings_of_manifest()}
    for field in fields(settings):
        option, meaning, env = options.get(field.name), meanings.get(field.name, ""), None
        if option is not None:
            meaning, env = option[1], option[0].envvar
        yield code(field.name), code(_default(field)), code(env), meaning


def _options(command: str) -> dict[str, tuple[click.Option, str]]:
    """parameter -> its option, and the help of it without the default."""
    _, found, ctx = next(entry for entry in commands() if entry[0] == command)
    options = [param for param in found.params if isinstance(param, click.Option)]
    return {str(o.name): (o, _without_default(o, ctx)) for o in options}


def _without_default(option: click.Option, ctx: click.Context) -> str:
    help_text, default = option_help(option, ctx)
    worded = default and not default.startswith("`")
    return f"{help_text} Default: {default}." if worded else help_text


def _default(field: Field[Any]) -> str:
    if field.default is MISSING:
        return ""
    return "" if field.default in (None, ()) else str(field.default)


def _comments(settings: type[Any]) -> dict[str, str]:
    """field -> the comment at the end of its line: what no option says is said there."""
    source = inspect.getsource(settings)
    found = re.findall(r"^    (\w+): [^#\n]*?(?:  # (.*))?$", source, re.M)
    return {name: f"{comment[:1].upper()}{comment[1:]}." for name, comment in found if comment}
