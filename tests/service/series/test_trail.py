"""The sample of a model with a window: whole sections of an entity, and each record once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from tests.pumps import W, pumps
from vaewatch.scoring.table import Table, table_of
from vaewatch.service.model.model import Model, load_model
from vaewatch.service.recalibrate.neighbours import Neighbours
from vaewatch.service.recalibrate.sample import Period, TimeSpan, draw
from vaewatch.service.settings import Settings
from vaewatch.service.watch.scores import Scores
from vaewatch.service.watch.trail import SECTION, Trail

ALWAYS = Period(TimeSpan(0, 1e12))


def table_and_trail(model: Model, frame: pl.DataFrame) -> tuple[Table, Trail]:
    table = table_of(model.scorer.artifact.schema, frame.to_dicts())
    trail = Trail.of(model, table)
    assert trail is not None
    return table, trail


def test_a_section_of_an_entity_has_one_ticket(series_path: Path):
    model = load_model(series_path, Settings(series_path))
    table, trail = table_and_trail(model, pumps(SECTION * W * 5, machines=4))
    sections = trail.moments // (SECTION * W * 10 * 10**6)
    groups: dict[tuple[int, int], set[int]] = {}
    places = zip(trail.entities.tolist(), sections.tolist(), trail.tickets.tolist(), strict=True)
    for entity, section, ticket in places:
        groups.setdefault((entity, section), set()).add(ticket)
    assert all(len(tickets) == 1 for tickets in groups.values())
    tickets = [tickets.pop() for tickets in groups.values()]
    assert len(set(tickets)) == len(tickets) and 0.2 < np.mean(tickets) / 2**32 < 0.8
    assert len(np.unique(trail.entities)) == 4
    spaced = np.flatnonzero(trail.spaced & (trail.entities == trail.entities[0]))
    assert (np.diff(trail.moments[spaced]) >= model.spacing * 10 * 10**6).all()


def test_a_bounded_sample_keeps_stretches_whole(series_path: Path):
    model = load_model(series_path, Settings(series_path))
    table, trail = table_and_trail(model, pumps(SECTION * W * 20, machines=4))
    kept = Scores(most=len(table) // 3)
    kept.add("a", np.arange(float(len(table))), trail=trail)
    drawn = draw(kept.mine("a"), ALWAYS, len(table))
    assert drawn.records == len(table) and 0 < len(drawn.scores) <= len(table) // 3
    assert model.window is not None
    stretches = Neighbours.of(drawn, model.window).stretches
    whole = np.bincount(stretches)
    assert (whole[1:-1] >= SECTION * W).mean() > 0.8 and whole.sum() == len(drawn.scores)


def test_a_record_that_came_twice_is_drawn_once(series_path: Path):
    model = load_model(series_path, Settings(series_path))
    table, trail = table_and_trail(model, pumps(50))
    kept = Scores()
    for _ in range(2):
        kept.add("a", np.arange(float(len(table))), trail=trail)
    drawn = draw(kept.mine("a"), ALWAYS, 1000)
    assert drawn.records == 2 * len(table)
    assert drawn.scores.tolist() == list(range(len(table)))


def test_records_are_as_alike_as_the_calibration_s_blocks_say(series_path: Path):
    model = load_model(series_path, Settings(series_path))
    series = model.scorer.artifact.manifest.series
    assert series is not None
    assert model.alike == model.scorer.artifact.calibration.n / series.blocks >= W
