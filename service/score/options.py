"""query string -> Options: how the records of a request are to be scored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

from vaewatch.scoring.budget.calibration import LEAST_ALPHA
from vaewatch.service.http.problems import Malformed, shown

MOST_REASONS = 100


@dataclass(frozen=True)
class Options:
    """`alpha` and `explain` as `Scorer.score_table` takes them."""

    alpha: float | None = None
    explain: int | None = None
    keep_bad: bool = False  # `?on_error=null`
    last: bool = False  # `?judge=last`: only the newest record of each entity is judged


DEFAULT, LAST = Options(), Options(last=True)
NAMES = {"alpha", "explain", "on_error", "judge"}


@lru_cache(maxsize=256)
def options_of(query: bytes) -> Options:
    """Read a query string.

    Raises:
        Malformed: a name is unknown, since a misspelt option must not be ignored, or a value is
            not what it must be.
    """
    if not query:
        return DEFAULT
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=8)
    except ValueError:
        raise Malformed("the query must be URL-encoded ASCII of at most 8 fields.") from None
    given = dict(pairs)
    unknown = sorted(given.keys() - NAMES)
    if unknown or len(given) < len(pairs):
        got = ", ".join(map(shown, unknown)) or "one of them again"
        raise Malformed(
            f"the query may hold alpha, explain, on_error and judge, each once, got {got}."
        )
    return Options(
        _alpha(given.get("alpha")),
        _explain(given.get("explain")),
        _keep_bad(given.get("on_error")),
        last_in(given.get("judge")),
    )


def _alpha(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        alpha = float(text)
    except ValueError:
        alpha = math.nan
    if not LEAST_ALPHA <= alpha < 1:
        raise Malformed(f"alpha must be a number between {LEAST_ALPHA:g} and 1.")
    return alpha


def _explain(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 4 and int(text) <= MOST_REASONS):
        raise Malformed(f"explain must be a whole number from 0 to {MOST_REASONS}.")
    return int(text)


def _keep_bad(text: str | None) -> bool:
    if text not in (None, "reject", "null"):
        raise Malformed("on_error must be reject or null.")
    return text == "null"


def last_in(text: object) -> bool:
    """Read which records are judged.

    Raises:
        Malformed: it is neither `all` nor `last`.
    """
    if text not in (None, "all", "last"):
        raise Malformed("judge must be all or last.")
    return text == "last"
