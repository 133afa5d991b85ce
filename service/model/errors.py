"""Why no model can answer, or none can be changed, at the moment."""

from __future__ import annotations

from vaewatch.scoring.errors import ScoringError


class NotReady(ScoringError):
    """The service is starting or stopping."""


class Conflict(ScoringError):
    """What was asked cannot be done in the present state."""


class HistoryAway(NotReady):
    """What keeps the histories of entities does not answer."""


class StoreAway(NotReady):
    """What keeps incidents and feedback does not answer."""


class NotStorable(ScoringError):
    """The store answers, but it cannot hold a value that it was asked for or given."""


class StoreBusy(StoreAway):
    """It answers, but others had the lock for as long as this one waited for it."""
