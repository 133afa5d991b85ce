"""artifact -> report.html, with matplotlib imported only when a page is made.

Where no folder for its cache can be written, as in a container, matplotlib would say so on stderr.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vaewatch.scoring.artifact import FINDINGS, REPORT
from vaewatch.training.export.package import Package

if TYPE_CHECKING:
    from vaewatch.training.report.labelled import Labelled


def with_report(package: Package) -> Package:
    """Return the package with its report among the files."""
    return package.holding(REPORT, make_report(package))


def make_report(package: Package, labelled: Labelled | None = None) -> bytes:
    """Return the page of an artifact; one without FINDINGS has fewer sections."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with _garbage_left():
        from vaewatch.training.report.findings import Findings
        from vaewatch.training.report.page import render
        from vaewatch.training.report.series import SeriesFindings

        files = package.files
        read = (SeriesFindings if package.manifest.window else Findings).from_bytes
        found = read(files[FINDINGS]) if FINDINGS in files else None
        return render(package.manifest, package.artifact().calibration, found, labelled)


@contextmanager
def _garbage_left() -> Iterator[None]:
    """Collect no garbage for the length of a block: plots make objects by the hundred thousand,
    and to look through them again and again would take a sixth of a report's time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
