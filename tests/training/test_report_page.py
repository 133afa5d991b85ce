"""The training report in a real browser: it asks for nothing, and everybody can read it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser

from tests.browser import (
    THEMES,
    axe_findings,
    needs_chromium,
    on_each_screen,
    page_of,
    sideways_overflow,
)
from tests.conftest import ODD_NAME, call, make_frame
from vaewatch.scoring.artifact import REPORT

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def report(artifact_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With all that a report can hold."""
    folder = tmp_path_factory.mktemp("report")
    both = pl.concat([make_frame(150, seed=1), make_frame(50, seed=2).reverse()])
    both = both.with_columns(
        pl.col("amount").sort(), label=pl.Series(["ok"] * 150 + ["fraud"] * 50)
    )
    both.write_csv(folder / "labelled.csv")
    make_frame(400).write_parquet(folder / "normal.parquet")
    words = ["--labelled", folder / "labelled.csv", "--normal", folder / "normal.parquet"]
    done = call("report", artifact_path, *words, "--out", folder / "it.html", "--quiet")
    assert done.returncode == 0, done.stderr
    return folder / "it.html"


@on_each_screen
def test_it_reads_well_in_both_themes_at_every_width(
    browser: Browser, report: Path, theme: str, width: int
):
    with page_of(browser, theme=theme, width=width) as (page, complaints):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
        assert axe_findings(page) == []
        assert sideways_overflow(page) <= 0
        assert asked == [report.as_uri()] and complaints == []
        smallest = page.eval_on_selector_all(
            "svg text", "all => Math.min(...all.map(one => one.getBoundingClientRect().height))"
        )
        assert smallest >= 9, "text of a plot that is too small to read"


def test_no_text_of_a_plot_is_cut_off(browser: Browser, report: Path):
    with page_of(browser) as (page, _):
        page.goto(report.as_uri())
        cut = page.eval_on_selector_all(
            "svg text",
            """all => all.filter(one => {
                const box = one.getBoundingClientRect();
                const own = one.ownerSVGElement.getBoundingClientRect();
                return box.left < own.left - 1 || box.right > own.right + 1
                    || box.top < own.top - 1 || box.bottom > own.bottom + 1;
            }).map(one => one.textContent)""",
        )
        assert cut == []


def test_a_plot_takes_its_colours_from_the_theme(browser: Browser, report: Path):
    colours = []
    for theme in THEMES:
        with page_of(browser, theme=theme) as (page, _):
            page.goto(report.as_uri())
            colours.append(
                page.eval_on_selector("#plot-bound text", "one => getComputedStyle(one).fill")
            )
    assert len(set(colours)) == 2


def test_it_can_be_walked_by_keyboard(browser: Browser, report: Path):
    with page_of(browser) as (page, _):
        page.goto(report.as_uri())
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == "Skip to the report"
        page.keyboard.press("Enter")
        assert page.url.endswith("#main")
        names = page.locator("nav a").all_inner_texts()
        assert "The alarm budget" in names
        page.locator("nav a", has_text="The alarm budget").focus()
        page.keyboard.press("Enter")
        assert page.locator("#budget h2").evaluate("one => one.getBoundingClientRect().top") < 100


def test_a_name_that_is_markup_stays_a_name(browser: Browser, odd_artifact: Path):
    with page_of(browser) as (page, complaints):
        said: list[str] = []
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto((odd_artifact / REPORT).as_uri())
        assert page.locator("main script, main img").count() == 0
        assert page.get_by_text(ODD_NAME, exact=True).count() >= 1
        assert said == [] and complaints == []
