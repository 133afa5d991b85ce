"""Kinds of options and arguments: the name of one column, and what may hold a password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click

PERCENT = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*%\s*")


class OneColumn(click.Option):
    """The name of one column. Given twice, the first name would be lost without a word."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **{**attributes, "multiple": True})

    def value_from_envvar(self, ctx: click.Context) -> str | None:
        return self.resolve_envvar_value(ctx)  # whole, with its blanks

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, Any]:
        value, source = super().consume_value(ctx, opts)
        return ((value,) if isinstance(value, str) else value), source

    def process_value(self, ctx: click.Context, value: Any) -> str | None:
        names = dict.fromkeys(super().process_value(ctx, value) or ())
        if len(names) > 1:
            raise click.UsageError(
                f"{self.opts[0]} must name one column, got {' and '.join(map(repr, names))}.", ctx
            )
        return next(iter(names), None)


class Share(click.types.FloatParamType):
    """A share such as 0.05, which people may think of as a percentage."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        percent = PERCENT.fullmatch(value) if isinstance(value, str) else None
        if percent is not None:
            self.fail(f"'{value}' is a percentage. Write {float(percent[1]) / 100:g}.", param, ctx)
        return float(super().convert(value, param, ctx))


class FromSecret(click.Parameter):
    """A URL, which may hold a password: VAEWATCH_<NAME>_FILE names a file of it, which wins over
    VAEWATCH_<NAME>. Lines of it that begin with # are comments.
    """

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        from vaewatch.scoring.errors import SettingError
        from vaewatch.service.secret import secret

        found = secret(str(self.envvar))
        if found is None:
            return None
        lines = [line for line in found.text.splitlines() if not line.lstrip().startswith("#")]
        text = "\n".join(lines).strip()
        several = self.multiple or self.nargs != 1
        if not text and (several or found.where != self.envvar):  # else as a variable not set
            raise SettingError(f"{found.where} must hold a URL, got nothing. Unset it for none.")
        return text or None


class SecretOption(FromSecret, click.Option):
    """Such an option."""


class SecretArgument(FromSecret, click.Argument):
    """Such an argument."""
