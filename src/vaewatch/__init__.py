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

__all__ = ["Client", "Scorer", "VAEDetector", "load", "train"]

# name -> where it is
LAZY = {
    "Scorer": "vaewatch.scoring.scorer",
    "Client": "vaewatch.service.client",
    "VAEDetector": "vaewatch.training.detector",
}


def train(data: Any, out: Path | str, **settings: Any) -> Scorer:
    """Fit, calibrate and export; see `vaewatch.training.pipeline.train`."""
    pipeline = importlib.import_module("vaewatch.training.pipeline")
    scorer: Scorer = pipeline.train(data, out, **settings)
    return scorer


def load(path: Path | str, threads: int = 1) -> Scorer:
    """The verified Scorer of an artifact; see `vaewatch.scoring.scorer.Scorer.load`."""
    from vaewatch.scoring.scorer import Scorer

    return Scorer.load(path, threads)


def __getattr__(name: str) -> Any:
    if name in LAZY:
        return getattr(importlib.import_module(LAZY[name]), name)
    raise AttributeError(f"module 'vaewatch' has no attribute '{name}'")
