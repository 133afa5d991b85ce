"""Files as people and other programs write them: what is trained from one scores the same."""

from __future__ import annotations

import csv
import gzip
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import vaewatch
from tests.conftest import call
from vaewatch.scoring.errors import Problem, SchemaError
from vaewatch.scoring.files.source import open_source
from vaewatch.scoring.schema import Column, Kind
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.spelling.numbers import NumberFormat
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.read import read_frame, read_sample
from vaewatch.training.records.remarks.columns import remarks
from vaewatch.training.records.sample import Reading
from vaewatch.training.records.schema import infer_column, infer_schema

FAST: dict[str, Any] = {"steps": 40, "width": 8, "members": 3, "served": 1, "report": False}
WORDS = ("--steps", 40, "--width", 8, "--members", 3, "--served", 1, "--no-report", "--quiet")
N = 300
RNG = np.random.default_rng(3)
AMOUNTS = np.exp(RNG.normal(7, 1, N)).round(2)
COUNTRIES = RNG.choice(["NL", "DE"], N)


def european(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def column_of(texts: list[str | None], **options: Any) -> Column:
    return infer_column(pl.Series("x", texts), **options)


def verdicts_of(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="") as file:
        head = file.readline()
        file.seek(0)
        rows = list(csv.DictReader(file, delimiter=";" if ";" in head else ","))
    return [(row["p_value"], row["is_anomaly"]) for row in rows]


SPELLINGS: dict[str, tuple[Callable[[float], str], NumberFormat]] = {
    "comma": (lambda x: f"{x:.2f}".replace(".", ","), NumberFormat(",")),
    "european": (european, NumberFormat(",", ".")),
    "us": (lambda x: f"{x:,.2f}", NumberFormat(".", ",")),
    "dollar": (lambda x: f"${x:,.2f}", NumberFormat(".", ",", "$")),
    "euro": (lambda x: f"{european(x)} €", NumberFormat(",", ".", "€")),
    "share": (lambda x: f"{x:.1f}%", NumberFormat(".", "", "%")),
    "swiss": (lambda x: f"{x:,.2f}".replace(",", "'"), NumberFormat(".", "'")),
    "french": (lambda x: european(x).replace(".", "\u202f"), NumberFormat(",", " ")),
    "millions": (lambda x: european(x * 1e5)[:-3], NumberFormat(",", ".")),
    "code": (lambda x: f"EUR {x:.2f}", NumberFormat(".", "", "EUR")),
    "arabic": (
        lambda x: f"{x:.2f}".translate(
            {ord("."): "\u066b"} | {48 + i: 0x660 + i for i in range(10)}
        ),
        NumberFormat("."),
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_numbers_are_recognised_where_the_whole_column_agrees(name: str):
    spell, wanted = SPELLINGS[name]
    found = column_of([*map(spell, AMOUNTS), None, "NA"])
    assert (found.kind, found.format, found.required) == (Kind.NUMERIC, wanted, False)
    factor = 1e5 if name == "millions" else 1
    assert found.high == pytest.approx(AMOUNTS.max() * factor, rel=1e-3)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["26,262", "14,174"], "'14,174' (row 2, without the header) may be 14174 or 14.174"),
        (["€ 1.234", "€ 5.678"], "may be 1.234 or 1234. Declare the decimal mark: --decimal ."),
        (["2,5", "3,5", "n.a."], "must be a number with a decimal comma, as most cells are"),
        (["2,5", "3,5", "n.a."], "(the first is row 3, without the header: 'n.a.')"),
        (["2.5", "3.5", "oops"], "--null, or declare it: --kind x=categorical."),
        (["$5", "$6", "€7"], "the sign $, as most cells are, got a text in 1 of 3 records"),
        (["45%", "50%", "0.6"], "must have the sign % everywhere, but 1 of 3 records break that"),
        (["45%", "50%", "0.6"], "(the first is row 3, without the header: '0.6'). Mend them, or"),
        (["1.234,5", "677.48"], "must have one decimal mark, as '1.234,5' has, but 1 of 2"),
        (["1.234,5", "677.48"], "or declare the comma: --decimal ,"),
        (["1.234.567", "6,5", "12.25"], "row 3, without the header: '12.25')"),
        (["1.5", "inf"], "must be finite, but 1 of 2 records break that"),
        (["3 days 02:00:00", "1 days 00:00:10"], "got spans of time, such as '3 days 02:00:00'"),
        (["2h 38m", "0h 1m"], "Give it as a number, such as seconds, or leave it out"),
    ],
)
def test_numbers_in_doubt_are_refused_with_a_cell_and_a_remedy(texts: list[str], message: str):
    with pytest.raises(SchemaError) as caught:
        column_of(list(texts))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "texts",
    [["12.5-", "3", "4.25-"], ["$(12.50)", "$3", "$(4.25)"], ["\u201312.5", "3", "\u20134.25"]],
)
def test_negatives_are_recognised_in_every_spelling(texts: list[str]):
    found = column_of(list(texts))
    assert (found.kind, found.low, found.high) == (Kind.NUMERIC, -12.5, 3)


def test_a_decimal_mark_can_be_declared():
    assert column_of(["1.234,5", "677.48"], decimal=",").low == 677.48
    assert column_of(["26,262", "14,174"], decimal=",").high == 26.262
    assert column_of(["26,262", "14,174"], decimal=".").high == 26262
    assert column_of(["1.234", "5.678"], decimal=",").high == 5678
    assert column_of(["1.5", "5.25"], decimal=",").high == 5.25
    assert column_of(["12", "5"], decimal=",").format is None


@pytest.mark.parametrize("mark", [".", ","])
def test_a_wrong_decimal_mark_is_a_setting_s_fault(mark: str):
    assert TrainConfig(decimal=mark).decimal == mark
    with pytest.raises(ValueError, match="setting 'decimal' must be"):
        TrainConfig(decimal=";")


@pytest.mark.parametrize(
    "form",
    [
        "%d.%m.%Y %H:%M",
        "%m/%d/%Y",
        "%d/%m/%Y",
        "%d/%m/%y",
        "%Y/%m/%d %H:%M:%S",
        "%d-%b-%Y",
        "%b %d, %Y %I:%M %p",
        "%a, %d %b %Y %H:%M:%S +0000",
        "%a %b %d %H:%M:%S %Y",
        "%A, %d. %B %Y",
        "%Y%m%dT%H%M%SZ",
        "%Y-%m-%d %H:%M:%S,%f",
        "%H:%M %d.%m.%Y",
    ],
)
def test_times_in_any_spelling_are_refused_as_timestamps(form: str):
    times = pd.date_range("2024-01-01", periods=60, freq="7h").strftime(form).tolist()
    with pytest.raises(SchemaError, match="'x' must not be a timestamp.*--ignore x"):
        column_of([*times, None, "NA"])
    assert column_of(list(times), declared=Kind.CATEGORICAL).kind is Kind.CATEGORICAL


@pytest.mark.parametrize(
    "texts",
    [["10.0.0.1", "10.0.0.7"], ["1.2.3", "1.10.4"], ["A1", "A2"], ["1-3", "5-7"], ["5 kg", "7 g"]],
)
def test_other_texts_stay_texts(texts: list[str]):
    assert column_of(list(texts)).kind is Kind.CATEGORICAL


@pytest.mark.parametrize("name", ["euro", "us"])
def test_what_is_trained_with_a_spelling_scores_the_same_in_all(name: str, tmp_path: Path):
    spell, _ = SPELLINGS[name]
    frame = pl.DataFrame({"price": list(map(spell, AMOUNTS)), "country": COUNTRIES})
    frame.write_csv(tmp_path / "normal.csv", separator=";")
    done = call(
        "train", tmp_path / "normal.csv", "--out", tmp_path / "it", "--alpha", 0.05, *WORDS
    )
    assert done.returncode == 0 and "column 'price' is read as numbers with" in done.stderr
    scorer = vaewatch.load(tmp_path / "it")
    texts = pl.DataFrame({"price": [spell(x) for x in (AMOUNTS[0], 1e9)], "country": ["NL"] * 2})
    numbers = pl.DataFrame({"price": [AMOUNTS[0], 1e9], "country": ["NL"] * 2})
    want = scorer.score(numbers).p_value
    assert scorer.score(numbers).is_anomaly.tolist()[1]
    np.testing.assert_array_equal(scorer.score(texts).p_value, want)
    np.testing.assert_array_equal(scorer.score(texts.to_dicts()).p_value, want)
    np.testing.assert_array_equal(scorer.score(numbers.to_dicts()).p_value, want)
    texts.write_csv(tmp_path / "new.csv", separator=";")
    for to in ("csv", "ndjson", "parquet"):
        out = tmp_path / f"out.{to}"
        assert call("score", tmp_path / "it", tmp_path / "new.csv", "--out", out).returncode == 0
    assert pl.read_parquet(tmp_path / "out.parquet")["price"].to_list() == [AMOUNTS[0], 1e9]
    first = json.loads((tmp_path / "out.ndjson").read_text().splitlines()[0])
    assert (first["price"], first["p_value"]) == (AMOUNTS[0], want[0])


def said_of(texts: list[str], **options: Any) -> list[str]:
    frame = pl.DataFrame({"x": texts})
    schema = infer_schema(frame, TrainConfig(**options))
    return [remark.text for remark in remarks(schema, frame, options.get("kinds", ()))]


MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
WORD_OF: dict[str, tuple[Callable[[int], str], str]] = {
    "hex": (lambda i: f"{i * 7919:#x}", "hexadecimal numbers"),
    "clock": (lambda i: f"{i % 24:02}:{i * 7 % 60:02}", "times of day. Give the hour as a number"),
    "month": (lambda i: f"{2000 + i % 20}-{1 + i % 12:02}", "none of them comes again"),
    "name of a month": (lambda i: f"{MONTHS[i % 12]} {2000 + i % 25}", "Name it with --time"),
    "quarter": (lambda i: f"{2000 + i % 25}Q{1 + i % 4}", "none of them comes again"),
    "unit": (lambda i: f"{i * 0.5:.1f} km", "numbers with 'km' in them. Take that away"),
    "units": (lambda i: f"{i}{'KMG'[i % 3]}", "numbers with units"),
    "fraction": (lambda i: f"{i}/{i + 3}", "fractions"),
    "quoted": (lambda i: f"'{i}.5'", "numbers in quotes"),
    "code": (lambda i: f"{i * 331:05}", "'00000', begin with a 0, as codes do"),
    "dialling code": (lambda i: f"+{30 + i % 9}", "'+30', begin with a +, as dialling codes do"),
}


@pytest.mark.parametrize("name", WORD_OF)
def test_texts_that_look_like_something_else_are_said_to(name: str):
    spell, word = WORD_OF[name]
    texts = [spell(i) for i in range(200)]
    (said,) = said_of(texts)
    assert word in said and "--kind 'x=categorical'" in said
    assert said_of(texts, kinds={"x": Kind.CATEGORICAL}) == []


@pytest.mark.parametrize(
    "spell",
    [
        lambda i: f"{i % 5}.{i % 7}.{i}",
        lambda i: f"{1000 + i} {chr(65 + i % 26)}B",
        lambda i: f"street {i % 60}",
        lambda i: str(i % 60),
        lambda i: f"{i % 9} kg",
        lambda i: f"{i % 9 - 4:+}",
    ],
)
def test_of_plain_texts_and_numbers_nothing_is_said(spell: Callable[[int], str]):
    assert said_of([spell(i // 2) for i in range(200)]) == []


@pytest.mark.parametrize("word", ["NA", "n/a", "None", " null", "#N/A", "?", "-", "Unknown"])
def test_a_text_that_may_mean_missing_is_said(word: str):
    texts = ["NL", "DE"] * 20 + [word] * 3
    bare = word.strip()
    quoted = bare if bare.isalpha() or bare in ("n/a", "-") else f"'{bare}'"
    assert said_of(texts) == [
        f"column 'x' is learned as text, with '{bare}' in 3 of 43 records as a value, not as "
        f"missing. If it means missing: --null {quoted}, or leave the cell empty. If it is a "
        "value: --kind 'x=categorical'."
    ]
    assert said_of(texts, kinds={"x": Kind.CATEGORICAL}) == []


def test_texts_that_may_mean_missing_are_said_together():
    (said,) = said_of(["NL", "DE"] * 20 + ["?"] * 2 + ["NA"] * 3 + ["na"] * 2)
    assert "with 'NA' in 3 and '?' in 2 and 'na' in 2 of 47 records as a value" in said
    assert "--null NA --null '?' --null na, or" in said


COUNTRIES = [["NL", "NA", "DE"][i % 3] for i in range(N)]


def test_a_text_that_was_said_to_mean_missing_is_so_and_no_longer_said(tmp_path: Path):
    lines = [f"{amount},{country}" for amount, country in zip(AMOUNTS, COUNTRIES, strict=True)]
    (tmp_path / "in.csv").write_text("\n".join(["amount,country", *lines, ""]))
    words = ("train", tmp_path / "in.csv", "--alpha", "0.05", "--steps", "20", "--no-report")
    plain = call(*words, "--out", tmp_path / "plain")
    assert "with 'NA' in" in plain.stderr and "--null NA, or leave the cell empty" in plain.stderr
    told = call(*words, "--out", tmp_path / "told", "--null", "NA")
    assert told.returncode == 0 and "'NA'" not in told.stderr
    for name, required in (("plain", True), ("told", False)):
        assert vaewatch.load(tmp_path / name).artifact.schema.columns[1].required is required
    done = call("profile", tmp_path / "in.csv")
    assert "country: missing?: column 'country' is learned as text, with 'NA' in" in done.stdout


@pytest.mark.parametrize("word", ["Total", "SUM ", "Grand total"])
def test_a_last_record_that_sums_up_is_said(word: str):
    (said,) = said_of(["NL", "DE"] * 20 + [word])
    assert f"the last record has '{word}' in column 'x'" in said


@pytest.mark.parametrize("ids", [["a", "b", "c", "b", None, None, "b"], [1, 2, 3, 2, 4, 5, 2]])
def test_an_id_that_came_before_is_said(ids: list[Any]):
    schema = replace(infer_schema(pl.DataFrame({"x": [1.0, 2.0]}), TrainConfig()), id="order")
    frame = pl.DataFrame({"x": [float(i) for i in range(len(ids))], "order": ids})
    (said,) = (remark.text for remark in remarks(schema, frame, ()))
    given = len([i for i in ids if i is not None])
    assert f"'order' names the records, but 2 of its {given} values came before, such as" in said
    assert not list(remarks(schema, frame[:3], ()))


def test_a_column_of_rare_texts_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    frame = pl.DataFrame({"amount": AMOUNTS, "note": [f"note {i}" for i in range(N)]})
    logging.getLogger("vaewatch.training").propagate = True
    vaewatch.train(frame, tmp_path / "it", alpha=0.05, **FAST)
    ours = [record for record in caplog.records if record.name == "vaewatch.training"]
    (said,) = {record.getMessage() for record in ours}
    assert "column 'note' is learned as text, but 100% of its values, such as 'note 0'" in said
    assert all(
        word in said for word in ("--id 'note'", "--ignore 'note'", "--kind 'note=numeric'")
    )


def test_a_constant_is_itself_as_float32(tmp_path: Path):
    frame = pl.DataFrame({"amount": AMOUNTS, "gain": [0.1] * N, "third": [1 / 3] * N})
    single = frame.with_columns(pl.col("gain", "third").cast(pl.Float32))
    for at, normal in enumerate((frame, single)):
        scorer = vaewatch.train(normal, tmp_path / f"it{at}", alpha=0.05, **FAST)
        for new in (frame, single):
            assert scorer.score(new).is_anomaly.mean() < 0.1
            assert scorer.score(new.to_dicts()).is_anomaly.mean() < 0.1
        changed = frame.with_columns(gain=pl.lit(0.1001))
        assert scorer.score(changed).is_anomaly.all()


@pytest.mark.parametrize("wide", [0.1, 1 / 3, 3.14159])
def test_a_constant_is_itself_as_float16(tmp_path: Path, wide: float):
    half = float(np.float16(wide))
    for at, (fitted, new) in enumerate([(wide, half), (half, wide)]):
        frame = pl.DataFrame({"amount": AMOUNTS, "gain": [fitted] * N})
        scorer = vaewatch.train(frame, tmp_path / f"it{at}", alpha=0.05, **FAST)
        assert scorer.score(frame.with_columns(gain=pl.lit(new))).is_anomaly.mean() < 0.1
        for changed in (wide * 1.001, wide + 0.25):
            assert scorer.score(frame.with_columns(gain=pl.lit(changed))).is_anomaly.all()


def test_a_number_that_people_write_is_no_rounded_constant(tmp_path: Path):
    frame = pl.DataFrame({"amount": AMOUNTS, "gain": [1000.3] * N})
    scorer = vaewatch.train(frame, tmp_path / "it", alpha=0.05, **FAST)
    assert float(np.float16(1000.3)) == 1000.5
    assert scorer.score(frame.with_columns(gain=pl.lit(1000.5))).is_anomaly.all()


def test_a_whole_constant_that_a_float32_cannot_tell_apart_is_another_one(tmp_path: Path):
    frame = pl.DataFrame({"amount": AMOUNTS, "day": [20250101] * N})
    scorer = vaewatch.train(frame, tmp_path / "it", alpha=0.05, **FAST)
    single = frame.with_columns(pl.col("day").cast(pl.Float32))
    assert scorer.score(single).is_anomaly.mean() < 0.1
    assert scorer.score(frame.with_columns(day=pl.lit(20250102))).is_anomaly.all()


@pytest.fixture
def indexed(tmp_path: Path) -> pd.DataFrame:
    return pd.DataFrame({"amount": AMOUNTS, "country": COUNTRIES})


@pytest.mark.parametrize(
    "write",
    [
        lambda frame, path: frame.sample(frac=1, random_state=0).to_parquet(path / "it.parquet"),
        lambda frame, path: (
            frame.rename_axis("row").sample(frac=1).to_parquet(path / "it.parquet")
        ),
        lambda frame, path: frame.set_index(
            pd.date_range("2024", periods=N, name="at")
        ).to_parquet(path / "it.parquet"),
        lambda frame, path: frame.to_csv(path / "it.csv"),
        lambda frame, path: frame[::-1].to_csv(path / "it.csv"),
        lambda frame, path: frame.set_index("r" + frame.index.astype(str)).to_csv(path / "it.csv"),
        lambda frame, path: frame.assign(**{"Unnamed: 0": range(N)}).to_csv(path / "it.csv"),
        lambda frame, path: frame.reset_index().to_csv(path / "it.csv", index=False),
        lambda frame, path: frame.reset_index().reset_index().to_parquet(path / "it.parquet"),
        lambda frame, path: frame.set_index(frame.index + 1).to_csv(
            path / "it.csv", index_label="rownames"
        ),
        lambda frame, path: frame.set_index(frame.index + 1).to_csv(
            path / "it.csv", index_label="X"
        ),
    ],
)
def test_the_index_of_a_table_is_left_out_and_said(
    indexed: pd.DataFrame,
    tmp_path: Path,
    write: Callable[[pd.DataFrame, Path], None],
    caplog: pytest.LogCaptureFixture,
):
    write(indexed, tmp_path)
    logging.getLogger("vaewatch.training").propagate = True
    frame = read_frame(next(tmp_path.iterdir()))
    assert set(frame.columns) == {"amount", "country"} and len(frame) == N
    assert "is left out: it is a table's index" in caplog.text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("X", [i / 2 for i in range(N)]),
        ("X", list(range(5, N + 5))),
        ("index", [i % 50 for i in range(N)]),
        ("row", list(range(N))),
    ],
)
def test_a_column_that_only_has_the_name_of_an_index_is_data(
    indexed: pd.DataFrame, tmp_path: Path, name: str, values: list[float]
):
    indexed.insert(0, name, values)
    indexed.to_csv(tmp_path / "it.csv", index=False)
    assert name in read_frame(tmp_path / "it.csv").columns
    counted = indexed.assign(**{name: range(N)})[["amount", name, "country"]]
    counted.to_csv(tmp_path / "it.csv", index=False)
    assert name in read_frame(tmp_path / "it.csv").columns  # not the first


def test_an_index_that_is_named_in_an_option_is_read(indexed: pd.DataFrame, tmp_path: Path):
    indexed.rename_axis("row").sample(frac=1).to_parquet(tmp_path / "it.parquet")
    frame = read_frame(tmp_path / "it.parquet", Reading(keep=frozenset({"row"})))
    assert "row" in frame.columns


def test_an_index_may_come_or_not_when_scoring(indexed: pd.DataFrame, tmp_path: Path):
    indexed.to_csv(tmp_path / "normal.csv")
    out = tmp_path / "it"
    assert call("train", tmp_path / "normal.csv", "--out", out, "--alpha", 0.05, *WORDS).stderr
    indexed.to_csv(tmp_path / "without.csv", index=False)
    indexed.set_index(indexed.index.to_numpy()).to_parquet(tmp_path / "with.parquet")
    for name in ("normal.csv", "without.csv", "with.parquet"):
        scored = tmp_path / f"{name}.csv"
        done = call("score", out, tmp_path / name, "--to", "csv", "--out", scored, "--quiet")
        assert done.returncode == 0
    same = [
        verdicts_of(tmp_path / f"{n}.csv") for n in ("normal.csv", "without.csv", "with.parquet")
    ]
    assert same[0] == same[1] == same[2]
    assert (tmp_path / "normal.csv.csv").read_text().startswith(",amount,country,anomaly_score")


def test_a_first_column_without_a_name_that_repeats_is_refused(tmp_path: Path):
    (tmp_path / "it.csv").write_text(",a\nx,1\ny,2\nx,3\n")
    with pytest.raises(SchemaError, match="it.csv': column 1 must have a name.*--ignore"):
        read_frame(tmp_path / "it.csv")


def test_delimiters_at_the_end_and_blank_rows_after_it_are_no_data(tmp_path: Path):
    rows = "".join(f"{european(x)};{c};;\n" for x, c in zip(AMOUNTS, COUNTRIES, strict=True))
    (tmp_path / "it.csv").write_text(f"amount;country;;\n{rows}" + ";;;\n" * 9)
    frame = read_frame(tmp_path / "it.csv")
    assert frame.columns == ["amount", "country"] and len(frame) == N


def test_bad_rows_are_set_aside(tmp_path: Path):
    rows = [f"{x},{c}" for x, c in zip(AMOUNTS, COUNTRIES, strict=True)]
    rows[3:3] = ["1,2,3", "oops,NL"]
    (tmp_path / "it.csv").write_text("amount,country\n" + "\n".join(rows) + "\n12.5")
    words = ("train", tmp_path / "it.csv", "--out", tmp_path / "it", "--alpha", 0.05, *WORDS)
    assert "(line 5). Mend or remove that row, or pass --rejects" in call(*words).stderr
    done = call(*words, "--rejects", tmp_path / "bad.csv")
    assert done.returncode == 0 and "3 bad rows were set aside" in done.stderr
    with (tmp_path / "bad.csv").open(newline="") as file:
        found = [(int(row["line"]), row["code"], row["row"]) for row in csv.DictReader(file)]
    assert found == [(5, "fields", "1,2,3"), (303 + 1, "fields", "12.5"), (6, "type", "oops,NL")]
    assert vaewatch.load(tmp_path / "it").artifact.manifest.metrics.records == N


def test_the_line_of_a_cell_that_is_no_number_is_named(tmp_path: Path):
    lines = [f"{x}" for x in AMOUNTS] + ["oops"]
    (tmp_path / "it.csv").write_text('"a\nb",c\n' + "".join(f"{x},x\n" for x in lines))
    done = call("train", tmp_path / "it.csv", "--out", tmp_path / "it", *WORDS)
    assert done.returncode == 3 and f"line {N + 3}: 'oops'" in done.stderr


def test_a_declared_text_or_number_is_missing_in_training_and_scoring(tmp_path: Path):
    texts = ["?" if i % 9 == 0 else str(x) for i, x in enumerate(AMOUNTS)]
    kinds = ["?" if i % 7 == 0 else c for i, c in enumerate(COUNTRIES)]
    gauge = [-200.0 if i % 5 == 0 else round(float(x) % 7, 2) for i, x in enumerate(AMOUNTS)]
    frame = pl.DataFrame({"amount": texts, "country": kinds, "gauge": gauge})
    frame.write_csv(tmp_path / "it.csv")
    words = ("train", tmp_path / "it.csv", "--out", tmp_path / "it", "--alpha", 0.05, *WORDS)
    assert call(*words, "--null", "?", "--null", "-200").returncode == 0
    scorer = vaewatch.load(tmp_path / "it")
    assert not any(column.required for column in scorer.artifact.schema.columns)
    assert scorer.artifact.schema.columns[2].low >= 0
    given = {"amount": float(AMOUNTS[1]), "country": "?", "gauge": -200}
    missing = {**given, "country": None, "gauge": None}
    scores = scorer.score([given, missing]).score
    assert scores[0] == scores[1]
    pl.DataFrame([given]).write_csv(tmp_path / "new.csv")
    pl.DataFrame([missing]).write_csv(tmp_path / "gone.csv")
    for name in ("new", "gone"):
        call(
            "score", tmp_path / "it", tmp_path / f"{name}.csv", "--out", tmp_path / f"{name}.o.csv"
        )
    assert verdicts_of(tmp_path / "new.o.csv") == verdicts_of(tmp_path / "gone.o.csv")


def test_evaluate_and_recalibrate_read_as_train_does(tmp_path: Path):
    normal = pl.DataFrame({"amount": AMOUNTS, "country": COUNTRIES})
    vaewatch.train(normal, tmp_path / "it", alpha=0.05, **FAST)
    again = np.exp(np.random.default_rng(9).normal(7, 1, N)).round(2)
    rows = [f"{i}~{x}~{c}~0" for i, (x, c) in enumerate(zip(again, COUNTRIES, strict=True))]
    rows[4] = "4~-~NL~0"
    text = "~amount~country~label\n" + "\n".join(rows) + "\n9~9\n"
    (tmp_path / "new.csv").write_text(text)
    options = ("--delimiter", "~", "--null", "-", "--rejects", tmp_path / "bad.csv")
    done = call("evaluate", tmp_path / "it", tmp_path / "new.csv", "--json", *options)
    assert done.returncode == 0 and json.loads(done.stdout)["records"] == N
    assert "1 bad rows" in done.stderr or "1 bad row " in done.stderr
    done = call(
        "recalibrate", tmp_path / "it", tmp_path / "new.csv", "--out", tmp_path / "b", *options
    )
    assert done.returncode == 0, done.stderr


def test_a_packed_file_without_its_end_is_bad_data(tmp_path: Path):
    packed = gzip.compress(("a,b\n" + "1,2\n" * 90_000).encode(), 1)
    (tmp_path / "it.csv.gz").write_bytes(packed[:-200])
    done = call("train", tmp_path / "it.csv.gz", "--out", tmp_path / "it", *WORDS)
    assert done.returncode == 3 and "it.csv.gz' must be a whole .gz file" in done.stderr


def test_padded_and_cased_cells_are_the_cells(tmp_path: Path):
    flags = ["Y" if i % 3 else "N" for i in range(N)]
    frame = pl.DataFrame({"amount": AMOUNTS, "country": COUNTRIES, "flag": flags})
    scorer: Scorer = vaewatch.train(frame, tmp_path / "it", alpha=0.05, **FAST)
    padded = frame.with_columns(pl.col("country") + "   ", pl.col("flag").str.to_lowercase())
    np.testing.assert_array_equal(scorer.score(padded).score, scorer.score(frame).score)


def test_store_numbers_are_one_category_in_every_file(tmp_path: Path):
    stores = (np.arange(N) % 5).astype(float).tolist()
    frame = pl.DataFrame({"store": [f"{s}" for s in stores], "amount": AMOUNTS})
    kinds = {"kinds": {"store": "categorical"}}
    scorer = vaewatch.train(frame, tmp_path / "it", alpha=0.05, **kinds, **FAST)
    assert set(scorer.artifact.schema.columns[0].categories) == set("01234")
    want = scorer.score(frame).score
    for values in (stores, list(map(int, stores)), [str(int(s)) for s in stores]):
        new = frame.with_columns(store=pl.Series(values))
        np.testing.assert_array_equal(scorer.score(new).score, want)
        np.testing.assert_array_equal(scorer.score(new.to_dicts()).score, want)


def test_a_frame_says_where_it_stands_without_files():
    with pytest.raises(SchemaError, match="row 3, without the header"):
        infer_schema(pl.DataFrame({"x": ["1", "2", "oops"]}), TrainConfig())
    assert read_sample(pl.DataFrame({"x": [1]}), None, 0).place(0) == "row 1, without the header"


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["", "?", "1.5", "2", "3e1"])])
def test_texts_stored_once_each_are_read_as_the_texts_that_they_are(tmp_path: Path, dtype: Any):
    texts = pl.Series("x", ["1.5", "2", "", "3e1", "?"] * 4)
    plain, coded = tmp_path / "plain.parquet", tmp_path / "coded.parquet"
    texts.to_frame().write_parquet(plain)
    texts.cast(dtype).to_frame().write_parquet(coded)
    config, reading = TrainConfig(nulls=("?",)), Reading(nulls=("?",))
    first, second = (infer_schema(read_frame(p, reading), config) for p in (plain, coded))
    assert first == second and first.columns[0].kind is Kind.NUMERIC
    for path in (plain, coded):
        with open_source(str(path), first) as source:
            (chunk,) = source.chunks(None)
            records = source.parse(chunk)
        numbers = records.table.numbers[:, 0]
        assert records.rejects == () and np.nansum(numbers) == 4 * 33.5
        assert np.isnan(numbers).sum() == 8


@pytest.mark.parametrize("dtype", [pl.Binary, pl.List(pl.Int64), pl.Duration])
def test_rows_with_cells_of_any_type_are_set_aside(tmp_path: Path, dtype: Any):
    frame = pl.DataFrame({"x": ["1", "2", "oops"] * 9 + ["4"] * 9})
    frame = frame.with_columns(pl.lit(None, dtype).alias("extra"))
    source, rejects = tmp_path / "in.parquet", tmp_path / "r.csv"
    frame.write_parquet(source)
    sample = read_sample(source, None, 0)
    sample.without([Problem(2, "x", "type", "must be a number")]).write_rejects(rejects)
    (row,) = csv.DictReader(rejects.read_text().splitlines())
    assert row["row"] == "oops,"


@pytest.mark.parametrize(("dtype", "remedy"), [(pl.Duration, "seconds"), (pl.Time, "its hour")])
def test_a_span_or_a_time_of_day_is_no_moment(dtype: Any, remedy: str):
    with pytest.raises(SchemaError, match=f"'x' must hold numbers.*such as {remedy}"):
        infer_column(pl.Series("x", [None, 5_000_000_000], pl.Int64).cast(dtype))
