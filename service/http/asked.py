"""text of a query, or a body -> values, with the rule named where it is another one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from vaewatch.service.http.problems import Malformed

MOST_DIGITS = 19  # those of the largest number that a store can hold
T = TypeVar("T", bound=msgspec.Struct)


def read_asked(body: bytes, kind: type[T]) -> T:
    """Read a JSON body; an empty one is the default.

    Raises:
        Malformed: it is not what its kind says.
    """
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise Malformed(f"the body must be as /openapi.json says: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("the body must be a JSON object.") from None


def one_of(given: str | None, words: Sequence[str], what: str) -> str | None:
    """Return a word.

    Raises:
        Malformed: it is none of these.
    """
    if given is not None and given not in words:
        raise Malformed(f"'{what}' must be {', '.join(words[:-1])} or {words[-1]}.")
    return given


def whole(given: str | None, what: str, *, least: int, most: int, usual: int) -> int:
    """Return a whole number.

    Raises:
        Malformed: it is none, or out of its range.
    """
    if given is None:
        return usual
    digits = given.isascii() and given.isdecimal() and len(given) <= MOST_DIGITS
    if not (digits and least <= int(given) <= most):
        raise Malformed(f"'{what}' must be a whole number from {least:,} to {most:,}.")
    return int(given)


def share(given: str | None, what: str) -> float | None:
    """Return a number above 0, and of 1 at most.

    Raises:
        Malformed: it is none.
    """
    if given is None:
        return None
    try:
        found = float(given)
    except ValueError:
        found = math.nan
    if not 0 < found <= 1:
        raise Malformed(f"'{what}' must be a number above 0, and of 1 at most.")
    return found


def yes_or_no(given: str | None, what: str) -> bool | None:
    """Return whether it says true.

    Raises:
        Malformed: it is neither true nor false.
    """
    found = one_of(given, ("true", "false"), what)
    return None if found is None else found == "true"
