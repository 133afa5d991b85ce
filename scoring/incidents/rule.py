"""an artifact, a merge gap -> Rules: into which groups its records fall, and the rule of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.calibration import RateLaw, block_law, check_alpha
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.incidents.feedback import GroupKind
from vaewatch.scoring.incidents.grouping import Rule
from vaewatch.scoring.incidents.peaks import Peaks
from vaewatch.scoring.schema import other_code
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.spans import microseconds

MINUTE = 60 * 10**6  # microseconds
GAP = 5 * MINUTE
MOST_RECORDS = 2**40
GAP_IN_RECORDS = 100  # at most
ALARMS_IN_GAP = 0.3  # of chance, in a gap of records: many more would hang together by chance


def merge_gap_of(text: str | None, *, timed: bool) -> int | None:
    """Return a merge gap as `Rules.of` takes it: of `5m`, or of a number of records where there
    is no time. None of None.

    Raises:
        SettingError: it is neither.
    """
    if text is None:
        return None
    if timed:
        gap = microseconds(text)
        if gap is None:
            raise SettingError(f"--merge-gap must be a time such as 90s, 5m or 2h, got '{text}'.")
        return gap
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= MOST_RECORDS:
        raise SettingError(
            "--merge-gap must be a number of records, since the artifact has no time, got "
            f"'{text}'."
        )
    return int(text)


class Kind(StrEnum):
    """What the groups of an artifact's records are."""

    ENTITY = "entity"
    SEGMENT = "segment"
    ALL = "all"


@dataclass(frozen=True)
class Membership:
    """The groups of N records: names, and of each record the place of its group's, (N,)."""

    names: Sequence[str]
    codes: NDArray[np.int64] | NDArray[np.int32]


@dataclass(frozen=True)
class Rules:
    """How the alarms of an artifact become incidents.

    Attributes:
        kind: of the groups.
        timed: whether moments are microseconds since 1970; else they are numbers of records.
        rule: of the groups that are not in `own`.
        own: the rule of each segment.
        other: the label of the segments that the artifact has no name for; None where it has no
            segment.
    """

    kind: Kind
    timed: bool
    rule: Rule
    own: Mapping[str, Rule] = field(default_factory=dict)
    other: str | None = None

    @classmethod
    def of(
        cls,
        artifact: Artifact,
        merge_gap: int | None = None,
        alpha: float | None = None,
        *,
        by_clock: bool = False,
    ) -> Rules:
        """Return the rules of an artifact.

        Args:
            merge_gap: in microseconds, or in records where there is no time. By default W steps of
                an artifact with a window, 5 minutes of another one with a time; else as many
                records as bring 0.3 alarms by chance, up to 100.
            alpha: the share of normal records that alarm, or the largest p-value that does; the
                artifact's own by default.
            by_clock: whether records without a time of their own get that of their arrival.

        Raises:
            SettingError: alpha cannot be meant.
            CalibrationError: the artifact cannot certify alpha.
        """
        if alpha is not None:
            check_alpha(alpha, artifact.calibration.n)
        at = artifact.calibration.alpha if alpha is None else alpha
        timed = artifact.schema.time is not None or by_clock
        kind = kind_of_groups(artifact)
        if artifact.window is not None:
            return cls(kind, timed, _rule_of_windows(artifact, merge_gap, alpha))
        few = min(GAP_IN_RECORDS, max(1, round(ALARMS_IN_GAP / at)))
        gap = merge_gap or (GAP if timed else few)
        if artifact.segments is None:
            law = artifact.calibration.rate_law(alpha)
            return cls(kind, timed, _rule(gap, law))
        pooled, *own = artifact.segments.laws(alpha)
        labels = artifact.segments.labels
        rules = {
            labels[code] or "": _rule(gap, law)
            for code, law in zip(artifact.segments.own, own, strict=True)
        }
        other = labels[other_code(artifact.segments.column)]
        return cls(kind, timed, _rule(gap, pooled), rules, other)

    def of_group(self, group: str) -> Rule:
        return self.own.get(group, self.rule)

    def kind_of(self, group: str) -> GroupKind:
        """Return whose records a group is made of."""
        if self.kind is Kind.SEGMENT and group == self.other:
            return GroupKind.OTHER
        return GroupKind(self.kind.value)


def kind_of_groups(artifact: Artifact) -> Kind:
    if artifact.window is not None:
        return Kind.ALL if artifact.schema.entity is None else Kind.ENTITY
    return Kind.ALL if artifact.segments is None else Kind.SEGMENT


def members_of(artifact: Artifact, table: Table) -> Membership:
    """Return the group of each of N records."""
    kind = kind_of_groups(artifact)
    if kind is Kind.ENTITY and table.entities is not None:
        places: dict[str, int] = {}
        codes = [places.setdefault(name, len(places)) for name in table.entities]
        return Membership(tuple(places), np.array(codes, np.int64))
    if kind is Kind.SEGMENT and artifact.segments is not None:
        labels = tuple(label or "" for label in artifact.segments.labels)
        return Membership(labels, artifact.segments.codes(table))
    return Membership(("",), np.zeros(len(table), np.int64))


def _rule(gap: int, law: RateLaw) -> Rule:
    return Rule(gap, True, min(law.mean, 1.0), law.interval()[1])


def _rule_of_windows(artifact: Artifact, merge_gap: int | None, alpha: float | None) -> Rule:
    """Windows of neighbouring records overlap: so many that are alike are worth one."""
    window, series, calibration = artifact.window, artifact.manifest.series, artifact.calibration
    if window is None:
        raise AssertionError("this is the rule of an artifact with a window")
    alpha = calibration.alpha if alpha is None else alpha
    blocks = series.blocks if series is not None else calibration.n // window.size
    law = block_law(calibration, alpha, max(blocks, 1))
    rule = _rule(merge_gap or window.size * window.step, law)
    spacing = round(calibration.n / max(blocks, 1))
    return structs.replace(
        rule,
        by_column=False,
        expected_rate=alpha,
        spacing=max(spacing, 1),
        peaks=_peaks(artifact, rule.gap, alpha),
    )


def _peaks(artifact: Artifact, gap: int, alpha: float) -> Peaks | None:
    """Return the normal incidents that an artifact has counted, at alpha. By a shorter merge gap
    they would be others.
    """
    window, scores = artifact.window, artifact.incident_peaks
    own, asked = (artifact.calibration.threshold(a) for a in (artifact.calibration.alpha, alpha))
    if window is None or scores is None or own is None or asked is None:
        return None
    usual = window.size * window.step
    return Peaks(tuple(scores.tolist()), own, usual).above(asked) if gap >= usual else None
