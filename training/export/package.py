"""An artifact before it has a folder, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

from msgspec.structs import replace

from vaewatch.scoring.artifact import Artifact, unpack_artifact
from vaewatch.scoring.incidents.feedback import FeedbackSummary
from vaewatch.scoring.manifest import Manifest


@dataclass(frozen=True)
class Origin:
    """Where an artifact comes from: its name, its data and the time that the fit took.

    records_given: in the input, before a sample was drawn.
    """

    name: str
    data_fingerprint: str
    records_given: int
    fit_seconds: float

    def since(self, started: float) -> Origin:
        """Return the origin with the time of a fit that began at `started` of `perf_counter`."""
        seconds = round(perf_counter() - started, 3)
        return Origin(self.name, self.data_fingerprint, self.records_given, seconds)


@dataclass(frozen=True)
class Package:
    """An artifact before it has a folder."""

    manifest: Manifest
    files: Mapping[str, bytes]

    def artifact(self) -> Artifact:
        return unpack_artifact(self.manifest, self.files)

    def holding(self, name: str, content: bytes) -> Package:
        """Return the package with one more file."""
        return Package(self.manifest, {**self.files, name: content})

    def taking_feedback(self, summary: FeedbackSummary) -> Package:
        """Return the package of a fit that left out what people confirmed."""
        return Package(replace(self.manifest, feedback=summary), self.files)

    def with_tail(self, shares: Mapping[str, float]) -> Package:
        """Return the package with the columns that make the tail of the scores."""
        calibration = replace(self.manifest.calibration, tail=dict(shares))
        return Package(replace(self.manifest, calibration=calibration), self.files)
