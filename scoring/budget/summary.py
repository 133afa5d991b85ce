"""What a calibration, and that of a single segment, promises, as the manifest holds it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from vaewatch.scoring.budget.entities import WholeEntities

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


class UnseenPasses(Struct, frozen=True):
    """Why an unseen value alone is no alarm in a usual record."""

    added: Annotated[float, Meta(description="Nats that an unseen value adds to a score.")]
    usual: Annotated[float, Meta(description="The median of the calibration scores, in nats.")]
    threshold: Annotated[float, Meta(description="At `alpha`, in nats; above the sum of the two.")]
    p_value: Annotated[float, Meta(gt=0, le=1, description="That of the sum; above `alpha`.")]


class CalibrationSummary(Struct, frozen=True, omit_defaults=True):
    """What the calibration promises, for people; nothing here decides a verdict."""

    n: Annotated[int, Meta(description="Calibration records.")]
    rule: Annotated[
        str,
        Meta(
            description="`split`: scores of records that were held out of everything. "
            "`cross-fitted`: out-of-bag scores of the fit records."
        ),
    ]
    rule_means: Annotated[str, Meta(description="What the rule means, in a sentence.")]
    assumes: Annotated[str, Meta(description="What the promise rests on, in a sentence.")]
    contamination: Annotated[
        str, Meta(description="What anomalies among the calibration records do, in a sentence.")
    ]
    rate_interval_95: Annotated[
        tuple[float, float],
        Meta(description="Range of the true false-alarm rate at `alpha`, at 95%; shares."),
    ]
    thresholds: Annotated[
        dict[str, float | None],
        Meta(
            description="alpha, as text: the score in nats from which a record is an anomaly; "
            "null where n records cannot certify that alpha."
        ),
    ]
    least_alpha: Annotated[
        float, Meta(description="The least alpha that n records can certify: 1 / (n + 1).")
    ]
    records_needed: Annotated[
        dict[str, int],
        Meta(description="alpha, as text: calibration records that it takes to certify it."),
    ]
    records_for_20_percent: Annotated[
        int,
        Meta(description="Calibration records that bring the interval within 20% of `alpha`."),
    ]
    reachable: Annotated[
        tuple[float, float] | None,
        Meta(
            description="Where calibration scores tie at the threshold: the share of normal "
            "records that alarm, and the next share that can be reached. `alpha` lies between."
        ),
    ] = None
    tail: Annotated[
        dict[str, float],
        Meta(
            description="Where the threshold is more than 20 times that of alpha 0.1, or columns "
            "of 30 values or more make most of the highest scores of normal records: the columns "
            "whose rare values do so, and their shares."
        ),
    ] = field(default_factory=dict)
    unseen_passes: Annotated[
        UnseenPasses | None,
        Meta(
            description="Where the threshold is so high that an unseen value alone is no alarm in "
            "a usual record: what it comes to."
        ),
    ] = None
    segments: Annotated[
        tuple[SegmentSummary, ...],
        Meta(description="Of an artifact with a segment: the calibration of each."),
    ] = ()
    entities: Annotated[
        WholeEntities | None,
        Meta(
            description="Where whole entities were held out of a fit of single records: these, "
            "and what they are worth. `n` of their scores are kept, spread evenly over all."
        ),
    ] = None
