"""The console as a place of work: incidents are found, opened, marked and sent to others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import (
    axe_findings,
    legible_on,
    needs_chromium,
    on_each_screen,
    page_of,
    sideways_overflow,
)
from tests.console.filled import fill
from tests.live import Live, serving
from tests.service.incidents.conftest import odd_records, post, wait_for_alarms
from tests.service.test_service_life import ADMIN, SCORE, bearer, write_keys

pytestmark = needs_chromium
N = 10_000
MARKER = "a key for marks of some length"
ANSWER = 64 << 10  # bytes
LISTED = 6000  # milliseconds, in which the page asks for its lists again


@pytest.fixture(scope="module")
def full(artifact_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service with ten thousand incidents, and without keys."""
    url = fill(tmp_path_factory.mktemp("full") / "it.sqlite", N, still=25)
    with serving(artifact_path, "--store", url) as running:
        yield running


@pytest.fixture
def few(artifact_path: Path, tmp_path: Path) -> Iterator[Live]:
    """A service with keys, and six incidents, three of which are open."""
    url, keys = fill(tmp_path / "it.sqlite", 6), tmp_path / "keys"
    write_keys(keys, score=SCORE, admin=ADMIN)
    line = f"feedback {hashlib.sha256(MARKER.encode()).hexdigest()} ann\n"
    keys.write_text(keys.read_text() + line)
    with serving(artifact_path, "--store", url, "--keys-file", str(keys)) as running:
        yield running


def enter(page: Page, live: Live, key: str = SCORE, at: str = "") -> None:
    page.goto(f"{live.url}/{at}")
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Open the console").click()
    expect(page.locator("#shown")).to_be_visible()


def label(live: Live, id: str) -> str | None:
    found: str | None = live.get(f"/v1/incidents/{id}", headers=bearer(SCORE)).json()["label"]
    return found


def test_ten_thousand_incidents_are_paged_and_filtered(browser: Browser, full: Live):
    with page_of(browser) as (page, complaints):
        sizes = list[int]()
        page.on("response", lambda r: sizes.append(len(r.body())) if "/v1/inc" in r.url else None)
        page.goto(full.url)
        expect(page.locator("#open-rows tr")).to_have_count(20)
        expect(page.locator("#ended-rows tr")).to_have_count(10)
        expect(page.locator("#open-title")).to_have_text("Open (1 to 20)")
        page.locator("#open-older").press("Enter")
        expect(page.locator("#open-rows tr")).to_have_count(5)
        expect(page.locator("#open-rows a").first).to_be_focused()
        expect(page.locator("#open-older")).to_be_hidden()
        page.locator("#open-newer").click()
        expect(page.locator("#open-rows tr")).to_have_count(20)
        page.get_by_label("State").select_option("ended")
        page.get_by_label("Entity or segment").fill("DE")
        page.get_by_label("Entity or segment").press("Enter")
        expect(page.locator("#open-part")).to_be_hidden()
        expect(page.locator("#ended-rows tr")).to_have_count(10)
        expect(page.locator("#ended-rows tr").filter(has_text="segment DE")).to_have_count(10)
        page.locator("#find-label").select_option("confirmed")
        expect(page.locator("#ended-empty")).to_have_text("None is like that.")
        assert max(sizes) < ANSWER and complaints == []


def test_those_that_are_rare_are_shown_alone(browser: Browser, few: Live):
    with page_of(browser) as (page, _):
        enter(page, few)
        rows = page.locator("#work tbody tr")
        expect(rows).to_have_count(6)
        page.get_by_label("How rare").select_option("rarer than 1 in 100")
        expect(rows).to_have_count(4)
        expect(rows.filter(has_text="1 in 10 by chance")).to_have_count(0)
        page.get_by_label("How rare").select_option("any")
        expect(rows).to_have_count(6)
        expect(rows.filter(has_text="1 in 10 by chance")).to_have_count(2)


def test_one_is_opened_by_keyboard_and_focus_returns(browser: Browser, full: Live):
    with page_of(browser) as (page, complaints):
        page.goto(full.url)
        links = page.locator("#work a[data-id]")
        expect(links).to_have_count(30)
        links.first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        expect(links.nth(1)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#incident-body")).to_be_visible()
        expect(page.locator("#incident-title")).to_be_focused()
        id = f"{N - 2:012x}"
        expect(page).to_have_url(re.compile(f"#incident={id}$"))
        expect(page.locator("#example-rows")).to_contain_text(f"id o{N - 2}")
        expect(page.locator("#similar-list li")).to_have_count(5)
        assert axe_findings(page) == []
        page.keyboard.press("Escape")
        expect(page.locator("#incident")).to_be_hidden()
        expect(links.nth(1)).to_be_focused()
        expect(page).to_have_url(re.compile("^[^#]*$"))
        assert complaints == []


def test_a_link_leads_to_an_incident_also_by_an_id_that_it_had(browser: Browser, full: Live):
    with page_of(browser) as (page, _):
        page.goto(f"{full.url}/#incident={'f' * 12}")
        expect(page.locator("#incident-note")).to_contain_text("has become a part of this one")
        link = page.locator("#incident-link")
        assert str(link.get_attribute("href")).endswith(f"#incident={N - 1:012x}")
        page.goto(f"{full.url}/#incident={'e' * 12}")
        expect(page.locator("#incident-title")).to_have_text("No such incident")
        expect(page.locator("#incident-note")).to_contain_text("are forgotten")
        assert page.locator("#incident-body").is_hidden()


def test_a_newcomer_marks_three_incidents_with_six_clicks(browser: Browser, few: Live):
    with page_of(browser) as (page, complaints):
        enter(page, few, MARKER)
        complaints.clear()
        page.locator("#open-rows a").first.click()
        for k in range(3):
            page.get_by_role("button", name="False alarm").click()
            expect(page.locator("#mark-status")).to_have_text("Marked: false alarm.")
            if k < 2:
                page.get_by_role("button", name="Next that is not marked").click()
                expect(page.locator("#mark-status")).to_have_text("")
                expect(page.locator("#incident-body")).to_be_visible()
        assert [label(few, f"{k:012x}") for k in (3, 4, 5)] == ["false_alarm"] * 3
        assert "by ann" in page.locator("#said-list").inner_text()
        page.get_by_role("button", name="Close").click()
        expect(page.locator("#open-rows .said-false_alarm")).to_have_count(3)
        assert complaints == []


def test_what_is_expected_has_an_end_and_can_be_undone(browser: Browser, few: Live):
    with page_of(browser) as (page, complaints):
        enter(page, few, MARKER, f"#incident={5:012x}")
        complaints.clear()
        page.get_by_label("Reason, if you like").fill("stock-taking")
        page.locator("#mark-until").select_option("")
        page.get_by_role("button", name="Expected").click()
        expect(page.locator("#mark-status")).to_have_text("Choose when it ends.")
        page.locator("#mark-until").select_option("8")
        page.get_by_role("button", name="Expected").click()
        expect(page.locator("#mark-status")).to_have_text("Marked: expected.")
        expect(page.locator("#silencer-text")).to_contain_text("by ann")
        [pattern] = few.get("/v1/patterns", headers=bearer(SCORE)).json()["patterns"]
        assert (pattern["columns"], pattern["reason"]) == (["age"], "stock-taking")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="End: age").press("Enter")
        page.locator("#ask-no").click()
        assert len(few.get("/v1/patterns", headers=bearer(SCORE)).json()["patterns"]) == 1
        page.locator(f"a[data-id='{5:012x}']").click()
        page.get_by_role("button", name="Undo the mark").click()
        expect(page.locator("#mark-status")).to_contain_text("Undone")
        assert label(few, f"{5:012x}") is None
        assert few.get("/v1/patterns", headers=bearer(SCORE)).json()["patterns"] == []
        expect(page.locator("#said-list li")).to_have_count(2)
        page.keyboard.press("Escape")
        page.locator("#changes-title").click()
        changes = page.locator("#changes-list").inner_text()
        assert "The service began" in changes and "No longer expected: age" in changes
        assert complaints == []


def test_a_key_that_may_only_look_says_so_and_another_one_marks(browser: Browser, few: Live):
    with page_of(browser) as (page, _):
        enter(page, few, SCORE, f"#incident={5:012x}")
        expect(page.locator("#mark-key-note")).to_contain_text("may look, but not mark")
        page.get_by_role("button", name="Confirmed").click()
        expect(page.locator("#mark-status")).to_contain_text("Give one with the feedback scope")
        field = page.get_by_label("Key with the feedback scope")
        expect(field).to_be_focused()
        field.fill(SCORE)
        page.get_by_role("button", name="Confirmed").click()
        expect(page.locator("#mark-status")).to_contain_text("must have the feedback scope")
        assert label(few, f"{5:012x}") is None
        field.fill(MARKER)
        page.get_by_role("button", name="Confirmed").click()
        expect(page.locator("#mark-status")).to_have_text("Marked: confirmed.")
        assert label(few, f"{5:012x}") == "confirmed"


def test_the_lists_say_when_there_is_nothing_or_the_store_is_away(
    browser: Browser, artifact_path: Path, tmp_path: Path
):
    store = f"sqlite:///{tmp_path}/it.sqlite"
    with serving(artifact_path, "--store", store) as live, page_of(browser) as (page, _):
        page.clock.install()  # so that its lists, asked for every few seconds, need no waiting
        page.goto(live.url)
        expect(page.locator("#open-empty")).to_have_text("No incident is open.")
        expect(page.locator("#ended-empty")).to_have_text("No incident has ended yet.")
        post(live, odd_records(4))
        wait_for_alarms(live, 4)
        page.clock.fast_forward(LISTED)
        expect(page.locator("#open-rows tr")).to_have_count(1)
        page.route("**/v1/incidents*", lambda route: route.fulfill(status=503, json={}))
        page.clock.fast_forward(LISTED)
        expect(page.locator("#work-fault")).to_contain_text("The service goes on scoring")
        expect(page.locator("#open-rows tr")).to_have_count(1)  # what was known stays
        assert axe_findings(page) == []
        page.unroute("**/v1/incidents*")
        page.clock.fast_forward(LISTED)
        expect(page.locator("#work-fault")).to_be_hidden()


def test_values_are_shown_where_they_may_be(browser: Browser, artifact_path: Path):
    with serving(artifact_path, "--console-values") as live, page_of(browser) as (page, _):
        post(live, odd_records(8))
        wait_for_alarms(live, 8)  # or the page would find none, and look again in some seconds
        page.goto(live.url)
        page.locator("#open-rows a").first.click()
        expect(page.locator("#example-rows")).to_contain_text("1,000,000, expected")
        expect(page.locator("#like-list li")).to_have_count(3)


@on_each_screen
def test_it_is_legible_on_every_screen_and_in_the_dark(
    browser: Browser, full: Live, theme: str, width: int
):
    with legible_on(browser, theme, width) as (page, _):
        page.goto(full.url)
        expect(page.locator("#open-rows tr")).to_have_count(20)
        assert axe_findings(page) == [] and sideways_overflow(page) <= 0
        page.locator("#open-rows a").first.click()
        expect(page.locator("#incident-body")).to_be_visible()
        wide = "d => d.scrollWidth - d.clientWidth"
        assert page.locator("#incident").evaluate(wide) <= 0
