"""What was read as what: `vaewatch profile`, and the table that `vaewatch train` prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import call, make_frame
from vaewatch.scoring.errors import SchemaError
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.profile import profile_frame
from vaewatch.training.records.schema import infer_schema

N = 400


def warnings_of(values: Any, name: str = "x", **settings: Any) -> list[str]:
    """The first words of a column's warnings."""
    frame = pl.DataFrame({name: values, "other": np.arange(len(values)) % 7})
    column = profile_frame(frame, TrainConfig(**settings))[0]
    return [warning.partition(":")[0] for warning in column.warnings]


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(10, 2, N).round(2)


STATUS = [200, 201, 204, 400, 401, 404, 429, 500, 503]


@pytest.mark.parametrize(
    ("values", "noted"),
    [
        (STATUS, True),
        ([41100, 41101, 42100, 42101, 43100], True),
        ([*range(9)], False),
        ([1, 2, 3, 10, 11, 12, 20, 21], False),
        ([1999, 2000, 2001, 2014, 2015], False),
        ([150, 175, 200, 250, 300], False),
        ([*range(160, 195)], False),
        ([100, 101, 500, 2500, 10000], False),
        ([1000, 1500, 2500, 5000, 7500], False),
        ([0, *STATUS], False),
    ],
)
@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.String])
def test_whole_numbers_that_may_be_codes_are_noted(values: list[int], noted: bool, kind: Any):
    drawn = np.random.default_rng(0).choice(values, N)
    series = pl.Series("x", drawn).cast(pl.Int64).cast(kind)
    assert ("codes?" in warnings_of(series)) is noted
    assert "codes?" not in warnings_of(series, kinds={"x": "numeric"})


def test_codes_are_named_with_what_to_do(tmp_path: Path):
    """One that came once, and one that sums up the others, do not hide them."""
    values = [*(STATUS * 40), 418, 90210]
    frame = pl.DataFrame({"status": values, "ms": np.arange(len(values)) % 7})
    frame.write_csv(tmp_path / "status.csv")
    done = call("profile", tmp_path / "status.csv")
    assert (
        "status: codes?: column 'status' holds 9 whole numbers that may be codes: 200, 201, 204, "
        "400, 401 and 4 more. As numbers, those next to one another are nearly the same. If they "
        "are codes: --kind status=categorical. If they are numbers: --kind status=numeric."
    ) in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.where(np.arange(N) % 20, noise(), -200), ["sentinel"]),
        (np.where(np.arange(N) % 50, noise(), 9999), ["sentinel"]),
        (np.where(np.arange(N) % 200, noise(), -200), []),  # two of them: an outlier is no token
        (np.where(np.arange(N) % 20, noise(), 0), []),  # within reach of the others
        (np.where(np.arange(N) % 5 < 2, 0, 1400 + noise()), []),  # what is off
        (np.where(np.arange(N) % 20, 1400 + noise(), 0), ["sentinel"]),
        (np.where(np.arange(N) % 5 < 2, -1, 1400 + noise()), ["sentinel"]),
        (noise(), []),
        (np.arange(N) + 10_000, ["id-like"]),
        (1_704_067_200 + 7919 * np.arange(N), ["time-like"]),
        (1_704_067_200_000 + 7_919_000 * np.arange(N), ["time-like"]),
        (20_240_101 + np.arange(N) % 12 * 100 + np.arange(N) % 28, ["time-like"]),
        (20_240_101 + np.arange(N) % 7 * 1000 + np.arange(N) % 99, []),
        (np.where(np.arange(N), 1.5, 2.5), ["near-constant"]),
        (np.full(N, 3), ["constant"]),
        ([f"u{i}" for i in range(N)], ["id-like"]),
        ([f"{i * 37:05}" for i in range(N)], ["code-like"]),
        ([f"{i * 0.5:.1f} km" for i in range(N)], ["id-like", "no text?"]),
        ([f"{i * 0.5:.1f}".replace(".", ",") for i in range(N)], ["spelled"]),
        ([None] * 240 + [1.0, 2.0] * 80, ["60.0% missing"]),
    ],
)
def test_a_column_that_may_mislead_gets_a_note(values: Any, words: list[str]):
    assert warnings_of(values) == words


@pytest.mark.parametrize("name", ["zip", "Postal Code", "postcode", "zipCode", "area_code", "SKU"])
def test_whole_numbers_that_are_named_as_codes_are_noted(name: str):
    values = 5000 + 7 * np.arange(N) % 900
    assert warnings_of(values, name) == ["code-like"]
    assert warnings_of(values + 0.5, name) == warnings_of(values % 2, name) == []


@pytest.mark.parametrize("name", ["coded", "zipped", "skull", "decoder_gain", "postage"])
def test_a_name_that_only_looks_like_that_of_codes_is_not(name: str):
    assert warnings_of(5000 + 7 * np.arange(N) % 900, name) == []


def test_codes_by_their_name_come_with_what_to_do():
    frame = pl.DataFrame({"Postal Code": 5000 + 7 * np.arange(N) % 900})
    (column,) = profile_frame(frame, TrainConfig())
    assert column.warnings == (
        "code-like: column 'Postal Code' is read as numbers, but its name says that it holds "
        "codes: as numbers, those next to one another are nearly the same, and a new one among "
        "them may be no event. If they are codes: --kind 'Postal Code=categorical'. If they are "
        "numbers: --kind 'Postal Code=numeric'.",
    )


@pytest.mark.parametrize("values", [[11, 22, 50, 150, 300], [0.0, 0.1, 0.15, 0.2, 0.4]])
def test_sizes_and_steps_are_no_codes(values: list[float]):
    assert warnings_of(values * 80) == []


@pytest.mark.parametrize(
    "name", ["label", "is_fraud", "Class", "target", "anomaly", "is_phishing"]
)
@pytest.mark.parametrize("values", [[0, 1], ["ok", "bad"], [False, True]])
def test_a_column_that_is_named_like_labels_is_noted(name: str, values: list[Any]):
    assert "label-like" in warnings_of([*values * 200], name)


@pytest.mark.parametrize("name", ["classified_area", "labels_printed", "attacker_ip"])
def test_a_name_that_only_begins_like_one_is_not(name: str):
    assert "label-like" not in warnings_of([0, 1] * 200, name)


def test_rows_that_cannot_be_split_are_set_aside_as_training_does(tmp_path: Path):
    source, rejects = tmp_path / "x.csv", tmp_path / "r.csv"
    source.write_text("a,b\n" + "1.5,2\n2.5,3\n" * 20 + "1\n")
    assert "pass --rejects FILE" in call("profile", source).stderr
    done = call("profile", source, "--rejects", rejects)
    assert done.returncode == 0, done.stderr
    assert "40 records, 2 columns" in done.stdout and len(rejects.read_text().splitlines()) == 2


def test_a_sentinel_that_is_declared_is_a_missing_value(tmp_path: Path):
    values = np.where(np.arange(N) % 20, noise(), -200)
    pl.DataFrame({"x": values}).write_csv(tmp_path / "x.csv")
    assert "sentinel: 20 times -200," in call("profile", tmp_path / "x.csv").stdout
    found = json.loads(call("profile", tmp_path / "x.csv", "--null", "-200", "--json").stdout)
    assert found["columns"][0]["warnings"] == [] and found["columns"][0][
        "missing"
    ] == pytest.approx(0.05)


def test_all_columns_of_times_are_named_at_once():
    day = [datetime(2025, 1, 1 + i % 28) for i in range(N)]
    frame = pl.DataFrame(
        {"made at": day, "x": noise(), "sent": [f"{d:%d.%m.%Y %H:%M}" for d in day]}
    )
    with pytest.raises(SchemaError) as error:
        infer_schema(frame, TrainConfig())
    assert "columns 'made at', 'sent' must not be timestamps" in str(error.value)
    assert "--ignore 'made at' --ignore sent" in str(error.value)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "shop.csv"
    make_frame(N).with_columns(fraud=pl.lit(0), at=pl.lit("2025-03-01 10:00")).write_csv(path)
    return path


def test_the_command_shows_each_column_and_what_train_would_refuse(shop: Path):
    done = call("profile", shop, "--id", "order")
    assert done.returncode == 0 and done.stderr == ""
    first, head, *lines = done.stdout.splitlines()
    assert first == "400 records, 9 columns to learn"
    assert head.split() == ["column", "kind", "missing", "rare", "distinct", "values", "note"]
    rows = {line.split()[0]: line.split() for line in lines if not line.partition(":")[1]}
    assert rows["country"][1] == "categorical" and rows["express"][1] == "boolean"
    assert rows["age"][1] == "numeric" and rows["age"][2].endswith("%")
    assert rows["currency"][-1] == "constant"
    assert "constant, label-like" in next(line for line in lines if line.startswith("fraud "))
    assert "at: refused: column 'at' must not be a timestamp" in done.stdout


def test_a_second_time_is_not_to_be_named_as_the_time(shop: Path, tmp_path: Path):
    frame = pl.read_csv(shop).with_columns(seen=pl.col("at"))
    frame.write_csv(tmp_path / "two.csv")
    said = (
        "column 'seen' must not be a timestamp: a moment never comes again, so it cannot be "
        "learned. --time is 'at' already: leave out with --ignore seen, or give the time between "
        "the two as a number."
    )
    done = call("profile", tmp_path / "two.csv", "--time", "at")
    assert f"seen: refused: {said}" in done.stdout
    with pytest.raises(SchemaError, match=re.escape(said)):
        infer_schema(frame, TrainConfig(time="at"))


def test_json_has_all_of_it(shop: Path):
    found = json.loads(call("profile", shop, "--id", "order", "--json").stdout)
    assert found["records"] == 400
    age = next(column for column in found["columns"] if column["name"] == "age")
    assert age["kind"] == "numeric" and 0.05 < age["missing"] < 0.2 and age["warnings"] == []


def test_what_is_odd_of_columns_that_are_not_learned_is_said_as_train_does(tmp_path: Path):
    """A last record that sums up, and an id that came before."""
    frame = pl.DataFrame(
        {
            "slip": [*(f"p{i}" for i in range(50)), "p7", "Total"],
            "net": [float(i) for i in range(52)],
        }
    )
    frame.write_csv(tmp_path / "pay.csv")
    sums = "total: the last record has 'Total' in column 'slip': if it sums up the others, it is"
    again = "repeated: column 'slip' names the records, but 1 of its 52 values came before, such"
    said = call("profile", tmp_path / "pay.csv", "--id", "slip").stdout
    assert sums in said and again in said
    found = json.loads(call("profile", tmp_path / "pay.csv", "--id", "slip", "--json").stdout)
    assert [text.partition(":")[0] for text in found["warnings"]] == ["total", "repeated"]
    said = call("profile", tmp_path / "pay.csv").stdout  # once, at its column
    assert said.count("the last record has") == 1 and "repeated" not in said


def test_it_needs_no_torch(shop: Path):
    code = (
        "import sys; from vaewatch.__main__ import cli; "
        f"cli(['profile', {str(shop)!r}], standalone_mode=False); "
        "assert not {'torch', 'sklearn', 'scipy', 'pandas', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_typo_is_answered_by_name(shop: Path):
    done = call("profile", shop, "--ignore", "atz")
    assert done.returncode == 3 and "'atz'" in done.stderr


def test_train_shows_the_same_table_before_the_fit(tmp_path: Path, shop: Path):
    words = ("train", shop, "--out", tmp_path / "a", "--ignore", "at", "--id", "order", "--steps")
    done = call(*words, 20, "--no-report", "--alpha", 0.1)
    assert done.returncode == 0, done.stderr
    table = call("profile", shop, "--ignore", "at", "--id", "order").stdout.splitlines()[1:10]
    assert done.stdout.splitlines()[:9] == table
    quiet = call(*words, 20, "--quiet", "--overwrite", "--alpha", 0.1)
    assert quiet.stdout == ""


def test_train_shows_forty_columns_of_many(tmp_path: Path):
    frame = pl.DataFrame({f"c{i}": noise(i) for i in range(60)})
    frame.write_csv(tmp_path / "wide.csv")
    words = ("train", tmp_path / "wide.csv", "--out", tmp_path / "a", "--steps", 5, "--no-report")
    done = call(*words, "--alpha", 0.1)
    assert "c39 " in done.stdout and "c40 " not in done.stdout
    assert "and 20 more: vaewatch profile shows all" in done.stdout
    assert "c59 " in call("profile", tmp_path / "wide.csv").stdout


def test_an_option_that_names_one_column_takes_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_frame(50).rename({"order": "order no"}).write_csv(tmp_path / "in.csv")
    done = call("profile", tmp_path / "in.csv", "--id", "order no", "--id", "country")
    assert done.returncode == 2
    assert "--id must name one column, got 'order no' and 'country'." in done.stderr
    again = call("profile", tmp_path / "in.csv", "--id", "order no", "--id", "order no")
    monkeypatch.setenv("VAEWATCH_ID", "order no")  # whole, with its blank
    assert call("profile", tmp_path / "in.csv").stdout == again.stdout != ""
    assert "order no" not in again.stdout


def test_train_says_the_same_of_three_columns_and_names_the_others(tmp_path: Path):
    rng = np.random.default_rng(0)
    codes = {f"sku_{i}": rng.integers(100, 160, 300) for i in range(12)}
    pl.DataFrame({"amount": rng.normal(size=300).round(3), **codes}).write_csv(tmp_path / "in.csv")
    words = ("--steps", 20, "--no-report", "--quiet", "--alpha", 0.1)
    done = call("train", tmp_path / "in.csv", "--out", tmp_path / "out", *words)
    assert done.returncode == 0, done.stderr
    said = [
        line for line in done.stderr.splitlines() if "its name says that it holds codes" in line
    ]
    assert [line.split("'")[1] for line in said] == ["sku_0", "sku_1", "sku_2"]
    assert (
        "warning: columns 'sku_3', 'sku_4', 'sku_5', 'sku_6', 'sku_7' and 4 more: code-like as "
        "well; vaewatch profile says what of each.\n" in done.stderr
    )


def test_a_word_among_numbers_is_named_with_what_to_do(tmp_path: Path):
    rng = np.random.default_rng(0)
    crp = [f"{x:.0f}" if x >= 5 else "<5" for x in rng.lognormal(1.2, 1.2, 900).tolist()]
    frame = pl.DataFrame({"crp": crp, "ward": rng.choice(["A", "B"], 900)})
    frame.write_csv(tmp_path / "in.csv")
    done = call("profile", tmp_path / "in.csv")
    below, other = crp.count("<5"), len(set(crp)) - 1
    assert (
        f"crp: numbers?: column 'crp' is learned as text, for the sake of '<5' in {below} of 900 "
        f"records: its other {other} values are numbers. To learn numbers, and these as missing: "
        "--null '<5'. If it is text: --kind crp=categorical." in done.stdout
    )
    for word in ("--kind", "crp=categorical"), ("--null", "<5"):
        done = call("profile", tmp_path / "in.csv", *word)
        assert done.returncode == 0 and "numbers?" not in done.stdout
    done = call("profile", tmp_path / "in.csv", "--kind", "crp=numeric")
    assert "A text that means missing is named with --null" in done.stdout


def test_entities_without_a_time_are_left_out_of_what_is_learned(tmp_path: Path):
    rng = np.random.default_rng(0)
    values = {"pulse": rng.normal(size=300).round(2), "age": rng.integers(18, 90, 300)}
    pl.DataFrame({"patient": [f"P{i // 10}" for i in range(300)], **values}).write_csv(
        tmp_path / "in.csv"
    )
    done = call("profile", tmp_path / "in.csv", "--entity", "patient")
    assert done.returncode == 0 and done.stdout.startswith("300 records, 2 columns to learn\n")
    assert "patient" not in done.stdout
