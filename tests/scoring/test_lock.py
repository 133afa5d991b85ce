"""One writer for a name, and nobody waits for the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vaewatch.scoring.disk.lock import made_folder, sole_writer
from vaewatch.scoring.errors import OutputError, SettingError

Hold = Callable[[Path], subprocess.Popen[str]]


def test_a_second_writer_is_refused_by_the_name_of_the_first(tmp_path: Path, hold: Hold):
    process = hold(tmp_path / "out.csv")
    says = rf"out.csv' is being written by process {process.pid} on \S+ since 20\d\d-.* UTC\. Wait"
    with pytest.raises(SettingError, match=says), sole_writer(tmp_path / "out.csv"):
        pass
    with sole_writer(tmp_path / "other.csv"):
        pass


def test_a_killed_writer_blocks_nobody(tmp_path: Path, hold: Hold):
    process = hold(tmp_path / "out.csv")
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert (tmp_path / ".out.csv.lock").exists()
    with sole_writer(tmp_path / "out.csv"):
        pass
    assert not list(tmp_path.iterdir())


def test_of_many_writers_one_at_a_time_writes(tmp_path: Path):
    """A lock's file comes and goes with its holder; none may hold one that is no longer there."""
    count = tmp_path / "count"
    count.write_text("0")
    script = (
        "import sys; from pathlib import Path; from vaewatch.scoring.errors import SettingError\n"
        "from vaewatch.scoring.disk.lock import sole_writer\n"
        "path, done = Path(sys.argv[1]), 0\n"
        "while done < 200:\n"
        "    try:\n"
        "        with sole_writer(path):\n"
        "            path.write_text(str(int(path.read_text()) + 1)); done += 1\n"
        "    except SettingError: pass\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(count)]) for _ in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    assert count.read_text() == "600"


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_lock_that_was_planted_is_not_used(tmp_path: Path, kind: str):
    lock, victim = tmp_path / ".out.csv.lock", tmp_path / "victim"
    victim.write_bytes(b"victim's")
    lock.symlink_to(victim) if kind == "link" else os.mkfifo(lock)
    with (
        pytest.raises(OutputError, match="could not be written"),
        sole_writer(tmp_path / "out.csv"),
    ):
        pass
    assert victim.read_bytes() == b"victim's"


def test_a_hard_link_in_the_place_of_a_lock_is_not_written_to(tmp_path: Path):
    (tmp_path / "victim").write_bytes(b"victim's")
    (tmp_path / ".out.csv.lock").hardlink_to(tmp_path / "victim")
    with sole_writer(tmp_path / "out.csv"):
        assert (tmp_path / "victim").read_bytes() == b"victim's"


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path: Path):
    folder = tmp_path / "a" / "b"
    with made_folder(folder), sole_writer(folder / "it"):
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())
    with made_folder(folder):
        (folder / "it").write_text("something")
    assert (folder / "it").exists()
