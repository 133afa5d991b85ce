"""alarm -> Place: where the one who sent a record finds it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec


class Place(msgspec.Struct):
    """The place of a record in its request.

    request: the id that the client or the service gave the request. index: from 0, of `records`
    records. id: that of the record, as text; None if there is no id column, or no id in it.
    """

    request: str
    index: int
    records: int
    id: str | None = None


PlaceOf = Callable[[int], Place]  # of a row of a batch


def text_of_id(value: Any, most: int) -> str | None:
    """Return an id as text of at most so many characters; None where there is none."""
    return None if value is None or value is msgspec.UNSET else str(value)[:most]
