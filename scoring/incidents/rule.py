"""an artifact, a merge gap -> Rules: into which groups its records fall, and the rule of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import structs

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.calibration import RateLaw, check_alpha
from vaewatch.scoring.budget.described import block_law
from vaewatch.scoring.incidents.grouping import Rule
from vaewatch.scoring.table import Table

MINUTE = 60 * 10**6  # microseconds
GAP = 5 * MINUTE
GAP_IN_RECORDS = 100


class Kind(StrEnum):
    """What the groups of an artifact's records are."""

    ENTITY = "entity"
    SEGMENT = "segment"
    ALL = "all"


@dataclass(frozen=True)
class Rules:
    """How the alarms of an artifact become incidents.

    Attributes:
        kind: of the groups.
        timed: whether moments are microseconds since 1970; else they are numbers of records.
        rule: of the groups that are not in `own`.
        own: the rule of each segment.
    """

    kind: Kind
    timed: bool
    rule: Rule
    own: Mapping[str, Rule] = field(default_factory=dict)

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
                an artifact with a window, 5 minutes of another one with a time, or 100 records.
            alpha: the share of normal records that alarm, or the largest p-value that does; the
                artifact's own by default.
            by_clock: whether records without a time of their own get that of their arrival.

        Raises:
            SettingError: alpha cannot be meant.
            CalibrationError: the artifact cannot certify alpha.
        """
        if alpha is not None:
            check_alpha(alpha, artifact.calibration.n)
        timed = artifact.schema.time is not None or by_clock
        if artifact.window is not None:
            return cls(_kind(artifact), timed, _rule_of_windows(artifact, merge_gap, alpha))
        gap = merge_gap or (GAP if timed else GAP_IN_RECORDS)
        if artifact.segments is None:
            law = artifact.calibration.rate_law(alpha)
            return cls(Kind.ALL, timed, _rule(gap, law))
        pooled, *own = artifact.segments.laws(alpha)
        labels = artifact.segments.labels
        rules = {
            labels[code] or "": _rule(gap, law)
            for code, law in zip(artifact.segments.own, own, strict=True)
        }
        return cls(Kind.SEGMENT, timed, _rule(gap, pooled), rules)

    def of_group(self, group: str) -> Rule:
        return self.own.get(group, self.rule)

    def groups(self, artifact: Artifact, table: Table) -> Sequence[str] | None:
        """Return the group of each record, (N,); None where all are one group."""
        if self.kind is Kind.ENTITY:
            return table.entities
        if self.kind is Kind.SEGMENT and artifact.segments is not None:
            segments = artifact.segments
            return [name or "" for name in segments.names(segments.codes(table))]
        return None


def _kind(artifact: Artifact) -> Kind:
    return Kind.ALL if artifact.schema.entity is None else Kind.ENTITY


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
    return structs.replace(rule, by_column=False, expected_rate=alpha, spacing=max(spacing, 1))
