"""What people see: in a terminal of 80 columns, in a log file, and without colours."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, VAEWATCH, call, make_frame, run

COLUMNS = 80
COLOUR = re.compile(r"\x1b\[[\d;]*m")
TAKEN_BACK = re.compile(r"[^\n]*\n(?:\x1b\[\?25h|\r)*\x1b\[1A\x1b\[2K")  # one up, and wiped
CONTROL = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")
TRAIN = ["--id=order", "--alpha=0.05", *(f"--{name}={v}" for name, v in SMALL.items())]
ODD = "[red]amount[/red] :smile:"


@dataclass(frozen=True)
class Seen:
    """All that went to the terminal; `left` is what stayed, without what was drawn over."""

    raw: str
    returncode: int

    @property
    def drawn(self) -> list[str]:
        """Each line that was ever on the screen, as wide as it was."""
        return re.split(r"[\r\n]+", CONTROL.sub("", self.raw))

    @property
    def left(self) -> str:
        lines = TAKEN_BACK.sub("", self.raw).replace("\r\n", "\n").split("\n")
        return "\n".join(CONTROL.sub("", line.split("\r")[-1]) for line in lines)


def terminal(*words: object, cwd: Path, columns: int = COLUMNS, **env: str) -> Seen:
    """The real command in a real terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {name: v for name, v in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [str(VAEWATCH), *map(str, words)],
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**clean, "TERM": "xterm-256color", **env},
    )
    os.close(theirs)
    chunks = []
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(ours)
    return Seen(b"".join(chunks).decode(), process.wait(60))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where commands run: with files of short names."""
    folder = tmp_path_factory.mktemp("shop")
    make_frame(800).write_csv(folder / "normal.csv")
    make_frame(800).rename({"amount": ODD}).write_csv(folder / "odd.csv")
    labels = pl.Series("label", np.where(np.arange(300) < 200, "ok", "fraud"))
    far = (pl.col("label") == "fraud").cast(pl.Int64) * 300
    labelled = make_frame(300, seed=1).with_columns(labels)
    labelled.with_columns(pl.col("amount") + far).write_csv(folder / "labelled.csv")
    return folder


def assert_fits(seen: Seen, columns: int = COLUMNS) -> None:
    assert seen.returncode == 0, seen.left
    assert max(map(len, seen.drawn)) <= columns, max(seen.drawn, key=len)


@pytest.fixture(scope="module")
def artifact(artifact_path: Path, shop: Path) -> str:
    shutil.copytree(artifact_path, shop / "artifact")
    return "artifact"


def test_train_shows_a_bar_with_the_time_left_and_then_a_table(shop: Path):
    seen = terminal("train", "normal.csv", "--out=it", *TRAIN, "--steps=400", cwd=shop)
    assert_fits(seen)
    bars = [line for line in seen.drawn if line.startswith("fit ")]
    assert any(re.search(r"━+.* \d+ of 400 steps +(\d\d:)?\d\d:\d\d", line) for line in bars)
    assert "━" not in seen.left and COLOUR.findall(seen.raw)
    assert re.search(r"^ 0\.05 +20 +[\d.]+ +[\d.]+ to [\d.]+ +asked for$", seen.left, re.M)
    assert "report        it/report.html" in seen.left


def test_without_colour_there_is_none_and_names_are_as_they_are(shop: Path):
    seen = terminal(
        "train", "odd.csv", "--out=[bold]it", *TRAIN, "--no-report", cwd=shop, NO_COLOR="1"
    )
    assert_fits(seen)
    assert not COLOUR.findall(seen.raw)
    assert any(line.startswith("fit ") and "━" in line for line in seen.drawn)
    assert "artifact      [bold]it  (version" in seen.left
    assert ODD in run("inspect", "[bold]it", cwd=shop).stdout


def test_train_in_a_log_is_a_line_for_each_tenth(shop: Path, tmp_path: Path):
    words = ["--steps=400", "--no-report"]
    done = call("train", shop / "normal.csv", "--out", tmp_path / "it", *TRAIN, *words)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [f"fit: step {n} of 400" for n in range(40, 401, 40)]
    assert "\x1b" not in done.stdout + done.stderr and "\r" not in done.stdout + done.stderr
    assert "100 calibration records (split): the true rate lies between" in done.stdout


@pytest.mark.parametrize("colour", [True, False])
def test_score_shows_how_severe_the_records_were(artifact: str, shop: Path, colour: bool):
    env = {} if colour else {"NO_COLOR": "1"}
    seen = terminal("score", artifact, "labelled.csv", "--out=out.csv", cwd=shop, **env)
    assert_fits(seen)
    assert colour or not COLOUR.findall(seen.raw)
    rows = re.findall(r"^(\w.*?) +(\d+) +([\d.]+)% +([\d.]+)% +(█*) *$", seen.left, re.M)
    assert [row[0] for row in rows] == ["0 to 0.5", "0.5 to 1", "1 to 2", "2 to 3", "over 3"]
    severity = pl.read_csv(shop / "out.csv")["severity"].to_numpy()
    edges = np.array([0.5, 1, 2, 3])  # each belongs to the range below it, as in the metrics
    counted = np.bincount(edges.searchsorted(severity), minlength=5)
    assert [int(row[1]) for row in rows] == counted.tolist() and counted.sum() == 300
    assert sum(float(row[3]) for row in rows) == pytest.approx(100, abs=0.05)
    for row, count in zip(rows, counted, strict=True):
        assert len(row[4]) == (max(round(20 * count / 300), 1) if count else 0)


def test_score_in_a_log_has_the_same_table(artifact: str, shop: Path):
    done = run("score", artifact, "labelled.csv", "--out=log.csv", cwd=shop)
    assert done.stdout == "" and "over 3" in done.stderr and "\x1b" not in done.stderr
    assert max(map(len, done.stderr.splitlines())) <= COLUMNS
    words = [shop / artifact, shop / "labelled.csv", "--out", shop / "quiet.csv", "--quiet"]
    assert call("score", *words).stderr == ""


def test_bars_are_ascii_where_the_terminal_is(artifact: str, shop: Path):
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run("score", artifact, "labelled.csv", "--out=ascii.csv", env=env, cwd=shop)
    assert done.returncode == 0 and "###" in done.stderr and "█" not in done.stderr


def test_evaluate_sets_true_and_false_alarms_side_by_side(artifact: str, shop: Path):
    seen = terminal("evaluate", artifact, "labelled.csv", cwd=shop, NO_COLOR="1")
    assert_fits(seen)
    assert re.search(r"^amount +\d+ +█+", seen.left, re.M) and not COLOUR.findall(seen.raw)
    whole = call("evaluate", shop / artifact, shop / "labelled.csv").stdout
    assert any(line.startswith("log p(x) >=") and "normals" in line for line in whole.splitlines())


@pytest.mark.parametrize("columns", [80, 60])
def test_inspect_fits(artifact: str, shop: Path, columns: int):
    seen = terminal("inspect", artifact, columns=columns, cwd=shop, NO_COLOR="1")
    assert_fits(seen, columns)
    assert re.search(r"^country +categorical +yes +NL, DE, FR", seen.left, re.M)
    assert not COLOUR.findall(seen.raw)
