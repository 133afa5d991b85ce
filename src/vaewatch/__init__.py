"""Anomaly detection for tabular records with an alarm budget that holds.

    import vaewatch

    scorer = vaewatch.train("normal.csv", "artifact", alpha=0.01)
    scorer = vaewatch.load("artifact")
    verdicts = scorer.score([{"amount": 12.5, "country": "NL"}])

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaewatch.scoring.scorer import Scorer
    from vaewatch.service.client import Client
    from vaewatch.training.detector import VAEDetector
    from vaewatch.training.progress import Progress
    from vaewatch.training.series.detector import SeriesDetector

__all__ = ["Client", "Scorer", "SeriesDetector", "VAEDetector", "load", "train"]

# name -> its module
LAZY = {
    "Scorer": "vaewatch.scoring.scorer",
    "Client": "vaewatch.service.client",
    "SeriesDetector": "vaewatch.training.series.detector",
    "VAEDetector": "vaewatch.training.detector",
}


def train(
    data: Any,
    out: Path | str,
    *,
    overwrite: bool = False,
    resume: bool = False,
    report: bool = True,
    continue_from: Path | str | None = None,
    keep: int = 1,
    progress: Progress | None = None,
    delimiter: str | None = None,
    rejects: Path | str | None = None,
    feedback: Path | str | None = None,
    **settings: Any,
) -> Scorer:
    """Fit, calibrate, export, and write an artifact; return the Scorer that it holds.

    Args:
        data: normal records: a DataFrame, or one or more files, folders, globs or URLs, as
            `vaewatch score` takes them.
        out: the artifact's folder, which appears whole or not at all.
        overwrite: whether an artifact that is there may be replaced.
        resume: whether to go on from the checkpoint that a killed run left beside `out`.
        report: whether the artifact holds a report, and what is needed to make it again.
        continue_from: an artifact whose weights the fit starts from, in a third of the steps. Its
            settings are the defaults. `data` are new records, and those of its own that are still
            normal: these are known again, and do not calibrate.
        keep: how many artifacts that were replaced at `out` to keep, for `vaewatch rollback`.
        progress: called with a phase, the steps done and the steps in all (0 if unknown).
        delimiter: what separates the fields of CSV; that of the header by default.
        rejects: a file to set bad rows aside in, instead of stopping at one.
        feedback: a CSV file of what people said of alarms, as `vaewatch feedback export` writes
            it. Records of confirmed incidents are left out, and what each part of the score
            weighs is learned from them and from false alarms, where that shows a gain.
        settings: fields of `vaewatch.training.config.TrainConfig`, such as `alpha`.

    Raises:
        SettingError: a setting is unknown or not what it must be, the weights of `continue_from`
            do not allow it, or another run writes to `out`.
        SchemaError: the data cannot be read or learned.
        CalibrationError: there are too few records for the alpha asked for.
        ArtifactError: `out` is there, `continue_from` is no artifact, or a checkpoint belongs to
            another run.
        OutputError: `out` cannot be written.
    """
    from vaewatch.training.ahead import check_ahead
    from vaewatch.training.config import TrainConfig

    # what is wrong is refused before torch is imported
    config = TrainConfig.of(settings, continues=continue_from is not None)
    check_ahead(
        data, Path(out), config, delimiter, overwrite=overwrite, continue_from=continue_from
    )
    run = importlib.import_module("vaewatch.training.train").train
    scorer: Scorer = run(
        data,
        out,
        overwrite=overwrite,
        resume=resume,
        report=report,
        continue_from=continue_from,
        keep=keep,
        progress=progress,
        delimiter=delimiter,
        rejects=rejects,
        feedback=feedback,
        **settings,
    )
    return scorer


def load(path: Path | str, threads: int = 1) -> Scorer:
    """Return the verified Scorer of an artifact; see `vaewatch.scoring.scorer.Scorer.load`."""
    from vaewatch.scoring.scorer import Scorer

    return Scorer.load(path, threads)


def __getattr__(name: str) -> Any:
    if name in LAZY:
        return getattr(importlib.import_module(LAZY[name]), name)
    raise AttributeError(f"module 'vaewatch' has no attribute '{name}'")
