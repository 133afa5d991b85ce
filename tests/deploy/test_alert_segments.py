"""One loud segment that the sum over all segments hides, by the service's own counters."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.conftest import make_frame
from tests.deploy.prometheus import needs_prometheus
from tests.deploy.simulated import Scrapes, is_on
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.table import Table

INTERVAL, STEPS = 15, 40  # seconds between two scrapes; ten minutes
FAST = "VaewatchSegmentTooManyAlarmsFast"
SLOW = "VaewatchSegmentTooManyAlarmsSlow"


def minute(service: Scrapes, seed: int, odd: bool) -> Table:
    """600 orders, of which 60 from DE; half of these are absurd in an attack."""
    frame = make_frame(600, seed)
    place = pl.int_range(pl.len())
    frame = frame.with_columns(
        country=pl.when(place < 60).then(pl.lit("DE")).otherwise(pl.lit("NL")),
        amount=pl.when((place < 30) & odd).then(1e6).otherwise("amount"),
    )
    return checked_table(service.scorer.artifact.schema, frame)


@needs_prometheus
def test_an_attack_on_one_segment_pages_though_the_sum_keeps_the_budget(
    segmented_path: Path, tmp_path: Path
):
    service = Scrapes(segmented_path)
    service.take(minute(service, seed, odd=seed >= STEPS // 2) for seed in range(STEPS))
    before, after = STEPS // 2 * INTERVAL, STEPS * INTERVAL
    firing = f'ALERTS{{alertname="{FAST}",alertstate="firing"}}'
    loud = {"expr": f"group by (segment) ({firing})", "eval_time": f"{after}s"}
    checks = [
        is_on(before, FAST, on=False),
        is_on(after, FAST),
        is_on(after, "VaewatchTooManyAlarmsFast", on=False),
        {**loud, "exp_samples": [{"labels": '{segment="DE"}', "value": 1}]},
    ]
    service.promtool(tmp_path, INTERVAL, checks)


@needs_prometheus
def test_a_loud_segment_that_the_pooled_calibration_judges_is_a_ticket_and_no_page(
    segmented_path: Path, tmp_path: Path
):
    """A fifth of the orders from FR are absurd, all the time; they are one order in 20."""
    service, minutes = Scrapes(segmented_path), 370
    schema, place = service.scorer.artifact.schema, pl.int_range(pl.len())

    def orders(seed: int) -> Table:
        frame = make_frame(100, seed).with_columns(
            country=pl.when(place < 5).then(pl.lit("FR")).otherwise(pl.lit("NL")),
            amount=pl.when(place < 1).then(1e6).otherwise("amount"),
        )
        return checked_table(schema, frame)

    service.take(orders(seed) for seed in range(minutes))
    end = 60 * minutes
    firing = f'ALERTS{{alertname="{SLOW}",alertstate="firing"}}'
    loud = {"expr": f"group by (segment) ({firing})", "eval_time": f"{end}s"}
    alarms, explained = (
        f'vaewatch:segment_{name}:increase6h{{segment="FR"}}'
        for name in ("alarms", "alarms_explained")
    )
    checks = [
        is_on(end, SLOW),
        is_on(end, FAST, on=False),
        {**loud, "exp_samples": [{"labels": '{segment="FR"}', "value": 1}]},
        {
            "expr": f"group by (segment) ({explained} > 0 and {alarms} > 0)",
            "eval_time": f"{end}s",
            "exp_samples": [{"labels": '{segment="FR"}', "value": 1}],
        },
    ]
    service.promtool(tmp_path, 60, checks)


@needs_prometheus
def test_a_change_of_the_mix_alone_raises_nothing(segmented_path: Path, tmp_path: Path):
    service = Scrapes(segmented_path)
    frames = (
        make_frame(900, seed).filter(pl.col("country") == ("NL" if seed < 20 else "DE"))[:200]
        for seed in range(STEPS)
    )
    schema = service.scorer.artifact.schema
    service.take(checked_table(schema, frame) for frame in frames)
    names = (FAST, "VaewatchTooManyAlarmsFast", "VaewatchTrafficChanged")
    checks = [is_on(STEPS * INTERVAL, name, on=False) for name in names]
    service.promtool(tmp_path, INTERVAL, checks)
