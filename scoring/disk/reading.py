"""a folder -> its Artifact, its manifest or one of its files, each verified."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError

from vaewatch.scoring.artifact import Artifact, needed, unpack_artifact
from vaewatch.scoring.disk.exchange import while_replaced
from vaewatch.scoring.errors import ArtifactError, ScoringError
from vaewatch.scoring.intake.contents import check_counts
from vaewatch.scoring.intake.damage import BROKEN, damaged
from vaewatch.scoring.intake.folder import Folder, opened_folder, require_name
from vaewatch.scoring.intake.once import read_json
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.manifest import MANIFEST, Manifest

MOST_FILES = 100


@while_replaced
def read_artifact(path: Path | str) -> Artifact:
    """Read a folder, and check its format version, every hash, and all that scoring rests on.

    Raises:
        ArtifactError: it is no artifact, not whole, or not as it was written.
    """
    with opened_folder(Path(path)) as folder:
        manifest = _manifest_of(folder)
        files = {name: _verified(folder, name, manifest.sha256[name]) for name in needed(manifest)}
        for name in set(manifest.sha256) - set(needed(manifest)):
            _require_as_written(folder, name, manifest.sha256[name])
    try:
        return unpack_artifact(manifest, files)
    except ArtifactError as error:
        raise ArtifactError(f"'{path}' is damaged: {one_line(error)}") from error
    except (*BROKEN, ScoringError, SafetensorError) as error:
        raise damaged(path, error) from error


def read_files(path: Path, manifest: Manifest) -> dict[str, bytes]:
    """Return every file that the manifest lists, each with the hash that it had when written.

    Files that scoring does not need may have been taken away, to make an image smaller; those that
    are there must be as they were written.
    """
    with opened_folder(path) as folder:
        return {
            name: _verified(folder, name, digest)
            for name, digest in manifest.sha256.items()
            if name in needed(manifest) or _is_there(folder, name)
        }


def _is_there(folder: Folder, name: str) -> bool:
    require_name(folder.path, name)
    return folder.has(name)


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        ArtifactError: the folder is no artifact, or its manifest not one that this release reads.
    """
    with opened_folder(path) as folder:
        return _manifest_of(folder)


def read_manifest_bytes(path: Path) -> bytes:
    """Return the manifest of a folder as it was written, with keys of a later release."""
    with opened_folder(path) as folder:
        return _manifest_bytes(folder)


def _manifest_of(folder: Folder) -> Manifest:
    place = folder.path
    content = _manifest_bytes(folder)
    manifest = Manifest.from_bytes(content, str(place))
    try:
        read_json(content, MANIFEST)  # no key twice, which msgspec takes
        check_counts(manifest)
    except ArtifactError as error:
        raise ArtifactError(f"'{place}' is damaged: {error}") from None
    names = needed(manifest)
    if not set(names) <= set(manifest.sha256):
        raise ArtifactError(f"'{place}' is damaged: {MANIFEST} must list {', '.join(names)}.")
    if len(manifest.sha256) > MOST_FILES:
        raise ArtifactError(
            f"'{place}' is damaged: {MANIFEST} must list at most {MOST_FILES} files, got "
            f"{len(manifest.sha256):,}."
        )
    return manifest


def _manifest_bytes(folder: Folder) -> bytes:
    if not folder.has(MANIFEST):
        raise ArtifactError(f"'{folder.path}' is not an artifact: it has no {MANIFEST}.")
    return folder.read(MANIFEST)


def read_verified(path: Path, name: str, digest: str) -> bytes:
    """Return a file of an artifact, if its hash is the one that the manifest lists."""
    with opened_folder(path) as folder:
        return _verified(folder, name, digest)


def read_kept(path: Path, name: str) -> bytes | None:
    """Return a file that scoring does not need, verified; None if it has been taken away."""
    with opened_folder(path) as folder:
        digest = _manifest_of(folder).sha256.get(name)
        if digest is None or not _is_there(folder, name):
            return None
        return _verified(folder, name, digest)


def _verified(folder: Folder, name: str, digest: str) -> bytes:
    content = folder.read(name)
    _require_hash(folder, name, hashlib.sha256(content).hexdigest() == digest)
    return content


def _require_as_written(folder: Folder, name: str, digest: str) -> None:
    """Check a file that is not needed, if it is there, without holding it."""
    if _is_there(folder, name):
        _require_hash(folder, name, folder.digest(name) == digest)


def _require_hash(folder: Folder, name: str, holds: bool) -> None:
    if not holds:
        raise ArtifactError(
            f"'{folder.path}' is damaged: {name} is not the file that was written."
        )
