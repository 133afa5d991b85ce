"""FeedbackSummary: what an artifact took from what people said of alarms."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


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
