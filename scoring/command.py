"""What every command shares: where settings come from, and how people are spoken to.

Settings: command line > environment VAEWATCH_* > file > default. Results go to stdout, all else to
stderr.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scoring.folders import write_whole

if TYPE_CHECKING:
    from rich.console import Console

# a path or a column's name is shown as it is: no brackets that are styles, no emoji, no colours
PLAIN: Any = {"highlight": False, "soft_wrap": True, "markup": False, "emoji": False}


def setting(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """A click option that can also be set as VAEWATCH_<NAME>."""
    name = names[0].split("/")[0].lstrip("-").replace("-", "_").upper()
    options = {"show_default": True, "envvar": f"VAEWATCH_{name}", **attributes}
    return click.option(*names, **options)


def config_file() -> Callable[[Any], Any]:
    """`--config FILE`: a TOML file whose keys are the command's own settings."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="VAEWATCH_CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="TOML file of these settings, under the same names; what is given here wins.",
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


def out() -> Console:
    """For results: stdout."""
    from rich.console import Console

    return Console(**PLAIN)


def err() -> Console:
    """For progress and notes: stderr."""
    from rich.console import Console

    return Console(stderr=True, **PLAIN)


def products_on_one_thread() -> None:
    """To be called before NumPy is imported: OpenBLAS's own threads would wait in a loop beside
    products as small as ours, for as much processor time again.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def save(target: Path, data: bytes) -> None:
    """What a command was asked to write, whole or not at all."""
    try:
        write_whole(target, data)
    except OSError as error:
        raise click.ClickException(f"'{target}' must be writable: {error.strerror}.") from error
