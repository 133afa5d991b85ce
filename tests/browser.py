"""A real Chromium for tests of pages: its complaints, and those of axe."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here; on Debian: apt-get install chromium"
)
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
THEMES = ("light", "dark")
WIDTHS = (1440, 768, 390)
# light at the greatest width is what other tests look at: here is what differs most from it
SCREENS = [
    ("dark", 390),
    *(
        pytest.param(*each, marks=pytest.mark.long)
        for each in (
            ("dark", 768),
            ("dark", 1440),
            ("light", 390),
            ("light", 768),
            ("light", 1440),
        )
    ),
]
on_each_screen = pytest.mark.parametrize(("theme", "width"), SCREENS)
HEIGHT = 900
PATIENCE = 15_000  # milliseconds, on a machine that is busy


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser until the block ends. No asyncio.run() in between: playwright has its own loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            chromium_sandbox=False,  # CI runs as root
            args=list(QUIET),
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page_of(
    browser: Browser, *, theme: str = "light", width: int = 1440
) -> Iterator[tuple[Page, list[str]]]:
    """An empty page, and the list that its complaints go to: console errors, uncaught exceptions,
    violations of the content security policy.
    """
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        service_workers="block",
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page, complaints
    finally:
        context.close()


@contextmanager
def legible_on(browser: Browser, theme: str, width: int) -> Iterator[tuple[Page, list[str]]]:
    """An empty page, and the list of its complaints. Once the caller has filled it, it must be
    legible, and have none.
    """
    with page_of(browser, theme=theme, width=width) as (page, complaints):
        yield page, complaints
        assert axe_findings(page) == []
        assert sideways_overflow(page) <= 0
        assert complaints == []


def axe_findings(page: Page) -> list[str]:
    """What axe calls serious or critical: the rule, and the element it breaks on."""
    # of what is in order axe would describe each element, which takes as long as finding the rest
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {rule['help']}: {node['html'][:160]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def sideways_overflow(page: Page) -> int:
    """Pixels that the page is wider than the window: a phone's reader would have to scroll."""
    root = "document.documentElement"
    return int(page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))
