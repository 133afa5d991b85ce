"""records -> scores and reasons, each record by itself: the part of a Scorer that runs the graph.

Where an artifact has a window, `vaewatch.scoring.series.judge` takes its place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.expected.candidates import Candidates
from vaewatch.scoring.expected.conditional import Conditional
from vaewatch.scoring.expected.exchanged import Exchange
from vaewatch.scoring.expected.expectation import Expectation
from vaewatch.scoring.expected.mending import Mending
from vaewatch.scoring.features.feature import places_of_columns
from vaewatch.scoring.network import OUTPUTS, Network
from vaewatch.scoring.reasons import Explainer, Reason, ScoredTable
from vaewatch.scoring.score import Parts
from vaewatch.scoring.table import Table


class RecordJudge:
    """Judges each record by itself. Threads may share it.

    Raises:
        ArtifactError: the artifact has no graph for single records.
    """

    def __init__(self, artifact: Artifact, threads: int) -> None:
        if artifact.precision is None:
            raise ArtifactError("an artifact must have a precision, but has none.")
        self.artifact = artifact
        self.network = Network(artifact.graph, threads)
        learned, rule = (artifact.vectorizer, artifact.precision), artifact.rule
        places = places_of_columns(artifact.vectorizer.features)
        conditional = Conditional.of(artifact.precision, places.values())
        expectation = Expectation(*learned, conditional)
        self._explainer = Explainer(
            self.network,
            rule,
            Candidates(*learned, conditional, rule.unseen),
            expectation,
            Exchange(self.network, rule, artifact.vectorizer),
            Mending.of(artifact.vectorizer, expectation.numbers),
        )

    def judge(self, table: Table) -> ScoredTable:
        """Score the records of a table."""
        features = self.artifact.vectorizer.transform(table)
        forward = self.network.forward(features.values)
        return ScoredTable(table, features, forward, self.artifact.rule.total(forward, features))

    def parts(self, scored: ScoredTable) -> list[Parts]:
        """Return the parts of each record's score."""
        return self.artifact.rule.parts(scored.forward, scored.features)

    def reasons(
        self, scored: ScoredTable, rows: NDArray[np.int64], most: int
    ) -> list[tuple[Reason, ...]]:
        """Return at most `most` reasons for each of these rows."""
        return self._explainer.reasons(scored, rows, most)

    def sound_scores(self, table: Table, most: int) -> NDArray[np.float64]:
        """Return the scores of N records, (N,), or raise an ArtifactError unless the graph gives
        each part of each as a number. They are explained, too, as any record may be, by at most
        `most` reasons.
        """
        features = self.artifact.vectorizer.transform(table)
        n, d = features.values.shape
        if self.network.sizes.features != d:
            raise ArtifactError(
                f"network.onnx must take the {d:,} features of the manifest, got "
                f"{self.network.sizes.features:,}."
            )
        forward = self.network.forward(features.values)
        for name in OUTPUTS:
            part = getattr(forward, name)
            if part is None:  # of more than a TILE
                part = self.network.whitened(features.values)
            if len(part) != n or not np.isfinite(part).all():
                raise ArtifactError(
                    f"network.onnx must give a finite '{name}' for each record, but does not."
                )
        score = self.artifact.rule.total(forward, features)
        self._explainer.reasons(ScoredTable(table, features, forward, score), np.arange(n), most)
        return score
