"""Manifest -> the model card: what it is for, what it is not for, and how to reproduce it."""

from __future__ import annotations

import msgspec

from vaewatch.scoring.incidents.feedback import FeedbackSummary
from vaewatch.scoring.manifest import Manifest
from vaewatch.training.report.blocks import Facts, Section, Text, number

INTENDED = (
    "Intended use: to point out records that are unlike the normal records it was fitted to, at a "
    "rate of false alarms that was chosen beforehand, for a person or a program to look into."
)
LIMITS = (
    "Limits: an alarm says unusual, not harmful, and an anomaly that looks like a normal record "
    "is not found. Records are judged one at a time: an order, a rate or a repetition goes "
    "unnoticed unless a column holds it. After a change in the source the alarm budget no longer "
    "holds; vaewatch evaluate and the service's metrics show that. Then train again, or at least "
    "recalibrate, on recent records. Groups that are rare in the fit records alarm more often "
    "than others: check that before people are affected by it."
)
LIMITS_OF_WINDOWS = (
    "Limits: an alarm says unusual, not harmful, and a course that looks like a normal one is not "
    "found. A record is judged with those of its entity before it, and with none after it; one "
    "without a full window is not judged. Neighbouring records alarm together. Normal times must "
    "be like those of the fit: after a change in the source the alarm budget no longer holds. "
    "Then train again, or at least recalibrate, on recent records."
)
REASONS_OF_WINDOWS = (
    "Reasons name the columns whose course in the window departs most from what was expected, and "
    "how many records ago. They say where it departs, not what caused it."
)
REASONS = (
    "Reasons name the columns whose expected value, given the rest of the record, would lower the "
    "score most. They say where a record departs from what was expected, not what caused it."
)


def card_section(manifest: Manifest) -> Section:
    chosen = msgspec.to_builtins(manifest.training)
    chosen = {name: value for name, value in chosen.items() if value not in (None, (), {})}
    facts = [
        ("version", manifest.version),
        ("seed", str(manifest.training.seed)),
        ("fingerprint of the fit data", manifest.data_fingerprint),
        ("format version", str(manifest.format_version)),
        ("libraries", ", ".join(f"{k} {v}" for k, v in manifest.libraries.items())),
        ("settings", ", ".join(f"{k} = {v}" for k, v in chosen.items())),
    ]
    if manifest.parent:
        its = "weights these are" if manifest.calibration_fingerprint else "fit this one continues"
        facts.insert(1, (f"parent, whose {its}", manifest.parent))
    if manifest.calibration_fingerprint:
        calibrated = ("fingerprint of the calibration data", manifest.calibration_fingerprint)
        facts.insert(1, calibrated)
    if manifest.feedback is not None:
        facts.append(("feedback", _feedback(manifest.feedback)))
    words = (LIMITS, REASONS)
    if manifest.window is not None:
        words = (LIMITS_OF_WINDOWS, REASONS_OF_WINDOWS)
    return Section(
        "card",
        "Model card",
        "What it is for, what it is not for, and how to reproduce it.",
        (Text(INTENDED), *map(Text, words), Facts(facts)),
    )


def _feedback(found: FeedbackSummary) -> str:
    return (
        f"{number(found.confirmed)} confirmed, {number(found.left_out)} records of which were "
        f"left out, and {number(found.false_alarms)} false alarms; the KL weighs "
        f"{found.kl_factor:.3g} times what it does without, the neighbour part "
        f"{found.neighbour_factor:.3g} times"
    )
