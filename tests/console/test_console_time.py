"""A record with a time, tried in the console: a real service, a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import needs_chromium, page_of
from tests.conftest import SMALL
from tests.live import Live, serving
from tests.service.incidents.conftest import wait_for_alarms
from tests.training.test_time import make_orders
from vaewatch.training.train import train

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    path = tmp_path_factory.mktemp("artifacts") / "timed"
    settings: dict[str, Any] = {**SMALL, "alpha": 0.05, "id": "order", "time": "created_at"}
    train(make_orders(600), path, report=False, **settings)
    with serving(path) as running:
        yield running


def test_alarms_of_records_of_long_ago_are_said_to_be_among_what_has_ended(
    browser: Browser, live: Live
):
    example = live.get("/v1/model").json()["example"]
    odd = {**example, "created_at": "2025-03-02T12:00:00Z", "amount": 1e6}
    assert live.post("/v1/score", json={"records": [odd] * 60}).status_code == 200
    wait_for_alarms(live, 60)  # or the page would find none, and look again in some seconds
    with page_of(browser) as (page, _):
        page.goto(live.url)
        expect(page.locator("#ended-rows tr")).to_have_count(1)
        expect(page.locator("h1:visible")).to_have_text("More alarms than promised")
        expect(page.locator("#open-empty")).to_have_text(
            re.compile(
                "^No incident is open. Incidents go by the records' own times, in created_at, "
                "and the newest ended at .*2 Mar 2025.*: records that come later than that"
            )
        )


def test_a_record_with_a_time_is_tried(browser: Browser, live: Live):
    with page_of(browser) as (page, complaints):
        page.goto(live.url)
        field = page.locator('[name="created_at"]')
        expect(field).to_be_visible()
        assert page.locator('[name="created_at.hour"]').count() == 0
        field.fill("2025-03-02T03:10:00Z")
        page.locator('[name="amount"]').fill("180")
        field.press("Enter")
        expect(page.locator("#verdict .word")).to_be_visible()
        example = live.get("/v1/model").json()["example"]
        record = {**example, "created_at": "2025-03-02T03:10:00Z", "amount": 180}
        answer = live.post("/v1/score", json={"records": [record]}).json()
        assert f"score {answer['results'][0]['score']:.2f} nats" in page.inner_text("#verdict")
        field.fill("soon")
        field.press("Enter")
        expect(page.locator("#verdict")).to_contain_text("must be a time as in the fit data")
        assert complaints == [] or all("422" in text for text in complaints)
