"""The browser that tests use notices what is wrong with a page."""

from __future__ import annotations

from playwright.sync_api import Browser, Route

from tests.browser import axe_findings, needs_chromium, page_of, sideways_overflow

pytestmark = needs_chromium
BAD = """<!doctype html><html lang="en"><head><title>bad</title></head><body><main>
<h1 style="width: 3000px">Bad</h1><p style="color: #ccc; background: #fff">pale</p>
<input><script>nothing.there()</script></main></body></html>"""


def test_a_bad_page_is_seen_to_be_bad(browser: Browser):
    with page_of(browser, width=390) as (page, complaints):
        page.set_content(BAD)
        assert any("nothing is not defined" in text for text in complaints)
        assert {text.split(":")[0] for text in axe_findings(page)} == {"color-contrast", "label"}
        assert sideways_overflow(page) > 2000


def test_a_broken_content_security_policy_is_noticed(browser: Browser):
    def answer(route: Route) -> None:
        policy = {"content-security-policy": "default-src 'self'", "content-type": "text/html"}
        route.fulfill(body=BAD, headers=policy)

    with page_of(browser) as (page, complaints):
        page.route("http://page.test/", answer)
        page.goto("http://page.test/")
        assert any("Content Security Policy" in text for text in complaints)
        assert axe_findings(page)


def test_the_theme_is_the_one_asked_for(browser: Browser):
    for theme in ("light", "dark"):
        with page_of(browser, theme=theme) as (page, _):
            assert page.evaluate(f"matchMedia('(prefers-color-scheme: {theme})').matches")
