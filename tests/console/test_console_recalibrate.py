"""The part of the console that follows a change: shown, proposed, applied, reverted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import (
    WIDTHS,
    axe_findings,
    legible_on,
    needs_chromium,
    on_each_screen,
    page_of,
    sideways_overflow,
)
from tests.conftest import SMALL, make_frame
from tests.live import Live, serving, until
from tests.service.test_recalibrate import moved, odd, score
from tests.service.test_service_life import ADMIN, SCORE, bearer, version_of, write_keys
from vaewatch.training.train import train

pytestmark = needs_chromium
SHIFT = 1.3  # of the shop's numbers: more alarms than chance explains, and no more


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with calibration records enough to tell a shift from an attack."""
    out = tmp_path_factory.mktemp("artifacts") / "shop"
    train(make_frame(20_000), out, alpha=0.05, report=False, id="order", **SMALL)
    return out


@pytest.fixture
def live(shop: Path, tmp_path: Path) -> Iterator[Live]:
    """A service whose budget is broken, with keys."""
    artifact, keys = shutil.copytree(shop, tmp_path / "shop"), tmp_path / "keys"
    write_keys(keys, score=SCORE, admin=ADMIN)
    with serving(artifact, "--keys-file", str(keys)) as running:
        yield running


def opened(page: Page, live: Live, complaints: list[str]) -> None:
    """The browser complains of the first answer, which asks for the key."""
    page.goto(live.url)
    page.get_by_label("Key", exact=True).fill(SCORE)
    page.get_by_role("button", name="Open the console").click()
    expect(page.locator("#shown")).to_be_visible()
    complaints.clear()


def answer(page: Page, yes: str, key: str = ADMIN) -> None:
    page.get_by_label("Admin key").fill(key)
    page.locator("#ask").get_by_role("button", name=yes).press("Enter")


def version(live: Live) -> str:
    return str(live.get("/v1/model", headers=bearer(SCORE)).json()["version"])


def test_it_is_offered_where_the_budget_is_broken_and_by_keyboard(
    browser: Browser, live: Live, shop: Path
):
    parent = version_of(shop)
    with page_of(browser) as (page, complaints):
        opened(page, live, complaints)
        assert page.locator("#follow").is_hidden()
        score(live, moved(6000, 1, SHIFT), **bearer(SCORE))
        expect(page.locator("#follow")).to_be_visible()
        assert "More alarms than promised" in page.locator("#follow-why").inner_text()
        page.get_by_role("button", name="Propose a recalibration").press("Enter")
        answer(page, "Propose")
        title = page.locator("#proposal-title")
        expect(title).to_have_text("What it would do")
        expect(title).to_be_focused()
        assert version(live) == parent  # nothing has changed
        rows = page.locator("#proposal-rates tr")
        shares = rows.first.inner_text().replace("%", "").split()[-2:]
        assert float(shares[0]) > 6 and float(shares[1]) == pytest.approx(5, abs=0.1)
        assert page.locator("#proposal-pictures svg").count() == 2
        assert "6,000 records" in page.locator("#proposal-text").inner_text()
        assert axe_findings(page) == []
        page.get_by_role("button", name="Apply").press("Enter")
        answer(page, "Apply")
        expect(title).to_have_text("What was applied")
        assert version(live) != parent
        page.reload()  # another tab, or another person, may revert it
        expect(page.locator("#proposal-title")).to_have_text("What was applied")
        page.get_by_role("button", name="Revert").press("Enter")
        answer(page, "Revert")
        expect(page.locator("#follow-status")).to_contain_text(f"version {parent} answers")
        assert version(live) == parent
        assert complaints == []


def test_an_attack_is_refused_in_words_and_applied_by_force_alone(browser: Browser, live: Live):
    score(live, [*moved(1000, 1, 1.0), *odd(500, 1)], **bearer(SCORE))
    with page_of(browser) as (page, complaints):
        opened(page, live, complaints)
        page.get_by_role("button", name="Propose a recalibration").click()
        answer(page, "Propose")
        expect(page.locator("#proposal-title")).to_contain_text("why it is refused")
        assert "added to its end" in page.locator("#proposal-refusals").inner_text()
        before = version(live)
        page.get_by_role("button", name="Apply by force").click()
        assert "Your key's name is logged" in page.locator("#ask-text").inner_text()
        page.get_by_role("button", name="Cancel").click()
        assert version(live) == before
        page.get_by_role("button", name="Apply by force").click()
        answer(page, "Apply by force")
        expect(page.locator("#proposal-title")).to_have_text("What was applied")
        assert version(live) != before


def test_a_proposal_shows_a_line_for_each_segment(browser: Browser, tmp_path: Path):
    artifact, options = tmp_path / "by-country", {**SMALL, "report": False}
    train(make_frame(20_000), artifact, alpha=0.05, id="order", segment="country", **options)
    loud = [row | {"country": "DE"} for row in odd(200, 3)]  # an attack on one of them
    with serving(artifact) as live:
        score(live, [*moved(6000, 1, SHIFT), *loud])
        with page_of(browser, width=WIDTHS[0]) as (page, complaints):
            page.goto(live.url)
            page.get_by_role("button", name="Propose a recalibration").click()
            page.locator("#ask").get_by_role("button", name="Propose").click()
            rows = page.locator("#proposal-segment-rows tr")
            expect(rows).to_have_count(3)
            texts = dict(zip(("NL", "DE", "FR"), rows.all_inner_texts(), strict=True))
            assert all(text.startswith(name) for name, text in texts.items())
            assert "own" in texts["NL"] and "not followed" not in texts["NL"]
            assert "not followed" in texts["DE"] and "times as far from" in texts["DE"]
            facts = page.locator("#proposal-facts")
            assert "Left out\nnothing" in facts.inner_text()
            until(lambda: live.get("/v1/incidents?group=DE").json()["incidents"])
            attack = live.get("/v1/incidents?group=DE").json()["incidents"][0]["id"]
            live.post("/v1/feedback", json={"incident": attack, "label": "confirmed"})
            page.get_by_role("button", name="Propose a recalibration").click()
            page.locator("#ask").get_by_role("button", name="Propose").click()
            expect(facts).to_contain_text("records of confirmed incidents")
            assert axe_findings(page) == [] and sideways_overflow(page) <= 0
            assert complaints == []


def test_the_admin_key_is_needed_and_a_span_must_be_whole(browser: Browser, live: Live):
    score(live, moved(6000, 1, SHIFT), **bearer(SCORE))
    with page_of(browser) as (page, complaints):
        opened(page, live, complaints)
        page.get_by_label("Leave out from").fill("2026-01-01T10:00")
        page.get_by_role("button", name="Propose a recalibration").click()
        expect(page.locator("#follow-status")).to_contain_text("when it begins and when it ends")
        page.get_by_label("to", exact=True).fill("2026-01-01T11:00")
        page.get_by_role("button", name="Propose a recalibration").click()
        answer(page, "Propose", key="")
        expect(page.locator("#follow-status")).to_contain_text("must have the admin scope")
        page.get_by_role("button", name="Propose a recalibration").click()
        answer(page, "Propose")
        expect(page.locator("#proposal-text")).to_contain_text("without 1 span")


@on_each_screen
def test_it_is_legible_on_every_screen_and_in_the_dark(
    browser: Browser, live: Live, theme: str, width: int
):
    score(live, [*moved(1000, 1, 1.0), *odd(500, 1)], **bearer(SCORE))
    live.post("/v1/recalibrate", headers=bearer(ADMIN))
    with legible_on(browser, theme, width) as (page, complaints):
        opened(page, live, complaints)
        page.get_by_role("button", name="Propose a recalibration").click()
        answer(page, "Propose")
        expect(page.locator("#proposal")).to_be_visible()
