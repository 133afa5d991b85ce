"""An artifact's path always holds a whole artifact, and the one before can be put back."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest

from tests.conftest import call, make_frame, run
from vaewatch.scoring.disk import exchange
from vaewatch.scoring.disk.reading import read_artifact, read_files, read_manifest
from vaewatch.scoring.disk.versions import check_target, roll_back, versions, write_artifact
from vaewatch.scoring.errors import ArtifactError, OutputError, SettingError
from vaewatch.scoring.scorer import Scorer


@pytest.fixture
def out(artifact_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact_path, tmp_path / "it"))


@pytest.fixture(params=["at once", "by renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How folders are exchanged: as on ext4, and as on a share that cannot do it at once."""
    if request.param == "by renames":
        monkeypatch.setattr(exchange, "RENAME_EXCHANGE", 1 << 10)  # no flag that a kernel knows
    return str(request.param)


def replace(out: Path, version: str, keep: int = 1) -> None:
    manifest = read_manifest(out)
    files = read_files(out, manifest)
    new = msgspec.structs.replace(manifest, version=version)
    write_artifact(out, new, files, overwrite=True, keep=keep)


def kept(out: Path) -> list[str]:
    return [version.manifest.version for version in versions(out)]


def test_the_newest_versions_are_kept(out: Path, way: str):
    first = read_manifest(out).version
    for number in range(1, 5):
        replace(out, f"v{number}", keep=2)
        assert read_manifest(out).version == f"v{number}"
    assert kept(out) == ["v3", "v2"]
    replace(out, "v5", keep=0)
    assert kept(out) == [] and first != "v5"
    assert [path.name for path in out.parent.iterdir()] == ["it"]


def test_a_rollback_undoes_itself(out: Path, way: str):
    first = read_manifest(out).version
    replace(out, "v1")
    done = roll_back(out)
    assert (done.before, done.now) == ("v1", first) == ("v1", read_manifest(out).version)
    assert roll_back(out).now == "v1" == read_manifest(out).version
    assert kept(out) == [first]


def test_a_rollback_to_an_older_version_undoes_itself_too(out: Path, way: str):
    for number in range(1, 5):
        replace(out, f"v{number}", keep=5)
    assert roll_back(out, "v2").now == "v2"
    assert kept(out)[0] == "v4" and roll_back(out).now == "v4"
    with pytest.raises(ArtifactError, match="must have the version 'v9' before it, got v2, v3"):
        roll_back(out, "v9")


def test_without_a_version_before_it_nothing_is_rolled_back(out: Path, tmp_path: Path):
    with pytest.raises(ArtifactError, match="has no version before it"):
        roll_back(out)
    with pytest.raises(ArtifactError, match="does not exist"):
        roll_back(tmp_path / "no" / "such")
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_a_damaged_version_is_not_put_in_place(out: Path):
    replace(out, "v1")
    (versions(out)[0].path / "network.onnx").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="is damaged"):
        roll_back(out)
    assert read_manifest(out).version == "v1"


def test_a_link_is_replaced_and_put_back(out: Path, tmp_path: Path, way: str):
    (tmp_path / "live").symlink_to("it")
    replace(tmp_path / "live", "v1")
    assert not (tmp_path / "live").is_symlink() and read_manifest(out).version != "v1"
    roll_back(tmp_path / "live")
    assert (tmp_path / "live").is_symlink()
    assert Scorer.load(tmp_path / "live").artifact.version == read_manifest(out).version


@pytest.mark.parametrize("name", ["a" * 255, "[odd] *?", "ä" * 120])
def test_versions_of_any_name_are_found(out: Path, tmp_path: Path, name: str):
    first = read_manifest(out).version
    out = out.rename(tmp_path / name)
    replace(out, "v1")
    assert roll_back(out).now == first


def test_the_folder_that_one_is_in_is_replaced(out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(out)
    replace(Path("."), "v1")
    assert read_manifest(out).version == "v1" and len(kept(out)) == 1


def test_a_draft_of_a_killed_run_is_cleared(out: Path, tmp_path: Path):
    inode = out.stat().st_ino
    shutil.copytree(out, tmp_path / f".it.new-{inode}-abcd")
    replace(out, "v1")
    assert len(kept(out)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".it.kept-000001", "it"]


def test_a_folder_that_was_replaced_by_a_killed_run_is_kept(out: Path, tmp_path: Path):
    """The run ended after the exchange: the draft's name stands for the artifact before."""
    old = tmp_path / f".it.new-{out.stat().st_ino}-abcd"
    before = read_manifest(out).version
    out.rename(old)
    shutil.copytree(old, out)
    assert roll_back(out).now == before
    replace(out, "v2", keep=5)
    assert "v2" not in kept(out) and len(kept(out)) == 2


def test_a_version_is_kept_where_the_disk_fails_after_the_exchange(
    out: Path, monkeypatch: pytest.MonkeyPatch
):
    before, rename, failed = read_manifest(out).version, os.rename, list[Path]()

    def failing(source: Path, target: Path) -> None:
        if not failed and ".kept-" in str(target):
            failed.append(target)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OutputError, match="could not be written: Input/output error"):
        replace(out, "v1")
    assert failed and kept(out) == [before]
    assert read_manifest(out).version == "v1"


def test_a_run_that_was_killed_between_two_renames_is_mended(out: Path, tmp_path: Path):
    before = read_manifest(out).version
    replace(out, "v1")
    out.rename(tmp_path / ".it.kept-000002")
    assert roll_back(out).now == before
    assert Scorer.load(out).artifact.version == before


WRITER = """
import sys, itertools
from pathlib import Path
import msgspec
from vaewatch.scoring.disk.reading import read_files, read_manifest
from vaewatch.scoring.disk.lock import sole_writer
from vaewatch.scoring.disk.versions import roll_back, write_artifact
out = Path(sys.argv[1])
manifest = read_manifest(out)
files = read_files(out, manifest)
print("ready", flush=True)
for number in itertools.count():
    with sole_writer(out):
        new = msgspec.structs.replace(manifest, version=f"v{number}")
        write_artifact(out, new, files, overwrite=True, keep=number % 3)
    if number % 6 == 5:
        roll_back(out)
"""
READER = """
import sys
from vaewatch.scoring.disk.reading import read_artifact
print("ready", flush=True)
while True:
    read_artifact(sys.argv[1])
"""


def started(script: str, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def test_whenever_a_writer_is_killed_the_artifact_loads(out: Path, tmp_path: Path):
    reader, random_times = started(READER, out), random.Random(0)
    for _ in range(12):
        reader.send_signal(signal.SIGSTOP)  # it would only take time from the writer that starts
        writer = started(WRITER, out)
        reader.send_signal(signal.SIGCONT)
        time.sleep(random_times.uniform(0, 0.3))
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=30)
        assert writer.returncode == -signal.SIGKILL
        read_artifact(out)
        assert reader.poll() is None, "a reader met an artifact that was not whole"
    reader.kill()
    reader.communicate(timeout=30)
    replace(out, "last")
    roll_back(out)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 2 and left[0].startswith(".it.kept-") and left[1] == "it"


def test_the_command_says_which_version_it_put_back(out: Path):
    first = read_manifest(out).version
    replace(out, "v1")
    assert call("rollback", out, "--list").stdout.splitlines()[1].split()[0] == "v1"
    done = call("rollback", out)
    assert done.returncode == 0, done.stderr
    assert f"(version {first})" in done.stdout and "replaced      version v1" in done.stdout
    done = call("rollback", out, "--to", "zz")
    assert done.returncode == 4 and "must have the version 'zz'" in done.stderr


def test_a_full_disk_ends_a_recalibration_and_leaves_what_was_there(out: Path, tmp_path: Path):
    make_frame(300, seed=9).write_csv(tmp_path / "recent.csv")
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    words = ("recalibrate", out, tmp_path / "recent.csv", "--out", out, "--overwrite")
    done = run(*words, preexec_fn=small_files)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"'{out}' could not be written: File too large." in done.stderr
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it", "recent.csv"]


@pytest.mark.parametrize("kind", ["file", "loop", "dangling"])
def test_a_place_under_what_is_no_folder_is_refused_before_the_work(tmp_path: Path, kind: str):
    parent = tmp_path / "parent"
    if kind == "file":
        parent.touch()
    else:
        parent.symlink_to("parent" if kind == "loop" else "nowhere")
    with pytest.raises(OutputError, match=f"could not be written: '{parent}' is not a folder"):
        check_target(parent / "deep" / "it", overwrite=True)


def test_the_root_is_no_place_for_an_artifact():
    with pytest.raises(ArtifactError, match="'/' is not an artifact, so it is not overwritten"):
        check_target(Path("/"), overwrite=True)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\udcffb"])
def test_a_name_that_steers_a_terminal_is_refused_before_the_work(tmp_path: Path, name: str):
    with pytest.raises(SettingError, match="name must have no control characters, got 'a"):
        check_target(tmp_path / name, overwrite=True)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("none", "does not exist"), ("file", "must be a folder, got a file"), ("folder", "has no")],
)
def test_what_is_no_artifact_is_not_rolled_back(tmp_path: Path, kind: str, message: str):
    place = tmp_path / "place"
    if kind != "none":
        place.touch() if kind == "file" else place.mkdir()
    with pytest.raises(ArtifactError, match=f"'{place}' is not an artifact: it {message}"):
        roll_back(place)


def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path):
    with pytest.raises(OutputError, match="could not be written: File name too long"):
        check_target(tmp_path / ("n" * 256), overwrite=False)


def test_two_runs_that_replace_an_artifact_do_not_meet(
    out: Path,
    tmp_path: Path,
    mixed_frame: pl.DataFrame,
    hold: Callable[[Path], subprocess.Popen[str]],
):
    mixed_frame.write_csv(tmp_path / "normal.csv")
    process, data = hold(out), tmp_path / "normal.csv"
    before = read_manifest(out).version
    recalibrate = call("recalibrate", out, data, "--out", out, "--overwrite")
    train = call("train", data, "--out", out, "--overwrite")
    for done in (recalibrate, train, call("rollback", out)):
        assert done.returncode == 2, done.stderr
        assert f"'{out}' is being written by process {process.pid} on" in done.stderr
    assert read_manifest(out).version == before
