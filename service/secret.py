"""a name -> what VAEWATCH_<NAME> holds, or the file that VAEWATCH_<NAME>_FILE names.

What is secret has no place on a command line, which every user of the machine can read.
"""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from vaewatch.scoring.errors import SettingError

MOST_BYTES = 1 << 20  # of a file


class Secret(NamedTuple):
    """A text as it was found. where: in words, for messages."""

    text: str
    where: str


def secret(name: str) -> Secret | None:
    """Read the file that NAME_FILE names, or else what NAME holds; None if neither is set.

    The file wins: NAME may be a preset of a unit or an image, which nobody can unset there.

    Raises:
        SettingError: the file cannot be read.
    """
    path = os.environ.get(f"{name}_FILE")
    if path is None:
        text = os.environ.get(name)
        return None if text is None else Secret(text, name)
    where = f"the file '{path}' of {name}_FILE"
    return Secret(text_of(Path(path), where), where)


def text_of(path: Path, what: str, *, regular: bool = False) -> str:
    """Read a small file of text. One that is read while requests are answered must be regular: to
    open a FIFO could block them all.

    Raises:
        SettingError: it is no such file.
    """
    try:
        if regular and not S_ISREG(path.stat().st_mode):
            raise SettingError(f"{what} must be a regular file, got another kind.")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise SettingError(f"{what} must be at most {MOST_BYTES:,} bytes.")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise SettingError(f"{what} must be readable: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"{what} must be text in UTF-8, got other bytes.") from error
