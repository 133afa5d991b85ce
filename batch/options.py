"""What the options of `vaewatch score` and `vaewatch replay` may be."""

from __future__ import annotations

import os

import click


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
