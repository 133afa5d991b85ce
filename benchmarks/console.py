"""a service that was attacked -> the README's picture: the console, as Chromium shows it.

    python -m benchmarks.console

Trains on the orders of deploy/traffic.py with a segment, sends normal ones, then an attack, and
takes the page while it lasts. The page shows ten minutes, of which the default fills eight.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.browser import chromium, page_of
from tests.live import serving
from vaewatch.training.train import train

PICTURE = Path("docs/console.png")
TRAFFIC = (sys.executable, "deploy/traffic.py")
WIDTH, HEIGHT = 1200, 1560
RATE = 60  # records a second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURE)
    parser.add_argument("--seconds", type=float, default=480.0, help="of traffic")
    parser.add_argument("--attack", type=float, default=70.0, help="seconds of it, at its end")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([*TRAFFIC, "records", folder], check=True)
        train(
            folder / "normal.csv", folder / "orders", id="order", segment="country", report=False
        )
        with serving(folder / "orders", "--console-values") as live:
            send(live.url, folder, words.seconds, words.attack)
            take(live.url, words.out)


def send(url: str, folder: Path, seconds: float, attack: float) -> None:
    """Send orders, the last of them half from an attack."""
    times = ("--every", f"{seconds}", "--lasting", f"{attack}", "--seconds", f"{seconds}")
    files = (folder / "new.csv", "--attack", folder / "attack.csv")
    subprocess.run([*TRAFFIC, "send", url, *files, *times, "--rate", f"{RATE}"], check=True)


def take(url: str, out: Path) -> None:
    """Write a picture of the top of the page."""
    with chromium() as browser, page_of(browser, width=WIDTH) as (page, _):
        page.goto(url)
        page.locator("#shown").wait_for()
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        page.wait_for_timeout(2000)  # milliseconds: two answers to the page
        out.parent.mkdir(exist_ok=True)
        page.screenshot(path=out)


if __name__ == "__main__":
    main()
