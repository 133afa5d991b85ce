"""Keys as files and the environment give them, and what the log says of those who use them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import make_frame, run
from tests.live import Live, serving, until
from tests.service.test_service_life import new_workers, reloads_on_sighup
from vaewatch.scoring.errors import SettingError
from vaewatch.service.http.auth import key_of_environment, read_keys

KEY, OTHER = "a key of the tests", "another key of the tests"
BODY = json.dumps({"records": make_frame(1).drop("order").to_dicts()}).encode()


@pytest.fixture(scope="module")
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path) as running:
        yield running


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


BAD_FILES = [
    (b"", "must hold a key, got nothing"),
    (b"\n \r\n", "must hold a key, got nothing"),
    (b"\xef\xbb\xbf", "must hold a key, got nothing"),
    (b"a key of the tests\nanother key of the tests\n", "one key on one line"),
    (b"a key of\x00the tests", "one key on one line"),
    (b"a key of the tests\xff", "must be text in UTF-8"),
    ("a key of the tests".encode("utf-16"), "must be text in UTF-8"),
    (b"too short", "at least 16 characters"),
]


@pytest.mark.parametrize(("content", "text"), BAD_FILES)
def test_a_file_without_one_key_is_refused_at_start(
    artifact_path: Path, tmp_path: Path, content: bytes, text: str
):
    path = tmp_path / "key"
    path.write_bytes(content)
    env = {"VAEWATCH_KEY_FILE": str(path), "PATH": "/usr/bin:/bin"}
    done = run("serve", artifact_path, "--port", "0", env=env)
    assert done.returncode == 2 and text in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and "listening" not in done.stderr


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_that_a_shell_would_have_taken_are_no_part_of_a_key(
    monkeypatch: pytest.MonkeyPatch, quote: str
):
    monkeypatch.setenv("VAEWATCH_KEY", f"{quote}{KEY}{quote}")
    with pytest.raises(SettingError, match="must hold a key without quotes around it"):
        key_of_environment()


@pytest.mark.parametrize("value", ["", " ", "\t\n"])
def test_an_empty_key_does_not_open_the_service(artifact_path: Path, value: str):
    env = {"VAEWATCH_KEY": value, "PATH": "/usr/bin:/bin"}
    done = run("serve", artifact_path, "--port", "0", env=env)
    assert done.returncode == 2 and "VAEWATCH_KEY must hold a key, got nothing." in done.stderr


@pytest.mark.parametrize(
    "content", [f"\ufeff{KEY}", f"{KEY}\r\n", f" \t{KEY} \n\n", f"\ufeff {KEY}\r\n"]
)
def test_what_stands_around_a_key_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
):
    (tmp_path / "key").write_text(content)
    monkeypatch.setenv("VAEWATCH_KEY_FILE", str(tmp_path / "key"))
    assert key_of_environment() == KEY
    monkeypatch.delenv("VAEWATCH_KEY_FILE")
    monkeypatch.setenv("VAEWATCH_KEY", content.removeprefix("\ufeff"))
    assert key_of_environment() == KEY
    monkeypatch.delenv("VAEWATCH_KEY")
    assert key_of_environment() is None


def test_a_file_of_keys_is_read_as_editors_write_it(tmp_path: Path):
    path = tmp_path / "keys"
    lines = ["# ours", f"score {hash_of(KEY)} shop", "", f"admin {hash_of(OTHER).upper()}  # x"]
    lines += [f"score\t{hash_of('pasted')}  -"]  # as sha256sum prints it
    path.write_text("\ufeff" + "\r\n".join(lines))
    assert [(key.scope.name, key.name) for key in read_keys(path)] == [
        ("SCORE", "shop"),
        ("ADMIN", hash_of(OTHER)[:8]),
        ("SCORE", hash_of("pasted")[:8]),
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "at least one key, got none"),
        (b"# only this\n", "at least one key, got none"),
        (b"score abc\n", "line 1 must be 'score', 'feedback' or 'admin'"),
        (f"score {hash_of(KEY)} a b\n".encode(), "line 1 must be 'score', 'feedback' or 'admin'"),
        (f"score {hash_of(KEY)} <b>\n".encode(), "line 1 must end with a name"),
        (f"root {hash_of(KEY)}\n".encode(), "line 1 must be 'score', 'feedback' or 'admin'"),
        (b"score \xff\n", "must be text in UTF-8"),
        (f"score {hash_of('')}\n".encode(), "line 1 must have the SHA-256 of a key, got that of"),
    ],
)
def test_a_bad_file_of_keys_is_refused(tmp_path: Path, content: bytes, text: str):
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(SettingError, match=text):
        read_keys(tmp_path / "keys")


def test_a_file_of_keys_must_be_regular(tmp_path: Path):
    os.mkfifo(tmp_path / "keys")
    for path in (tmp_path / "keys", tmp_path, Path("/dev/zero")):
        with pytest.raises(SettingError, match="must be a regular file"):
            read_keys(path)


def test_the_keys_stay_while_something_else_stands_for_their_file(
    artifact_path: Path, tmp_path: Path
):
    path, other = tmp_path / "keys", tmp_path / "other"
    path.write_text(f"score {hash_of(KEY)}\n")
    with serving(artifact_path, "--keys-file", str(path)) as live:

        def status(key: str) -> int:
            return live.post("/v1/score", content=BODY, headers={"x-api-key": key}).status_code

        os.mkfifo(other)
        other.replace(path)  # to open it would block until somebody writes to it
        until(lambda: status(OTHER) == 401 and "must be a regular file" in live.said)
        assert status(KEY) == 200
        other.write_text(f"score {hash_of(OTHER)}\n")
        other.replace(path)
        until(lambda: status(OTHER) == 200)
        assert status(KEY) == 401
        path.write_text("")
        until(lambda: "must hold at least one key, got none" in live.said)
        time.sleep(2.5)  # it is looked at every second, and logged once
        assert live.said.count("must hold at least one key, got none") == 1
        assert live.said.count("must be a regular file") == 1
        assert (status(OTHER), status(KEY)) == (200, 401)


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_a_volume_of_kubernetes_rotates_keys_in_workers_that_nobody_asks(
    artifact_path: Path, tmp_path: Path, workers: str
):
    def publish(key: str) -> None:
        """Put new files in place as a kubelet does: by a link to their folder."""
        folder = tmp_path / f"..{hash_of(key)[:8]}"
        folder.mkdir()
        (folder / "keys").write_text(f"score {hash_of(key)} shop\n")
        (tmp_path / "..tmp").symlink_to(folder.name)
        (tmp_path / "..tmp").replace(tmp_path / "..data")

    publish(KEY)
    (tmp_path / "keys").symlink_to("..data/keys")
    options = ("--keys-file", str(tmp_path / "keys"), "--workers", workers)
    with serving(artifact_path, *options) as live:
        if workers == "2":  # a worker that starts after the change reads the file only once
            until(lambda: sum(map(reloads_on_sighup, new_workers(live.process.pid, []))) == 2)
        publish(OTHER)
        until(lambda: live.said.count("keys file read again: 1 keys") == int(workers))
        for key, status in ((OTHER, 200), (KEY, 401)) * 5:
            answer = live.post("/v1/score", content=BODY, headers={"x-api-key": key})
            assert answer.status_code == status


def test_a_file_of_keys_is_read_again_although_its_time_stays(artifact_path: Path, tmp_path: Path):
    path = tmp_path / "keys"
    path.write_text(f"score {hash_of(KEY)}\n")
    with serving(artifact_path, "--keys-file", str(path)) as live:
        before = path.stat()
        path.write_text(f"score {hash_of(OTHER)}\n")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        def status(key: str) -> int:
            return live.post("/v1/score", content=BODY, headers={"x-api-key": key}).status_code

        until(lambda: status(OTHER) == 200)
        assert status(KEY) == 401


def test_the_log_names_the_key_that_changed_the_model(artifact_path: Path, tmp_path: Path):
    path = tmp_path / "keys"
    path.write_text(f"score {hash_of(KEY)} shop\nadmin {hash_of(OTHER)} night-shift\n")
    options = ("--keys-file", str(path), "--no-access-log", "--log-level", "error")
    with serving(artifact_path, *options) as live:
        admin = {"x-api-key": OTHER, "x-request-id": "r1"}
        version = live.post("/v1/reload", headers=admin).json()["version"]
        assert live.post("/v1/promote", headers=admin).status_code == 409
        assert live.post("/v1/reload", headers={"x-api-key": KEY}).status_code == 403
        assert live.post("/v1/score", content=BODY, headers={"x-api-key": KEY}).is_success
        live.stop()
    lines = [json.loads(line) for line in live.lines if line.startswith("{")]
    audit = [line for line in lines if line["logger"] == "vaewatch.audit"]
    for line in audit:
        assert line.pop("time")
    told = {"level": "info", "logger": "vaewatch.audit", "key": "night-shift", "request_id": "r1"}
    assert audit == [
        {**told, "action": "reload", "result": "unchanged", "version": version},
        {**told, "action": "promote", "result": "refused", "version": version},
    ]
    assert KEY not in live.said and OTHER not in live.said


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),  # another port of this machine, say
        ({"host": "a.example", "origin": "http://a.example"}, 200),
        ({"host": "A.example:80", "origin": "http://a.example"}, 200),
        ({"host": "a.example", "origin": "https://a.example:443"}, 200),
        ({"host": "a.example", "origin": "http://b.example"}, 403),
        ({"host": "a.example", "origin": "http://a.example.b.example"}, 403),
        ({"host": "a.example:8000", "origin": "http://a.example:8001"}, 403),
        ({"host": "a.example", "origin": "null"}, 403),
        ({"host": "a.example", "origin": ""}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "http://b.example"}, 200),
    ],
)
def test_pages_of_other_origins_change_nothing(live: Live, headers: dict[str, str], status: int):
    assert live.post("/v1/reload", headers=headers).status_code == status
    form = {"content-type": "application/x-www-form-urlencoded"}
    tensors = [
        {"name": name, "datatype": "BYTES", "shape": [1], "data": [value]}
        for name, value in json.loads(BODY)["records"][0].items()
    ]
    infer = json.dumps({"inputs": tensors}).encode()
    for path, body in (("/v1/score", BODY), ("/v2/models/shop/infer", infer)):
        for media in ({}, form):  # a page's `fetch` of a Blob in the mode no-cors names none
            answer = live.post(path, content=body, headers={**media, **headers})
            assert answer.status_code == status, (path, media, answer.text)
    plain = {"content-type": "text/plain;charset=UTF-8", **headers}
    assert live.post("/v2/models/shop/infer", content=infer, headers=plain).status_code == status
