"""Covariance, out-of-bag scores, neighbours, and the graph that holds them all."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from vaewatch.scoring.features.feature import Feature
from vaewatch.scoring.features.vectorizer import unseen_nats
from vaewatch.scoring.network import Network
from vaewatch.scoring.precision import Precision
from vaewatch.training.calibration.covariance import (
    FULL_FEATURES,
    RANK,
    RIDGE,
    fit_precision,
)
from vaewatch.training.calibration.neighbours import (
    DIRECTIONS,
    Bank,
    keep_records,
    neighbour_weight,
    spread,
)
from vaewatch.training.calibration.out_of_bag import OutOfBag, out_of_bag
from vaewatch.training.calibration.rules import Caps, Rules
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.graph import check_against_torch, export_graph
from vaewatch.training.export.score_model import ScoreModel
from vaewatch.training.odd.columns import ColumnCosts, ColumnView
from vaewatch.training.vae.batches import Batches
from vaewatch.training.vae.fit import Fitted, default_latent, fit_vae
from vaewatch.training.vae.folds import Folds, served_members
from vaewatch.training.vae.laggards import residual_lengths, without_laggards
from vaewatch.training.vae.vae import VAE

CONFIG = TrainConfig(members=4, served=2, width=8, steps=30, seed=1)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 2))
    mix = rng.normal(size=(2, 6))
    return (z @ mix + 0.1 * rng.normal(size=(200, 6))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(x: np.ndarray) -> Fitted:
    return fit_vae(x, CONFIG)


def test_the_same_seed_gives_the_same_weights(x: np.ndarray, fitted: Fitted):
    again = fit_vae(x, CONFIG)
    for a, b in zip(fitted.vae.parameters(), again.vae.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_fitting_lowers_the_loss(fitted: Fitted):
    assert fitted.log[-1].reconstruction_nll < fitted.log[0].reconstruction_nll


def test_the_latent_is_half_the_features_within_bounds():
    assert [default_latent(d) for d in (1, 2, 10, 2000)] == [2, 2, 5, 256]


def test_the_full_precision_inverts_the_shrunk_moment():
    r = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    moment = r.astype(float).T @ r / 500
    want = 0.95 * moment + 0.05 * np.diag(np.diag(moment)) + RIDGE * np.eye(4)
    np.testing.assert_allclose(dense(fit_precision(r)) @ want, np.eye(4), atol=1e-6)


def dense(precision: Precision) -> np.ndarray:
    """Sigma^-1."""
    root = precision.whiten(np.eye(len(precision.scale)))
    return root @ root.T


def test_the_low_rank_precision_inverts_its_own_covariance():
    rng = np.random.default_rng(0)
    d = FULL_FEATURES + 20
    factors = rng.normal(size=(3000, 5)) @ rng.normal(size=(5, d))
    r = (factors + rng.normal(size=(3000, d))).astype(np.float32)
    precision = fit_precision(r)
    assert precision.basis.shape == (d, RANK)
    inverse = dense(precision)
    assert np.linalg.eigvalsh(inverse).min() > 0
    weight = d / 3000
    moment = r.astype(float).T @ r / 3000
    truth = (1 - weight) * moment + weight * np.diag(np.diag(moment)) + RIDGE * np.eye(d)
    mine = np.diag(r[:200] @ inverse @ r[:200].T)
    exact = np.diag(r[:200] @ np.linalg.inv(truth) @ r[:200].T)
    assert np.corrcoef(mine, exact)[0, 1] > 0.95


def unwhitened(precision: Precision, whitened: np.ndarray) -> np.ndarray:
    """(..., D) whitened residuals -> the residuals."""
    root = precision.whiten(np.eye(whitened.shape[-1]))
    return whitened @ np.linalg.inv(root)


@pytest.mark.parametrize("d", [5, FULL_FEATURES + 20])
def test_a_whitened_residual_holds_all_of_it(d: int):
    rng = np.random.default_rng(0)
    r = (rng.normal(size=(400, 3)) @ rng.normal(size=(3, d)) + rng.normal(size=(400, d))).astype(
        "f"
    )
    precision = fit_precision(r)
    whitened = precision.whiten(r.astype(float))
    np.testing.assert_allclose(unwhitened(precision, whitened), r, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        precision.weigh(whitened), r @ dense(precision), rtol=1e-6, atol=1e-6
    )
    stored = Precision.from_bytes(precision.to_bytes())
    np.testing.assert_allclose(unwhitened(stored, whitened), r, rtol=1e-3, atol=1e-4)


def test_out_of_bag_residuals_are_those_of_the_member_that_did_not_see(
    x: np.ndarray, fitted: Fitted
):
    rows = np.arange(len(x))
    oob = out_of_bag(fitted, x, rows, kl=True)
    for i in (0, 7, 63):
        member = {0: 1, 1: 3}[fitted.folds.of[i]]  # members 0 and 2 serve
        one = torch.from_numpy(x[i : i + 1]).expand(4, -1, -1)
        with torch.no_grad():
            posterior = fitted.vae.encode(one)
            r = (one - fitted.vae.decode(posterior.mu).mean)[:, 0].numpy()
        np.testing.assert_allclose(oob.residuals[i], r[member], atol=1e-5)
        assert oob.kl[i] == pytest.approx(
            0.5 * posterior.mu[member, 0].square().sum().item(), rel=1e-5
        )


def test_a_fold_is_scored_with_the_precision_of_the_others():
    rng = np.random.default_rng(0)
    folds = np.arange(40) % 4
    oob = OutOfBag(rng.normal(size=(40, 3)).astype(np.float32), np.zeros(40), folds)
    got = oob.reconstruction(Rules(np.zeros(3), 1.0), np.zeros((4, 3)))
    others = fit_precision(oob.residuals[folds != 1])
    r = oob.residuals[1].astype(float)
    want = 0.5 * r @ dense(others) @ r
    assert got[1] == pytest.approx(want)


def test_to_break_a_rule_costs_no_more_than_an_unseen_value():
    """An event that always followed from another column, until a record in which it does not."""
    n, share = 5000, 0.002
    deviation = np.sqrt(share * (1 - share))
    features = [
        Feature("x", None, 0.0, 1.0),
        Feature("e", 1, share, deviation),
        Feature("constant", 1, 1.0, 1.0),
    ]
    rng = np.random.default_rng(0)
    scale = np.array([1, 1e-3, 0])
    residuals = (scale * rng.normal(size=(n, 3))).astype(np.float32)
    precision, rules = fit_precision(residuals), Rules.of(features, n)
    assert list(rules.caps(precision).at) == [1]
    broken = np.array([[0.0, (1 - share) / deviation, 0.0]])
    assert 0.5 * float((precision.whiten(broken) ** 2).sum()) > 50 * unseen_nats(n)
    assert rules.cost(broken, precision) == pytest.approx(unseen_nats(n))
    usual = rules.cost(residuals, precision)
    np.testing.assert_allclose(usual, 0.5 * (precision.whiten(residuals) ** 2).sum(1), rtol=1e-6)


def test_no_event_that_may_come_is_capped():
    """Tossed by a coin: what it costs in either direction is far below an unseen value."""
    features = [Feature("e", 1, 0.5, 0.5)]
    residuals = np.random.default_rng(0).choice([-1.0, 1.0], (500, 1)).astype(np.float32)
    assert not len(Rules.of(features, 500).caps(fit_precision(residuals)))


def test_the_distance_is_a_loop_s_and_skips_the_record_itself():
    points = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    bank, own = keep_records(points, 10, seed=0)
    kept = np.flatnonzero(own >= 0)
    assert len(bank) == len(kept) == 10 and bank.nearest == 3
    got = bank.distance(points, own)
    for i in range(30):
        others = [np.linalg.norm(points[i].astype(float) - points[b]) for b in kept if b != i]
        assert got[i] == pytest.approx(np.mean(sorted(others)[:3]), rel=1e-5)


def test_wide_records_are_compared_along_the_bank_s_leading_directions():
    rng = np.random.default_rng(0)
    d = DIRECTIONS + 10
    factors = rng.normal(size=(60, d)) * np.linspace(3, 0.1, d)
    bank, x = Bank.of(factors[:40].astype(np.float32), 1), factors[40:].astype(np.float32)
    assert bank.directions.shape == (d, DIRECTIONS)
    np.testing.assert_allclose(bank.directions.T @ bank.directions, np.eye(DIRECTIONS), atol=1e-9)
    across = np.eye(d) - bank.directions @ bank.directions.T

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        """As if what lies across the directions were at right angles."""
        along = bank.directions.T @ (a - b)
        return np.sqrt(along @ along + np.sum((across @ a) ** 2) + np.sum((across @ b) ** 2))

    got = bank.distance(x)
    for i, record in enumerate(x.astype(float)):
        want = min(distance(record, kept) for kept in factors[:40].astype(np.float32))
        assert got[i] == pytest.approx(want, rel=1e-5)


def test_the_neighbour_part_has_a_share_of_the_spread_of_the_others():
    rng = np.random.default_rng(0)
    nats, distance = rng.normal(size=1000) * 7, rng.normal(size=1000) * 3
    scaled = neighbour_weight(nats, distance, 0.5) * distance
    assert spread(scaled) == pytest.approx(0.5 * spread(nats))
    assert neighbour_weight(nats, np.zeros(10), 0.5) == 0


@pytest.mark.parametrize(("members", "served"), [(8, 4), (6, 3), (7, 3), (8, 2), (8, 1), (3, 1)])
def test_members_that_serve_see_all_and_each_record_has_one_that_did_not(
    members: int, served: int
):
    folds = Folds.draw(100, members, served, seed=0)
    seen, serving = folds.seen(), served_members(members, served)
    assert len(serving) == served
    assert all(len(seen[member]) == 100 for member in serving)
    away = np.array([~np.isin(np.arange(100), records) for records in seen])
    np.testing.assert_array_equal(away.sum(0), 1)
    np.testing.assert_array_equal(away.argmax(0), folds.judge)
    sizes = np.bincount(folds.of)
    assert len(sizes) == members - served and np.ptp(sizes) <= 1


def make_model(
    fitted: Fitted,
    x: np.ndarray,
    *,
    bank: int = 20,
    near: int = 3,
    kl: bool = True,
    capped: Sequence[int] = (),
    columns: Sequence[int] = (),
) -> ScoreModel:
    oob = out_of_bag(fitted, x, np.arange(len(x)), kl=kl)
    caps = Caps(np.array(capped, np.int64), np.full(len(capped), 0.05))
    precision = oob.precision()
    model = ScoreModel(fitted.vae, precision, caps, Bank.of(x[:bank], near), kl)
    if not len(columns):
        return model
    whitened = precision.whiten(oob.residuals.astype(float))
    costs = ColumnCosts.of(precision, np.array(columns))
    view = ColumnView.of(costs, whitened, np.linspace(0.0, 100.0, len(x)), 900.0)
    return replace(model, columns=view, neighbour_weight=0.5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bank": 0},
        {"bank": 2},
        {"bank": 200},
        {"near": 1},
        {"kl": False},
        {"capped": [4]},
        {"capped": [0, 3]},
        {"columns": [0, 0, 1, 2, 2, 2]},
        {"columns": [3, 5, 5, 7, 8, 9], "capped": [4], "kl": False, "bank": 0},
    ],
)
def test_the_graph_agrees_with_torch_in_every_output(
    fitted: Fitted, x: np.ndarray, options: dict[str, Any]
):
    model = make_model(fitted, x, **options)
    network = Network(export_graph(model))
    assert check_against_torch(model, network, x) < 1e-4
    want, got = model.forward(x), network.forward(x)
    for name in want.__dataclass_fields__:
        np.testing.assert_allclose(
            getattr(got, name), getattr(want, name), rtol=2e-3, atol=2e-3, err_msg=name
        )
    np.testing.assert_allclose(network.whitened(x), want.whitened, rtol=2e-3, atol=2e-3)


def test_a_score_is_at_least_what_its_oddest_column_is_worth(fitted: Fitted, x: np.ndarray):
    model = make_model(fitted, x, columns=range(6))
    assert model.columns is not None
    odd = x.copy()
    odd[:, 2] += np.linspace(0, 20, len(x)).astype(np.float32)
    plain, forward = model.plain(odd), model.forward(odd)
    least = model.columns.least(plain.whitened.swapaxes(0, 1))
    total = [f.reconstruction + f.kl + 0.5 * f.neighbour for f in (plain, forward)]
    np.testing.assert_allclose(total[1], np.maximum(total[0], least))
    assert (total[1] > total[0]).any() and (total[1] == total[0]).any()
    got = Network(export_graph(model)).forward(odd)
    np.testing.assert_allclose(got.reconstruction, forward.reconstruction, rtol=2e-3, atol=2e-3)


def test_a_graph_of_another_view_is_refused(fitted: Fitted, x: np.ndarray):
    model = make_model(fitted, x, columns=range(6))
    odd = x + 3 * np.eye(6, dtype=np.float32)[np.arange(len(x)) % 6]
    other = replace(model, columns=replace(model.columns, most=3.0))
    check_against_torch(model, Network(export_graph(model)), odd)
    with pytest.raises(RuntimeError, match="within 0.01 in the reconstruction part"):
        check_against_torch(model, Network(export_graph(other)), odd)


def test_a_residual_beyond_its_cap_costs_what_the_cap_does(fitted: Fitted, x: np.ndarray):
    free, capped = make_model(fitted, x), make_model(fitted, x, capped=[1, 4])
    residuals = unwhitened(free.precision, free.forward(x).whitened)
    assert (np.abs(residuals[..., [1, 4]]) > 0.05).any()
    residuals[..., [1, 4]] = residuals[..., [1, 4]].clip(-0.05, 0.05)
    want = [
        np.mean([0.5 * r @ dense(free.precision) @ r for r in members]) for members in residuals
    ]
    np.testing.assert_allclose(capped.forward(x).reconstruction, want, rtol=1e-6)
    np.testing.assert_array_equal(capped.forward(x).whitened, free.forward(x).whitened)


@pytest.mark.parametrize("d", [DIRECTIONS + 6, FULL_FEATURES + 10])
def test_the_graph_of_many_features_agrees_with_torch(d: int):
    x = np.random.default_rng(0).normal(size=(100, d)).astype(np.float32)
    fitted = fit_vae(x, CONFIG)
    precision = out_of_bag(fitted, x, np.arange(100), kl=True).precision()
    model = ScoreModel(
        fitted.vae, precision, Caps(np.array([1, d - 1]), np.ones(2)), Bank.of(x[:40], 1), True
    )
    network = Network(export_graph(model))
    assert check_against_torch(model, network, x) < 1e-4
    got, want = network.forward(x).neighbour, model.forward(x).neighbour
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_a_graph_that_differs_is_refused(fitted: Fitted, x: np.ndarray):
    model = make_model(fitted, x)
    network = Network(export_graph(model))
    with torch.no_grad():
        fitted.vae.leave.bias[0] += 1
    with pytest.raises(RuntimeError, match="within 0.0001 in the reconstruction part"):
        check_against_torch(model, network, x)
    with torch.no_grad():
        fitted.vae.leave.bias[0] -= 1


def test_what_rounding_takes_from_a_residual_is_no_difference(fitted: Fitted, x: np.ndarray):
    """Records far out, where the stack expects them: a residual is small beside its record."""
    away, vae = 5000.0, copy.deepcopy(fitted.vae)
    with torch.no_grad():
        vae.enter.bias -= away * vae.enter.weight.sum(1, keepdim=True)
        vae.leave.bias += away
    far = x + np.float32(away)
    model = make_model(replace(fitted, vae=vae), far)
    network = Network(export_graph(model))
    want, got = model.forward(far).reconstruction, network.forward(far).reconstruction
    assert (np.abs(got - want) > 1e-4 * np.maximum(want, 1)).any()
    check_against_torch(model, network, far)
    with torch.no_grad():
        vae.leave.bias += 1
    wrong = make_model(replace(fitted, vae=vae), far)
    with pytest.raises(RuntimeError, match="in the reconstruction part"):
        check_against_torch(wrong, network, far)


def test_a_graph_of_another_bank_is_refused(fitted: Fitted, x: np.ndarray):
    network = Network(export_graph(make_model(fitted, x, bank=20)))
    with pytest.raises(RuntimeError, match="within 1e-05 in the neighbour part"):
        check_against_torch(make_model(fitted, x, bank=19), network, x)


@pytest.mark.parametrize("seed", range(3))
def test_records_as_near_as_rounding_may_be_exchanged(seed: int):
    """A running sum: hundreds of records lie within the rounding of their squared lengths."""
    steps = np.random.default_rng(seed).normal(size=(300, 1))
    x = steps.cumsum(0)
    x = ((x - x.mean()) / x.std()).astype(np.float32)
    model = make_model(fit_vae(x, CONFIG), x, bank=300)
    network = Network(export_graph(model))
    check_against_torch(model, network, x)
    apart = np.abs(network.forward(x).neighbour - model.forward(x).neighbour)
    assert apart.max() < 0.01  # of standard deviations, where 1e-4 was asked for


def test_a_member_draws_each_record_that_it_may_see_equally_often(x: np.ndarray):
    seen = Folds.draw(200, 4, 2, seed=0).seen()
    batches = Batches.of(x, seen, torch.device("cpu"))
    assert batches.resident
    drawn = batches.draw(20_000, torch.Generator().manual_seed(0)).numpy()
    place = {row.tobytes(): i for i, row in enumerate(x)}
    for member, allowed in enumerate(seen):
        counts = np.bincount([place[row.tobytes()] for row in drawn[member]], minlength=200)
        assert set(np.flatnonzero(counts)) == set(allowed)
        assert chisquare(counts[allowed]).pvalue > 1e-4


def test_a_member_that_lags_changes_places_with_the_best_judge(x: np.ndarray, fitted: Fitted):
    lame = {name: tensor.clone() for name, tensor in fitted.vae.state_dict().items()}
    lame["leave.bias"][2] += 5.0  # members 0 and 2 serve
    spoiled = replace(fitted, vae=VAE.of(lame))
    lengths = residual_lengths(spoiled, x)
    best = 1 if lengths[1] < lengths[3] else 3
    mended = without_laggards(spoiled, x)
    served = residual_lengths(mended, x)[served_members(4, 2)]
    np.testing.assert_allclose(served, lengths[[0, best]], rtol=1e-5)
    for fold in (0, 1):  # each record's judge is still one that did not see it
        before, after = fitted.folds.judges[fold], mended.folds.judges[fold]
        torch.testing.assert_close(mended.vae.leave.bias[after], spoiled.vae.leave.bias[before])
    untouched = without_laggards(fitted, x)
    assert untouched is fitted
