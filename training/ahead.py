"""data, settings -> refused before torch is imported, where that can be known without it.

What is looked at here is looked at again by the run itself, which has the last word.
"""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vaewatch.scoring.disk.naming import now
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.disk.versions import check_target
from vaewatch.scoring.errors import OutputError, SchemaError, SettingError
from vaewatch.scoring.files.source import expand, open_frames
from vaewatch.scoring.files.whole import hidden
from vaewatch.scoring.intake.contents import require_few
from vaewatch.scoring.intake.text import LINE_BREAKS, has_control, one_line
from vaewatch.scoring.manifest import Manifest
from vaewatch.scoring.schema import require_columns
from vaewatch.training.config import TrainConfig

DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd", "/dev/nvhost-ctrl")


def check_ahead(
    data: Any,
    out: Path,
    config: TrainConfig,
    delimiter: str | None = None,
    *,
    overwrite: bool = False,
    continue_from: Path | str | None = None,
) -> None:
    """Refuse what a training run would refuse after its imports.

    Raises:
        SettingError: the device is not there, a name could steer a terminal, or the time that is
            to stand in the artifact is none.
        ArtifactError: `out` is there, or `continue_from` is no artifact.
        OutputError: `out` cannot be written.
        SchemaError: a file is not there, or the first one lacks a column that a setting names.
    """
    _check_device(config.device)
    _check_names(config)
    check_target(out, overwrite=overwrite)
    now()
    if continue_from is not None:
        check_continued(read_manifest(Path(continue_from)), config)
    if hasattr(data, "columns"):
        return _check_columns([str(name) for name in data.columns], config)
    names = [data] if isinstance(data, str | Path) else list(data)
    files = expand([str(name) for name in names])
    for name in files:
        _require_file(name)
    columns = _columns(files[0], delimiter) if files else None
    if columns is not None:
        _check_columns(columns, config)


def check_continued(parent: Manifest, config: TrainConfig) -> None:
    """Refuse to continue a fit of windows, or to begin one with the weights of another.

    Raises:
        SettingError: it is one.
    """
    if parent.window is not None or config.windowed:
        what = f"'{parent.name}' judges windows" if parent.window else "a window is asked for"
        raise SettingError(
            f"--from continues a fit of single records, but {what}: train on old and new records "
            "without --from."
        )


def check_files(
    names: tuple[str, ...], label: str | None = None, delimiter: str | None = None
) -> None:
    """Refuse input files that are not there, and a first one that lacks the column of labels."""
    files = expand(names)
    for name in files:
        _require_file(name)
    columns = _columns(files[0], delimiter) if files and label else None
    if columns is not None and label:
        require_columns(columns, [label], "label")


def check_output(path: Path | str | None) -> None:
    """Refuse a file that could not be written in the end.

    Raises:
        OutputError: its folder is not there, or takes no file.
    """
    if path is not None:
        folder = Path(path).absolute().parent
        if not folder.is_dir():
            raise OutputError(f"'{path}' must be writable: '{folder}' is not a folder.")
        if not os.access(folder, os.W_OK | os.X_OK) and not Path(path).exists():
            raise OutputError(f"'{path}' must be writable: '{folder}' takes no file.")


def check_feedback(path: Path | None) -> None:
    """Refuse a file of feedback that is not there.

    Raises:
        SchemaError: it is not.
    """
    if path is not None:
        _require_file(str(path))


def checkpoint_of(out: Path) -> Path:
    """Return where a run that is killed leaves its last snapshot."""
    return hidden(out, ".checkpoint")


def _check_device(device: str) -> None:
    """Refuse a GPU where no driver has made one known; torch knows the rest."""
    if device.startswith("cuda") and sys.platform == "linux":
        if not any(Path(node).exists() for node in DRIVERS):
            raise SettingError(
                f"setting 'device' must be a device of this machine, got '{device}', but "
                "Linux shows no GPU. Use auto or cpu."
            )


def _check_names(config: TrainConfig) -> None:
    """Refuse names of columns that need not be in the data, and that no artifact takes."""
    for name in (config.id, config.label):
        if name is not None and has_control(name, LINE_BREAKS):
            raise SettingError(
                f"a column's name must have no control characters, got '{one_line(name)}'."
            )


def _require_file(name: str) -> None:
    path = Path(name)
    if "://" in name or name == "-" or path.exists():
        return
    raise SchemaError(f"'{name}' must be readable: No such file or directory.")


def _columns(name: str, delimiter: str | None) -> list[str] | None:
    """Return the columns of a regular file; those of NDJSON may come later in the file."""
    if "://" in name or not Path(name).is_file():
        return None
    with open_frames(name, delimiter) as file:
        first = None if file.format == "ndjson" else next(file.chunks, None)
        return None if first is None else first.frame.columns


def _check_columns(columns: list[str], config: TrainConfig) -> None:
    config.require_named(columns)
    require_few(set(columns) - {config.id, config.label, *config.ignore})
    for name in set(columns) - set(config.ignore):
        if has_control(name, LINE_BREAKS):
            raise SchemaError(
                f"a column's name must have no control characters, got '{one_line(name)}'. "
                "Rename it."
            )
    if config.label is not None and get_close_matches(config.label, columns, 1, 0.8):
        require_columns(columns, [config.label], "label")  # a slip, or there
