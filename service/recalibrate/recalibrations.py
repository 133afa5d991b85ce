"""recent scores -> a proposal -> the artifact that answers, and back.

Nothing changes until a proposal is applied. Applying writes an artifact like any other in place of
its parent and reloads it, here and in the other workers, as `POST /v1/reload` does.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from vaewatch.scoring.budget.calibration import check_rate
from vaewatch.scoring.drift import MUCH
from vaewatch.scoring.errors import ArtifactError
from vaewatch.service.incidents.confirmed import confirmed
from vaewatch.service.model.errors import Conflict
from vaewatch.service.model.lifecycle import Lifecycle
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.recalibrate.body import RecalibrateRequest
from vaewatch.service.recalibrate.calibrating import Calibrating
from vaewatch.service.recalibrate.change import Change, OldWindows
from vaewatch.service.recalibrate.folder import ArtifactFolder
from vaewatch.service.recalibrate.proposal import (
    MOST_COLUMNS,
    Drift,
    Evidence,
    Proposal,
    Provenance,
    iso,
    proposal_of,
)
from vaewatch.service.recalibrate.sample import Drawn, Period, draw
from vaewatch.service.recalibrate.segments import Renewed
from vaewatch.service.recalibrate.store import Store
from vaewatch.service.store.desk import Desk
from vaewatch.service.watch.families.shown import PREFIX
from vaewatch.service.watch.gauges import LEAST_RECORDS
from vaewatch.service.watch.metrics import Metrics
from vaewatch.service.watch.monitor import Monitor
from vaewatch.service.watch.scores import Page

EXPIRES_SECONDS = 3600.0
BEFORE_SECONDS = 86_400.0  # the traffic before, in which every hour of the day has been
MOST_CALIBRATING = 100_000  # scores: the interval is within 20% of alpha 0.001
SEGMENTS = (
    "an artifact with a window and a segment must be recalibrated on records: run vaewatch "
    "recalibrate on a file of them."
)
REPLACED = "the artifact that answers has changed since the proposal. Propose again."


@dataclass
class Recalibrations:
    """What may be asked for, one change at a time in each process, and in all of them by a lock
    beside the artifact.
    """

    registry: Registry
    lifecycle: Lifecycle
    monitor: Monitor
    metrics: Metrics
    store: Store
    desk: Desk
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def propose(self, asked: RecalibrateRequest, key: str | None) -> Proposal:
        """Compute what a recalibration would do, and keep it for a while.

        Raises:
            Conflict: the artifact has both a window and a segment, or no records are kept of the
                time.
            Malformed: the time is none.
            SettingError, CalibrationError: no number of records could certify alpha, or more
                could.
            StoreAway: what people have confirmed is not known.
        """
        now, model = time.time(), self.registry.active
        if model.window is not None and model.scorer.artifact.segments is not None:
            raise Conflict(SEGMENTS)
        if asked.alpha is not None:
            check_rate(asked.alpha)
        period, lives = await self._period(asked.period(now), model), EXPIRES_SECONDS
        name, version = secrets.token_hex(6), model.name.version
        origin = Provenance(name, now, lives, key, asked.force, version, period)
        self.monitor.flush()
        mine, evidence = self.monitor.scores.mine(model.scale), self._evidence(model)
        alpha = model.name.alpha if asked.alpha is None else asked.alpha

        def computed() -> tuple[Calibrating, Proposal]:
            pages = [*mine, *self.monitor.scores.others(model.scale)]
            artifact, drawn = model.scorer.artifact, _drawn(pages, period)
            before = draw(pages, period.before(BEFORE_SECONDS), MOST_CALIBRATING)
            if model.window is not None:
                windows = Change.of_windows(drawn, before, _windows_of(model), asked.alpha)
                return Calibrating.of_windows(windows), proposal_of(windows, evidence, origin)
            change = Change.of(artifact.calibration, drawn, alpha, before)
            if artifact.segments is None:
                return Calibrating.of(change.new), proposal_of(change, evidence, origin)
            renewed = Renewed.of(artifact.segments, change, force=asked.force)
            scores = Calibrating.of(change.new, renewed.new, renewed.counts.tolist())
            return scores, proposal_of(change, evidence, origin, renewed)

        scores, proposal = await asyncio.to_thread(computed)
        self.store.put_scores(proposal, scores)
        self.store.put(proposal)
        return proposal

    async def _period(self, asked: Period, model: Model) -> Period:
        """Return a period without what people have confirmed."""
        segments = model.scorer.artifact.segments
        found = await self.desk.read(lambda connection: confirmed(connection, segments))
        return replace(asked, confirmed=found)

    def _evidence(self, model: Model) -> Evidence:
        name = f"{PREFIX}_exchangeability_log10"
        families = [family for family in self.metrics.families() if family.name == name]
        evidence = sum(sample.value for family in families for sample in family.samples)
        window, reference = self.monitor.window(model), model.scorer.artifact.drift
        if window.records < LEAST_RECORDS:
            return Evidence(evidence, [])
        psi = reference.psi(np.array(window.counts, dtype=np.int64)).tolist()
        chance = reference.psi_by_chance(window.records).tolist()
        names = reference.schema.names
        drifts = [Drift(*found) for found in zip(names, psi, chance, strict=True)]
        changed = [drift for drift in drifts if drift.psi - drift.by_chance > MUCH]
        changed.sort(key=lambda drift: -drift.psi)
        return Evidence(evidence, changed[:MOST_COLUMNS])

    async def apply(self, name: str, *, force: bool) -> Proposal:
        """Put a proposal's artifact in place; a second time changes nothing.

        Raises:
            NotFound: there is no such proposal.
            Conflict: it is refused, has expired or was reverted, the artifact has changed, or it
                cannot be noted that the proposal is applied.
        """
        async with self._lock:
            proposal, model = self.store.get(name), self.registry.active
            folder = ArtifactFolder.of(self.registry.path)
            if proposal.state == "applied":
                await asyncio.to_thread(folder.require, proposal.version or "")
                return proposal
            _require_open(proposal, forced=force or proposal.forced)
            if model.name.version != proposal.parent:
                raise Conflict(REPLACED)
            scores = self.store.scores(proposal)
            version = await asyncio.to_thread(folder.write, model, proposal, scores)
            applied = msgspec.structs.replace(
                proposal, state="applied", version=version, forced=_is_forced(proposal)
            )
            try:
                self.store.put(applied)
                await self.lifecycle.reload()
            except (ArtifactError, Conflict):
                await asyncio.to_thread(folder.put_back, applied)
                self.store.put(proposal)
                raise
        self.lifecycle.signal_parent(signal.SIGHUP)
        return applied

    async def revert(self, name: str) -> Proposal:
        """Put the artifact back that a proposal has replaced; a second time changes nothing.

        Raises:
            NotFound: there is no such proposal.
            Conflict: it was never applied, or the artifact has changed since.
        """
        async with self._lock:
            proposal, folder = self.store.get(name), ArtifactFolder.of(self.registry.path)
            if proposal.state == "reverted":
                await asyncio.to_thread(folder.require, proposal.parent)
                return proposal
            if proposal.state != "applied":
                raise Conflict("the proposal must have been applied, but was not.")
            reverted = msgspec.structs.replace(proposal, state="reverted")
            self.store.put(reverted)  # first: a full disk must leave the artifact as it is
            try:
                await asyncio.to_thread(folder.put_back, proposal)
            except Exception:
                self.store.put(proposal)
                raise
            await self.lifecycle.reload()
        self.lifecycle.signal_parent(signal.SIGHUP)
        return reverted

    def listed(self) -> list[Proposal]:
        """Return the last proposals, newest first."""
        return self.store.all()


def _windows_of(model: Model) -> OldWindows:
    artifact = model.scorer.artifact
    assert model.window is not None
    wanted = artifact.manifest.training.incidents_per_day
    return OldWindows(artifact.calibration, model.window, model.alike, wanted)


def _drawn(pages: list[Page], period: Period) -> Drawn:
    drawn = draw(pages, period, MOST_CALIBRATING)
    if not len(drawn.scores) and drawn.left_out:
        raise Conflict(
            f"there must be records beside those of confirmed incidents, but all of the "
            f"{drawn.left_out:,} are theirs."
        )
    if not len(drawn.scores):
        raise Conflict(
            f"there must be records from {iso(period.over.since)} to {iso(period.over.until)}, "
            "got none. The service remembers seven days, since its start, of the model that "
            "answers."
        )
    return drawn


def _is_forced(proposal: Proposal) -> bool:
    """Whether something refused is learned: the whole, or a segment."""
    learned = any(one.refusals and not one.kept for one in proposal.segments)
    return learned or bool(proposal.refusals)


def _require_open(proposal: Proposal, *, forced: bool) -> None:
    if proposal.state == "reverted":
        raise Conflict("the proposal was applied and reverted. Propose again.")
    if iso(time.time()) > proposal.expires_at:
        raise Conflict(f"the proposal expired at {proposal.expires_at}. Propose again.")
    if proposal.refusals and not forced:
        reasons = " ".join(f"{reason.code}: {reason.text}" for reason in proposal.refusals)
        raise Conflict(f'the proposal is refused. {reasons} To apply it all the same: "force".')
