"""manifest, files -> an artifact's folder, in place of the one before, which is kept as a version.

Everything else has a hidden name beside the artifact:

    .NAME.kept-000007       a version that was replaced; the highest number is the newest
    .NAME.new-INODE-RANDOM  a draft. INODE is that of the folder that it is to replace; once it is
                            that of the draft itself, the two were exchanged

so that the next run sees what one that was killed had done.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from vaewatch.scoring.disk.exchange import exchange
from vaewatch.scoring.disk.lock import sole_writer, writable
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.errors import ArtifactError, OutputError, SettingError
from vaewatch.scoring.files.whole import hidden, named, remove, sync_folder
from vaewatch.scoring.intake.text import has_control, one_line
from vaewatch.scoring.manifest import MANIFEST, Manifest
from vaewatch.scoring.scorer import Scorer

KEEP = 1  # versions that a command keeps if nobody says otherwise


def write_artifact(
    out: Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    *,
    overwrite: bool = False,
    keep: int = 0,
) -> None:
    """Write a folder beside `out`, sync it, and exchange the two. The caller holds the lock.

    Args:
        out: the artifact's folder.
        manifest: of the artifact; it gets the hashes.
        files: name -> content.
        overwrite: whether an artifact that is there may be replaced.
        keep: how many of those that were replaced to keep.

    Raises:
        ArtifactError: `out` is there already.
        OutputError: it cannot be written; nothing is left behind.
    """
    check_target(out, overwrite=overwrite)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    whole = {**files, MANIFEST: msgspec.structs.replace(manifest, sha256=hashes).to_bytes()}
    with writable(out):
        _write(named(out), whole, keep)


def _write(out: Path, files: Mapping[str, bytes], keep: int) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    mend(out)
    draft = Path(tempfile.mkdtemp(prefix=f"{_draft_of(out).name}-", dir=out.parent))
    try:
        _write_all(draft, files)
        _place(draft, out, keep)
    finally:
        with suppress(OSError):
            mend(out)  # once exchanged, the draft is the artifact before: a version to keep


def check_target(out: Path, *, overwrite: bool) -> None:
    """Refuse early an artifact's folder that could not be written in the end.

    Raises:
        SettingError: its name, which becomes the artifact's, could steer a terminal.
        ArtifactError: `out` is there, and may not be replaced.
        OutputError: its place takes no folder.
    """
    if has_control(named(out).name):
        raise SettingError(
            f"an artifact's name must have no control characters, got '{one_line(out.name)}'. "
            "Choose another name."
        )
    parent = next(p for p in (*out.absolute().parents, Path("/")) if os.path.lexists(p))
    if not parent.is_dir():
        raise OutputError(f"'{out}' could not be written: '{parent}' is not a folder.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"'{out}' must be writable, but '{parent}' is not.")
    with writable(out):  # unless its name is too long
        is_there = out.exists() or out.is_symlink()
    if not is_there:
        return
    if not overwrite:
        raise ArtifactError(
            f"'{out}' must not exist yet. Choose another name, or pass --overwrite."
        )
    if not (out / MANIFEST).is_file():
        raise ArtifactError(
            f"'{out}' is not an artifact, so it is not overwritten. Choose another name."
        )


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.chmod(0o755)
    for name, content in files.items():
        with open(folder / name, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def _place(draft: Path, out: Path, keep: int) -> None:
    if out.exists() or out.is_symlink():
        exchange(draft, out, _next_kept(out))
        sync_folder(out.parent)  # first, or the one before could be gone and the new one not there
        _retire(draft, out, keep)
    else:
        os.rename(draft, out)
    sync_folder(out.parent)


def _retire(replaced: Path, out: Path, keep: int) -> None:
    """Keep a folder that was replaced as the newest version, and as many as wanted in all."""
    os.rename(replaced, _next_kept(out))
    for _, path in _kept(out)[keep:]:
        _discard(path, out)


def _discard(path: Path, out: Path) -> None:
    """Delete a version, under a name that says so from the beginning."""
    doomed = hidden(out, f".new-0-{secrets.token_hex(4)}")
    os.rename(path, doomed)
    remove(doomed)


def _draft_of(out: Path) -> Path:
    """Return what the names of drafts begin with."""
    return hidden(out, f".new-{_inode(out)}")


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return 0


def _beside(out: Path, ending: str) -> Iterator[tuple[int, Path]]:
    """Yield what has a hidden name with a number, and the number."""
    pattern = re.compile(re.escape(hidden(out, "").name) + ending)
    for path in out.parent.iterdir():
        found = pattern.fullmatch(path.name)
        if found:
            yield int(found[1]), path


def _kept(out: Path) -> list[tuple[int, Path]]:
    """Return the versions that are kept, newest first."""
    return sorted(_beside(out, r"\.kept-(\d+)"), reverse=True)


def _next_kept(out: Path) -> Path:
    newest = max((number for number, _ in _kept(out)), default=0)
    return hidden(out, f".kept-{newest + 1:06}")


def mend(out: Path) -> None:
    """Finish or clear what a run that failed or was killed has left. The caller holds the lock."""
    for inode, path in list(_beside(out, r"\.new-(\d+)-\w+")):
        if inode and inode == _inode(path):
            os.rename(path, _next_kept(out))
        else:
            with suppress(OSError):  # what cannot be deleted is in nobody's way
                remove(path)
    if not out.exists() and not out.is_symlink() and _kept(out):
        os.rename(_kept(out)[0][1], out)


@dataclass(frozen=True)
class Version:
    """A version of an artifact that can be put back."""

    path: Path
    manifest: Manifest


def versions(out: Path) -> list[Version]:
    """Return the kept versions that can be read, newest first."""
    found = []
    for _, path in _kept(named(out)):
        with suppress(ArtifactError):
            found.append(Version(path, read_manifest(path)))
    return found


@dataclass(frozen=True)
class RolledBack:
    """An exchange of versions; before: what was in place, None if nothing could be read there."""

    before: str | None
    now: str


def roll_back(out: Path, version: str | None = None) -> RolledBack:
    """Put the version back that was replaced last, or a named one, and keep what it replaces as
    the newest: so a second time undoes the first.

    Args:
        out: the artifact's folder.
        version: the beginning of a version's name.

    Raises:
        ArtifactError: there is no such version, or it must not be served.
        OutputError: its place cannot be written.
        SettingError: another run writes to the artifact.
    """
    if not named(out).parent.is_dir():
        raise ArtifactError(f"'{out}' is not an artifact: it does not exist.")
    with sole_writer(out), writable(out):
        return _roll_back(named(out), version)


def _roll_back(out: Path, version: str | None) -> RolledBack:
    before = read_manifest(out).version if (out / MANIFEST).is_file() else None
    mend(out)
    found = _choose(out, version)
    Scorer.load(found.path)  # verified: its files, and that it scores as it did
    _swap(found.path, out)
    return RolledBack(before, found.manifest.version)


def _choose(out: Path, version: str | None) -> Version:
    known = versions(out)
    fit = [one for one in known if one.manifest.version.startswith(version or "")]
    if fit:
        return fit[0]
    if known:
        names = ", ".join(one.manifest.version for one in known)
        raise ArtifactError(f"'{out}' must have the version '{version}' before it, got {names}.")
    read_manifest(out)  # there may be no artifact at all
    raise ArtifactError(
        f"'{out}' has no version before it. One is kept whenever vaewatch train or recalibrate "
        "replaces an artifact with --overwrite, unless --keep is 0."
    )


def _swap(kept: Path, out: Path) -> None:
    newest = _next_kept(out)
    exchange(kept, out, newest)
    sync_folder(out.parent)
    if _kept(out)[0][1] != kept:
        os.rename(kept, newest)
        sync_folder(out.parent)
