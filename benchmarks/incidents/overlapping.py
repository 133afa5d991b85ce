"""Pool -> streams with attacks at the same time -> how well each rule groups their alarms."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.incidents.pools import Pool
from vaewatch.scoring.incidents.alarm import direction_of
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.labelled import Comparison, Grouped, events_of
from vaewatch.scoring.incidents.rule import Kind, Membership, Rules
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.time.form import SECOND
from vaewatch.scoring.time.spans import microseconds
from vaewatch.scoring.verdicts import Verdicts

HOURS, APART, EPISODES = 3, 900, 8
LENGTHS, LATE = (60, 300), 60  # seconds, of an attack and of its beginning after the first one's


@dataclass(frozen=True)
class Joining:
    """Which alarms hang together: those with a main reason in common.

    share: of the largest contribution that a main reason has at least; 0 if all alarms do.
    sided: whether a value above what was expected is another reason than one below.
    mutual: whether it takes the largest reason of each to be a main reason of the other.
    """

    share: float
    sided: bool = False
    mutual: bool = False

    def __str__(self) -> str:
        if not self.share:
            return "whatever the columns"
        return f"{self.share:g}{', mutual' * self.mutual}{', same side' * self.sided}"

    def applied(self, verdicts: Verdicts) -> Verdicts:
        """Return verdicts whose main reasons are the keys that alarms must have in common."""
        return replace(verdicts, reasons=[tuple(self._main(each)) for each in verdicts.reasons])

    def _main(self, reasons: Sequence[Reason]) -> Iterator[Reason]:
        names = []
        for reason in reasons if self.share else ():
            if reason.contribution >= self.share * reasons[0].contribution:
                side = f" {direction_of(reason)}" if self.sided else ""
                names.append(reason.column + side)
        for name in names:
            if self.mutual and name != names[0]:
                name = " and ".join(sorted([names[0], name]))
            yield Reason(name, None, None, 1.0)


RULES = (
    *(Joining(share) for share in (0.0, 0.1, 0.25, 0.5, 1.0)),
    *(Joining(share, sided=True) for share in (0.25, 0.5)),
    *(Joining(share, mutual=True) for share in (0.1, 0.25, 0.5)),
    Joining(0.25, True, True),
)


@dataclass(frozen=True)
class Drawn:
    """A stream, a record a second of normal traffic and as many of each attack.

    rows: (N,) of a pool. moments: (N,). kinds: (N,) 0 for normal records.
    """

    rows: NDArray[np.int64]
    moments: NDArray[np.int64]
    kinds: NDArray[np.int64]

    @classmethod
    def of(cls, pool: Pool, at_once: int, seed: int) -> Drawn:
        """Draw hours of normal records, then episodes with several attacks in each."""
        rng = np.random.default_rng([seed, at_once])
        seconds = HOURS * 3600 + APART * EPISODES
        parts = [
            (pool.normal[rng.integers(len(pool.normal), size=seconds)], np.arange(seconds), 0)
        ]
        for episode in range(EPISODES):
            start = HOURS * 3600 + APART * episode
            for place in rng.choice(len(pool.kinds), min(at_once, len(pool.kinds)), False):
                own = rng.permutation(pool.kinds[place])[: rng.integers(*LENGTHS)]
                began = start + rng.integers(LATE)
                parts.append((own, began + np.arange(len(own)), int(place) + 1))
        rows = np.concatenate([own for own, _, _ in parts])
        moments = np.concatenate([own for _, own, _ in parts]) * SECOND
        kinds = np.concatenate([np.full(len(own), kind) for own, _, kind in parts])
        order = np.argsort(moments, kind="stable")
        return cls(rows[order], moments[order], kinds[order])


@dataclass(frozen=True)
class Grouping:
    """How well the alarms of a stream are grouped.

    whole: of the alarms of an attack, the share that is in one incident with one of them, on
        average over them and over the attacks that were found. pure: of the alarms in an incident
        with one of them, false ones among them, the share that is of this attack. (The recall and
        the precision of B-cubed, Bagga and Baldwin 1998.)
    """

    compared: Comparison
    whole: float
    pure: float

    @property
    def both(self) -> float:
        """Their harmonic mean."""
        return 2 * self.whole * self.pure / max(self.whole + self.pure, 1e-9)


def grouped(
    pool: Pool, verdicts: Verdicts, drawn: Drawn, alpha: float, gap: str
) -> Grouping | None:
    """Group the alarms of a stream, whose verdicts are given; None if no attack is found."""
    rules = Rules.of(pool.artifact, microseconds(gap), alpha, by_clock=True)
    rules = replace(rules, kind=Kind.ALL)
    own = verdicts[drawn.rows]
    own = replace(own, is_anomaly=pool.artifact.calibration.alarms(own.p_value, alpha))
    every = np.ones(len(own), np.bool_)
    members = Membership(("",), np.zeros(len(own), np.int64))
    seen = JudgedRecords(drawn.moments, members, own, every)
    labelled, events = events_of(rules, seen, drawn.kinds > 0, drawn.kinds.astype(np.uint32))
    found = Grouped.of(rules, seen)
    labelled = labelled[found.rows]
    if (labelled < 0).all():
        return None
    compared = found.compared(labelled, events)
    return Grouping(compared, *cubed(found.incidents, labelled))


def cubed(incidents: NDArray[np.int64], labelled: NDArray[np.int64]) -> tuple[float, float]:
    """Return how whole and how pure n alarms are grouped; `labelled`: (n,) -1 for false ones."""
    own, events = incidents.tolist(), labelled.tolist()
    sizes, lengths = Counter(own), Counter(events)
    both = Counter(zip(events, own, strict=True))
    whole, pure = defaultdict[int, float](float), defaultdict[int, float](float)
    for (event, incident), n in both.items():
        whole[event] += n * n / lengths[event] ** 2
        pure[event] += n * n / sizes[incident] / lengths[event]
    found = [event for event in lengths if event >= 0]
    return (
        float(np.mean([whole[event] for event in found])),
        float(np.mean([pure[event] for event in found])),
    )


def measured(
    pool: Pool, rules: Iterable[Joining], at_once: int, alpha: float, gap: str, seeds: int
) -> dict[Joining, list[Grouping]]:
    """Group streams of a pool by each rule."""
    streams = [Drawn.of(pool, at_once, seed) for seed in range(seeds)]
    found = {}
    for rule in rules:
        verdicts = rule.applied(pool.verdicts)
        own = [grouped(pool, verdicts, drawn, alpha, gap) for drawn in streams]
        found[rule] = [each for each in own if each is not None]
    return found
