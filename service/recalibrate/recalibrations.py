"""recent scores -> a proposal -> the artifact that answers, and back.

Nothing changes until a proposal is applied. Applying writes an artifact like any other in place of
its parent and reloads it, here and in the other workers, as `POST /v1/reload` does.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from dataclasses import dataclass, field

import msgspec
import numpy as np

from vaewatch.scoring.budget.calibration import check_rate
from vaewatch.scoring.errors import ArtifactError, CalibrationError
from vaewatch.service.model.errors import Conflict
from vaewatch.service.model.lifecycle import Lifecycle
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.recalibrate.asked import Asked
from vaewatch.service.recalibrate.change import Change
from vaewatch.service.recalibrate.place import Place
from vaewatch.service.recalibrate.proposal import (
    MOST_COLUMNS,
    MUCH,
    Drift,
    Evidence,
    Origin,
    Proposal,
    iso,
    proposal_of,
)
from vaewatch.service.recalibrate.sample import draw
from vaewatch.service.recalibrate.store import Kept, Store
from vaewatch.service.watch.gauges import LEAST_RECORDS
from vaewatch.service.watch.metrics import PREFIX, Metrics
from vaewatch.service.watch.monitor import Monitor
from vaewatch.service.watch.scores import Page

EXPIRES_SECONDS = 3600.0
MOST_CALIBRATING = 100_000  # scores: the interval is within 20 % of alpha 0.001
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
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def propose(self, asked: Asked, key: str | None) -> Proposal:
        """Compute what a recalibration would do, and keep it for a while.

        Raises:
            Malformed: the time is none.
            SettingError, CalibrationError: no number of records could certify alpha, or more
                could.
        """
        now, model = time.time(), self.registry.active
        if asked.alpha is not None:
            check_rate(asked.alpha)
        period, lives = asked.period(now), EXPIRES_SECONDS
        name, version = secrets.token_hex(6), model.name.version
        origin = Origin(name, now, lives, key, asked.force, version, period)
        self.monitor.flush()
        pages, evidence = self.monitor.scores.pages(model.scale), self._evidence(model)
        alpha = model.name.alpha if asked.alpha is None else asked.alpha
        kept = await asyncio.to_thread(_computed, model, pages, origin, evidence, alpha)
        self.store.put(kept)
        return kept.proposal

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
            Conflict: it is refused, has expired or was reverted, or the artifact has changed.
        """
        async with self._lock:
            kept, model = self.store.get(name), self.registry.active
            proposal, place = kept.proposal, Place.of(self.registry.path)
            if proposal.state == "applied":
                await asyncio.to_thread(place.require, proposal.version or "")
                return proposal
            forced = force or proposal.forced
            _require_open(proposal, forced)
            if model.name.version != proposal.parent:
                raise Conflict(REPLACED)
            version = await asyncio.to_thread(place.write, model, kept)
            kept.proposal = msgspec.structs.replace(
                proposal, state="applied", version=version, forced=forced and _refused(proposal)
            )
            try:
                await self.lifecycle.reload()
            except ArtifactError:
                await asyncio.to_thread(place.put_back, kept)
                raise
            self.store.put(kept)
        self.lifecycle.signal_parent(signal.SIGHUP)
        return kept.proposal

    async def revert(self, name: str) -> Proposal:
        """Put the artifact back that a proposal has replaced; a second time changes nothing.

        Raises:
            NotFound: there is no such proposal.
            Conflict: it was never applied, or the artifact has changed since.
        """
        async with self._lock:
            kept, place = self.store.get(name), Place.of(self.registry.path)
            if kept.proposal.state == "reverted":
                await asyncio.to_thread(place.require, kept.proposal.parent)
                return kept.proposal
            if kept.proposal.state != "applied":
                raise Conflict("the proposal must have been applied, but was not.")
            await asyncio.to_thread(place.put_back, kept)
            await self.lifecycle.reload()
            kept.proposal = msgspec.structs.replace(kept.proposal, state="reverted")
            self.store.put(kept)
        self.lifecycle.signal_parent(signal.SIGHUP)
        return kept.proposal

    def listed(self) -> list[Proposal]:
        """Return the last proposals, newest first."""
        return [kept.proposal for kept in self.store.all()]


def _computed(
    model: Model, pages: list[Page], origin: Origin, evidence: Evidence, alpha: float
) -> Kept:
    drawn = draw(pages, origin.period, MOST_CALIBRATING)
    if not len(drawn.scores):
        raise CalibrationError(
            f"there must be records from {iso(origin.period.over.since)} to "
            f"{iso(origin.period.over.until)}, got none. The service remembers seven days, since "
            "its start, of the model that answers."
        )
    change = Change.of(model.scorer.artifact.calibration, drawn, alpha)
    return Kept.of(proposal_of(change, evidence, origin), change.new.scores)


def _refused(proposal: Proposal) -> bool:
    return bool(proposal.refusals)


def _require_open(proposal: Proposal, forced: bool) -> None:
    if proposal.state == "reverted":
        raise Conflict("the proposal was applied and reverted. Propose again.")
    if iso(time.time()) > proposal.expires_at:
        raise Conflict(f"the proposal has expired at {proposal.expires_at}. Propose again.")
    if _refused(proposal) and not forced:
        reasons = " ".join(f"{reason.code}: {reason.text}" for reason in proposal.refusals)
        raise Conflict(f'the proposal is refused. {reasons} To apply it all the same: "force".')
