"""Groupings of many sets -> a table of each rule, and which rule the other sets would choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.incidents.overlapping import EPISODES, RULES, Grouping, Joining, measured
from benchmarks.incidents.pools import ALPHAS, Pool, sets

AT_ONCE, GAPS = (1, 2, 3), ("5m", "1m")
PAIRS = tuple((alpha, gap) for alpha in ALPHAS for gap in GAPS)


@dataclass(frozen=True)
class Setting:
    at_once: int
    alpha: float
    gap: str


SETTINGS = tuple(Setting(at_once, alpha, gap) for alpha, gap in PAIRS for at_once in AT_ONCE)
OfSet = Mapping[Setting, Mapping[Joining, Sequence[Grouping]]]


@dataclass(frozen=True)
class Asked:
    """The sets in a folder to measure: each n-th of those whose names have one of the words."""

    data: Path
    words: Sequence[str]
    every: int
    seeds: int

    def found(self) -> Iterator[tuple[str, OfSet]]:
        """Yield the name of each set, and its groupings."""
        some = (own for own in sets(self.data) if any(word in own.name for word in self.words))
        for own in islice(some, self.every - 1, None, self.every):
            pool = Pool.of(own)
            yield own.name, {one: self._measured(pool, one) for one in SETTINGS}
            print(own.name, "done", flush=True)

    def _measured(self, pool: Pool, one: Setting) -> dict[Joining, list[Grouping]]:
        return measured(pool, RULES, one.at_once, one.alpha, one.gap, self.seeds)


def mean_both(found: OfSet, rule: Joining, alpha: float, gap: str) -> float:
    """Return how well a rule groups the attacks of a set, over those at once."""
    own = [found[Setting(at_once, alpha, gap)][rule] for at_once in AT_ONCE]
    every = [each.both for some in own for each in some]
    return float(np.mean(every)) if every else np.nan


def chosen(scores: Mapping[Joining, Sequence[float]]) -> list[Joining]:
    """Return, for each set, the rule that is best on average over the others."""
    rules, by_set = list(scores), np.array(list(scores.values()))  # (rules, sets)
    others = np.nansum(by_set, axis=1, keepdims=True) - np.nan_to_num(by_set)
    return [rules[i] for i in others.argmax(axis=0).tolist()]


HEAD = (
    "| alpha, merge gap | what joins two alarms | attacks | found | by a rare one | split | "
    "incidents | merged wrongly | false | false and rare | whole | pure |\n|" + "---|" * 12
)


def overlaps(of_sets: Iterator[tuple[str, OfSet]]) -> Iterator[str]:
    """Yield the lines of two tables."""
    names, found = zip(*of_sets, strict=True)
    yield f"{len(names)} sets: {', '.join(names)}. Numbers of a stream, over one to three attacks"
    yield f"at once, of which it has {EPISODES}, {2 * EPISODES} or {3 * EPISODES}:\n"
    yield HEAD
    for alpha, gap in PAIRS:
        for rule in RULES:
            settings = [Setting(at_once, alpha, gap) for at_once in AT_ONCE]
            own = [[one for each in settings for one in of[each][rule]] for of in found]
            yield f"| {alpha:g}, {gap} | {rule} | {_means_of(own)} |"
    yield "\nThe harmonic mean of whole and pure, over one to three attacks at once:\n"
    heads = [f"alpha {alpha:g}, {gap}" for alpha, gap in PAIRS]
    yield f"| what joins two alarms | {' | '.join(heads)} | mean | best | chosen by the others |"
    yield "|" + "---|" * (len(heads) + 4)
    yield from _both(found)


def _means_of(own: Sequence[Sequence[Grouping]]) -> str:
    """Average over sets, and before over the streams of each."""
    of_sets = [np.mean([_numbers(each) for each in some], axis=0) for some in own if some]
    numbers = np.mean(of_sets, axis=0).tolist()
    return " | ".join([*(f"{n:.1f}" for n in numbers[:-2]), *(f"{n:.2f}" for n in numbers[-2:])])


def _numbers(one: Grouping) -> list[float]:
    c = one.compared
    counts = (c.labelled, c.found, c.rare, c.split, c.incidents, c.merged, c.false, c.false_rare)
    return [*counts, one.whole, one.pure]


def _both(found: Sequence[OfSet]) -> Iterator[str]:
    scores = {
        rule: [[mean_both(own, rule, *pair) for pair in PAIRS] for own in found] for rule in RULES
    }
    means = {rule: np.nanmean(own, axis=1).tolist() for rule, own in scores.items()}
    best = [max(RULES, key=lambda rule: means[rule][i]) for i in range(len(found))]
    others = chosen(means)
    for rule in RULES:
        own = [f"{n:.3f}" for n in np.nanmean(scores[rule], axis=0).tolist()]
        times = f"{best.count(rule)} | {others.count(rule)}"
        yield f"| {rule} | {' | '.join(own)} | {np.mean(means[rule]):.3f} | {times} |"
