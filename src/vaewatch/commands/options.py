"""Options that several commands share: where their values come from, and which are allowed."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from pathlib import Path
from typing import Any

import click

from vaewatch.commands.parameters import OneColumn


def setting(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """A click option that can also be set as VAEWATCH_<NAME>."""
    name = names[0].split("/")[0].lstrip("-").replace("-", "_").upper()
    options = {"show_default": True, "envvar": f"VAEWATCH_{name}", **attributes}
    return click.option(*names, **options)


def keep() -> Callable[[Any], Any]:
    """`--keep N`: the versions of an artifact that stay when it is replaced."""
    return setting(
        "--keep",
        type=click.IntRange(0),
        default=1,
        metavar="N",
        help="With --overwrite: keep the last N artifacts for vaewatch rollback.",
    )


def normal_label() -> Callable[[Any], Any]:
    """`--normal-label VALUE`: a label that means normal."""
    return click.option(
        "--normal-label",
        "normal_labels",
        multiple=True,
        metavar="VALUE",
        help="A label that means normal; repeat for more.  [default: those that evaluate knows]",
    )


def config_file() -> Callable[[Any], Any]:
    """`--config FILE`: a TOML file whose keys are the command's own settings."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="VAEWATCH_CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="TOML file of these settings, under the same names; options given here win.",
    )


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"'{path}' must be a readable TOML file: {error}.") from error
    known = {p.name for p in ctx.command.params if isinstance(p, click.Option)} - {"config"}
    given = {key.replace("-", "_"): value for key, value in data.items()}
    for key in given:
        if key not in known:
            raise click.BadParameter(
                f"'{path}' has an unknown setting '{key}'. Known: "
                f"{', '.join(sorted(map(str, known)))}."
            )
    ctx.default_map = {**(ctx.default_map or {}), **given}


def shard(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise click.BadParameter(f"must be I/N with I from 0 to N - 1, got '{text}'.")
    return int(i), int(n)


def names(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    return tuple(text.split(",")) if text else None


def character(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    text = "\t" if text == "\\t" else text
    if text is not None and (len(text) != 1 or not text.isascii() or text in '"\r\n'):
        raise click.BadParameter(f"must be one ASCII character, and no quote, got '{text}'.")
    return text


def share(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:  # a range of click's lets NaN through
        raise click.BadParameter(f"must be a share from 0 to 1, got {value:g}.")
    return value


def printable(ctx: click.Context, param: click.Parameter, text: str) -> str:
    if not text.isprintable():
        raise click.BadParameter("must have no control characters.")
    return text


def delimiter() -> Callable[[Any], Any]:
    """`--delimiter CHAR`, of every command that reads CSV."""
    return setting(
        "--delimiter",
        metavar="CHAR",
        callback=character,
        help="What separates CSV fields.  [default: the header's]",
    )


def merge_gap() -> Callable[[Any], Any]:
    return setting(
        "--merge-gap",
        metavar="SPAN",
        help="Longest pause between alarms of one incident: 5m, or 30 records without a time.",
    )


def rejects() -> Callable[[Any], Any]:
    """`--rejects FILE`, of every command that reads records."""
    return setting(
        "--rejects",
        metavar="FILE",
        callback=target,
        help="Set bad rows aside here instead of stopping at one.",
    )


def feedback(help: str) -> Callable[[Any], Any]:
    """`--feedback FILE`: what people said of alarms."""
    return setting("--feedback", metavar="FILE", callback=_local, help=help)


def _local(ctx: click.Context, param: click.Parameter, name: str | None) -> Path | None:
    return None if name is None else Path(_plain(name))


def _kind() -> Callable[[Any], Any]:
    return setting(
        "--kind",
        "kinds",
        metavar="COLUMN=KIND",
        multiple=True,
        callback=_kinds,
        help="Declare a column numeric, categorical or boolean, if its values mislead.",
    )


def _kinds(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    from vaewatch.training.settings.checks import parse_kind

    pairs = [value.rpartition("=") for value in values]
    for column, _, kind in pairs:
        if not column:
            raise click.BadParameter(f"must be COLUMN=KIND, got '{kind}'.")
    return {column: parse_kind(kind) for column, _, kind in pairs}


def _decimal() -> Callable[[Any], Any]:
    return setting(
        "--decimal",
        type=click.Choice([".", ","]),
        help="Decimal mark of numbers such as 1,234, which may be read in two ways.",
    )


def nulls() -> Callable[[Any], Any]:
    """`--null TOKEN`, of the commands that read records without an artifact's schema."""
    return click.option(
        "--null",
        "nulls",
        metavar="TOKEN",
        multiple=True,
        help="Text or number that means a missing value, such as ? or -200; repeat for more.",
    )


def reading_options() -> Callable[[Any], Any]:
    """The options that say what to make of the columns of files, where no artifact does."""
    options = (
        setting(
            "--id",
            cls=OneColumn,
            metavar="COLUMN",
            help="Names records; carried through, never learned.",
        ),
        setting(
            "--label",
            cls=OneColumn,
            metavar="COLUMN",
            help="Holds labels; carried through, never learned. Files of normals may lack it.",
        ),
        setting(
            "--ignore",
            metavar="COLUMN",
            multiple=True,
            help="Column to leave out; repeat for more.",
        ),
        setting(
            "--time",
            cls=OneColumn,
            metavar="COLUMN",
            help="When a record was made. Its hour and weekday are learned, and the budget is "
            "checked over time.",
        ),
        setting(
            "--time-zone",
            metavar="ZONE",
            help="Zone of the calendar and of times without an offset, such as Europe/Amsterdam.  "
            "[default: UTC]",
        ),
        setting(
            "--date-order",
            default="auto",
            type=click.Choice(["auto", "day", "month"]),
            help="What comes first in dates such as 3/4/2026, if no other date settles it.",
        ),
        setting(
            "--calendar",
            default="auto",
            metavar="PARTS",
            help="Parts of the time to learn: hour, weekday, day, separated by commas, or none. "
            "auto: hour and weekday, where there are enough days and weeks.",
        ),
        setting(
            "--segment",
            cls=OneColumn,
            metavar="COLUMN",
            help="Calibrate each of its values by itself, where there are enough records.",
        ),
        setting(
            "--entity",
            cls=OneColumn,
            metavar="COLUMN",
            help="What a record belongs to, such as a machine or a patient; never learned. With "
            "--time, each record is judged with the earlier ones of its entity.",
        ),
        _kind(),
        delimiter(),
        nulls(),
        _decimal(),
        rejects(),
    )
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


def _plain(name: str) -> str:
    from vaewatch.scoring.files.remote import plain

    try:
        return plain(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def target(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    return None if name is None else _plain(name)


def sources(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_plain, names))


def save(target: Path, data: bytes) -> None:
    """Write the file that a command was asked for, whole or not at all."""
    from vaewatch.scoring.files.whole import write_whole

    try:
        write_whole(target, data)
    except OSError as error:
        raise click.ClickException(f"'{target}' must be writable: {error.strerror}.") from error


def writing(target: Path | None) -> AbstractContextManager[None]:
    """Hold the lock of the file that a command was asked for; none of a device or a pipe."""
    from vaewatch.scoring.disk.lock import sole_writer

    if target is None or (target.exists() and not target.is_file()):
        return nullcontext()
    return sole_writer(target.resolve())
