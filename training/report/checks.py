"""Findings, Calibration, Labelled -> Checks: what a careful reader would look at first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.expected import State
from vaewatch.scoring.budget.in_words import words as words_of
from vaewatch.scoring.manifest import Manifest
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.training.report.blocks import Check, share
from vaewatch.training.report.findings import CENTRAL, Findings
from vaewatch.training.report.series import SeriesFindings

if TYPE_CHECKING:
    from vaewatch.training.report.labelled import Labelled

WIDE = 0.5  # of alpha, to either side: a budget with a wider interval is too uncertain
GAP = 0.1  # of a nat a feature, between in and out of bag
WORSE = 0.02  # of a nat a feature: the bound out of bag has fallen since its best
MANY = 0.05  # of the records: of more repeated ones, something is amiss
OFF = 0.06  # from 90%: further away, a column does not spread as a normal law


def check_all(
    manifest: Manifest, calibration: Calibration, found: Findings | None, labelled: Labelled | None
) -> list[Check]:
    """Return the checks in the order of the page's sections."""
    checks: list[Check] = []
    if found:
        kl = manifest.training.model == "vae"
        checks += [*_data(found), *_fit(found, manifest.metrics.features)]
        checks += [*(_latent(found) if kl else ()), *_spread(found)]
    checks += _budget(calibration)
    if manifest.outlook:
        checks.append(_over_time(manifest.outlook))
    if labelled:
        checks += _labelled(labelled)
    return checks


def check_windows(
    manifest: Manifest, calibration: Calibration, found: SeriesFindings | None
) -> list[Check]:
    """Return the checks of an artifact that judges records with those before them."""
    series = manifest.series
    checks = list(_data(found)) if found else []
    if series is None:
        return checks
    few = series.repeated > MANY * manifest.metrics.records
    words = f"{series.repeated:,} records have a time that their entity already had."
    checks.append(Check(not few, words, "windows"))
    low, high = manifest.calibration.rate_interval_95
    alpha = calibration.alpha
    wide = max(high / alpha - 1, 1 - low / alpha)
    words = (
        f"Asked for {alpha:g}: the records are worth {series.blocks:,} independent ones, so that "
        f"the true false-alarm rate lies between {low:.2g} and {high:.2g}."
    )
    checks.append(Check(wide <= WIDE, words, "budget"))
    if manifest.outlook:
        checks.append(_over_time(manifest.outlook, windows=True))
    return checks


def _over_time(found: Outlook, *, windows: bool = False) -> Check:
    said = words_of(found, windows=windows)[1]
    return Check(found.state is not State.ABOVE, f"Over time: {said}.", "time")


def _data(found: Findings | SeriesFindings) -> Iterator[Check]:
    warned = [column.name for column in found.columns if column.warnings]
    if warned:
        names = ", ".join(warned[:4]) + (" and others" if len(warned) > 4 else "")
        words = f"{len(warned)} of {len(found.columns)} columns deserve a look: {names}."
        yield Check(False, words, "data")
    else:
        yield Check(True, f"None of the {len(found.columns)} columns looks odd.", "data")


def _fit(found: Findings, features: int) -> Iterator[Check]:
    cost = [line.out_of_bag_nll + line.out_of_bag_kl for line in found.log]
    last = found.log[-1]
    gap = cost[-1] - last.in_bag_nll - last.in_bag_kl
    if cost[-1] - min(cost) > WORSE * features:
        best = found.log[cost.index(min(cost))].step
        words = f"Out of bag, the bound was best at step {best:,} of {last.step:,}: there are too"
        words += " few records for so many steps. More would help most; fewer --steps may help."
        yield Check(False, words, "fit")
    elif gap > GAP * features:
        words = "Records that the network has not seen fit clearly worse than those it has."
        yield Check(False, f"{words} More records would help most.", "fit")
    else:
        words = f"No sign of memorising: {gap:.2g} nats between in and out of bag."
        yield Check(True, words, "fit")


def _latent(found: Findings) -> Iterator[Check]:
    least, of = min(found.latent.active), found.latent.of
    if not least:
        words = "A member has no active latent unit: it ignores its code. Try a smaller --beta."
        yield Check(False, words, "latent")
    else:
        yield Check(True, f"At least {least} of {of} latent units are active.", "latent")


def _spread(found: Findings) -> Iterator[Check]:
    numeric = [fit for fit in found.fits if fit.central is not None]
    off = [fit.name for fit in numeric if abs((fit.central or 0.0) - CENTRAL) > OFF]
    if off:
        names = ", ".join(off[:3]) + (" and others" if len(off) > 3 else "")
        words = f"Residuals of {len(off)} of {len(numeric)} numeric columns are far from normal"
        tail = "far values weigh heavily there. The alarm budget does not depend on it."
        yield Check(True, f"{words} ({names}): {tail}", "reconstruction")
    elif numeric:
        words = "Residuals of the numeric columns are spread as the score assumes."
        yield Check(True, words, "reconstruction")


def _budget(calibration: Calibration) -> Iterator[Check]:
    alpha = calibration.alpha
    low, high = calibration.rate_law().interval()
    words = f"Asked for {alpha:g}: the true rate lies between {low:.2g} and {high:.2g}."
    wide = max(high / alpha - 1, 1 - low / alpha)
    if wide > WIDE:
        words += f" That is up to {share(wide)} off: more calibration records make it narrower."
    yield Check(wide <= WIDE, words, "budget")


def _labelled(labelled: Labelled) -> Iterator[Check]:
    found = labelled.evaluation
    if found.auroc is not None and found.recall is not None:
        words = f"AUROC {found.auroc:.4f}; {share(found.recall)} of the anomalies alarm."
        yield Check(True, words, "labelled")
    if found.budget_holds is not None:
        holds = "holds" if found.budget_holds else "is BROKEN"
        words = f"The alarm budget {holds} on the labelled normals."
        yield Check(found.budget_holds, words, "labelled")
    broken = [at.alpha for at in labelled.at if at.budget_holds is False]
    broken = [alpha for alpha in broken if alpha != found.alpha]
    if broken:
        words = f"At alpha {', '.join(f'{alpha:g}' for alpha in broken)} it would not hold there."
        yield Check(False, words, "labelled")
