"""What people said of alarms: its words, whose records it is about, what an artifact took."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

Z = 1.959963984540054  # of a normal distribution, between -Z and Z lie 95%


class Label(StrEnum):
    """What somebody says of an incident or a record."""

    CONFIRMED = "confirmed"
    FALSE_ALARM = "false_alarm"
    EXPECTED = "expected"
    WITHDRAWN = "withdrawn"  # what was said before does not count


class GroupKind(StrEnum):
    """Whose records a marked incident is made of.

    OTHER: those of all segments that the artifact has no name for. A segment without a name is
    that of records whose segment is missing.
    """

    ALL = "all"
    SEGMENT = "segment"
    OTHER = "other"
    ENTITY = "entity"


class FeedbackSummary(Struct, frozen=True, omit_defaults=True):
    """The marks that were given, and what the parts of the score weigh since."""

    confirmed: Annotated[int, Meta(description="Marks that say so.")]
    false_alarms: Annotated[int, Meta(description="Marks that say so.")]
    expected: Annotated[int, Meta(description="Marks that say so.")]
    without_records: Annotated[
        int, Meta(description="Marks of which there is no record in the input.")
    ]
    left_out: Annotated[
        int, Meta(description="Records of confirmed marks: they neither fit nor calibrate.")
    ]
    kl_factor: Annotated[
        float, Meta(description="What the KL part weighs, as a multiple of what it does without.")
    ] = 1.0
    neighbour_factor: Annotated[float, Meta(description="The same of the neighbour part.")] = 1.0
    gain: Annotated[
        float | None,
        Meta(
            description="By cross-validation: mean gain in the log likelihood of a mark, in nats; "
            "none where too few marks were given to try."
        ),
    ] = None
    gain_error: Annotated[float | None, Meta(description="Its standard error.")] = None


def share_interval(part: int, n: int) -> tuple[float, float]:
    """Return the 95% interval of the share that `part` of `n` has, n > 0 (Wilson, 1927); it holds
    for small numbers as well.
    """
    share, squared = part / n, Z * Z
    middle = (share + squared / (2 * n)) / (1 + squared / n)
    spread = Z / (1 + squared / n) * math.sqrt(share * (1 - share) / n + squared / (4 * n * n))
    return max(0.0, middle - spread), min(1.0, middle + spread)
