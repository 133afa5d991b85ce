"""An entity that has changed for good alarms for a while; then only what goes beyond it alarms."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pumps import W, changed
from tests.scoring.series.test_kept import KEY, WINDOW, filled, unpacked
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.kept import pack_history
from vaewatch.scoring.series.lasting import COMPARED, LASTS, PAUSE, KeptEpisode, Lasting
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.table import table_of

SMALL = Window(size=3, gap=1000, step=10)
LENGTH = SMALL.size * SMALL.step


def slow(names: list[str], moments: list[int], scores: list[float], p: list[float]) -> list[float]:
    """The rule by the words of the guide, from all alarms each time."""
    found = []
    for i, name in enumerate(names):
        before = [k for k in range(i) if names[k] == name]
        episode = before[:0]
        for k in reversed(before):
            if moments[(episode or [i])[0]] - moments[k] > PAUSE * LENGTH:
                break
            episode = [k, *episode]
        time = moments[i] - moments[episode[0]] if episode else 0
        lasts = bool(episode) and time >= LASTS * LENGTH and 4 * len(episode) >= time / SMALL.step
        recent = [k for k in episode if moments[k] >= moments[i] - COMPARED * LENGTH]
        above = sum(scores[k] >= scores[i] for k in recent[-COMPARED * SMALL.size :])
        found.append(max(p[i], above / (COMPARED * SMALL.size)) if lasts else p[i])
    return found


alarms = st.lists(
    st.tuples(
        st.sampled_from("aab"), st.sampled_from([0, 3, 8, 15, 15, 60, 250]), st.integers(0, 5)
    ),
    max_size=120,
)


@settings(deadline=None)
@given(alarms, st.integers(1, 40))
def test_p_values_are_those_of_the_rule_whatever_the_calls(
    given_alarms: list[tuple[str, int, int]], size: int
):
    names = [name for name, _, _ in given_alarms]
    moments = np.cumsum([step for _, step, _ in given_alarms], dtype=np.int64)
    scores = np.array([float(score) for _, _, score in given_alarms])
    p_values = np.full(len(names), 0.01)
    lasting, got = Lasting(SMALL), p_values.copy()
    for start in range(0, len(names), size):
        some = slice(start, start + size)
        rows = np.arange(len(names))[some]
        lasting.settle(names, moments, rows, scores, got)
        again = Lasting(SMALL)
        again.keep(lasting.kept())
        assert again == lasting
        lasting = again
    assert got.tolist() == slow(names, moments.tolist(), scores.tolist(), p_values.tolist())


def test_the_entities_whose_last_alarm_is_longest_ago_leave_first():
    lasting = Lasting(SMALL, most=2)
    names, at = ["a", "b", "a", "c"], np.arange(4)
    lasting.settle(names, at, at, np.ones(4), np.full(4, 0.01))
    assert list(lasting.episodes) == ["a", "c"]


def test_alarms_survive_their_way_to_bytes():
    history = filled(["a", "b"])
    history.lasting.settle(
        ["a", "b"], np.array([5, 7]), np.arange(2), np.array([1.5, 0.1]), np.ones(2)
    )
    back = unpacked(pack_history(history, KEY))
    assert back.lasting.kept() == {
        "a": KeptEpisode(5, 1, [5], [1.5]),
        "b": KeptEpisode(7, 1, [7], [0.1]),
    }
    assert back.lasting.window == WINDOW


def test_a_change_for_good_alarms_until_it_lasts_and_what_goes_beyond_it_alarms(
    pumps_scorer: Scorer,
):
    rows = changed(400)
    verdicts = pumps_scorer.score(rows)
    words, alarmed = np.array(verdicts.history), verdicts.is_anomaly
    first = int(alarmed.argmax())  # by chance a little before the change
    assert first <= 20 and alarmed[21 : first + LASTS * W].all()
    assert (words[20 + LASTS * W + 2 :] == "lasting").mean() > 0.95
    assert alarmed[20 + LASTS * W + 2 : -2].mean() < 0.15  # alpha is 0.05
    assert alarmed[-2:].any()
    assert np.array_equal(alarmed, verdicts.p_value <= 0.05)
    quiet = ~alarmed & (words == "lasting")
    assert np.allclose(verdicts.severity[quiet], -np.log10(verdicts.p_value[quiet]))
    assert not any(verdicts.reasons[i] for i in np.flatnonzero(quiet))


def test_records_one_by_one_get_the_verdicts_of_all_at_once(pumps_scorer: Scorer):
    rows = changed(120)
    whole, history, found = pumps_scorer.score(rows), pumps_scorer.history(), []
    for row in rows:
        table = table_of(pumps_scorer.artifact.schema, [row])
        found.append(pumps_scorer.score_table(table, history=history)[0])
    assert [v.history for v in found] == list(whole.history or ())
    assert [v.is_anomaly for v in found] == whole.is_anomaly.tolist()
    assert np.allclose([v.p_value for v in found], whole.p_value, equal_nan=True)
