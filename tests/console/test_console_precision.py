"""The console says how many incidents were real: in all, by column, by group and by week."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import (
    axe_findings,
    legible_on,
    needs_chromium,
    on_each_screen,
    page_of,
)
from tests.console.filled import fill
from tests.live import Live, serving, until

pytestmark = needs_chromium
N, JUDGED = 40, 24


def say(live: Live, k: int, label: str, **more: Any) -> None:
    said = {"incident": f"{k:012x}", "label": label, **more}
    answer = live.post("/v1/feedback", json=said)
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def judged(artifact_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Forty incidents, of which twenty-four were judged: those of `amount` were all false."""
    url = fill(tmp_path_factory.mktemp("judged") / "it.sqlite", N)
    with serving(artifact_path, "--store", url) as running:
        for k in range(JUDGED):
            say(running, k, "confirmed" if k % 3 else "false_alarm")
        yield running


def test_it_shows_what_the_summary_counts_and_a_new_mark_at_once(browser: Browser, judged: Live):
    with page_of(browser) as (page, complaints):
        page.goto(judged.url)
        text = page.locator("#precision-text")
        expect(text).to_contain_text(
            "16 of 24 that were judged were real: 67% (95% interval: 47 to 82%). "
            "16 are not marked, 0 were expected."
        )
        rows = page.locator("#precision-columns-rows tr")
        expect(rows).to_have_count(3)
        amount = rows.filter(has_text="amount")
        expect(amount).to_contain_text("0% (0 to 32%)")
        expect(page.locator("#precision-groups-rows tr")).to_have_count(3)
        expect(page.locator("#precision-weeks-rows tr").first).to_be_visible()
        assert axe_findings(page) == []
        page.goto(f"{judged.url}/#incident={N - 1:012x}")
        page.get_by_role("button", name="Confirmed").press("Enter")
        expect(page.locator("#mark-status")).to_have_text("Marked: confirmed.")
        expect(text).to_contain_text("17 of 25 that were judged were real")
        page.get_by_role("button", name="Undo the mark").press("Enter")
        expect(text).to_contain_text("16 of 24")
        assert complaints == []


def test_another_time_is_chosen_by_keyboard(browser: Browser, judged: Live):
    with page_of(browser) as (page, complaints):
        asked = list[str]()
        page.on("request", lambda r: asked.append(r.url) if "/summary" in r.url else None)
        page.goto(judged.url)
        expect(page.locator("#precision-text")).to_be_visible()
        before = len(asked)
        page.get_by_label("Of the incidents that began in the last").select_option("7")
        until(lambda: bool(page.wait_for_timeout(50)) or len(asked) > before)
        assert asked[-1] != asked[0] and complaints == []


def test_where_nothing_was_judged_it_says_what_to_do(
    browser: Browser, artifact_path: Path, tmp_path: Path
):
    with serving(artifact_path) as empty, page_of(browser) as (page, complaints):
        page.goto(empty.url)
        note = page.locator("#precision-empty")
        expect(note).to_have_text("No incident began in this time.")
        assert axe_findings(page) == [] and complaints == []
    url = fill(tmp_path / "it.sqlite", 5)
    with serving(artifact_path, "--store", url) as live, page_of(browser) as (page, complaints):
        page.goto(live.url)
        note = page.locator("#precision-empty")
        expect(note).to_contain_text(
            "Nobody has said yet which of the 5 incidents of this time were real"
        )
        expect(page.locator("#precision-columns")).to_be_hidden()
        assert axe_findings(page) == [] and complaints == []


def test_while_the_store_is_away_it_says_so(browser: Browser, artifact_path: Path, tmp_path: Path):
    path = tmp_path / "store" / "it.sqlite"
    path.parent.mkdir()
    url = fill(path, 5)
    with serving(artifact_path, "--store", url) as live, page_of(browser) as (page, _):
        page.goto(live.url)
        expect(page.locator("#precision-empty")).to_be_visible()
        shutil.rmtree(path.parent)
        path.parent.write_text("in its place")  # so that it cannot be made again
        until(lambda: live.get("/v1/feedback/summary").status_code == 503)
        page.get_by_label("Of the incidents that began in the last").select_option("28")
        expect(page.locator("#precision-fault")).to_contain_text("does not answer")
        assert axe_findings(page) == []


@on_each_screen
def test_it_is_legible_on_every_screen_and_in_the_dark(
    browser: Browser, judged: Live, theme: str, width: int
):
    with legible_on(browser, theme, width) as (page, _):
        page.goto(judged.url)
        expect(page.locator("#precision-text")).to_be_visible()
