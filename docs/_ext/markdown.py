"""Pieces of MyST Markdown that the generators share."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence


def cell(text: object) -> str:
    """One cell of a table: a single line, with no bar that would end it."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A pipe table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines) + "\n"


def code(text: object) -> str:
    """A literal, or nothing if there is none."""
    return f"`{text}`" if text not in (None, "") else ""


def directive(name: str, argument: str, body: str) -> str:
    """A directive whose body is Markdown; it nests, for its fence is longer than those within."""
    longest = max((len(run) for run in _fences(body)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{{{name}}} {argument}\n{body.strip()}\n{fence}\n"


def _fences(body: str) -> Iterable[str]:
    for line in body.splitlines():
        bare = line.strip()
        if bare.startswith("```"):
            yield bare[: len(bare) - len(bare.lstrip("`"))]


def sentence(text: str) -> str:
    """Text that ends in a full stop."""
    text = textwrap.dedent(text).strip()
    return text if not text or text[-1] in ".!?:" else f"{text}."
