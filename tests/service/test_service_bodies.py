"""Kinds of bodies and options, against a real service."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.live import Live, serving
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.score import PART_COLUMNS
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import parse_records
from vaewatch.service.model.reader import RecordReader
from vaewatch.service.score.answers import CSV_HEADER

ND = {"content-type": "application/x-ndjson"}
CSV = {"content-type": "text/csv; charset=utf-8"}


@pytest.fixture(scope="module")
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path, "--max-body-bytes", "1000000", "--max-records", "1000") as running:
        yield running


@pytest.fixture(scope="module")
def records(mixed_frame: pl.DataFrame) -> list[dict[str, Any]]:
    return mixed_frame.drop("order").to_dicts()


def lines(records: list[Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def test_ndjson_is_answered_line_by_line(
    live: Live, records: list[dict[str, Any]], scorer: Scorer
):
    answer = live.post("/v1/score", content=lines(records[:30]), headers=ND)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["x-model-version"] == scorer.artifact.version
    got = [json.loads(line)["score"] for line in answer.text.splitlines()]
    np.testing.assert_allclose(got, scorer.score_records(records[:30]).score, rtol=1e-5)


@pytest.mark.parametrize(
    ("n", "form"), [(1, b"%b"), (30, b"%b"), (30, b"\xef\xbb\xbf \n%b\n"), (1000, b"%b")]
)
def test_an_array_is_answered_as_the_object_that_holds_it(
    live: Live, records: list[dict[str, Any]], n: int, form: bytes
):
    many = (records * 2)[:n]
    whole = live.post("/v1/score", json={"records": many})
    array = live.post("/v1/score", content=form % json.dumps(many).encode())
    assert array.status_code == 200 and array.content == whole.content
    bad = [*many[:-1], many[-1] | {"amount": "dear"}]
    whole, array = (live.post("/v1/score", json=body) for body in ({"records": bad}, bad))
    assert array.status_code == whole.status_code == 422
    assert array.json()["errors"] == whole.json()["errors"]


@pytest.mark.parametrize(
    "between", [b"}\n{", b"}{", b""], ids=["good", "two on one", "one on two"]
)
def test_a_line_of_ndjson_holds_one_record(
    live: Live, records: list[dict[str, Any]], between: bytes
):
    """Of two records on one line, and of one on two, nobody could say which line is which."""
    first, second = lines(records[:2]).strip().split(b"\n")
    body = first[:-1] + between + second[1:] if between else first.replace(b",", b",\n", 1)
    answer = live.post("/v1/score", content=body, headers=ND)
    if between == b"}\n{":
        assert answer.status_code == 200 and len(answer.text.splitlines()) == 2
    else:
        assert answer.status_code == 400 and "record 0 must be JSON" in answer.json()["detail"]


def test_csv_is_answered_row_by_row(live: Live, mixed_frame: pl.DataFrame, scorer: Scorer):
    frame = mixed_frame.head(30)
    answer = live.post("/v1/score", content=frame.write_csv().encode(), headers=CSV)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    expected = scorer.score_records(frame.drop("order").to_dicts())
    np.testing.assert_allclose(
        [float(r["anomaly_score"]) for r in rows], expected.score, rtol=1e-5
    )


def test_a_decimal_comma_in_csv_is_named_with_what_to_do(live: Live, mixed_frame: pl.DataFrame):
    frame = mixed_frame.head(2).with_columns(amount=pl.lit("1,5"))
    answer = live.post("/v1/score", content=frame.write_csv(separator=";"), headers=CSV)
    rule = "column 'amount' must be a number with a decimal point, got one with a comma"
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"{rule} (record 0). 1 more problem follows. Write")
    errors = [(each["code"], each["message"]) for each in answer.json()["errors"]]
    assert errors == [("decimal", rule)] * 2


def test_a_header_again_in_csv_is_one_fault(live: Live, mixed_frame: pl.DataFrame):
    rows = mixed_frame.head(2).write_csv()
    answer = live.post("/v1/score", content=rows + rows, headers=CSV)
    rule = "a row must be a record, but this one repeats the header, as where files were joined"
    assert answer.status_code == 422 and answer.json()["detail"] == f"{rule} (record 2)."
    assert [each["code"] for each in answer.json()["errors"]] == ["header"]


@pytest.mark.parametrize("explain", ["0", "1", "5"])
def test_csv_answers_are_quoted_as_polars_quotes(
    live: Live, mixed_frame: pl.DataFrame, explain: str
):
    body = (mixed_frame.head(30).write_csv() + "ragged\n").encode()
    path = f"/v1/score?on_error=null&explain={explain}"
    answer = live.post(path, content=body, headers=CSV).text
    assert pl.read_csv(answer.encode(), infer_schema=False).write_csv() == answer


def test_large_requests_score_like_small_ones(
    live: Live, records: list[dict[str, Any]], scorer: Scorer
):
    many = (records * 3)[:900]
    got = live.post("/v1/score", json={"records": many}).json()["results"]
    np.testing.assert_allclose(
        [r["score"] for r in got], scorer.score_records(many).score, rtol=1e-5
    )


def test_bad_records_get_an_error_in_their_place(live: Live, records: list[dict[str, Any]]):
    mixed = [records[0], {**records[1], "amount": []}, records[2], 7]
    results = live.post("/v1/score?on_error=null", json={"records": mixed}).json()["results"]
    assert ["score" in r for r in results] == [True, False, True, False]
    assert results[1]["errors"][0]["column"] == "amount"
    assert results[3]["errors"][0]["column"] is None
    answer = live.post("/v1/score?on_error=null", content=lines(mixed), headers=ND)
    assert ["score" in json.loads(line) for line in answer.text.splitlines()] == [
        True,
        False,
        True,
        False,
    ]


def test_a_ragged_csv_row_keeps_its_place(live: Live, mixed_frame: pl.DataFrame):
    rows = mixed_frame.head(3).write_csv().splitlines()
    body = "\n".join([rows[0], rows[1], "1,2", rows[2], rows[3].replace("EUR", "EUR")]).encode()
    refused = live.post("/v1/score", content=body, headers=CSV)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["record"] == 1
    answer = live.post("/v1/score?on_error=null", content=body, headers=CSV)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]


def test_a_csv_without_a_column_is_refused(live: Live, mixed_frame: pl.DataFrame):
    body = mixed_frame.head(3).drop("amount").write_csv().encode()
    answer = live.post("/v1/score", content=body, headers=CSV)
    assert (answer.status_code, answer.json()["code"]) == (422, "columns")


def test_alpha_and_explain_are_per_request(live: Live, records: list[dict[str, Any]]):
    answer = live.post("/v1/score?alpha=0.5&explain=2", json={"records": records[:40]}).json()
    assert answer["model"]["alpha"] == 0.5
    assert all(r["is_anomaly"] == (r["p_value"] <= 0.5) for r in answer["results"])
    assert all(len(r["reasons"]) <= 2 for r in answer["results"])
    assert any(r["reasons"] for r in answer["results"] if not r["is_anomaly"])


def test_explain_shows_the_parts_that_sum_to_the_score(
    live: Live, records: list[dict[str, Any]], scorer: Scorer
):
    plain = live.post("/v1/score", json={"records": records[:20]}).json()["results"]
    assert not any("parts" in result for result in plain)
    results = live.post("/v1/score?explain=1", json={"records": records[:20]}).json()["results"]
    for result, before in zip(results, plain, strict=True):
        assert result["parts"].keys() == {"reconstruction", "kl", "neighbour"}
        assert sum(result["parts"].values()) == pytest.approx(before["score"], rel=1e-5)
    artifact = scorer.artifact
    table = parse_records(artifact.schema, records[:20])[0]
    forward = scorer.network.forward(artifact.vectorizer.transform(table).values)
    for result, kl, distance in zip(results, forward.kl, forward.neighbour, strict=True):
        assert result["parts"]["kl"] == pytest.approx(artifact.rule.kl_weight * kl, rel=1e-4)
        neighbour = artifact.rule.neighbour_weight * distance
        assert result["parts"]["neighbour"] == pytest.approx(neighbour, rel=1e-4)
    answer = live.post("/v1/score?explain=1", content=lines(records[:20]), headers=ND)
    assert "parts" in json.loads(answer.text.splitlines()[0])


def test_ids_are_carried_through_and_appear_nowhere_else(
    artifact_path: Path, mixed_frame: pl.DataFrame
):
    frame = mixed_frame.head(3).with_columns(order=pl.Series(['a"SECRET", 1', "SECRET-2", None]))
    records = frame.to_dicts()
    ids = [record["order"] for record in records]
    with serving(artifact_path) as live:

        def ids_of(results: list[dict[str, Any]]) -> list[Any]:
            return [result.get("id", "none") for result in results]

        got = live.post("/v1/score", json={"records": records}).json()["results"]
        assert ids_of(got) == ids
        mixed = [records[0], {**records[1], "amount": "x"}, {**records[2], "order": 7}, "SECRET"]
        got = live.post("/v1/score?on_error=null", json={"records": mixed}).json()["results"]
        assert ids_of(got) == [ids[0], ids[1], 7, "none"]
        del mixed[0]["order"]
        answer = live.post("/v1/score?on_error=null", content=lines(mixed), headers=ND)
        assert ids_of(list(map(json.loads, answer.text.splitlines()))) == [
            "none",
            ids[1],
            7,
            "none",
        ]
        body = frame.write_csv() + "ragged\n"
        answer = live.post("/v1/score?on_error=null&explain=1", content=body, headers=CSV)
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["id"] for row in rows] == [ids[0], ids[1], "", ""]
        sums = [sum(float(row[part]) for part in PART_COLUMNS) for row in rows[:3]]
        assert sums == pytest.approx([float(row["anomaly_score"]) for row in rows[:3]])
        plain = live.post("/v1/score", content=frame.drop("order").write_csv(), headers=CSV)
        assert plain.text.splitlines()[0] == CSV_HEADER
        refused = live.post("/v1/score", json={"records": mixed[1:2]})
        assert refused.status_code == 422 and "SECRET" not in refused.text
        metrics = live.get("/metrics").text
        live.stop()
    assert "SECRET" not in live.said + metrics


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("alpha=2", 400, "between 1e-09 and 1"),
        ("alpha=nan", 400, "between 1e-09 and 1"),
        ("alpha=x", 400, "between 1e-09 and 1"),
        ("alpha=5e-324", 400, "between 1e-09 and 1"),
        ("alpha=0.000001", 422, "calibration records"),
        ("explain=-1", 400, "whole number"),
        ("explain=1000", 400, "whole number"),
        ("on_error=skip", 400, "reject or null"),
        ("explian=3", 400, "each once, got 'explian'."),
        (f"{'x' * 99}=3&%0A=1", 400, f"got '\\n', '{'x' * 40}...'."),
        ("alpha=0.1&alpha=0.2", 400, "each once"),
        ("a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1", 400, "at most 8 fields"),
    ],
)
def test_a_bad_option_is_a_problem(
    live: Live, records: list[dict[str, Any]], query: str, status: int, text: str
):
    answer = live.post(f"/v1/score?{query}", json={"records": records[:1]})
    assert (answer.status_code, text in answer.json()["detail"]) == (status, True), answer.text


def test_gzip_bodies_are_read_up_to_their_expanded_size(live: Live, records: list[dict[str, Any]]):
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    body = gzip.compress(json.dumps({"records": records[:9]}).encode())
    assert len(live.post("/v1/score", content=body, headers=packed).json()["results"]) == 9
    bomb = gzip.compress(b" " * 50_000_000)
    assert live.post("/v1/score", content=bomb, headers=packed).status_code == 413
    for broken in (b"no gzip", body[:-5], body + b"x"):
        assert live.post("/v1/score", content=broken, headers=packed).status_code == 400
    headers = {**packed, "content-encoding": "br"}
    refused = live.post("/v1/score", content=body, headers=headers)
    assert refused.status_code == 415
    assert refused.json()["detail"] == "content-encoding must be gzip or identity, got 'br'."


def test_limits_of_size(live: Live, records: list[dict[str, Any]]):
    assert live.post("/v1/score", json={"records": records[:3] * 334}).status_code == 413
    assert live.post("/v1/score", content=b" " * 1_000_001).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 50_000

    assert live.post("/v1/score", content=endless()).status_code == 413
    answer = live.post("/v1/score", content=b"x", headers={"content-type": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")
    assert answer.json()["detail"].endswith("text/csv, got 'image/png'.")


def test_the_request_id_is_kept_if_it_is_plain(live: Live):
    assert live.get("/livez", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    given = 'x" forged'
    assert live.get("/livez", headers={"x-request-id": given}).headers["x-request-id"] != given
    headers = live.get("/livez").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["NL", "DE", "", "3", "true", "TRUE", "0", "1.0", 3.0, 1, 0, 3.5]),
    st.lists(st.integers(), max_size=1),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_fast_way_and_the_exact_way_make_the_same_table(scorer: Scorer, data: st.DataObject):
    schema: Schema = scorer.artifact.schema
    record = st.fixed_dictionaries(
        {}, optional={name: values for name in (*schema.names, "unknown column")}
    )
    full = st.fixed_dictionaries({name: values for name in schema.names})
    records = data.draw(st.lists(record | full, min_size=1, max_size=3))
    reader = RecordReader(schema, 100)
    rows = reader.rows(json.dumps({"records": records}).encode())
    table, problems = parse_records(schema, records)
    if rows is None:
        return
    assert not problems
    fast = reader.table(rows)
    np.testing.assert_array_equal(fast.numbers, table.numbers)
    np.testing.assert_array_equal(fast.codes, table.codes)
    for row in range(len(records)):
        for column in schema.columns:
            assert fast.observed(row, column) == table.observed(row, column)


def test_plain_records_take_the_fast_way(scorer: Scorer, records: list[dict[str, Any]]):
    reader = RecordReader(scorer.artifact.schema, 1000)
    assert reader.rows(json.dumps({"records": records}).encode()) is not None
    assert reader.rows_of_lines(lines(records)) is not None
