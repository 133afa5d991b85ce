"""Every error that a user can cause, as one tree.

    ScoringError
    ├── SchemaError       the columns of a file, or a schema, are not what they must be
    ├── RecordError       one or more records break the schema; carries each problem
    ├── BadRecord         a record of a file breaks a rule, and no rejects file was named
    ├── CalibrationError  the calibration cannot support what was asked
    ├── ArtifactError     the artifact is missing, damaged or from another release
    └── SettingError      a setting is not what it must be; a command exits 2, as for any usage

`OutputError` stands beside it: the output cannot be written, which is the fault of neither the
input nor the artifact, so that the same job can be repeated elsewhere or later.

Texts say what must be, what was got, where, and what to do next. Values of records stay out of
them.
"""

from __future__ import annotations

from dataclasses import dataclass


class ScoringError(Exception):
    """Base of all errors that a caller may want to catch."""


class SchemaError(ScoringError):
    """The columns are not what they must be."""


class CalibrationError(ScoringError):
    """The calibration cannot support what was asked."""


class ArtifactError(ScoringError):
    """The artifact is missing, damaged, or from another release."""


class BadRecord(ScoringError):
    """A record of a file breaks a rule, and no rejects file was named to put it in."""


class SettingError(ScoringError, ValueError):
    """A setting is not what it must be; scikit-learn expects a ValueError of an estimator."""


class OutputError(Exception):
    """The output cannot be written; neither the input nor the artifact is at fault."""


# what to do about a code that most likely breaks in all records, and not in one
REMEDIES = {
    "decimal": " Write decimal points, as the records of the fit have, or train with records that "
    "have commas."
}


@dataclass(frozen=True)
class Problem:
    """One broken rule. record: the index of the record in what was sent, from 0."""

    record: int
    column: str | None
    code: str
    message: str


class RecordError(ScoringError):
    """One or more records break the schema."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        rest = len(problems) - 1
        follow = "problem follows" if rest == 1 else "problems follow"
        more = f" {rest} more {follow}." if rest else ""
        remedy = REMEDIES.get(first.code, "")
        super().__init__(f"{first.message} (record {first.record}).{more}{remedy}")
        self.problems = problems
