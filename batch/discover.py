"""files -> p-values, counted -> the discoveries of a job: a first pass over its input.

Which records are discoveries depends on all of them, so that the input is read twice: once to
count the p-values, which takes bounded memory, and once to write the verdicts.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import compress

import numpy as np

from vaewatch.batch.inputs import open_inputs
from vaewatch.batch.job import Counts, Job, Progress
from vaewatch.batch.journal import Journal, is_stream
from vaewatch.batch.stage import Engine
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.fdr import Discoveries, Judged, PValueCounts, check_fdr
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.scorer import Scorer


def check_discoverable(job: Job, files: tuple[str, ...], artifact: Artifact) -> None:
    """Refuse a job whose discoveries cannot be found by an artifact's calibrations.

    Raises:
        SettingError: an input can be read only once, or another setting contradicts.
        CalibrationError: each calibration is too small for such a rate.
    """
    assert job.fdr is not None
    if job.alpha is not None:
        raise SettingError(
            "--fdr and --alpha must not be given together: an anomaly is a discovery, or a record "
            "whose p-value is at most alpha."
        )
    if job.shard is not None and job.shard[1] > 1:
        raise SettingError(
            "--fdr takes all files of a job, since whether a record is a discovery depends on all "
            "others, got --shard. Leave it out; --engine ray spreads one job over machines."
        )
    every, promised = _calibrations(artifact)
    check_fdr(job.fdr, max(each.n for each in compress(every, promised)))
    for name in filter(is_stream, files):
        raise SettingError(
            f"--fdr reads its input twice, so it must be files, got the stream '{name}'. Write it "
            "to a file first."
        )


def discover(
    scorer: Scorer, job: Job, journal: Journal, progress: Progress, engine: Engine
) -> Discoveries:
    """Count the p-values of all records, and find the discoveries among them.

    Raises:
        CalibrationError: there are anomalies, but the calibration is too small to find them.
    """
    assert job.fdr is not None
    calibrations, promised = _calibrations(scorer.artifact)
    counts, by_slot = Counts(), [PValueCounts.of(np.zeros(0))] * len(calibrations)
    with open_inputs(scorer, job, journal) as inputs:
        stage = replace(inputs.stage, counting=True)
        with closing(engine(inputs.chunks(None), stage)) as chunks:
            for scored in chunks:
                if scored.rejects and job.rejects is None:
                    raise scored.rejects[0].error()
                for slot, counted in enumerate(scored.p_values):
                    by_slot[slot] += counted
                counts += scored.counts
                progress(counts, inputs.share(scored))
    journal.refuse_grown(journal.files)
    every = [Judged(each, by.n) for each, by in zip(by_slot, calibrations, strict=True)]
    judged = list(compress(every, promised))
    left_out = sum(each.records for each in every) - sum(each.records for each in judged)
    found = Discoveries.among(judged, job.fdr, segments=len(every) > 1, left_out=left_out)
    found.require_resolved(judged)
    return found


def _calibrations(artifact: Artifact) -> tuple[tuple[Calibration, ...], list[bool]]:
    """Return the calibrations that judge records, and which of them promise these a rate."""
    segments = artifact.segments
    if segments is None:
        return (artifact.calibration,), [True]
    return segments.calibrations, segments.promised().tolist()


def first_half(progress: Progress) -> Progress:
    """Report a pass as the first half of a job."""
    return lambda counts, share: progress(counts, None if share is None else share / 2)


def second_half(progress: Progress) -> Progress:
    """Report a pass as the second half of a job."""
    return lambda counts, share: progress(counts, None if share is None else 0.5 + share / 2)
