"""`vaewatch feedback import` of many lines: in pieces, beside a service, and interrupted."""

from __future__ import annotations

import csv
import io
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select

from tests.conftest import VAEWATCH, call
from tests.live import serving, until
from vaewatch.service.feedback.taking import AT_A_TIME
from vaewatch.service.store.database import Database
from vaewatch.service.store.place import Place
from vaewatch.service.store.tables import marks

LINES = 8 * AT_A_TIME


def written(folder: Path) -> Path:
    path = folder / "marks.csv"
    lines = "".join(f"m{i},confirmed,o{i}\n" for i in range(LINES))
    path.write_text(f"id,label,record\n{lines}")
    return path


def kept(store: str) -> int:
    database = Database(Place.of(store), quiet=True)
    with database.reading() as connection:
        found: int = connection.execute(select(func.count()).select_from(marks)).scalar_one()
    database.close()
    return found


@contextmanager
def importing(path: Path, store: str) -> Iterator[subprocess.Popen[str]]:
    """Import, and go on once the first lines are committed."""
    words = [str(VAEWATCH), "feedback", "import", str(path), "--store", store]
    before = kept(store)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes) as process:
        try:
            until(lambda: kept(store) >= before + AT_A_TIME)
            yield process
        finally:
            process.kill()


def made(folder: Path) -> str:
    store = f"sqlite:///{folder}/it.sqlite"
    database = Database(Place.of(store))
    database.probe()
    database.close()
    return store


def test_an_import_that_is_killed_is_simply_run_again(tmp_path: Path):
    path, store = written(tmp_path), made(tmp_path)
    with importing(path, store) as process:
        process.kill()
        process.wait()
    committed = kept(store)
    assert committed % AT_A_TIME == 0 and AT_A_TIME <= committed < LINES
    done = call("feedback", "import", path, "--store", store)
    words = done.stdout.replace(",", "").split()
    assert words == ["kept", str(LINES - committed), "known", str(committed)]
    exported = call("feedback", "export", "--store", store).stdout
    records = [row["record"] for row in csv.DictReader(io.StringIO(exported))]
    assert records == [f"o{i}" for i in range(LINES)]


def test_an_import_that_is_interrupted_says_how_many_lines_are_committed(tmp_path: Path):
    path, store = written(tmp_path), made(tmp_path)
    with importing(path, store) as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert f"{kept(store):,} of {LINES:,} lines are committed. Run it again" in said, said
    assert process.returncode == 130


def test_a_service_writes_on_while_marks_are_imported(artifact_path: Path, tmp_path: Path):
    path, store = written(tmp_path), made(tmp_path)
    with serving(artifact_path, "--store", store) as live:
        with importing(path, store) as process:
            said = 0
            while process.poll() is None:
                body = {"label": "false_alarm", "record": f"s{said}"}
                answer = live.post("/v1/feedback", json=body)
                assert answer.status_code == 200, answer.text
                said += 1
                time.sleep(0.02)
            assert process.returncode == 0
    assert said > 2
    numbers = call("feedback", "export", "--store", store).stdout.splitlines()
    assert len(numbers) == 1 + LINES + said
    places = [i for i, line in enumerate(numbers) if ",s" in line and "false_alarm" in line]
    assert places[0] < LINES  # it did not wait for the end
