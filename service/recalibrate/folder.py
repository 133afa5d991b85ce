"""proposal -> the artifact at the path that is served, or its parent put back.

Each step looks at what lies at the path first: it may be another artifact by now, and then nothing
is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vaewatch.scoring.budget.own import describe_segments
from vaewatch.scoring.disk.lock import sole_writer
from vaewatch.scoring.disk.reading import read_files, read_manifest
from vaewatch.scoring.disk.recalibrated import NewArtifact, Renewal, recalibrated
from vaewatch.scoring.disk.versions import check_target, roll_back, versions, write_artifact
from vaewatch.scoring.errors import ArtifactError, OutputError, SettingError
from vaewatch.service.model.errors import Conflict
from vaewatch.service.model.model import Model
from vaewatch.service.recalibrate.calibrating import Calibrating
from vaewatch.service.recalibrate.proposal import Proposal

LEAST_KEPT = 2  # versions beside the artifact; where more are kept, so many stay


@dataclass(frozen=True)
class ArtifactFolder:
    """The folder of the artifact that answers, where a link leads to it the folder itself."""

    folder: Path

    @classmethod
    def of(cls, path: Path) -> ArtifactFolder:
        return cls(path.resolve())

    @property
    def version(self) -> str:
        """The version of what lies there now.

        Raises:
            ArtifactError: it is no artifact.
        """
        return read_manifest(self.folder).version

    def write(self, model: Model, proposal: Proposal, scores: Calibrating) -> str:
        """Put the new artifact in place of its parent, which is kept beside it; returns the new
        version.

        Raises:
            Conflict: another artifact lies there, another run writes to it, or nobody may.
        """
        with self._changing():
            check_target(self.folder, overwrite=True)
            with sole_writer(self.folder):
                self.require(proposal.parent)
                new = self._new(model, proposal.alpha, scores)
                keep = max(LEAST_KEPT, len(versions(self.folder)))
                write_artifact(self.folder, new.manifest, new.files, overwrite=True, keep=keep)
        return new.manifest.version

    def _new(self, model: Model, alpha: float, scores: Calibrating) -> NewArtifact:
        artifact = model.scorer.artifact
        calibration = scores.pooled(alpha)
        if artifact.segments is None:
            renewal = Renewal.of_scores(artifact, calibration)
            if (series := artifact.manifest.series) is not None:
                renewal = replace(
                    renewal, series=scores.series(series), peaks=scores.incident_peaks()
                )
        else:
            segments, counts = scores.segments(artifact.schema, calibration), scores.each()
            summaries = describe_segments(segments, counts, counts)
            renewal = Renewal.of_scores(artifact, calibration, segments, summaries)
        files = read_files(self.folder, artifact.manifest)
        return recalibrated(artifact.manifest, files, renewal, artifact.name)

    def put_back(self, proposal: Proposal) -> None:
        """Put the parent back, and keep what it replaces.

        Raises:
            Conflict: another artifact lies there, or the parent is no longer kept.
        """
        assert proposal.version is not None
        with self._changing():
            self.require(proposal.version)
            roll_back(self.folder, proposal.parent)

    def require(self, version: str) -> None:
        """Refuse if another artifact lies there.

        Raises:
            Conflict: one does.
        """
        found = self.version
        if found != version:
            raise Conflict(
                f"the artifact must still be version {version}, but it is {found}: it has changed "
                "since. Reload, and propose again."
            )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Report as a conflict whatever keeps the folder from being changed."""
        try:
            yield
        except SettingError as error:
            raise Conflict(f"another change is under way: {error}") from error
        except (ArtifactError, OutputError) as error:
            raise Conflict(
                f"the artifact stays as it is: {error} Where the service may not write, run "
                "vaewatch recalibrate (or rollback) where the artifact is made, and reload."
            ) from error
