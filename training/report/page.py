"""Manifest, Calibration, Findings, Labelled -> report.html: one file that needs no other.

The page depends only on what was learned, not on the time or the artifact's name, so that the same
run gives the same bytes, and `vaewatch report` gives those that training wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vaewatch.scoring.artifact import FINDINGS
from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.manifest import Manifest
from vaewatch.training.report.blocks import Check, Section, Text
from vaewatch.training.report.checks import check_all, check_windows
from vaewatch.training.report.findings import Findings
from vaewatch.training.report.sections.budget import alphas_section, budget_section
from vaewatch.training.report.sections.card import card_section
from vaewatch.training.report.sections.data import data_section
from vaewatch.training.report.sections.fit import fit_section
from vaewatch.training.report.sections.labelled import labelled_section
from vaewatch.training.report.sections.latent import latent_section
from vaewatch.training.report.sections.odd import odd_section
from vaewatch.training.report.sections.reconstruction import reconstruction_section
from vaewatch.training.report.sections.scores import score_section
from vaewatch.training.report.sections.time import time_section
from vaewatch.training.report.sections.windows import (
    windows_budget,
    windows_fit,
    windows_in_time,
    windows_section,
)
from vaewatch.training.report.series import SeriesFindings

if TYPE_CHECKING:
    from vaewatch.training.report.labelled import Labelled

TEMPLATE = "page.html"
PART_ONE = {"data", "odd", "windows", "budget", "time", "spans", "labelled"}
PART_TWO = "For those who know variational autoencoders"
NO_FINDINGS = (
    f"This artifact holds no {FINDINGS}, which training writes beside the report: the sections "
    "on the data, the fit, the latent space and the reconstruction cannot be made again."
)
OF_THE_PARENT = (
    "This artifact was recalibrated. The data, the fit, the latent space and the reconstruction "
    "are those of version {parent}, whose weights it shares; scores and alarm budget are its own."
)


def render(
    manifest: Manifest,
    calibration: Calibration,
    found: Findings | SeriesFindings | None,
    labelled: Labelled | None = None,
) -> bytes:
    """Return the page as UTF-8; without findings or labelled records it has fewer sections."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    if manifest.window is None:
        own = found if isinstance(found, Findings) else None
        checks = check_all(manifest, calibration, own, labelled)
        sections = _sections(manifest, calibration, own, labelled)
    else:
        series = found if isinstance(found, SeriesFindings) else None
        checks = check_windows(manifest, calibration, series)
        sections = _of_windows(manifest, calibration, series)
    page = environment.get_template(TEMPLATE).render(
        manifest=manifest,
        calibration=calibration,
        checks=[check for check in checks if _for_all(check)],
        more_checks=[check for check in checks if not _for_all(check)],
        notes=list(_notes(manifest, found)),
        sections=list(sections),
    )
    return page.encode()


def _for_all(check: Check) -> bool:
    """Whether a check belongs to the first part: what is well with the network does not."""
    return not check.good or check.section in PART_ONE


def _notes(manifest: Manifest, found: Findings | SeriesFindings | None) -> Iterator[Text]:
    if found is None:
        yield Text(NO_FINDINGS, warning=True)
    if manifest.calibration_fingerprint:
        yield Text(OF_THE_PARENT.format(parent=manifest.parent))


def _sections(
    manifest: Manifest, calibration: Calibration, found: Findings | None, labelled: Labelled | None
) -> Iterator[Section]:
    if found is not None:
        yield data_section(manifest, found)
        if found.odd:
            yield odd_section(found.odd, calibration)
    yield budget_section(manifest, calibration)
    if manifest.outlook is not None:
        yield time_section(manifest.outlook)
    yield labelled_section(labelled, calibration)
    first, *others = _of_the_network(manifest, calibration, found)
    yield replace(first, opens=PART_TWO)
    yield from others


def _of_the_network(
    manifest: Manifest, calibration: Calibration, found: Findings | None
) -> Iterator[Section]:
    if found is not None:
        kl = manifest.training.model == "vae"
        yield fit_section(manifest, found, kl=kl)
        yield latent_section(found, kl=kl)
        yield reconstruction_section(found)
    yield score_section(calibration)
    yield alphas_section(calibration)
    yield card_section(manifest)


def _of_windows(
    manifest: Manifest, calibration: Calibration, found: SeriesFindings | None
) -> Iterator[Section]:
    """Yield the sections of an artifact that judges records with those before them."""
    if found is not None:
        yield data_section(manifest, found)
        yield windows_section(manifest, found)
    yield windows_budget(manifest, calibration)
    if manifest.outlook is not None:
        yield time_section(manifest.outlook, windows=True)
    if found is not None:
        yield windows_in_time(found)
        kl = manifest.training.model == "vae"
        yield replace(windows_fit(manifest, found, kl=kl), opens=PART_TWO)
    scores = score_section(calibration)
    yield scores if found is not None else replace(scores, opens=PART_TWO)
    yield card_section(manifest)
