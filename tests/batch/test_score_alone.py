"""No two jobs write one file, and no job follows what others left in its folder."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import VAEWATCH, call, make_frame, run

Hold = Callable[[Path], subprocess.Popen[str]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    make_frame(500).write_csv(tmp_path / "in.csv")
    return tmp_path / "in.csv"


@pytest.mark.parametrize("option", ["--out", "--rejects", "--summary", "--metrics-file"])
@pytest.mark.parametrize("more", [(), ("--resume",)])
def test_a_second_job_is_refused_by_name(
    tmp_path: Path,
    artifact_path: Path,
    source: Path,
    hold: Hold,
    option: str,
    more: tuple[str, ...],
):
    process, target = hold(tmp_path / "it"), tmp_path / "it"
    out = () if option == "--out" else ("--out", tmp_path / "out.csv")
    done = call("score", artifact_path, source, option, target, *out, *more)
    assert done.returncode == 2
    assert f"'{target}' is being written by process {process.pid} on" in done.stderr
    assert sorted(os.listdir(tmp_path)) == [".it.lock", "in.csv"]


def test_a_second_job_leaves_the_first_one_to_end(tmp_path: Path, artifact_path: Path):
    frame = make_frame(150_000)
    frame.write_csv(tmp_path / "in.csv")
    words = ["score", artifact_path, tmp_path / "in.csv", "--threads=1", "--progress=none"]
    words += ["--out", tmp_path / "out.csv"]
    with subprocess.Popen([str(VAEWATCH), *map(str, words)], stderr=subprocess.PIPE) as first:
        while not (tmp_path / ".out.csv.draft").exists():
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # or it would be done before the second has started
        for more in ((), ("--resume",)):
            second = run(*words, *more)
            assert second.returncode == 2 and f"by process {first.pid} on" in second.stderr
        first.send_signal(signal.SIGCONT)
        first.communicate(timeout=120)
        assert first.returncode == 0
    lines = (tmp_path / "out.csv").read_bytes().splitlines()
    assert len(lines) == 150_001 and len(set(lines)) == len(lines)
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


def test_shards_of_a_job_run_side_by_side(tmp_path: Path, artifact_path: Path):
    folder = tmp_path / "new"
    folder.mkdir()
    for i in range(2):
        make_frame(2000, seed=i).write_csv(folder / f"{i}.csv")
    words = [str(VAEWATCH), "score", str(artifact_path), str(folder), "--quiet"]
    jobs = [
        subprocess.Popen([*words, "--shard", f"{i}/2", "--out", str(tmp_path / f"{i}.csv")])
        for i in range(2)
    ]
    assert [job.wait(120) for job in jobs] == [0, 0]


@pytest.mark.parametrize("ending", [".draft", ".journal", ".lock"])
@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_a_link_that_was_planted_is_never_written_through(
    tmp_path: Path, artifact_path: Path, source: Path, ending: str, resume: tuple[str, ...]
):
    victim = tmp_path / "victim"
    victim.write_bytes(b'{"job": 1}\n')
    (tmp_path / f".out.csv{ending}").symlink_to(victim)
    done = call("score", artifact_path, source, "--out", tmp_path / "out.csv", *resume)
    assert victim.read_bytes() == b'{"job": 1}\n'
    if ending == ".lock" or (ending == ".journal" and resume):
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out.csv").read_bytes().count(b"\n") == 501


def test_a_parquet_draft_does_not_follow_a_link(tmp_path: Path, artifact_path: Path):
    make_frame(500).write_parquet(tmp_path / "in.parquet")
    (tmp_path / "victim").mkdir()
    (tmp_path / ".out.parquet.draft").symlink_to(tmp_path / "victim")
    done = call("score", artifact_path, tmp_path / "in.parquet", "--out", tmp_path / "out.parquet")
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "victim").iterdir())


def test_a_killed_job_leaves_no_lock_that_holds(
    tmp_path: Path, artifact_path: Path, source: Path, hold: Hold
):
    process = hold(tmp_path / "out.csv")
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    done = call("score", artifact_path, source, "--out", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


@pytest.mark.parametrize("name", ["a" * 251 + ".csv", "ä" * 125 + ".csv"])
def test_a_name_may_be_as_long_as_the_file_system_takes(
    tmp_path: Path, artifact_path: Path, source: Path, name: str
):
    done = call("score", artifact_path, source, "--out", tmp_path / name)
    assert done.returncode == 0, done.stderr
    done = call("score", artifact_path, source, "--out", tmp_path / f"{'b' * 300}.csv")
    assert done.returncode == 1 and "could not be written: File name too long" in done.stderr
    assert sorted(os.listdir(tmp_path)) == sorted(["in.csv", name])


def test_pipes_are_read_once_each(tmp_path: Path, artifact_path: Path, source: Path):
    pipes = [tmp_path / "1.csv", tmp_path / "2.csv"]
    for pipe in pipes:
        os.mkfifo(pipe)
    writers = [subprocess.Popen(f"cat '{source}' > '{pipe}'", shell=True) for pipe in pipes]
    done = run("score", artifact_path, *pipes, "--out", tmp_path / "out.csv", timeout=60)
    assert done.returncode == 0, done.stderr
    assert [writer.wait(10) for writer in writers] == [0, 0]
    assert (tmp_path / "out.csv").read_bytes().count(b"\n") == 1001


@pytest.mark.parametrize(
    ("words", "closed", "code", "says"),
    [
        (("inspect",), ">/dev/full", 1, "standard output could not be read or written: No space"),
        (("score", "in.csv"), ">/dev/full", 1, "'standard output' could not be written: No space"),
        (("score", "in.csv"), ">&-", 1, "'standard output' could not be written: Bad file"),
        (("score", "-"), "<&-", 3, "'-' must be readable: Bad file descriptor."),
        (("score", "in.csv", "--out", "out.csv", "--quiet"), ">&- 2>&- <&-", 0, ""),
    ],
)
def test_a_closed_or_full_stream_is_one_clear_line(
    artifact_path: Path, source: Path, words: tuple[str, ...], closed: str, code: int, says: str
):
    command, *rest = words
    line = f"'{VAEWATCH}' {command} '{artifact_path}' {' '.join(rest)} {closed}"
    done = subprocess.run(
        line, shell=True, cwd=source.parent, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert says in done.stderr and done.stderr.count("\n") == (1 if says else 0)
    assert code or (source.parent / "out.csv").read_bytes().count(b"\n") == 501


@pytest.mark.parametrize("unbuffered", ["", "1"])  # as in a container
@pytest.mark.parametrize("words", [("inspect", "--json"), ("score", "in.csv")])
def test_output_that_a_disk_takes_in_part_is_an_error(
    artifact_path: Path, source: Path, words: tuple[str, ...], unbuffered: str
):
    command, *rest = words
    line = f"ulimit -f 1; '{VAEWATCH}' {command} '{artifact_path}' {' '.join(rest)} > part"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=source.parent,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "File too large" in done.stderr


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("score {0} in.csv --out out.csv 2>/dev/full", 0),
        ("score {0} in.csv --out out.csv 2> >(true)", 0),
        ("score nowhere in.csv 2>/dev/full", 4),
        ("score --nope 2>/dev/full", 2),
        ("sample {0} --n 100000 | true; exit ${{PIPESTATUS[0]}}", 141),
    ],
)
def test_a_stderr_that_takes_nothing_or_a_reader_that_goes_changes_nothing_else(
    artifact_path: Path, source: Path, line: str, code: int
):
    words = ["bash", "-c", f"'{VAEWATCH}' {line.format(artifact_path)}"]
    done = subprocess.run(words, cwd=source.parent, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, "")
    assert not line.startswith("score {") or (source.parent / "out.csv").exists()


@pytest.mark.parametrize("words", ["train '{1}' --out it", "score '{0}' '{1}' --out out.csv"])
def test_a_working_folder_that_is_gone_is_named(
    tmp_path: Path, artifact_path: Path, source: Path, words: str
):
    line = f"mkdir gone; cd gone; rmdir ../gone; '{VAEWATCH}' {words}"
    done = subprocess.run(
        ["bash", "-c", line.format(artifact_path, source)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "the working folder must be there, but is not" in done.stderr


def test_a_list_where_a_text_must_be_is_one_clear_line(tmp_path: Path, artifact_path: Path):
    frame = make_frame(10).with_columns(country=pl.concat_list("country"))
    frame.write_parquet(tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    done = call("score", artifact_path, tmp_path / "in.parquet", "--out", out)
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "column 'country' must hold numbers, texts or booleans, got List" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        ("score", "1"),
        ("evaluate", "1.8"),
        ("report", "1.3"),
        ("sample", "1.6"),
        ("profile", "0.8"),
    ],
)
def test_too_little_address_space_is_one_clear_line(
    artifact_path: Path, source: Path, command: str, needs: str
):
    words = {"profile": f"'{source}'", "score": f"'{artifact_path}' '{source}'"}
    line = f"ulimit -v 700000; '{VAEWATCH}' {command} {words.get(command, artifact_path)}"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"needs {needs} GiB of address space or more, got 0.67 GiB" in done.stderr


@pytest.mark.parametrize("content", [b"not a journal\n", b"{}\n{}\n", b"[1]\n", b"\xff\xfe\n"])
def test_a_damaged_journal_is_refused(
    tmp_path: Path, artifact_path: Path, source: Path, content: bytes
):
    (tmp_path / ".out.csv.journal").write_bytes(content)
    words = ("score", artifact_path, source, "--out", tmp_path / "out.csv")
    done = call(*words, "--resume")
    assert done.returncode == 1 and "is damaged. Run again without --resume" in done.stderr
    assert call(*words).returncode == 0


def test_a_summary_may_go_to_a_pipe(tmp_path: Path, artifact_path: Path, source: Path):
    words = ("score", artifact_path, source, "--out", tmp_path / "out.csv", "--quiet")
    done = run(*words, "--summary", "/dev/stdout")
    assert done.returncode == 0, done.stderr
    assert '"records": 500' in done.stdout
