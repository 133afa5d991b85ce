"""Alarms become incidents by one rule, whatever order and calls bring them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from vaewatch.scoring.incidents.alarm import Alarm, Cause
from vaewatch.scoring.incidents.grouping import Group, Rule
from vaewatch.scoring.incidents.incident import Incident

GAP = 160
RULE = Rule(gap=GAP, by_column=True, expected_rate=0.01, highest_rate=0.012)


def alarm(moment: int, *columns: str, severity: float = 2.5) -> Alarm:
    causes = tuple(Cause(column, 1) for column in columns)
    return Alarm(moment, "", severity, 10**-severity, causes, f"r{moment}")


def incidents_of(alarms: list[Alarm], rule: Rule = RULE) -> list[Incident]:
    group = Group()
    group.add(rule, alarms, {})
    return group.incidents


def components(alarms: list[Alarm]) -> set[frozenset[int]]:
    """The rule, the slow way: what hangs together by pairs."""
    left, found = set(range(len(alarms))), set()
    while left:
        whole, edge = set(), {left.pop()}
        while edge:
            i = edge.pop()
            whole.add(i)
            near = {
                j
                for j in left
                if abs(alarms[i].moment - alarms[j].moment) <= GAP
                and set(alarms[i].columns) & set(alarms[j].columns)
            }
            left, edge = left - near, edge | near
        found.add(frozenset(whole))
    return found


some_alarms = st.lists(
    st.tuples(st.integers(0, 3000), st.sets(st.sampled_from("abcd"), min_size=1, max_size=3)),
    max_size=40,
).map(lambda pairs: [alarm(moment, *sorted(columns)) for moment, columns in pairs])


@given(some_alarms)
def test_incidents_are_what_hangs_together_by_pairs(alarms: list[Alarm]):
    wanted = sorted(
        (min(alarms[i].moment for i in c), max(alarms[i].moment for i in c), len(c))
        for c in components(alarms)
    )
    assert sorted((o.first, o.last, o.alarms) for o in incidents_of(alarms)) == wanted


@given(some_alarms, st.integers())
def test_the_order_of_alarms_and_the_calls_make_no_difference(alarms: list[Alarm], seed: int):
    mixed = random.Random(seed).sample(alarms, len(alarms))
    group = Group()
    for one in mixed:
        group.add(RULE, [one], {})
    there, here = group.incidents, incidents_of(alarms)
    assert [(o.id, o.alarms, o.columns, o.spans) for o in there] == [
        (o.id, o.alarms, o.columns, o.spans) for o in here
    ]


def test_a_long_run_of_chance_does_not_hide_an_attack_within_it():
    group, random_ = Group(), random.Random(1)
    for second in range(3600):
        chance = [alarm(second * 20, "a") for _ in range(100) if random_.random() < 0.01]
        attack = [alarm(second * 20, "a") for _ in range(12 * (second == 3000))]
        bucket = RULE.bucket(second * 20)
        group.add(RULE, chance + attack, {bucket: 100 + len(attack)})
        if second == 2999:
            before = group.chance(RULE, group.incidents[-1])
    (one,) = group.incidents
    assert before > 0.1 and group.chance(RULE, one) < 1e-3
