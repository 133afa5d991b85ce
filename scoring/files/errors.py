"""What can go wrong with a job, beside its records."""

from __future__ import annotations

from vaewatch.scoring.errors import ScoringError


class BadRecord(ScoringError):
    """A record breaks a rule and nothing says where to set it aside."""


class OutputError(Exception):
    """The output cannot be written; neither the data nor the artifact is at fault."""
