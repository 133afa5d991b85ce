"""Feedback and patterns: over HTTP, and by `vaewatch feedback`."""

from __future__ import annotations

import csv
import io
import resource
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import VAEWATCH, call
from tests.live import Live, serving, until
from tests.postgres import needs_postgres, postgres
from tests.service.incidents.conftest import incidents, odd_records, post, wait_for_alarms
from tests.service.raw import connected
from vaewatch.service.incidents.precision import precision_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/it.sqlite"


@pytest.fixture(scope="module")
def live(artifact_path: Path, store: str) -> Iterator[Live]:
    with serving(artifact_path, "--store", store) as running:
        post(running, odd_records(4))
        wait_for_alarms(running, 4)
        yield running


@pytest.fixture
def one(live: Live) -> str:
    return str(incidents(live, muted="false")[0]["id"])


def say(live: Live, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = live.post("/v1/feedback", json=body)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_what_is_said_is_kept_once_and_the_last_word_counts(live: Live, one: str):
    first = say(live, incident=one, label="confirmed", reason="real", id="first")
    assert say(live, incident=one, label="confirmed", reason="real", id="first") == first
    other = say(live, 409, incident=one, label="false_alarm", reason="real", id="first")
    assert "the id must be a new one" in other["detail"]
    assert (first["by"], first["columns"], first["record"]) == (None, ["amount"], None)
    assert incidents(live, label="confirmed")[0]["id"] == one
    say(live, incident=one, label="false_alarm")
    found = live.get(f"/v1/incidents/{one}").json()
    assert (found["label"], len(found["marks"])) == ("false_alarm", 2)
    say(live, incident=one, label="withdrawn")
    assert live.get(f"/v1/incidents/{one}").json()["label"] is None
    assert len(live.get("/v1/feedback", params={"incident": one}).json()["marks"]) == 3


def test_expected_silences_the_like_until_something_else_is_said(live: Live, one: str):
    end = time.time() + 3600
    mark = say(live, incident=one, label="expected", until=end, reason="stock-taking")
    [pattern] = live.get("/v1/patterns").json()["patterns"]
    assert (pattern["id"], pattern["columns"]) == (mark["pattern"], ["amount"])
    assert (pattern["direction"], pattern["incident"]) == ("above", one)
    before = live.value("vaewatch_incidents_silenced_total")
    post(live, odd_records(2))
    wait_for_alarms(live, 6)
    muted = incidents(live, muted="true")
    assert {each["muted"] for each in muted} == {pattern["id"]}
    assert live.value("vaewatch_incidents_silenced_total") == before + 1
    assert live.value("vaewatch_incidents_open") == 0
    say(live, incident=one, label="confirmed")
    assert live.get("/v1/patterns").json()["patterns"] == []
    [ended] = live.get("/v1/patterns", params={"state": "ended"}).json()["patterns"]
    assert (ended["id"], ended["active"], ended["alarms"]) == (pattern["id"], False, 2)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"label": "confirmed"}, 400, "must name an incident or a record"),
        ({"label": "great", "record": "a"}, 400, "openapi.json"),
        ({"label": "confirmed", "record": "a", "until": 1}, 400, "must go with"),
        ({"label": "expected", "record": "a", "until": 4e9}, 400, "must name an incident, and"),
        ({"label": "expected", "incident": "ONE"}, 400, "its end with 'until'"),
        ({"label": "expected", "incident": "ONE", "until": 1}, 400, "must be in the future"),
        ({"label": "expected", "incident": "ONE", "until": 9e9}, 400, "at most 366 days"),
        ({"label": "confirmed", "incident": "0123456789ab"}, 404, "no incident of this id"),
        ({"label": "confirmed", "record": "a", "id": "a b"}, 400, "openapi.json"),
        ({"label": "confirmed", "record": "a\0b"}, 400, "openapi.json"),
        ({"label": "confirmed", "record": "a", "why": 1}, 400, "openapi.json"),
        ({"label": "confirmed", "record": "a", "reason": "x" * 1001}, 400, "openapi.json"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    live: Live, one: str, body: dict[str, Any], status: int, says: str
):
    filled = {name: one if value == "ONE" else value for name, value in body.items()}
    assert says in say(live, status, **filled)["detail"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"until": 4e9}, "must name columns or a group"),
        ({"columns": ["amount"]}, "openapi.json"),
        ({"columns": ["amount"], "until": 1}, "must be in the future"),
        ({"columns": ["a"], "until": 4e9}, "at most 366 days"),
        ({"columns": ["a"], "until": "soon"}, "must be ISO 8601"),
        ({"columns": ["a"], "until": "NOW", "severity_from": 3, "severity_to": 2}, "above"),
        ({"columns": ["a"], "until": "NOW", "since": "2100-01-01"}, "before 'until'"),
        ({"columns": ["a"], "until": "NOW", "direction": "left"}, "openapi.json"),
        ({"columns": ["Amount"], "until": "NOW"}, "got 'Amount'"),
        ({"columns": "ALL", "until": "NOW"}, "it may not be everything"),
        ({"columns": "ALL", "until": "NOW", "severity_from": 0}, "it may not be everything"),
        ({"columns": "ALL", "until": "NOW", "severity_to": 99}, "it may not be everything"),
    ],
)
def test_a_pattern_for_everything_or_for_ever_is_refused(
    live: Live, body: dict[str, Any], says: str
):
    columns = [column["name"] for column in live.get("/v1/model").json()["schema"]["columns"]]
    words = {"NOW": time.time() + 60, "ALL": columns}
    filled = {k: words.get(v, v) if isinstance(v, str) else v for k, v in body.items()}
    answer = live.post("/v1/patterns", json=filled)
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


def test_a_pattern_is_ended_before_its_time(live: Live):
    body = {"group": "x", "until": time.time() + 60, "reason": "repairs"}
    made = live.post("/v1/patterns", json=body).json()
    assert made["active"]
    for _ in range(2):
        ended = live.ask("DELETE", f"/v1/patterns/{made['id']}").json()
        assert not ended["active"]
    assert live.ask("DELETE", "/v1/patterns/nothing").status_code == 404


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("since=soon", "'since' must be ISO 8601"),
        ("state=gone", "'state' must be open or ended"),
        ("label=good", "'label' must be confirmed"),
        ("cursor=1", "'cursor' must be the 'next'"),
        ("limit=0", "'limit' must be a whole number from 1 to 1,000"),
        ("limit=x", "'limit' must be a whole number"),
        ("muted=1", "'muted' must be true or false"),
        ("chance=0", "'chance' must be a number above 0, and of 1 at most"),
        ("chance=nan", "'chance' must be a number above 0, and of 1 at most"),
        ("chance=rare", "'chance' must be a number above 0, and of 1 at most"),
    ],
)
def test_a_query_that_is_none_is_refused(live: Live, query: str, says: str):
    answer = live.get(f"/v1/incidents?{query}")
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


def test_the_summary_counts_by_column_group_and_week(live: Live, one: str):
    say(live, incident=one, label="confirmed")
    found = live.get("/v1/feedback/summary").json()
    assert (found["all"]["confirmed"], found["all"]["precision"]) == (1, 1.0)
    assert found["all"]["lower"] == pytest.approx(0.2065, abs=1e-4)
    assert [each["name"] for each in found["columns"]] == ["amount"]
    assert found["weeks"][0]["confirmed"] == 1
    until(lambda: live.value("vaewatch_incident_precision") == 1.0)


def test_the_interval_is_that_of_wilson():
    found = precision_of(8, 2)
    assert found is not None
    assert (found.lower, found.upper) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert precision_of(0, 0) is None


def test_feedback_goes_to_csv_and_back_once(live: Live, one: str, store: str, tmp_path: Path):
    say(live, incident=one, label="confirmed", reason='a "real", one')
    say(live, record="o7", label="false_alarm")
    path = tmp_path / "marks.csv"
    assert call("feedback", "export", "--store", store, "--out", path).returncode == 0
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert {row["incident"] or row["record"] for row in rows} >= {one, "o7"}
    row = next(row for row in rows if row["incident"] == one)
    assert (row["label"], row["reason"]) == ("confirmed", 'a "real", one')
    assert (row["columns"], row["kind"], row["group"]) == ("amount", "all", "")
    backup = tmp_path / "backup.sqlite"
    done = call("feedback", "backup", backup, "--store", store)
    assert done.returncode == 0, done.stderr
    copied = f"sqlite:///{backup}"
    for kept in ("0", "0"):
        done = call("feedback", "import", path, "--store", copied)
        assert done.stdout.split()[1] == kept, done.stdout
    lines = "label,record\nconfirmed,o9\n"
    (tmp_path / "more.csv").write_text(lines)
    for kept in ("1", "0"):
        done = call("feedback", "import", tmp_path / "more.csv", "--store", copied, "--by", "eve")
        assert done.stdout.split()[1] == kept, done.stdout
    (tmp_path / "more.csv").write_text("kind,label,record\n,confirmed,o9\n")
    done = call("feedback", "import", tmp_path / "more.csv", "--store", copied, "--by", "eve")
    assert done.stdout.split()[1] == "0", done.stdout  # a file of before is the same one
    assert "eve" in call("feedback", "list", "--store", copied).stdout
    every = call("feedback", "list", "--store", copied, "--all").stdout
    assert len(every.splitlines()) > len(rows) + 2
    assert call("feedback", "backup", backup, "--store", store).returncode == 2


def test_a_spreadsheet_may_have_its_own_form_and_unknown_incidents_are_counted(
    live: Live, one: str, store: str, tmp_path: Path
):
    path, copied = tmp_path / "sheet.csv", f"sqlite:///{tmp_path}/copy.sqlite"
    assert call("feedback", "backup", copied, "--store", store).returncode == 0
    path.write_bytes(
        f'\ufefflabel;incident;reason;columns\r\nconfirmed;{one};"stolen; a card";"a; b"\r\n'
        "false_alarm;ffffffffffff;;\r\n".encode()
    )
    done = call("feedback", "import", path, "--store", copied)
    assert done.stdout.split()[:4] == ["kept", "2", "known", "0"], done.stderr
    assert "1 name no incident of this store" in done.stdout
    exported = call("feedback", "export", "--store", copied).stdout
    rows = list(csv.DictReader(io.StringIO(exported)))
    last = next(row for row in rows if row["incident"] == one)
    assert (last["reason"], last["columns"]) == ("stolen; a card", "a; b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("record\na\n", "must have a column 'label'"),
        ("label,record\ngood,a\n", "a label must be confirmed, false_alarm"),
        ("label,record\nconfirmed,\n", "must name an incident, a record, or first and last"),
        ("label,record,at\nconfirmed,a,soon\n", "'at' must be a time such as 2026-"),
        ("label,record,kind\nconfirmed,a,shop\n", "the kind of a group must be all, segment"),
        ("label,record,colour\nconfirmed,a,red\n", "unknown column 'colour'"),
        ("label,record,record\nconfirmed,a,b\n", "each column once, got 'record' again"),
        ("label,record,reason\nconfirmed,a,x\nconfirmed,b,it is, and\n", "quotes (line 3 of "),
        ('label,record\nconfirmed,"a\nconfirmed,b\n', "quotes are closed: unexpected end"),
        ("label,record,id\nconfirmed,a,1\nfalse_alarm,a,1\n", "got '1' again (line 3 of "),
        ("label,first,last\nconfirmed,2026-01-02,2026-01-01\n", "must not be after 'last'"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_kept(
    live: Live, store: str, tmp_path: Path, text: str, says: str
):
    (tmp_path / "bad.csv").write_text(text)
    before = call("feedback", "export", "--all", "--store", store).stdout
    done = call("feedback", "import", tmp_path / "bad.csv", "--store", store)
    assert (done.returncode, says in done.stderr) == (3, True), done.stderr
    assert call("feedback", "export", "--all", "--store", store).stdout == before


def test_a_backup_is_whole_or_not_there(live: Live, store: str, tmp_path: Path):
    """Half of one would be a store like any other, and look as if nobody had said anything."""
    words = [VAEWATCH, "feedback", "backup", "it.sqlite", "--store", store]

    def full_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    done = subprocess.run(
        words, cwd=tmp_path, preexec_fn=full_disk, capture_output=True, text=True
    )
    assert (done.returncode, "does not answer" in done.stderr) == (1, True), done.stderr
    assert not list(tmp_path.iterdir())
    (tmp_path / "it.sqlite.part").write_text("of a run that was killed")
    assert subprocess.run(words, cwd=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["it.sqlite"]
    listed = [call("feedback", "export", "--all", "--store", url).stdout
              for url in (store, f"sqlite:///{tmp_path}/it.sqlite")]  # fmt: skip
    assert listed[0] == listed[1]


def test_a_store_that_is_not_there_is_refused(tmp_path: Path):
    done = call("feedback", "list", "--store", f"sqlite:///{tmp_path}/none.sqlite")
    assert (done.returncode, "--store must be there" in done.stderr) == (2, True)
    assert not (tmp_path / "none.sqlite").exists()


def test_the_commands_read_the_file_of_the_store_as_the_service_does(
    live: Live, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    say(live, record="of a file", label="confirmed")
    monkeypatch.setenv("VAEWATCH_STORE", f"sqlite:///{tmp_path}/none.sqlite")
    assert "must be there" in call("feedback", "list").stderr
    (tmp_path / "url").write_text(f"{store}\n")
    monkeypatch.setenv("VAEWATCH_STORE_FILE", str(tmp_path / "url"))
    done = call("feedback", "list")
    assert (done.returncode, "of a file" in done.stdout) == (0, True), done.stderr
    other = call("feedback", "list", "--store", f"sqlite:///{tmp_path}/none.sqlite")
    assert "must be there" in other.stderr
    (tmp_path / "url").write_text("\n")
    done = call("feedback", "list")
    assert (done.returncode, "must hold a URL, got nothing" in done.stderr) == (2, True)
    monkeypatch.setenv("VAEWATCH_STORE_FILE", str(tmp_path / "none"))
    assert (
        "of VAEWATCH_STORE_FILE must be readable: No such file" in call("feedback", "list").stderr
    )


@needs_postgres
def test_a_store_moves_to_postgresql_and_back(live: Live, one: str, store: str, tmp_path: Path):
    say(live, incident=one, label="confirmed")
    with postgres() as server:
        assert call("feedback", "backup", server.url, "--store", store).returncode == 0
        full = call("feedback", "backup", server.url, "--store", store)
        assert (full.returncode, "must be empty" in full.stderr) == (2, True)
        copied, there = tmp_path / "back.sqlite", ("--store", server.url)
        assert call("feedback", "backup", copied, *there).returncode == 0
        words = ("feedback", "export", "--all", "--store")
        texts = {call(*words, url).stdout for url in (store, server.url, f"sqlite:///{copied}")}
        assert len(texts) == 1
        (tmp_path / "more.csv").write_text("label,record\nconfirmed,o99\n")
        done = call("feedback", "import", tmp_path / "more.csv", *there)
        assert done.stdout.split()[1] == "1", done.stderr
        server.stop()
        away = call("feedback", "list", *there)
        assert (away.returncode, "does not answer" in away.stderr) == (1, True)


def test_a_summary_of_nothing_is_no_fault(artifact_path: Path):
    with serving(artifact_path) as empty:
        found = empty.get("/v1/feedback/summary").json()
        assert (found["all"]["precision"], found["columns"], found["weeks"]) == (None, [], [])
        assert empty.get("/v1/feedback/summary?since=2999-01-01").status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/feedback", "/v1/patterns", "/v1/recalibrate", "/console/score"]
)
def test_a_client_that_leaves_before_its_body_is_whole_is_counted(live: Live, path: str):
    def gone() -> float:
        return live.value("vaewatch_request_duration_seconds_count", code="499", route=path)

    before = gone()
    with connected(live) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            "content-length: 99\r\n\r\n{".encode()
        )
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    until(lambda: gone() == before + 1)
    assert "Traceback" not in live.said
