"""The console of an artifact with a window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, expect

from tests.browser import axe_findings, needs_chromium, page_of, sideways_overflow
from tests.fleet import later
from tests.live import Live, serving
from tests.pumps import W, changed, pumps, trained
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.budget.windows import expected_of_windows
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.course import Course, Units
from vaewatch.service.console.health import lasting_of
from vaewatch.service.watch.courses import MOST_POINTS, lines_of
from vaewatch.service.watch.recent import MOST_ALARMS

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("pumps"))


def alarming() -> list[dict[str, Any]]:
    rows = pumps(30, seed=1, first=600).to_dicts()
    for row in rows[-9:-6]:
        row["pressure"] = 9.0
    return rows


@pytest.fixture(scope="module")
def live(artifact: Path) -> Iterator[Live]:
    with serving(artifact, "--console-values") as running:
        answer = running.post("/v1/score", json={"records": alarming()})
        assert answer.json()["results"][-1]["is_anomaly"]
        yield running


def test_an_alarm_says_how_many_records_ago(browser: Browser, live: Live):
    with page_of(browser) as (page, complaints):
        page.goto(live.url)
        alarm = page.locator("#alarm-rows tr").first
        expect(alarm).to_contain_text("pressure")
        expect(alarm).to_contain_text("2 records ago: 9, expected")
        expect(page.locator("#active")).to_contain_text(f"with the {W - 1} before it")
        assert not complaints


def test_an_incident_shows_the_windows_of_its_last_alarms(browser: Browser, live: Live):
    with page_of(browser) as (page, complaints):
        page.goto(live.url)
        page.locator("#work a[data-id]").first.click()
        drawing = page.locator("#incident .course").first
        expect(drawing).to_be_visible()
        assert "from" in str(drawing.get_attribute("aria-label"))
        assert axe_findings(page) == [] and not complaints


def test_an_alarm_shows_the_window_of_the_columns_behind_it(browser: Browser, live: Live):
    alarm = live.get("/console/state").json()["recent"]["alarms"][0]
    (line, *_) = alarm["lines"]
    assert line["column"] == "pressure" and line["ago"] == [*range(W - 1, -1, -1)]
    at = line["ago"].index(alarm["reasons"][0]["ago"])
    assert line["observed"][at] == 9.0 and at in line["worst"]
    for theme, width in (("light", 1440), ("dark", 390)):
        with page_of(browser, theme=theme, width=width) as (page, complaints):
            page.goto(live.url)
            drawing = page.locator("#alarm-rows tr").first.locator(".course").first
            expect(drawing).to_be_visible()
            label = drawing.get_attribute("aria-label")
            assert label is not None and f"from {W - 1} records ago to now" in label
            assert "2 records ago 9, expected" in label
            assert drawing.locator(".worst").count() == len(line["worst"])
            for kind in ("observed", "expected"):
                assert drawing.locator(f".{kind}").get_attribute("d").count("L") == W - 1
            expect(page.locator("#lines-note")).to_contain_text("dashed: expected")
            assert axe_findings(page) == [] and sideways_overflow(page) == 0
            assert not complaints


def test_values_and_lines_are_hidden_unless_they_are_asked_for(artifact: Path):
    with serving(artifact) as running:
        running.post("/v1/score", json={"records": alarming()})
        alarm = running.get("/console/state").json()["recent"]["alarms"][0]
        assert alarm["lines"] == [] and alarm["reasons"][0]["observed"] is None


def test_only_the_newest_alarms_are_drawn(artifact: Path):
    """The page asks for all of them every two seconds."""
    with serving(artifact, "--console-values") as running:
        rows = pumps(60, seed=2, first=600).to_dicts()
        for row in rows:
            row["pressure"] = 9.0
        running.post("/v1/score", json={"records": rows})
        alarms = running.get("/console/state").json()["recent"]["alarms"]
        assert len(alarms) == MOST_ALARMS
        assert [bool(alarm["lines"]) for alarm in alarms[:20]] == [True] * 12 + [False] * 8


def test_a_long_window_is_thinned_out_and_keeps_its_peaks(artifact: Path):
    loaded = Scorer.load(artifact).artifact
    vectorizer, window = loaded.vectorizer, loaded.window
    assert window is not None
    size, index = 1000, vectorizer.schema.names.index("pressure")
    observed = np.zeros((size, len(vectorizer.features)), np.float32)
    observed[[123, 124, 777]] = 5.0
    errors = observed[:, 0].astype(np.float64) ** 2
    unseen = np.zeros(size, bool)
    course = Course(Units(vectorizer, window), index, observed, 0 * observed, unseen, errors)
    (line,) = lines_of([course])
    assert len(line.ago) == MOST_POINTS and line.ago == sorted(line.ago, reverse=True)
    ago = [line.ago[k] for k in line.worst]
    assert size - 1 - 777 in ago and {size - 1 - 123, size - 1 - 124} & set(ago)
    peaks = [k for k, each in enumerate(line.observed) if each != line.observed[0]]
    assert peaks == line.worst
    course = replace(course, unseen=np.arange(size) == 5, errors=errors)
    (line,) = lines_of([course])
    assert line.observed[0] is None  # of a number that never was missing


def test_a_record_alone_is_not_judged_and_a_file_is(browser: Browser, live: Live, tmp_path: Path):
    with page_of(browser) as (page, complaints):
        page.goto(live.url)
        expect(page.get_by_label("machine", exact=True)).to_have_value("an entity")
        page.locator("#try-form button[type=submit]").click()
        expect(page.locator("#verdict")).to_contain_text("Not judged")
        expect(page.locator("#verdict")).to_contain_text(f"at least {W} records")
        path = tmp_path / "new.csv"
        pl.DataFrame(pumps(W + 2, machines=1).to_dicts()).write_csv(path)
        page.set_input_files("#csv", path)
        expect(page.locator("#csv-status")).to_contain_text(f"{W + 2} rows: ")
        assert not complaints


def test_the_chance_of_alike_windows_is_wider_by_their_blocks(artifact: Path, live: Live):
    """The console's range is that of every other place that tells alarms of windows."""
    loaded, budget = Scorer.load(artifact).artifact, live.get("/console/state").json()["budget"]
    fitted = loaded.manifest.series
    assert fitted is not None and fitted.blocks < loaded.calibration.n / 2
    want = expected_of_windows(loaded.calibration, fitted, budget["records"])
    assert (budget["expected"], budget["low"], budget["high"]) == (want.mean, want.low, want.high)
    alone = Expected.at(loaded.calibration, budget["records"])
    assert budget["high"] > alone.high and budget["low"] <= alone.low


def test_an_alarm_that_lasts_is_not_taken_for_an_all_clear(browser: Browser, artifact: Path):
    with serving(artifact) as live, page_of(browser) as (page, complaints):
        answer = live.post("/v1/score", json={"records": changed(150)}).json()["results"]
        lasting = [one["history"] for one in answer].count("lasting")
        state = live.get("/console/state").json()
        assert sum(span["lasting"] for span in state["recent"]["spans"]) == lasting > 30
        assert state["health"]["level"] in ("warn", "alarm")
        page.goto(live.url)
        expect(page.locator("body")).to_contain_text(f"records of the last hour {lasting} are of")
        assert not complaints


def test_a_few_records_of_a_lasting_alarm_do_not_worry_the_console():
    assert lasting_of(20, 100) == lasting_of(119, 5000) == ""
    assert lasting_of(121, 5000).startswith("Of the 5,000 records of the last hour 121 are of")


@pytest.mark.parametrize("calibrate", ["all", "entities"])
def test_more_alarms_than_promised_may_be_those_of_entities_without_a_budget(
    browser: Browser, fleet_path: Path, plain_fleet_path: Path, calibrate: str
):
    artifact = plain_fleet_path if calibrate == "all" else fleet_path
    with serving(artifact) as live, page_of(browser) as (page, complaints):
        answer = live.post("/v1/score", json={"records": later().to_dicts()}).json()["results"]
        new = [one["history"] for one in answer].count("new_entity")
        state = live.get("/console/state").json()
        assert sum(span["new"] for span in state["recent"]["spans"]) == new > 500
        page.goto(live.url)
        says = f"records of the last hour {new:,} are of entities that the model does not know"
        headline = page.locator("body")
        if calibrate == "all":
            expect(headline).to_contain_text("More alarms than promised")
            expect(headline).to_contain_text(says)
        else:
            expect(headline).to_contain_text("records; up to")
            assert says not in page.locator("body").inner_text()
        assert not complaints
