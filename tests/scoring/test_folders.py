"""Small files appear whole or not at all; what is no file stays what it is."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from vaewatch.scoring.files.whole import write_whole


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


def test_what_cannot_be_renamed_leaves_the_old_and_no_draft(tmp_path: Path):
    target = tmp_path / "folder" / "it.json"
    with pytest.raises(FileNotFoundError):
        write_whole(target, b"new")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".it.json.draft").mkdir()  # in the draft's place
    target.write_bytes(b"old")
    with pytest.raises(IsADirectoryError):
        write_whole(target, b"new")
    assert target.read_bytes() == b"old"
