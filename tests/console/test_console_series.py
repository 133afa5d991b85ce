"""The console of an artifact with a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, expect

from tests.browser import needs_chromium, page_of
from tests.live import Live, serving
from tests.pumps import W, pumps, trained
from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.expected import Expected
from vaewatch.service.console.budget import expected_of_windows

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    artifact = trained(tmp_path_factory.mktemp("pumps"))
    rows = pumps(30, seed=1, first=600).to_dicts()
    for row in rows[-9:-6]:
        row["pressure"] = 9.0
    with serving(artifact, "--console-values") as running:
        answer = running.post("/v1/score", json={"records": rows})
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


def test_the_chance_of_alike_windows_is_wider_by_their_blocks():
    scores = np.sort(np.random.default_rng(0).normal(size=9999))
    calibration = Calibration(scores, 0.01, rule="split")
    assert expected_of_windows(calibration, 5000, 1) == Expected.at(calibration, 5000)
    alike = expected_of_windows(calibration, 5000, 20)
    own = Expected.at(calibration, 250)
    assert alike.mean == Expected.at(calibration, 5000).mean
    assert alike.high >= 20 * own.high and alike.low <= 20 * own.low
