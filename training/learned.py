"""The result of a fit: all that is packed into an artifact, and the evidence for a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.drift import DriftReference
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.incidents.feedback import FeedbackSummary
from vaewatch.scoring.precision import Precision
from vaewatch.scoring.score import ScoreRule
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.seen import Seen
from vaewatch.training.split.split import Split

if TYPE_CHECKING:
    from vaewatch.training.vae.fit import Fitted


@dataclass(frozen=True)
class Evidence:
    """What the network makes of the fit records: all that a report needs, and too large to keep.

    x: (N, D) features of the fit records. rows: (R,) indices of those that have out-of-bag
    residuals, (R, D) standardised, and scores, (R,) nats. parts: (R, 3) of these scores, nats:
    reconstruction, KL and neighbour, as they weigh without feedback.
    """

    x: NDArray[np.float32]
    rows: NDArray[np.int64]
    residuals: NDArray[np.float32]
    scores: NDArray[np.float64]
    parts: NDArray[np.float64]


@dataclass(frozen=True)
class Continued:
    """The fit that another one continues.

    parent: the version of its artifact. known: (N,) which of the records are those of that fit;
    they do not calibrate, since its weights have seen them. seen: all that its weights have seen,
    if the artifact says so.
    """

    parent: str
    known: NDArray[np.bool_]
    seen: Seen | None


@dataclass(frozen=True)
class Learned:
    """A fit, from its settings to its calibration.

    table: all records that were read. split: which of them were fitted to, and which calibrate.
    graph: the forward pass as ONNX. export_difference: the largest relative difference between its
    scores and torch's. outlook: whether the budget holds over time, if there is a time. feedback:
    what was taken from it.
    """

    config: TrainConfig
    table: Table
    split: Split
    vectorizer: Vectorizer
    fitted: Fitted
    rule: ScoreRule
    graph: bytes
    export_difference: float
    precision: Precision
    calibration: Calibration
    drift: DriftReference
    evidence: Evidence
    continued: Continued | None = None
    outlook: Outlook | None = None
    segments: Segments | None = None
    feedback: FeedbackSummary | None = None
