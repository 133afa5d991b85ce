"""the way to the page: matplotlib is imported when one is made, and keeps its notes to itself.

Where no folder for its cache can be written, as in a container, it would tell so on stderr.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vaewatch.scoring.artifact import FINDINGS, REPORT, unpack_artifact

if TYPE_CHECKING:
    from vaewatch.training.report.labelled import Labelled


def with_report(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of an artifact with its report among them."""
    return {**files, REPORT: make_report(manifest, files)}


def make_report(
    manifest: Mapping[str, Any], files: Mapping[str, bytes], labelled: Labelled | None = None
) -> bytes:
    """The page of an artifact; without FINDINGS among its files, with fewer sections."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from vaewatch.training.report.findings import Findings
    from vaewatch.training.report.page import render

    found = Findings.from_bytes(files[FINDINGS]) if FINDINGS in files else None
    return render(manifest, unpack_artifact(manifest, files).calibration, found, labelled)
