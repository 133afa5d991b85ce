"""POST /v1/recalibrate leaves out what people have confirmed, and only that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.moving import Service
from benchmarks.moving import serving as clocked
from tests.conftest import SMALL, call, make_frame
from tests.live import ask, serving, until
from tests.service.conftest import Clock
from tests.service.incidents.conftest import incidents, odd_records, post, wait_for_alarms
from tests.training.test_time import make_orders
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.service.incidents.confirmed import GroupSpan
from vaewatch.service.recalibrate.sample import Period, TimeSpan, draw
from vaewatch.service.watch.scores import MINUTE, Page, Scores
from vaewatch.service.watch.trail import Trail
from vaewatch.training.config import TrainConfig
from vaewatch.training.feedback.marks import read_marks
from vaewatch.training.feedback.matched import NONE, Keys, match
from vaewatch.training.train import train

Json = dict[str, Any]


def normal(n: int, seed: int) -> list[Json]:
    return make_frame(n, seed=seed).drop("order").to_dicts()


def one_of(service: Service, **asked: str) -> Json:
    """Wait for the incident of an attack, which has most alarms."""
    found: list[Json] = []

    def there() -> bool:
        page = ask("GET", service.url, "/v1/incidents", params=asked).json()["incidents"]
        found[:] = [one for one in page if one["alarms"] >= 200]
        return bool(found)

    until(there)
    return found[0]


def test_a_confirmed_attack_is_not_learned(artifact_path: Path):
    with clocked(artifact_path) as service:
        for minute in (0, 10, 20):
            service.set_clock(60 * minute)
            service.score(normal(600, minute))
        service.set_clock(1800)
        service.score([*odd_records(300), *normal(300, 30)])
        attack = one_of(service)
        service.set_clock(3000)
        attacked = service.propose("1h")
        assert (attacked["records"], attacked["left_out"]) == (2400, 0)
        assert attacked["refusals"]

        mark = {"incident": attack["id"], "label": "confirmed"}
        service.post("/v1/feedback", mark)
        found = service.propose("1h")
        assert (found["records"], found["n"], found["left_out"]) == (1800, 1800, 600)
        assert not found["refusals"] and found["exclude"] == []
        assert found["after"]["threshold"] < attacked["after"]["threshold"]

        service.post("/v1/feedback", {**mark, "label": "withdrawn"})
        again = service.propose("1h")
        assert (again["records"], again["left_out"]) == (2400, 0)


def test_where_all_records_are_of_a_confirmed_incident_it_says_so(artifact_path: Path):
    with clocked(artifact_path) as service:
        service.score(odd_records(300))
        service.post("/v1/feedback", {"incident": one_of(service)["id"], "label": "confirmed"})
        service.set_clock(600)
        answer = service.client.post(f"{service.url}/v1/recalibrate", json={"last": "1h"})
        assert answer.status_code == 409
        assert "all of the 300 are theirs" in answer.json()["detail"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("artifacts") / "shop"
    options = {**SMALL, "report": False}
    train(make_frame(6000), out, alpha=0.05, id="order", segment="country", **options)
    return out


def test_the_other_segments_still_calibrate(shop: Path):
    with clocked(shop) as service:
        service.score(normal(2000, 1))
        service.set_clock(600)
        odd = [row | {"country": "NL"} for row in odd_records(300)]
        others = [row for row in normal(600, 2) if row["country"] != "NL"]
        service.score([*odd, *others])
        service.set_clock(1800)
        attack = one_of(service, group="NL")
        service.post("/v1/feedback", {"incident": attack["id"], "label": "confirmed"})
        found = service.propose("1h")
        assert (found["left_out"], found["records"]) == (300, 2000 + len(others))
        each = {one["segment"]: one["n"] for one in found["segments"]}
        assert each["NL"] == sum(row["country"] == "NL" for row in normal(2000, 1))


def test_a_record_that_alarmed_as_one_of_many_is_found_by_its_id(shop: Path, tmp_path: Path):
    odd = odd_records(70)
    for i, row in enumerate(odd):
        row |= {"order": f"odd{i}", "country": "NL" if i < 60 else "DE"}
    store = f"sqlite:///{tmp_path}/it.sqlite"
    with serving(shop, "--store", store) as live:
        post(live, odd)
        wait_for_alarms(live, 70)
        (last,) = incidents(live, group="DE")
        named = [example["record"] for example in last["examples"]]
        assert named == [f"odd{i}" for i in range(60, 65)]
        for record in ("odd64", "odd69"):  # one of the examples, and one that none shows
            said = live.post("/v1/feedback", json={"record": record, "label": "confirmed"})
            assert said.status_code == 200, said.text
    assert (
        call("feedback", "export", "--store", store, "--out", tmp_path / "m.csv").returncode == 0
    )
    frame = pl.concat([make_frame(100, 7), pl.DataFrame(odd)])
    keys = Keys.of(TrainConfig(id="order", segment="country"))
    found = match(read_marks(tmp_path / "m.csv"), frame, keys)
    assert frame["order"].filter(pl.Series(found.of != NONE)).to_list() == ["odd64", "odd69"]


def test_segments_without_a_name_are_one_group_and_no_others(shop: Path):
    with clocked(shop) as service:
        service.score(normal(2000, 1))
        service.set_clock(600)
        odd = [row | {"country": ("XX", "YY")[i % 2]} for i, row in enumerate(odd_records(300))]
        service.score([*odd, *normal(600, 2), *(row | {"country": None} for row in normal(20, 3))])
        service.set_clock(1800)
        attack = one_of(service, group="other")
        mark = service.post("/v1/feedback", {"incident": attack["id"], "label": "confirmed"})
        assert (mark["group"], mark["kind"]) == ("other", "other")
        found = service.propose("1h")
        assert (found["left_out"], found["records"]) == (300, 2620)


def test_records_with_a_time_are_left_out_by_it_whenever_they_came(timed_path: Path):
    """A replay brings weeks in a minute: the records of the attack's time go, and no others."""
    rows = make_orders(2400, seed=5).drop("order").to_dicts()
    for i, row in enumerate(rows[:400]):
        row["created_at"] = f"2025-06-01T12:{i // 20:02}:{i % 20 * 3:02}Z"
        row["amount"] = 1e6 if i % 4 else row["amount"]
    with clocked(timed_path) as service:
        service.score(rows[:1200])
        service.score(rows[1200:])
        attack = one_of(service)
        service.post("/v1/feedback", {"incident": attack["id"], "label": "confirmed"})
        service.set_clock(600)
        found = service.propose("1h")
        inside = [attack["first"] <= row["created_at"] <= attack["last"] for row in rows]
        assert found["left_out"] == sum(inside) >= 398
        assert found["records"] == len(rows) - sum(inside)


def test_while_the_store_is_away_nothing_is_proposed(artifact_path: Path, tmp_path: Path):
    """Else what was confirmed would be learned, because nobody knew."""
    path = tmp_path / "store" / "it.sqlite"
    path.parent.mkdir()
    with serving(artifact_path, "--store", f"sqlite:///{path}") as live:
        post(live, normal(2000, 1))
        assert live.post("/v1/recalibrate").status_code == 200
        shutil.rmtree(path.parent)
        path.parent.write_text("in its place")  # so that it cannot be made again
        live.post("/v1/feedback", json={"label": "confirmed", "record": "a"})

        def away() -> bool:
            post(live, odd_records(3))
            answer = live.post("/v1/recalibrate")
            return bool(answer.status_code == 503 and answer.json()["code"] == "store_away")

        until(away)
        assert live.get("/readyz").status_code == 200


ALWAYS = TimeSpan(0, 1e12)


def pages_by_minute(clock: Clock, kept: Scores, each: int) -> list[Page]:
    """Ten minutes, of which each record's score is the number of its minute."""
    start = clock.now
    for minute in range(10):
        clock.now = start + MINUTE * minute
        codes = (np.arange(each) % 2).astype(np.int32)
        kept.add("a", np.full(each, float(minute)), codes)
    clock.now = start
    return kept.mine("a")


def test_the_records_own_time_counts_where_they_have_one(clock: Clock):
    moments = np.arange(100) * 10**6
    moments[::10] = NO_TIME
    kept = Scores()
    for _ in range(2):
        kept.add("a", np.arange(100.0), moments=moments)
        clock.now += 600
    first = int(1e6 * clock.now) - 10**6
    spans = GroupSpan(None, 15 * 10**6, 24 * 10**6), GroupSpan(None, first, first + 1)
    clock.now -= 1200
    drawn = draw(kept.mine("a"), Period(ALWAYS, (), spans), 1000)
    assert drawn.left_out == 18 and len(drawn.scores) == 182
    arrived = GroupSpan(None, int(1e6 * clock.now), int(1e6 * clock.now) + 1)
    drawn = draw(kept.mine("a"), Period(ALWAYS, (), (arrived,)), 1000)
    assert drawn.left_out == 10  # those without a time, of the first minute


@pytest.mark.parametrize(
    ("code", "first", "last", "left"),
    [
        (None, 125.0, 170.0, 90),
        (None, 120.5, 170.0, 80),  # its first alarm may have been counted before the minute
        (None, 125.0, 180.0, 80),
        (1, 125.0, 170.0, 95),
        (7, 125.0, 170.0, 100),
        (None, -1e6, -10.0, 100),
    ],
)
def test_whole_minutes_of_a_group_go(
    clock: Clock, code: int | None, first: float, last: float, left: int
):
    pages = pages_by_minute(clock, Scores(), 10)
    span = GroupSpan(code, int(1e6 * (clock.now + first)), int(1e6 * (clock.now + last)))
    within = GroupSpan(code, span.first + 10**6, span.first + 10**6 + 1)  # changes nothing
    drawn = draw(pages, Period(ALWAYS, (), (span, within)), 1000)
    assert (drawn.records, drawn.left_out, len(drawn.scores)) == (left, 100 - left, left)


def test_of_a_thinned_sample_what_is_left_out_is_estimated(clock: Clock):
    kept = Scores(most=2000, _generator=np.random.default_rng(1))
    pages = pages_by_minute(clock, kept, 1000)
    span = GroupSpan(None, int(1e6 * (clock.now + 125)), int(1e6 * (clock.now + 170)))
    drawn = draw(pages, Period(ALWAYS, (), (span,)), 10_000)
    assert drawn.left_out == pytest.approx(1000, rel=0.3)
    assert drawn.records + drawn.left_out == 10_000 and 2.0 not in drawn.scores


def test_with_a_window_the_moments_of_records_count(clock: Clock):
    """Whenever they came: those of an entity from its first alarm to its last."""
    moments = np.repeat(np.arange(100) * 10**6, 2)
    entities = np.tile(np.array([5, 9], np.uint32), 100)
    spaced, tickets = np.ones(200, bool), np.arange(200, dtype=np.uint32)
    kept = Scores()
    kept.add("a", np.arange(200.0), trail=Trail(entities, moments, spaced, tickets))
    period = Period(ALWAYS, (), (GroupSpan(9, 10 * 10**6, 19 * 10**6),))
    drawn = draw(kept.mine("a"), period, 1000)
    assert (drawn.records, drawn.left_out) == (190, 10)
    assert sorted(set(range(200)) - set(drawn.scores.astype(int).tolist())) == list(
        range(21, 40, 2)
    )


def test_records_of_the_times_that_are_left_out_are_counted(clock: Clock):
    pages = pages_by_minute(clock, Scores(), 10)
    out = TimeSpan(clock.now + 130, clock.now + 200)
    drawn = draw(pages, Period(ALWAYS, (out,)), 1000)
    assert (drawn.records, drawn.excluded, drawn.left_out) == (80, 20, 0)
