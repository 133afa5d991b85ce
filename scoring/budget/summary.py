"""What the calibration of a segment promises, as the manifest holds it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

SegmentName = Annotated[
    str | None,
    Meta(
        description="Its name. `other`: the segments without a category of their own; null: "
        "records without a segment."
    ),
]


class SegmentSummary(Struct, frozen=True):
    """What one segment's calibration promises, for people."""

    segment: SegmentName
    records: Annotated[int, Meta(description="Records of the segment that were read.")]
    n: Annotated[int, Meta(description="Calibration records of the segment.")]
    calibration: Annotated[
        str,
        Meta(
            description="`own`, or `pooled`: n records cannot certify `alpha`, so the pooled "
            "calibration judges the segment."
        ),
    ]
    rate_interval_95: Annotated[
        tuple[float, float] | None,
        Meta(description="As that of the whole; null where the pooled calibration judges."),
    ]
    threshold: Annotated[
        float, Meta(description="The score in nats from which its records are anomalies.")
    ]
