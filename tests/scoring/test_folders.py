"""Small files appear whole or not at all; what is no file stays what it is."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vaewatch.scoring.files.whole import create, hidden, read_ours, reopen, write_whole


def test_a_file_is_replaced_whole(tmp_path: Path):
    target = tmp_path / "it.json"
    target.write_bytes(b"old")
    write_whole(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "it.json")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "it.json").read_bytes() == b"new"


def test_a_pipe_takes_it_and_stays_a_pipe(tmp_path: Path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_whole(pipe, b"new")
    reader.join(10)
    assert got == [b"new"] and pipe.is_fifo()


def test_what_cannot_be_written_leaves_the_old_and_no_draft(tmp_path: Path):
    target = tmp_path / "folder" / "it.json"
    with pytest.raises(FileNotFoundError):
        write_whole(target, b"new")
    (tmp_path / "folder").mkdir()
    target.write_bytes(b"old")
    with small_files(), pytest.raises(OSError, match="File too large"):
        write_whole(target, b"new" * 100)
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


@contextmanager
def small_files() -> Iterator[None]:
    """A disk, so to speak, on which no file grows beyond 100 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_stands_where_a_draft_was_once_written_is_not_touched(tmp_path: Path):
    target, planted = tmp_path / "it.json", tmp_path / ".it.json.draft"
    planted.symlink_to(tmp_path / "victim")
    write_whole(target, b"new")
    assert target.read_bytes() == b"new" and not (tmp_path / "victim").exists()


def test_a_new_file_takes_the_place_of_a_link_that_was_planted(tmp_path: Path):
    (tmp_path / "victim").write_bytes(b"victim's")
    (tmp_path / "draft").symlink_to(tmp_path / "victim")
    with open(create(tmp_path / "draft"), "wb") as file:
        file.write(b"ours")
    assert (tmp_path / "victim").read_bytes() == b"victim's"
    assert (tmp_path / "draft").read_bytes() == b"ours"


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def pipe(path: Path, victim: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [link, hard_link, pipe])
def test_nobody_goes_on_from_what_is_no_file_of_ours(
    tmp_path: Path, plant: Callable[[Path, Path], None]
):
    victim = tmp_path / "victim"
    victim.write_bytes(b"victim's")
    plant(tmp_path / "draft", victim)
    with pytest.raises(OSError):
        read_ours(tmp_path / "draft")
    with pytest.raises(OSError):
        reopen(tmp_path / "draft", os.O_RDWR)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_nobody_goes_on_from_another_users_file(tmp_path: Path):
    (tmp_path / "draft").write_bytes(b"theirs")
    os.chown(tmp_path / "draft", 12345, 12345)
    with pytest.raises(PermissionError, match="must be a file that you wrote"):
        read_ours(tmp_path / "draft")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_another_users_link_in_a_shared_folder_is_not_followed(tmp_path: Path):
    tmp_path.chmod(0o1777)
    (tmp_path / "out.json").symlink_to(tmp_path / "victim")
    os.chown(tmp_path / "out.json", 12345, 12345, follow_symlinks=False)
    with pytest.raises(PermissionError, match="another user's link"):
        write_whole(tmp_path / "out.json", b"new")


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127, "b" * 251 + ".csv", "short"])
def test_a_name_leaves_room_for_what_is_hidden_beside_it(tmp_path: Path, name: str):
    target = tmp_path / name
    write_whole(target, b"new")
    beside = hidden(target, ".kept-000001")
    beside.mkdir()
    assert beside.name.startswith(f".{name[:40]}") and target.read_bytes() == b"new"
    assert hidden(target, ".x") != hidden(target.with_name(name[:-1] + "z"), ".x")
