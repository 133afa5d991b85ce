"""A remark: what a user should know of their records before the fit."""

from __future__ import annotations

from dataclasses import dataclass

NAMED = 5  # columns or values of a remark


@dataclass(frozen=True)
class Remark:
    """A sentence on a column, and a word or two that stand for it in a table."""

    word: str
    text: str
