"""manifest.json <-> Manifest: all that an artifact says of itself, as typed fields.

The file is one JSON object with its keys in the order of the fields below. Keys that this release
does not know are ignored, so that a later release may add some within the same format version; a
key that is missing, or holds another type, is an error that names it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from vaewatch.scoring.budget.summary import CalibrationSummary
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.state import Number, VectorizerState
from vaewatch.scoring.incidents.feedback import FeedbackSummary
from vaewatch.scoring.intake.keys import broken_key
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.schema import Kind, Schema
from vaewatch.scoring.series.window import SeriesSummary, Window
from vaewatch.scoring.time.blocks import Outlook

FORMAT_VERSION = 2
WITH_TIME_OR_SEGMENT = 3  # the format of a schema that earlier releases cannot read
WITH_WINDOW = 4
FORMATS = (FORMAT_VERSION, WITH_TIME_OR_SEGMENT, WITH_WINDOW)
MANIFEST = "manifest.json"


def format_of(schema: Schema, window: Window | None = None) -> int:
    """Return the version of the format that an artifact of this schema and window takes."""
    if window is not None:
        return WITH_WINDOW
    plain = schema.time is None and schema.segment is None
    return FORMAT_VERSION if plain else WITH_TIME_OR_SEGMENT


class ScoreWeights(Struct, frozen=True, rename={"unseen": "novelty"}, omit_defaults=True):
    """How the parts of a score add up, in nats."""

    unseen: Annotated[
        float, Meta(description="Nats for each value that the fit data never had in its column.")
    ]
    kl_weight: Annotated[float, Meta(description="Factor of the KL part.")]
    neighbour_weight: Annotated[
        float, Meta(description="Nats per unit of distance to the nearest record of the bank.")
    ]
    newest: Annotated[
        float,
        Meta(description="Of windows: nats that each such value of the newest record adds too."),
    ] = 0.0


class Settings(Struct, frozen=True, omit_defaults=True):
    """The settings of the training run, as `vaewatch train` takes them."""

    alpha: Annotated[Number, Meta(description="False-alarm rate asked for, a share.")]
    seed: Annotated[int, Meta(description="Seed of every random draw.")]
    model: Annotated[str, Meta(description="`vae`, or `ae`: a plain autoencoder.")]
    score: Annotated[
        str, Meta(description="`full`, or `reconstruction`: the score is that part alone.")
    ]
    beta: Annotated[Number, Meta(description="Weight of the KL in the objective.")]
    device: Annotated[str, Meta(description="`auto`, `cpu`, `cuda` or `cuda:N`.")]
    members: Annotated[int, Meta(description="VAEs trained side by side.")]
    served: Annotated[int, Meta(description="Members that score.")]
    width: Annotated[int, Meta(description="Hidden units a layer.")]
    latent: Annotated[
        int | None, Meta(description="Latent dimensions; null for half the features.")
    ]
    steps: Annotated[int, Meta(description="Optimiser steps.")]
    batch: Annotated[int, Meta(description="Records that a member sees in a step.")]
    learning_rate: Annotated[Number, Meta(description="Largest learning rate of the schedule.")]
    max_records: Annotated[
        int | None,
        Meta(
            description="Records read at most: of more, a uniform sample, or the newest with a "
            "window; null for all."
        ),
    ]
    contamination_robust: Annotated[
        bool, Meta(description="Whether a second fit left the suspects of the first one out.")
    ]
    neighbours: Annotated[
        int | None,
        Meta(
            description="Fit records kept for the neighbour part at most; 0 for none, null for "
            "as many as suit the features."
        ),
    ]
    id: Annotated[str | None, Meta(description="Column that names records.")]
    label: Annotated[str | None, Meta(description="Column of labels.")]
    ignore: Annotated[tuple[str, ...], Meta(description="Columns left out.")]
    kinds: Annotated[
        dict[str, Kind], Meta(description="Kinds of columns that were declared, not learned.")
    ]
    nulls: Annotated[
        tuple[str, ...], Meta(description="Texts that were declared to mean a missing value.")
    ] = ()
    decimal: Annotated[
        str | None, Meta(description="Decimal mark of texts that was declared.")
    ] = None
    threads: Annotated[int, Meta(description="Threads that the fit computed on.")] = 1
    time: Annotated[str | None, Meta(description="Column that says when a record was made.")] = (
        None
    )
    time_zone: Annotated[
        str | None,
        Meta(description="Zone of the calendar, and of times without an offset; null for UTC."),
    ] = None
    date_order: Annotated[
        str,
        Meta(
            description="What comes first in dates such as 3/4/2026: `day`, `month`, or `auto`, "
            "as they tell."
        ),
    ] = "auto"
    calendar: Annotated[
        str,
        Meta(
            description="Parts of the time that are learned: `auto`, `none`, or some of `hour`, "
            "`weekday` and `day`, separated by commas."
        ),
    ] = "auto"
    calibrate: Annotated[
        str,
        Meta(
            description="`all`: the records that calibrate come from the whole time. `recent`: "
            "they are the latest. `entities`: those that the fit never saw have a calibration of "
            "their own."
        ),
    ] = "all"
    segment: Annotated[
        str | None, Meta(description="Column whose values have calibrations of their own.")
    ] = None
    window: Annotated[
        int | str | None, Meta(description="Records judged together, or `auto`.")
    ] = None
    entity: Annotated[
        str | None, Meta(description="Column that says whose history a record belongs to.")
    ] = None
    gap: Annotated[
        str | None, Meta(description="A longer pause begins a window anew, such as `90s`.")
    ] = None
    incidents_per_day: Annotated[
        Number | None,
        Meta(description="False incidents per entity and day asked for, which chose `alpha`."),
    ] = None


class Metrics(Struct, frozen=True):
    """How the fit went."""

    records: Annotated[int, Meta(description="Records read.")]
    fit_records: Annotated[int, Meta(description="Records fitted to.")]
    trimmed_records: Annotated[
        int, Meta(description="Suspects that were not fitted to (`contamination_robust`).")
    ]
    features: Annotated[int, Meta(description="D, the features of a record.")]
    latent: Annotated[int, Meta(description="L, the latent dimensions of a member.")]
    reconstruction_nll: Annotated[
        float, Meta(description="Of the last step's batch, mean nats a record and member.")
    ]
    kl: Annotated[
        float, Meta(description="Of the last step's batch, mean nats a record and member.")
    ]
    export_difference: Annotated[
        float,
        Meta(description="Largest relative difference between the scores of graph and torch."),
    ]


class Run(Struct, frozen=True):
    """The training run itself."""

    fit_seconds: Annotated[float, Meta(description="Wall time of the fit, in seconds.")]


class Manifest(Struct, frozen=True, omit_defaults=True):
    """All that an artifact says of itself."""

    format_version: Annotated[int, Meta(description="Version of this format.")]
    version: Annotated[
        str,
        Meta(
            description="Name of what the artifact does: 12 hex digits of a hash of schema, alpha "
            "and files, without the report."
        ),
    ]
    created_at: Annotated[str, Meta(description="When it was made: ISO 8601, UTC.")]
    alpha: Annotated[Number, Meta(description="False-alarm rate that verdicts use, a share.")]
    calibration: Annotated[CalibrationSummary, Meta(description="What the calibration promises.")]
    schema: Annotated[Schema, Meta(description="The columns of a record, in order.")]
    vectorizer: Annotated[VectorizerState, Meta(description="How records become features.")]
    score: Annotated[ScoreWeights, Meta(description="How the parts of a score add up.")]
    training: Annotated[Settings, Meta(description="The settings of the training run.")]
    metrics: Annotated[Metrics, Meta(description="How the fit went.")]
    libraries: Annotated[
        dict[str, str], Meta(description="Versions of vaewatch, python and the libraries.")
    ]
    name: Annotated[str, Meta(description="Name of the folder when it was written.")]
    data_fingerprint: Annotated[
        str, Meta(description="SHA-256 of the fit data: columns, types and values, in order.")
    ]
    records_given: Annotated[
        int, Meta(description="Records in the input, of which at most `max_records` were read.")
    ]
    run: Annotated[Run, Meta(description="The training run itself.")]
    sha256: Annotated[
        dict[str, str], Meta(description="Every other file of the folder: its SHA-256.")
    ]
    parent: Annotated[
        str | None,
        Meta(
            description="Version of the artifact that this one was recalibrated from, or whose "
            "fit it continues."
        ),
    ] = None
    calibration_fingerprint: Annotated[
        str | None,
        Meta(
            description="As `data_fingerprint`, of the records that recalibrated it; of their "
            "scores alone, where a service did so on its traffic."
        ),
    ] = None
    parent_records: Annotated[
        int | None,
        Meta(
            description="How many of the records are those of the fit that this one "
            "continues; they do not calibrate."
        ),
    ] = None
    outlook: Annotated[
        Outlook | None,
        Meta(
            description="Whether the budget holds over time: the alarms in the last blocks of the "
            "fit data beside those expected, each compared with the scores before it."
        ),
    ] = None

    window: Annotated[
        Window | None,
        Meta(description="Of an artifact that judges records with those before them."),
    ] = None
    series: Annotated[
        SeriesSummary | None,
        Meta(description="With a window: what the fit made of its series."),
    ] = None
    new_entities: Annotated[
        CalibrationSummary | None,
        Meta(
            description="What the calibration of entities that the fit never saw promises; null "
            "where they are judged as all others."
        ),
    ] = None
    feedback: Annotated[
        FeedbackSummary | None,
        Meta(description="What people said of alarms, where it was given."),
    ] = None

    def to_bytes(self) -> bytes:
        return json_bytes({**msgspec.to_builtins(self), "schema": self.schema.to_json()})

    @classmethod
    def from_bytes(cls, content: bytes, place: str) -> Manifest:
        """Read a manifest of a format version that this release knows; `place` is for errors.

        Raises:
            ArtifactError: it is no manifest, of another version, or not as its version has it.
        """
        try:
            data = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ArtifactError(f"'{place}' is damaged: {MANIFEST} is not JSON.") from None
        if not isinstance(data, dict) or "format_version" not in data:
            raise ArtifactError(f"'{place}' is not an artifact: {MANIFEST} has no format_version.")
        if data["format_version"] not in FORMATS:
            raise ArtifactError(
                f"format_version must be {FORMATS[0]} to {FORMATS[-1]}, got "
                f"{one_line(data['format_version'])} in '{place}'. Upgrade vaewatch, or train "
                "again with this release."
            )
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise ArtifactError(
                f"'{place}' is damaged: {MANIFEST} {broken_key(error)}."
            ) from error


def json_bytes(data: Mapping[str, Any]) -> bytes:
    """Return JSON as the files of an artifact hold it: one value a line, in the order given."""
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
