"""A stream of records becomes the same incidents, whatever its chunks, and labels judge them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.incidents.alarm import Alarm, Cause
from vaewatch.scoring.incidents.chance import Excess
from vaewatch.scoring.incidents.described import IncidentReport, report_of
from vaewatch.scoring.incidents.grouping import Group, Rule
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.labelled import compare
from vaewatch.scoring.incidents.rule import Kind, Membership, Rules, merge_gap_of
from vaewatch.scoring.incidents.stream import Stream
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.verdicts import Verdicts

SECOND = 10**6
RULES = Rules(Kind.SEGMENT, True, Rule(60 * SECOND, True, 0.01, 0.012))
NAMES = ("a", "b", "")


def records(n: int, p_values: NDArray[np.float64], seed: int = 0) -> JudgedRecords:
    """A record each second of one of three segments, whose reason is one of four columns."""
    rng = np.random.default_rng(seed)
    columns = rng.choice(list("wxyz"), n).tolist()
    alarms = p_values <= 0.01
    reasons = [
        (Reason(column, 2.0, 1.0, 5.0),) if alarm else ()
        for column, alarm in zip(columns, alarms, strict=True)
    ]
    verdicts = Verdicts(p_values, p_values, -np.log10(p_values), alarms, reasons)
    members = Membership(NAMES, rng.integers(len(NAMES), size=n))
    moments = np.arange(n) * SECOND
    return JudgedRecords(moments, members, verdicts, np.ones(n, bool), lambda rows: [
        f"r{i}" for i in rows.tolist()
    ])  # fmt: skip


def some(whole: JudgedRecords, rows: NDArray[np.int64]) -> JudgedRecords:
    members = Membership(NAMES, whole.members.codes[rows])
    verdicts, good = whole.verdicts[rows], whole.good[rows]
    return replace(
        whole, moments=whole.moments[rows], members=members, verdicts=verdicts, good=good,
        ids=lambda places: [f"r{i}" for i in rows[places].tolist()],
    )  # fmt: skip


def reports(whole: JudgedRecords, chunks: list[NDArray[np.int64]]) -> list[IncidentReport]:
    stream = Stream(RULES)
    for rows in chunks:
        stream = Stream.resumed(RULES, stream.state())
        stream.take(some(whole, rows).grouped(RULES))
    return [report_of(RULES, group, one, stream.newest) for group, one in stream.incidents()]


@pytest.mark.parametrize("size", [7, 100, 5000])
def test_chunks_of_a_stream_and_resuming_make_no_difference(size: int):
    n = 20_000
    whole = records(n, np.random.default_rng(1).random(n) ** 1.5)
    found = reports(whole, np.split(np.arange(n), range(size, n, size)))
    wanted = reports(whole, [np.arange(n)])
    assert len(wanted) > 100
    alike = [(replace_merged(one), replace_merged(other)) for one, other in
             zip(found, wanted, strict=True)]  # fmt: skip
    assert all(one == other for one, other in alike)


def replace_merged(report: IncidentReport) -> dict[str, object]:
    """Drop earlier names, which depend on when an incident was looked at."""
    return {
        name: round(value, 12) if isinstance(value := getattr(report, name), float) else value
        for name in report.__struct_fields__
        if name != "merged"
    }


def test_alarms_in_any_order_are_the_same_incidents():
    n = 5000
    whole = records(n, np.random.default_rng(2).random(n))
    mixed = np.random.default_rng(3).permutation(n)
    found = reports(whole, np.split(mixed, range(500, n, 500)))
    wanted = reports(whole, [np.arange(n)])
    told = [(one.id, one.first, one.last, one.alarms, one.columns, one.examples) for one in wanted]
    assert told == [
        (one.id, one.first, one.last, one.alarms, one.columns, one.examples) for one in found
    ]


@pytest.mark.parametrize("chunk", range(0, 20, 2))
def test_an_incident_that_comes_back_counts_no_record_twice(chunk: int):
    """Five records in every fifth bucket, and the second of four alarms comes so late."""
    rule = Rule(16, True, 0.01, 0.02)
    rules = Rules(Kind.ALL, True, rule)
    moments, alarms, late = list(range(0, 2000, 10)), (0, 10, 20), 5

    def group(those: Sequence[int], records: Iterable[int], extra: dict[int, int]) -> Group:
        cause = (Cause("a", 1),)
        raised = [Alarm(moment, "", 3.0, 1e-3, cause) for moment in those]
        return Group.of(rule, raised, dict.fromkeys(records, 5) | extra)

    def evidence(groups: Sequence[Group]) -> list[tuple[int, Excess]]:
        stream = Stream(rules)
        for one in groups:
            stream.take({"": one})
        return [(one.alarms, own.evidence(rule, one)) for own, one in stream.incidents()]

    parts = [moments[at : at + 10] for at in range(0, 200, 10)]
    groups = [group([a for a in alarms if a in part], part, {}) for part in parts]
    groups[chunk].take(rule, group([late], (), {late: 1}))
    assert evidence(groups) == evidence([group([*alarms, late], moments, {late: 1})])


def test_of_incidents_by_chance_few_look_rare():
    rng, chances = np.random.default_rng(4), []
    for seed in range(5):
        n = 40_000
        p_values = rng.integers(1, 100_001, n) / 100_000
        chances += [one.chance for one in reports(records(n, p_values, seed), [np.arange(n)])]
    found = np.array(chances)
    assert len(found) > 1000
    for limit in (0.3, 0.1, 0.03, 0.01):
        assert (found <= limit).mean() <= limit


def test_a_burst_is_rare_and_told_in_words_of_shares():
    n = 20_000
    p_values = np.random.default_rng(5).random(n) * 0.99 + 0.01
    p_values[10_000:10_060] = 0.005
    (burst, *others) = sorted(
        reports(records(n, p_values), [np.arange(n)]), key=lambda o: o.chance
    )
    assert burst.chance < 1e-4 and burst.group.kind == "segment"
    assert burst.first >= "1970-01-01T02:46:40Z" and not burst.ongoing
    assert sum(column.share for column in burst.columns) == pytest.approx(1)
    assert {column.above for column in burst.columns} == {c.share for c in burst.columns}
    assert burst.records * 0.01 == pytest.approx(burst.expected)


def test_labels_say_what_was_found_split_merged_and_false():
    n = 3000
    p_values = np.full(n, 0.5)
    anomaly, kinds = np.zeros(n, bool), np.zeros(n, np.uint32)
    for kind, start, stop in ((1, 100, 120), (2, 130, 140), (3, 1000, 1010), (4, 2000, 2010)):
        anomaly[start:stop], kinds[start:stop] = True, kind
    p_values[[105, 135, 2900]] = 0.001  # the first two hang together, the last one is false
    p_values[[1000, 1001]] = 0.001
    whole = records(n, p_values)
    ones = Membership(("",), np.zeros(n, np.int64))
    rules = Rules(Kind.ALL, True, Rule(60 * SECOND, True, 0.01, 0.012))

    def found(columns: dict[int, str]) -> tuple[int, ...]:
        reasons = [()] * n
        for row, column in columns.items():
            reasons[row] = (Reason(column, 2.0, 1.0, 5.0),)
        verdicts = replace(whole.verdicts, reasons=reasons)
        judged = replace(whole, members=ones, verdicts=verdicts)
        got = compare(rules, judged, anomaly, kinds)
        return got.labelled, got.found, got.split, got.incidents, got.merged, got.false

    apart = {105: "w", 135: "x", 1000: "w", 1001: "x", 2900: "w"}
    assert found(apart) == (4, 3, 1, 5, 0, 1)
    assert found(dict.fromkeys(apart, "w")) == (4, 3, 0, 3, 1, 1)


def test_a_merge_gap_is_a_time_or_a_number_of_records():
    assert merge_gap_of("90s", timed=True) == 90 * SECOND
    assert merge_gap_of("90", timed=False) == 90
    assert merge_gap_of(None, timed=True) is None
    for text, timed in (("90", True), ("-5m", True), ("5m", False), ("0", False)):
        with pytest.raises(SettingError, match="--merge-gap must be a"):
            merge_gap_of(text, timed=timed)
