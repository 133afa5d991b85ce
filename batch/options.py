"""What the options of `vaewatch score` and `vaewatch replay` may be."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # https://docs.kernel.org/admin-guide/cgroup-v2.html


def cores() -> int:
    """Those that this process may use: a container may have fewer than its machine."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    here = len(os.sched_getaffinity(0))
    try:
        quota, period = QUOTA.read_text().split()
    except (OSError, ValueError):
        return here
    return here if quota == "max" else min(here, math.ceil(int(quota) / int(period)))


def bytes_of(sources: Iterable[str]) -> int:
    """As far as it shows from outside: nothing of streams and objects, packed what is packed."""
    total = 0
    for source in sources:
        with suppress(OSError):
            folder = Path(source).is_dir()
            found = Path(source).iterdir() if folder else map(Path, glob.glob(source) or [source])
            total += sum(path.stat().st_size for path in found if path.is_file())
    return total


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


def _plain(name: str) -> str:
    from batch.remote import plain

    try:
        return plain(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def target(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    return None if name is None else _plain(name)


def sources(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_plain, names))
