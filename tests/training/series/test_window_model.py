"""The exported graph against the model in torch, on usual windows and far out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.series.history import Run
from vaewatch.scoring.series.network import WindowNetwork
from vaewatch.scoring.series.reasons import LIMIT
from vaewatch.training.config import TrainConfig
from vaewatch.training.series.export.convolutions import LANES, Lanes
from vaewatch.training.series.export.windows import (
    TOLERANCE,
    check_windows_against_torch,
    export_windows,
)
from vaewatch.training.series.fit import WindowFit, _together, fit_windows
from vaewatch.training.series.kernels import Kernels
from vaewatch.training.series.model import Scale, Scales
from vaewatch.training.series.windows import Windows

SETTINGS = TrainConfig(steps=30, width=16, members=4, served=2)


def series(n: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.sin(np.arange(n)[:, None] / 7 + np.arange(width)) + 0.1 * rng.normal(size=(n, width))
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def run_of(values: np.ndarray, size: int) -> Run:
    n = len(values) - size + 1
    return Run(np.arange(size - 1, len(values)), values, np.zeros((n + size - 1, 1), bool))


def windows_of(values: np.ndarray, size: int, paced: bool = False) -> Windows:
    return Windows(
        size, [run_of(values, size)], np.arange(len(values)), np.zeros(1, np.int64), paced
    )


def fitted(size: int, width: int, paced: bool = False) -> tuple[WindowFit, np.ndarray]:
    values = series(500, width)
    return fit_windows(windows_of(values, size, paced), SETTINGS), values


SHAPES = [(2, 1), (2, 4), (3, 2), (8, 1), (17, 3), (64, 2), (8, 300)]


@pytest.mark.parametrize(
    ("size", "width", "paced"), [*((*s, False) for s in SHAPES), (2, 2, True), (9, 3, True)]
)
def test_graph_and_torch_agree_on_usual_windows_and_far_out(size: int, width: int, paced: bool):
    fit, values = fitted(size, width, paced)
    network = WindowNetwork(export_windows(fit.model, kl=True), size)
    assert (network.sizes.width, network.sizes.directions) == (width, fit.model.vae.features)
    for probe in (
        values[:100],
        10 * values[:100],
        series(100, width, seed=1)[::-1].copy(),
        np.full((70, width), 1e6, np.float32),
        np.full((70, width), -LIMIT, np.float32),
        np.zeros((70, width), np.float32),
    ):
        assert check_windows_against_torch(fit.model, network, run_of(probe, size)) <= TOLERANCE
    _, far = network.forward([run_of(10 * values[:100], size)])
    assert far.reconstruction.max() > 0 and far.neighbour.max() > 0


@pytest.mark.parametrize("count", [1, 15, 16, 17, 256])
def test_kernels_fill_whole_lanes_with_others_that_give_0(
    count: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vaewatch.training.series.kernels.KERNELS", count)
    kernels = Kernels.draw(64, 3, 0)
    lanes = Lanes(kernels)
    groups = lanes.groups()
    assert [dilation for dilation, _ in groups] == np.unique(kernels.dilations).tolist()
    starts, ends = zip(*((own.start, own.stop) for _, own in groups), strict=True)
    assert starts == (0, *ends[:-1])
    assert all(end % LANES == 0 for end in ends) and ends[-1] < count + len(groups) * LANES
    filled = lanes.fill(kernels.taps)
    assert (filled.any(1).sum(), len(filled)) == (count, ends[-1])
    for own, (_, channels) in zip(kernels.groups(), groups, strict=True):
        assert np.array_equal(filled[channels][: own.stop - own.start], kernels.taps[own])


PARTS = ["shapes", "courses", "means", "vae", "directions", "record", "columns"]


@pytest.mark.parametrize("part", PARTS)
def test_a_graph_of_another_model_is_refused_even_where_its_parts_are_0(part: str):
    """Each view is compared as it is measured, before what is usual becomes 0."""
    fit, values = fitted(8, 2)
    usual = Scale(1e9, 1.0)  # of which no window shows more
    scales = Scales(usual, (usual,) * len(fit.model.shapes), usual)
    given = fit.model
    if part in ("record", "columns"):  # with nothing that holds them below the others
        given = replace(given, scales=replace(given.scales, most=math.inf))
    else:  # before which they would stand, so far out are these windows
        given = replace(given, record=None, scales=replace(given.scales, record=()))
    model = replace(given, scales=scales)
    network = WindowNetwork(export_windows(model, kl=True), 8)
    _, got = network.forward([run_of(values[:60], 8)])
    assert not got.reconstruction.any() and not got.neighbour.any()
    check_windows_against_torch(model, network, run_of(values[:60], 8))
    (*others, last), bank = model.shapes, model.courses
    if part == "courses":
        model = replace(model, courses=replace(bank, places=bank.places + 1))
    if part == "shapes":
        bank = replace(last.bank, places=last.bank.places + 1)
        model = replace(model, shapes=(*others, replace(last, bank=bank)))
    if part == "means":
        model = replace(model, shapes=(*others, replace(last, means=last.means + 1)))
    if part == "vae":
        model = replace(model, vae=fit.fitted.vae.only([0]))
    if part == "directions":
        model = replace(model, unit=2 * model.unit)
    if part == "record":
        assert model.record is not None
        bank = replace(model.record.bank, places=model.record.bank.places + 1)
        model = replace(model, record=replace(model.record, bank=bank))
    if part == "columns":
        assert model.record is not None and model.record.columns is not None
        columns = replace(model.record.columns, weights=9 * model.record.columns.weights)
        model = replace(model, record=replace(model.record, columns=columns))
    other = WindowNetwork(export_windows(replace(model, scales=given.scales), kl=True), 8)
    with pytest.raises(RuntimeError, match="the exported graph must agree with torch within"):
        check_windows_against_torch(given, other, run_of(3 * values[:60], 8))


@pytest.mark.parametrize(("size", "width"), [(2, 1), (8, 2), (64, 3)])
def test_a_window_scores_the_same_alone_in_a_run_and_among_others(size: int, width: int):
    fit, values = fitted(size, width)
    network = WindowNetwork(export_windows(fit.model, kl=True), size)
    values = np.concatenate([values[:200], 4 * values[200:400]])
    whole = run_of(values, size)

    def scores(runs: list[Run]) -> np.ndarray:
        rows, forward = network.forward(runs)
        out = np.empty((len(rows), 2))
        out[rows - (size - 1)] = np.stack([forward.reconstruction, forward.neighbour], 1)
        return out

    together = scores([whole])

    def pieces(length: int) -> list[Run]:
        return [
            Run(rows, values[a : a + len(rows) + size - 1], whole.unseen)
            for a in range(0, len(whole.rows), length)
            if len(rows := whole.rows[a : a + length])
        ]

    single = np.concatenate(
        [
            np.stack([f.reconstruction, f.neighbour], 1)
            for _, f in (network.forward([piece]) for piece in pieces(1))
        ]
    )
    for other in (single, scores(pieces(1)), scores(pieces(3)), scores(pieces(7)[::-1])):
        np.testing.assert_allclose(other, together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [2, 3, 12])
def test_the_pace_of_the_first_record_of_a_window_counts_for_nothing(size: int):
    """It is the time since a record that is not in the window."""
    fit, values = fitted(size, 3, paced=True)
    network = WindowNetwork(export_windows(fit.model, kl=True), size)
    values = 3 * values[: size + 20]
    changed = values.copy()
    changed[0, -1] = 15.0
    (_, a), (_, b) = (network.forward([run_of(each, size)]) for each in (values, changed))
    assert a.neighbour[0] == b.neighbour[0] and a.reconstruction[0] == b.reconstruction[0]
    changed[1, -1] = 15.0
    _, b = network.forward([run_of(changed, size)])
    assert b.neighbour[0] > a.neighbour[0] and np.array_equal(a.neighbour[2:], b.neighbour[2:])


def test_normal_windows_that_repeat_each_other_exactly_measure_nothing():
    """Rounding would decide which is the oddest, and the graph rounds otherwise than torch."""
    values = np.tile(series(8, 2), (60, 1))
    fit = fit_windows(windows_of(values, 16), replace(SETTINGS, steps=1600))
    network = WindowNetwork(export_windows(fit.model, kl=True), 16)
    _, usual = network.forward([run_of(values, 16)])
    assert not usual.neighbour.any() and usual.reconstruction.max() < 0.1
    values[300, 0] += 3
    _, odd = network.forward([run_of(values, 16)])
    assert odd.neighbour[300 - 15 : 301].min() > 1


@pytest.mark.parametrize(("size", "width"), [(8, 2), (2, 1)])
def test_judges_see_nothing_that_shares_a_record_with_what_they_judge(size: int, width: int):
    fit, values = fitted(size, width)
    windows = windows_of(values, size)
    folds = fit.fitted.folds
    own = fit.judged.windows
    assert (np.diff(own) > 0).all() and len(own) == len(windows)
    for fold in range(len(folds.judges)):
        judged = own[fit.judged.folds == fold]
        reach = {k for j in judged for k in range(j - size + 1, j + size)}
        beside = {int(k) for k in np.flatnonzero(folds.beside[:, fold])}
        assert beside == {k for k in reach if 0 <= k < len(windows)} - set(judged.tolist())


def test_windows_that_are_measured_together_are_those_that_were_chosen(
    monkeypatch: pytest.MonkeyPatch,
):
    """Stretches of any length, of entities with any number of records."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 12, 60).tolist()
    values = series(sum(lengths), 2)
    runs, start = [], 0
    for length in lengths:
        own = values[start : start + length]
        rows = np.arange(start + 3, start + length)
        runs.append(Run(rows, own, np.zeros((length, 1), bool)))
        start += length
    windows = Windows(4, runs, np.arange(len(values)), np.zeros(len(runs), np.int64))
    chosen = np.flatnonzero(rng.random(len(windows)) < 0.7)
    for most in (1, 3, 2048):
        monkeypatch.setattr("vaewatch.training.series.fit.LEAST_CHUNK", 1)
        monkeypatch.setattr("vaewatch.training.series.fit.CHUNK", most)
        places = []
        for rows, records in _together(windows, chosen):
            n = records.shape[1] - 3
            assert len(rows) == len(records) * n <= max(most, n)
            got = np.stack([own[k : k + 4] for own in records for k in range(n)])
            assert np.array_equal(got, windows.take(chosen[rows]))
            places += rows.tolist()
        assert sorted(places) == list(range(len(chosen)))


def test_too_few_windows_are_refused_in_words():
    with pytest.raises(CalibrationError, match="there must be more than 3 windows of 40 records"):
        fit_windows(windows_of(series(90, 1), 40), SETTINGS)
