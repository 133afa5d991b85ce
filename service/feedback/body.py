"""bodies of requests -> what a person says, or expects for a while."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from vaewatch.scoring.incidents.feedback import Label
from vaewatch.service.feedback.marks import Said
from vaewatch.service.incidents.mark import LONGEST_REASON, LONGEST_RECORD
from vaewatch.service.incidents.patterns import Direction, Silence
from vaewatch.service.store.moments import Moment, moment_of

Text = Annotated[str, Meta(min_length=1, max_length=LONGEST_RECORD, pattern="^[^\\x00]*$")]
Reason = Annotated[
    str, Meta(max_length=LONGEST_REASON, pattern="^[^\\x00]*$", description="Why, in words.")
]


class FeedbackRequest(Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/feedback`."""

    label: Label
    incident: Annotated[Text | None, Meta(description="Its id, or one that it had.")] = None
    record: Annotated[Text | None, Meta(description="The id of a record.")] = None
    reason: Reason = ""
    until: Annotated[
        Moment | None, Meta(description="The end of what is `expected`, which it must have.")
    ] = None
    id: Annotated[
        Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,64}$")] | None,
        Meta(description="Your own id: what is sent again with it is kept once."),
    ] = None

    def said(self) -> Said:
        """Return what is said.

        Raises:
            Malformed: the moment is none.
        """
        until = None if self.until is None else moment_of(self.until, "until")
        return Said(self.label, self.incident, self.record, self.reason, until, self.id)


class PatternRequest(Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/patterns`. It must name columns or a group."""

    until: Moment
    columns: Annotated[
        list[Text], Meta(max_length=100, description="All main reasons must be among them.")
    ] = []
    group: Annotated[
        Text | None, Meta(description="Name of an entity or segment; any by default.")
    ] = None
    direction: Annotated[
        Direction | None, Meta(description="No reason may point the other way.")
    ] = None
    severity_from: Annotated[float, Meta(ge=0)] | None = None
    severity_to: Annotated[float, Meta(ge=0)] | None = None
    since: Annotated[Moment | None, Meta(description="Now by default.")] = None
    reason: Reason = ""

    def silence(self, now: int) -> Silence:
        """Return what it silences.

        Raises:
            Malformed: a moment is none.
        """
        return Silence(
            tuple(self.columns),
            self.group,
            {"above": 1, "below": -1, None: 0}[self.direction],
            self.severity_from,
            self.severity_to,
            now if self.since is None else moment_of(self.since, "since"),
            moment_of(self.until, "until"),
        )
