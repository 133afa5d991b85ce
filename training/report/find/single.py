"""Learned -> Findings: what a fit of single records shows, while its records are at hand."""

from __future__ import annotations

import numpy as np

from vaewatch.training.learned import Learned
from vaewatch.training.records.profile import profile_columns
from vaewatch.training.report.find.columns import look_at_columns, look_at_events
from vaewatch.training.report.find.latent import look_at_latent
from vaewatch.training.report.findings import PROFILED, Findings
from vaewatch.training.streams import Stream, stream

RESIDUALS = 4_000  # records that the reconstruction is judged on
MEANS = 1_200  # records that are drawn in latent space
HIGHEST = 0.05  # of the out-of-bag scores, marked there


def find(learned: Learned) -> Findings:
    """Collect the findings, from samples of the fit records that the seed draws."""
    config, evidence, vectorizer = learned.config, learned.evidence, learned.vectorizer
    vae, fit_rows = learned.fitted.vae, learned.split.fit
    rng = stream(config.seed, Stream.FINDINGS)
    profiled = np.sort(rng.permutation(len(fit_rows))[:PROFILED])
    judged = np.sort(rng.permutation(len(evidence.rows))[:RESIDUALS])
    drawn = judged[np.sort(rng.permutation(len(judged))[:MEANS])]
    x, residuals = evidence.x[evidence.rows[judged]], evidence.residuals[judged]
    shown = evidence.x[evidence.rows[drawn]]
    return Findings(
        profiled=len(profiled),
        columns=profile_columns(learned.table.take(fit_rows[profiled])),
        log=learned.fitted.log,
        batch=config.batch,
        seen=len(evidence.x),
        latent=look_at_latent(vae, shown, vectorizer, kl=config.model == "vae"),
        high=evidence.scores[drawn] >= np.quantile(evidence.scores, 1 - HIGHEST),
        judged=len(judged),
        fits=look_at_columns(x, residuals, vectorizer),
        reliability=look_at_events(x, residuals, vectorizer),
    )
