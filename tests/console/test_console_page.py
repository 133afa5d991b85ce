"""The console as a person meets it: a real service, a real Chromium."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import (
    axe_findings,
    needs_chromium,
    on_each_screen,
    page_of,
    sideways_overflow,
)
from tests.conftest import SMALL, make_frame
from tests.live import Live, serving
from tests.service.test_service_life import ADMIN, SCORE, version_of, write_keys
from vaewatch.training.train import train

pytestmark = needs_chromium
STRANGE = {"currency": "XXX", "amount": 1e6, "country": "ZZ"}
DROP = """text => {
  const carried = new DataTransfer();
  carried.items.add(new File([text], "dropped.csv"));
  const event = new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true});
  document.getElementById("drop").dispatchEvent(event);
}"""
TABS = 80  # presses of a key before we give up


@pytest.fixture(scope="module")
def records(mixed_frame: pl.DataFrame) -> list[dict[str, Any]]:
    return mixed_frame.drop("order").to_dicts()


@pytest.fixture(scope="module")
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path, "--console-values") as running:
        yield running


def opened(page: Page, live: Live) -> None:
    page.goto(live.url)
    expect(page.locator("#shown")).to_be_visible()


def text(page: Page, selector: str) -> str:
    return page.locator(selector).inner_text()


def quantile(bounds: list[tuple[float, float]], q: float) -> float:
    """histogram_quantile() of Prometheus over (le, cumulative count)."""
    rank, before, low = q * bounds[-1][1], 0.0, 0.0
    for le, up_to in bounds:
        if up_to >= rank:
            return low + (le - low) * (rank - before) / (up_to - before)
        before, low = up_to, le
    raise AssertionError("the last bucket holds all")


def p99_of(live: Live) -> float:
    name = "vaewatch_request_duration_seconds_bucket"
    buckets: dict[float, float] = {}
    for (found, labels), value in live.series().items():
        if found == name and dict(labels)["route"] == "/v1/score":
            le = float(dict(labels)["le"])
            buckets[le] = buckets.get(le, 0.0) + value
    return quantile(sorted(buckets.items()), 0.99)


# its states; the first test sees the service before any record


def test_an_idle_service_has_nothing_to_complain_of(browser: Browser, live: Live):
    with page_of(browser) as (page, complaints):
        opened(page, live)
        assert text(page, "h1:visible") == "No records yet"
        assert text(page, "#p99") == "–" and text(page, "#rate") == "0"
        assert page.locator("#alarms-empty").is_visible()
        page.wait_for_timeout(2500)  # two rounds of questions
        assert complaints == [] and axe_findings(page) == []


def test_the_numbers_are_those_of_the_metrics(
    browser: Browser, live: Live, records: list[dict[str, Any]]
):
    live.post("/v1/score", json={"records": records})
    attack = [{**record, **STRANGE} for record in records[:150]]
    attack[-1]["order"] = "A-150"
    live.post("/v1/score", json={"records": attack}, headers={"x-request-id": "attack-1"})
    with page_of(browser) as (page, complaints):
        opened(page, live)
        assert text(page, "h1:visible") == "More alarms than promised"
        window = live.value("vaewatch_window_records")
        alarms = round(live.value("vaewatch_alpha_ratio") * 0.05 * window)
        assert text(page, "#window-alarms") == f"{alarms}"
        assert f"{alarms} alarms in the last {window:g} records" in text(page, "#health-text")
        assert re.search(r"At most about \d+% of them false", text(page, "#health-text"))
        assert re.search(r"by chance: at most about \d+% of them", text(page, "#window-note"))
        total = live.value("vaewatch_records_total")
        assert f"{int(total):,} records since the start" in text(page, "#rate-note")
        assert float(text(page, "#p99").split()[0]) == pytest.approx(1e3 * p99_of(live), rel=1e-3)
        first = page.locator("#look-at li").first.inner_text()
        led = live.value("vaewatch_column_top_reason_total", column=first.split()[0])
        assert f"first reason of {led:g} of" in first
        rows = page.locator("#alarm-rows tr")
        assert rows.count() == 6
        assert "1,000,000, expected" in rows.first.inner_text()
        places = page.locator("#alarm-rows .place").all_inner_texts()
        assert places[0] == "id A-150, record 150 of 150 of request attack-1"
        assert places[1] == "record 149 of 150 of request attack-1"
        page.get_by_role("button", name="Show all 50 alarms").click()
        assert rows.count() == 50
        row = page.locator("#column-rows tr", has_text="amount")
        psi = live.value("vaewatch_column_drift_psi", column="amount")
        assert f"{psi:.2f}" in row.inner_text()
        live.post("/v1/score", json={"records": records})  # and they move on without a click
        expect(page.locator("#rate-note")).to_contain_text(f"{2 * len(records) + 150:,} records")
        assert complaints == []


def test_of_segments_that_the_pooled_calibration_judges_it_says_up_to(
    browser: Browser, segmented_path: Path
):
    with serving(segmented_path) as live, page_of(browser) as (page, complaints):
        live.post("/v1/score", json={"records": make_frame(900, seed=8).to_dicts()})
        opened(page, live)
        assert re.search(r"; up to [\d.]+ expected, ", text(page, "#window-note"))
        rows = page.locator("#segment-rows tr").all_inner_texts()
        own, pooled = ([row for row in rows if row.split()[0] == name][0] for name in ("NL", "FR"))
        assert "by chance" in own and "no promise" not in own
        assert re.search(r"up to [\d.]+, no promise", pooled)
        assert "much louder" in text(page, "#segments-note")
        assert axe_findings(page) == [] and complaints == []


def as_browsers_round(number: float) -> str:
    """A number with two decimals; Python's own way takes 0.125 down."""
    return str(Decimal(number).quantize(Decimal("0.01"), ROUND_HALF_UP))


def test_a_record_is_tried_by_keyboard_alone(
    browser: Browser, live: Live, records: list[dict[str, Any]]
):
    counted = live.value("vaewatch_records_total")
    with page_of(browser) as (page, complaints):
        opened(page, live)

        def tab_to(selector: str) -> None:
            for _ in range(TABS):
                if page.evaluate("s => document.activeElement.matches(s)", selector):
                    return
                page.keyboard.press("Tab")
            raise AssertionError(f"{selector} is not reached by keyboard")

        tab_to('[name="amount"]')
        page.keyboard.press("Control+A")
        page.keyboard.type("1000000")
        tab_to('[name="country"]')
        page.keyboard.press("Control+A")
        page.keyboard.type("ZZ")
        tab_to('[name="express"]')
        page.keyboard.type("t")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#verdict .word")).to_have_text("Anomaly")
        example = live.get("/v1/model").json()["example"]
        record = {**example, "amount": 1e6, "country": "ZZ", "express": True}
        body = {"records": [record]}
        assert live.value("vaewatch_records_total") == counted  # trials are not counted
        (result,) = live.post("/v1/score?explain=100", json=body).json()["results"]
        assert f"score {as_browsers_round(result['score'])} nats" in text(page, "#verdict")
        neighbour = as_browsers_round(result["parts"]["neighbour"])
        assert f"{neighbour} from the dist" in text(page, "#verdict")
        shares = page.locator(".shares li").all_inner_texts()
        assert len(shares) == len(result["reasons"])
        for shown, reason in zip(shares, result["reasons"], strict=True):
            assert reason["column"] in shown and f"{reason['contribution']:.2f} nats" in shown
        bar = page.locator(".shares .meter div")
        widths = [float(w.rstrip("%")) for w in bar.evaluate_all("a => a.map(e => e.style.width)")]
        most = result["reasons"][0]["contribution"]
        wanted = [100 * reason["contribution"] / most for reason in result["reasons"]]
        assert widths == pytest.approx(wanted, abs=0.01)
        page.get_by_role("button", name="Start again").press("Enter")
        page.get_by_role("button", name="Score").press("Enter")
        expect(page.locator("#verdict .word")).to_have_text("Normal")
        assert complaints == []


def test_a_file_dropped_comes_back_scored(
    browser: Browser, live: Live, tmp_path: Path, mixed_frame: pl.DataFrame
):
    frame = mixed_frame.head(40).with_columns(pl.Series("note", ['a "b"\nc'] * 40))
    source = tmp_path / "new orders.csv"
    frame.write_csv(source)
    with page_of(browser) as (page, complaints):
        opened(page, live)
        page.locator("#csv").set_input_files(source)
        link = page.get_by_role("link", name="Download the scored file")
        with page.expect_download() as caught:
            link.click()
        assert caught.value.suggested_filename == "new orders-scored.csv"
        back = list(csv.DictReader(io.StringIO(Path(caught.value.path()).read_text(), newline="")))
        sent = list(csv.DictReader(io.StringIO(source.read_text(), newline="")))
        body = {"records": frame.drop("order", "note").to_dicts()}
        expected = live.post("/v1/score", json=body).json()["results"]
        assert [{k: row[k] for k in sent[0]} for row in back] == sent
        assert [float(row["p_value"]) for row in back] == [r["p_value"] for r in expected]
        found = sum(r["is_anomaly"] for r in expected)
        assert f"40 rows: {found} anomal" in text(page, "#csv-status")
        page.evaluate(DROP, source.read_text())
        expect(link).to_have_attribute("download", "dropped-scored.csv")
        source.write_text("amount\n1\n")
        page.locator("#csv").set_input_files(source)
        expect(page.locator("#csv-status")).to_contain_text(
            "Not scored: the input must have every column of the schema, but lacks 'items'"
        )
        assert all("422" in complaint for complaint in complaints)  # Chromium reports refusals


@on_each_screen
def test_everyone_can_use_it(
    browser: Browser, live: Live, records: list[dict[str, Any]], theme: str, width: int
):
    """The service has alarms; axe looks at everything that there is."""
    live.post("/v1/score", json={"records": [{**record, **STRANGE} for record in records[:150]]})
    with page_of(browser, theme=theme, width=width) as (page, complaints):
        opened(page, live)
        page.get_by_role("button", name="Score", exact=True).click()
        expect(page.locator("#verdict .word")).to_be_visible()
        page.locator("#more-alarms button").click()
        assert axe_findings(page) == []
        assert sideways_overflow(page) == 0
        page.locator("#reload").click()
        assert axe_findings(page) == []
        page.locator("#ask-no").click()
        page.get_by_role("link", name="Training report").click()
        expect(page.locator("h1")).to_have_text("Training report")
        assert complaints == []


def test_a_key_is_asked_for_and_stays_in_the_tab(
    browser: Browser, artifact_path: Path, newer_path: Path, tmp_path: Path
):
    write_keys(tmp_path / "keys", score=SCORE, admin=ADMIN)
    words = ["--keys-file", str(tmp_path / "keys"), "--shadow", str(newer_path)]
    with serving(artifact_path, *words) as live, page_of(browser) as (page, _):
        page.goto(live.url)
        expect(page.locator("#locked")).to_be_visible()
        assert not page.locator("#shown").is_visible()
        assert axe_findings(page) == []
        page.get_by_label("Key", exact=True).fill("no key of this service")
        page.get_by_role("button", name="Open the console").click()
        expect(page.locator("#locked-why")).to_contain_text("must be one of this service")
        page.get_by_label("Key", exact=True).fill(SCORE)
        page.keyboard.press("Enter")
        expect(page.locator("#shown")).to_be_visible()
        page.reload()
        expect(page.locator("#shown")).to_be_visible()
        assert SCORE not in page.url

        def promote(key: str) -> None:
            page.locator("#promote").click()
            page.get_by_label("Admin key").fill(key)
            page.locator("#ask-yes").click()

        old, new = version_of(artifact_path), version_of(newer_path)
        page.locator("#promote").click()
        page.keyboard.press("Escape")
        page.locator("#reload").click()
        page.locator("#ask-no").click()
        promote(SCORE)
        expect(page.locator("#change-status")).to_contain_text("must have the admin scope")
        card = {"headers": {"x-api-key": SCORE}}
        assert live.get("/v1/model", **card).json()["version"] == old
        promote(ADMIN)
        expect(page.locator("#change-status")).to_have_text(f"Promoted: version {new} answers.")
        assert live.get("/v1/model", **card).json()["version"] == new
        expect(page.locator("#model-name")).to_contain_text(new)
        expect(page.locator("#no-shadow")).to_be_visible()
        assert page.evaluate("JSON.stringify(sessionStorage)").count(ADMIN) == 0
        page.locator("#reload").click()
        page.get_by_label("Admin key").fill(ADMIN)
        page.keyboard.press("Enter")
        expect(page.locator("#change-status")).to_have_text(f"Unchanged: version {new} answers.")
        with page.expect_download() as caught:
            page.get_by_role("link", name="Training report").click()
        report = (newer_path / "report.html").read_bytes()
        assert Path(caught.value.path()).read_bytes() == report
        page.get_by_role("button", name="Forget the key").click()
        expect(page.locator("#locked")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0


def test_a_service_that_dies_is_seen_to_be_dead(browser: Browser, artifact_path: Path):
    with serving(artifact_path) as live, page_of(browser, theme="dark") as (page, _):
        opened(page, live)
        live.stop(signal.SIGKILL)
        stale = page.get_by_role("alert").filter(has_text="No answer from the service since")
        expect(stale).to_be_visible()  # the list of incidents may say so as well
        assert page.locator("#shown").is_visible()  # what was known stays, as old
        assert page.title().startswith("No answer")
        assert axe_findings(page) == []


def test_before_the_first_answer_the_page_says_so(browser: Browser, live: Live):
    with page_of(browser, width=390) as (page, complaints):
        page.route("**/console/state", lambda route: None)  # no answer yet
        page.goto(live.url)
        expect(page.locator("h1:visible")).to_have_text("Connecting to the service")
        assert axe_findings(page) == [] and complaints == []
        page.unroute("**/console/state")
        page.route("**/console/state", lambda route: route.abort())
        page.reload()
        expect(page.locator("h1:visible")).to_have_text("No answer from the service")
        assert axe_findings(page) == []
        page.unroute("**/console/state")
        expect(page.locator("#headline")).to_be_visible()  # it has asked again by itself


NASTY = '<img src=x onerror="document.title=1">'
CATEGORY = "</option><script>alert(1)</script>"


def test_names_and_values_are_text_and_nothing_else(browser: Browser, tmp_path: Path):
    frame = make_frame(200).rename({"amount": NASTY, "country": "c'\"<b>"})
    frame = frame.with_columns(currency=pl.lit(CATEGORY))
    train(frame, tmp_path / "<i>shop", alpha=0.05, id="order", report=False, **SMALL)
    calm = frame.drop("order").to_dicts()[0]
    far, new = {**calm, NASTY: 1e6}, {**calm, "currency": f"{CATEGORY}{NASTY}"}
    with serving(tmp_path / "<i>shop", "--console-values") as live:
        live.post("/v1/score", content=json.dumps({"records": [far] * 600 + [new] * 3}))
        with page_of(browser) as (page, complaints):
            page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
            opened(page, live)
            page.get_by_label(NASTY, exact=True).fill("1e6")
            page.get_by_label("currency").fill(f"{CATEGORY}{NASTY}")
            page.get_by_role("button", name="Score", exact=True).click()
            expect(page.locator("#verdict .word")).to_have_text("Anomaly")
            for part in ("#look-at", "#alarm-rows", "#column-rows", "#fields", "#verdict"):
                assert NASTY in text(page, part), part
            assert "</option><script>" in text(page, "#alarm-rows")
            assert "<i>shop" in text(page, "#model-name")
            assert page.locator("main img, main script, main i").count() == 0
            assert complaints == [] and page.title().endswith("vaewatch")
