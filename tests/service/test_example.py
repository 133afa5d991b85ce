"""The example of a model card is a record that does not alarm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL
from vaewatch.service.model.model import load_model
from vaewatch.service.settings import Settings
from vaewatch.training.train import train


def claims(n: int, seed: int) -> pl.DataFrame:
    """Claims of cars and pets: net + vat = claimed, and each has a column of its own."""
    rng = np.random.default_rng(seed)
    pet = rng.random(n) < 0.4
    net = np.round(rng.lognormal(6, 0.7, n), 2)
    vat = np.round(net * np.where(pet, 0.0, 0.19), 2)
    frame = pl.DataFrame(
        {
            "product": np.where(pet, "pet", "car"),
            "species": rng.choice(["dog", "cat"], n),
            "doors": rng.choice(["three", "five"], n),
            "net": net,
            "vat": vat,
            "claimed": np.round(net + vat, 2),
        }
    )
    of_pets = pl.col("product") == "pet"
    return frame.with_columns(
        species=pl.when(of_pets).then("species"), doors=pl.when(~of_pets).then("doors")
    )


def test_the_example_keeps_the_rules_between_columns(tmp_path: Path):
    out = tmp_path / "artifact"
    train(claims(3000, 0), out, alpha=0.02, report=False, **SMALL)
    model = load_model(out, Settings(artifact=out))
    example = model.card["example"]
    assert example["species"] is None and example["doors"] is not None  # most records are of cars
    assert example["claimed"] == pytest.approx(example["net"] + example["vat"], abs=0.011)
    assert not model.scorer.score([example]).is_anomaly[0]
