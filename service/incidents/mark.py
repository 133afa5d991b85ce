"""Mark: what a person said of an incident or a record, and when."""

from __future__ import annotations

import json
from typing import Annotated, Any

from msgspec import Meta, Struct
from sqlalchemy.engine import Row

from vaewatch.scoring.incidents.feedback import GroupKind, Label
from vaewatch.service.store.moments import moment_text

LONGEST_REASON = 1_000  # characters
LONGEST_RECORD = 200


class Mark(Struct, frozen=True):
    """One piece of feedback. It stays as it is; a later one of the same incident or record counts
    in its place.
    """

    id: str
    at: Annotated[str, Meta(description="When it was given.")]
    by: Annotated[str | None, Meta(description="The name of the key that gave it.")]
    label: Annotated[
        Label, Meta(description="`withdrawn`: what was said before does not count any more.")
    ]
    incident: Annotated[str | None, Meta(description="Its id, as it was given.")]
    record: Annotated[str | None, Meta(description="The id of a record.")]
    reason: str
    until: Annotated[str | None, Meta(description="The end of the pattern, of `expected`.")]
    pattern: Annotated[str | None, Meta(description="The pattern that `expected` has made.")]
    group: Annotated[str | None, Meta(description="Name of the entity or segment.")]
    first: Annotated[str | None, Meta(description="First alarm of the incident then.")]
    last: str | None
    columns: Annotated[tuple[str, ...], Meta(description="Main reasons of the incident then.")]
    kind: Annotated[
        GroupKind | None,
        Meta(
            description="Of the group: `entity`, `segment`, `other` (the segments that the "
            "artifact has no name for) or `all`; null where it is not known."
        ),
    ] = None


def mark_of(row: Row[Any]) -> Mark:
    """Return the mark that a row holds."""
    return Mark(
        id=row.id,
        at=moment_text(row.at),
        by=row.by,
        label=Label(row.label),
        incident=row.incident,
        record=row.record,
        reason=row.reason,
        until=_text(row.until),
        pattern=row.pattern,
        group=row.name,
        first=_text(row.first),
        last=_text(row.last),
        columns=tuple(json.loads(row.columns or "[]")),
        kind=None if row.kind is None else GroupKind(row.kind),
    )


def _text(moment: int | None) -> str | None:
    return None if moment is None else moment_text(moment)
