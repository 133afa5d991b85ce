"""answer of the service -> verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaewatch.scoring.reasons import CalendarReason, Reason
from vaewatch.scoring.score import NO_PARTS, Parts
from vaewatch.scoring.series.reasons import SeriesReason, StillReason
from vaewatch.scoring.verdicts import Verdict
from vaewatch.service.client.connection import ServiceError


@dataclass(frozen=True)
class ServiceVerdict(Verdict):
    """A verdict as the service gives it.

    id: the record's value in the column that was named `--id` at training; None if it has none,
        or if no column was named.
    """

    id: Any = None


def verdicts_of(answer: Mapping[str, Any]) -> list[ServiceVerdict]:
    """Read the verdicts of an answer.

    Raises:
        ServiceError: it is that of another program.
    """
    try:
        return list(map(_verdict, answer["results"]))
    except (KeyError, TypeError) as error:  # another program's
        raise ServiceError(
            "the service answered 200, but not with verdicts. Is the url that of vaewatch?", 200
        ) from error


def _verdict(result: Mapping[str, Any]) -> ServiceVerdict:
    reasons = tuple(map(_reason, result["reasons"]))
    given = result.get("parts")
    missing = NO_PARTS if "parts" in result else None
    return ServiceVerdict(
        _number(result["score"]),
        _number(result["p_value"]),
        _number(result["severity"]),
        bool(result["is_anomaly"]),
        reasons,
        missing if given is None else Parts(**given),
        result.get("segment"),
        result.get("calibration"),
        result.get("history"),
        result.get("id"),
    )


def _reason(reason: Mapping[str, Any]) -> Reason:
    if "ago" in reason:
        return StillReason(**reason) if "records" in reason else SeriesReason(**reason)
    return CalendarReason(**reason) if "words" in reason else Reason(**reason)


def _number(value: float | None) -> float:
    """Return NaN for a record that was not judged, as `Scorer.score` does."""
    return math.nan if value is None else value
