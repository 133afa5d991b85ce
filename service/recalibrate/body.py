"""body -> what a recalibration is asked for: its time, the spans left out, alpha."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from vaewatch.scoring.time.spans import microseconds
from vaewatch.service.http.problems import Malformed
from vaewatch.service.recalibrate.sample import Period, TimeSpan
from vaewatch.service.store.moments import SECOND, Moment, moment_of

LAST = "24h"
MOST_EXCLUDED = 100


class Excluded(Struct, forbid_unknown_fields=True):
    """A span that is left out, as an incident was then; whole minutes go."""

    since: Moment
    until: Moment


class RecalibrateRequest(Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/recalibrate`. All of it may be left out: then it is the last day."""

    last: Annotated[
        str | None,
        Meta(
            description="How long before now it begins, as `90m`, `24h` or `7d`; `24h` if there "
            "is no `since` either."
        ),
    ] = None
    since: Annotated[Moment | None, Meta(description="When it begins, instead of `last`.")] = None
    until: Annotated[Moment | None, Meta(description="When it ends; now by default.")] = None
    exclude: Annotated[
        list[Excluded],
        Meta(max_length=MOST_EXCLUDED, description="Spans to leave out, such as incidents."),
    ] = []
    alpha: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | None,
        Meta(description="False-alarm rate; that of the artifact by default."),
    ] = None
    force: Annotated[
        bool, Meta(description="Whether it may be applied although it is refused; it is logged.")
    ] = False

    def period(self, now: float) -> Period:
        """Return the time that is asked for.

        Raises:
            Malformed: a moment is none, or a span ends before it begins.
        """
        if self.last is not None and self.since is not None:
            raise Malformed("'last' and 'since' must not both be given.")
        until = now if self.until is None else _seconds(self.until, "until")
        if self.since is not None:
            since = _seconds(self.since, "since")
        else:
            since = until - _length(LAST if self.last is None else self.last)
        without = tuple(
            _span(_seconds(each.since, "since"), _seconds(each.until, "until"))
            for each in self.exclude
        )
        return Period(_span(since, until), without)


class ApplyRequest(Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/recalibrate/{id}/apply`, which may be empty."""

    force: Annotated[bool, Meta(description="Whether to apply what is refused; it is logged.")] = (
        False
    )


def _span(since: float, until: float) -> TimeSpan:
    since = max(since, 0.0)  # nothing is remembered of the time before 1970
    if not since < until:
        raise Malformed("a span must end after it begins.")
    return TimeSpan(since, until)


def _length(text: str) -> float:
    span = microseconds(text)
    if span is None:
        raise Malformed("'last' must be a length of time such as '90m', '24h' or '7d'.")
    return span / SECOND


def _seconds(moment: str | float, what: str) -> float:
    return moment_of(moment, what) / SECOND
