"""A remark: what a user should know of their records before the fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NAMED = 5  # columns or values of a remark


@dataclass(frozen=True)
class Remark:
    """A sentence on a column, and a word or two that stand for it in a table."""

    word: str
    text: str


def named_columns(names: Sequence[str]) -> str:
    """Return columns as a sentence has them: of many the first, and how many more."""
    named = ", ".join(f"'{name}'" for name in names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"column{'s' if len(names) > 1 else ''} {named}{more}"
