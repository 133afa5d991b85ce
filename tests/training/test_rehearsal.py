"""The time after the past, played through: what is said of data that stay, and that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL
from vaewatch.scoring.budget.expected import State
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import other_code
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.scoring.time.form import DAY
from vaewatch.training.calibration.played import set_aside
from vaewatch.training.config import TrainConfig
from vaewatch.training.learned import Learned
from vaewatch.training.pipeline import fit
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.split.split import split_records
from vaewatch.training.unseen.then import features_then
from vaewatch.training.vae.folds import Folds

ALPHA = 0.02
SETTINGS = {**SMALL, "time": "at", "calendar": "none", "alpha": ALPHA}


def requests(n: int, seed: int, change_at: float = 2.0) -> pl.DataFrame:
    """Requests in an order of chance, with what seldom happens: a 0/1 number, texts of a long tail
    and a field that is mostly missing. From `change_at` on, a share of the time, they take longer.
    """
    rng = np.random.default_rng([seed, 31])
    share = np.arange(n) / n
    tail = rng.zipf(1.6, n)
    size = rng.lognormal(5, 1, n)
    longer = np.where(share > change_at, 20, 1)
    return pl.DataFrame(
        {
            "at": np.arange(n) * 600 + 1_750_000_000,
            "took": (size * rng.lognormal(0, 0.2, n) * longer).round(1),
            "size": size.round(),
            "retries": (rng.random(n) < 0.03).astype(int),
            "agent": [f"agent {min(k, 3000)}" for k in tail.tolist()],
            "items": pl.Series([k if k > 5 else None for k in rng.poisson(2, n).tolist()]),
            "region": rng.choice(["eu", "us", "ap"], n, p=[0.7, 0.28, 0.02]),
        }
    )


def learned(frame: pl.DataFrame, seed: int, **settings: object) -> Learned:
    return fit(frame, TrainConfig.of({**SETTINGS, "seed": seed, **settings}))


def outlook_of(frame: pl.DataFrame, seed: int, **settings: object) -> Outlook:
    found = learned(frame, seed, **settings).outlook
    assert found is not None
    return found


def test_of_data_that_stay_as_many_alarms_come_as_chance_is_said_to_bring():
    """The judge of the last fold makes of rare values what no other member does. Beside scores of
    others, half of such tables had more or fewer alarms than chance was said to bring.
    """
    found = [outlook_of(requests(1500, seed), seed) for seed in range(10)]
    assert all(one.together.low <= one.together.alarms <= one.together.high for one in found)
    assert sum(one.state is not State.WITHIN for one in found) <= 1
    mean = np.mean([one.together.alarms for one in found])
    assert mean == pytest.approx(np.mean([one.together.expected for one in found]), rel=0.4)


def test_a_change_in_the_end_is_found():
    found = [outlook_of(requests(1500, seed, change_at=0.9), seed) for seed in range(4)]
    assert all(one.state is State.ABOVE for one in found)
    assert all(one.lately.alarms > 1.5 * one.lately.high for one in found)


def test_a_table_too_small_to_hold_records_out_is_compared_with_its_other_folds():
    """Of 190 records none is held out at alpha 0.02; the range is wide, and it is kept."""
    found = [learned(requests(190, seed), seed) for seed in range(4)]
    assert all(not len(one.split.held_out) for one in found)
    outlooks = [one.outlook for one in found if one.outlook is not None]
    assert len(outlooks) == 4
    assert all(one.together.alarms <= one.together.high for one in outlooks)


def test_a_fit_that_leaves_suspects_out_says_as_much_of_data_that_stay():
    found = [
        outlook_of(requests(1500, seed), seed, contamination_robust=True) for seed in range(4)
    ]
    assert all(one.together.low <= one.together.alarms <= one.together.high for one in found)


@pytest.mark.parametrize(("n", "share"), [(3000, 1 / 4), (60_000, 0.0)])
def test_the_judge_leaves_a_quarter_of_the_past_out_where_little_is_held_out(n: int, share: float):
    """Of many records enough are held out. What it leaves out are blocks of time of the past."""
    times, config = np.arange(n) * DAY // 40, TrainConfig(alpha=ALPHA)
    split = split_records(n, 6, config, times)
    folds = Folds.in_order(np.arange(len(split.fit)), 8, 2)
    found = set_aside(folds, times, split, config)
    last = folds.of == 5
    seen, every = found.seen(), folds.seen()
    for member in range(8):
        if member != found.judges[5]:
            assert np.array_equal(seen[member], every[member])
    left = np.setdiff1d(every[found.judges[5]], seen[found.judges[5]])
    assert len(left) == pytest.approx(share * (~last).sum(), abs=1) and not last[left].any()
    assert (np.diff(left) > 1).sum() <= 20


def test_what_only_the_end_has_is_unseen_to_the_time_before():
    """A text that comes twice at the end is as rare as one that never came, and a number beyond
    all before is unseen, though the fit knows both.
    """
    n = 400
    frame = pl.DataFrame(
        {
            "who": [f"w{i % 3}" for i in range(n - 2)] + ["late"] * 2,
            "once": ["a"] * (n - 2) + ["b"] * 2,
            "amount": [float(i % 50) for i in range(n - 1)] + [9000.0],
        }
    )
    config = TrainConfig()
    schema = infer_schema(frame, config)
    table = checked_table(schema, frame)
    known = fit_vectorizer(table)
    assert not known.transform(table).unseen.any()
    found = features_then(table, np.arange(n - 2), known)
    assert not found.unseen[: n - 2].any()
    assert found.unseen[n - 2 :].tolist() == [[True, True, False], [True, True, True]]
    texts = np.isin(known.column_of, [0, 1])
    assert not found.values[n - 2 :][:, texts].any()  # the network gets the mean
    assert np.array_equal(found.values[: n - 2], known.transform(table).values[: n - 2])
    once = replace(table, codes=table.codes.copy())
    once.codes[:2, 0] = other_code(schema.columns[0])  # of a past that has rare ones, too
    assert not features_then(once, np.arange(n - 2), known).unseen[-1, 0]
