"""What the files of deploy/ would run, read as the programs themselves read it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import yaml

from vaewatch.__main__ import cli
from vaewatch.commands.parameters import SecretOption

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OF_ALL = {"VAEWATCH_KEY", "VAEWATCH_KEY_FILE", "VAEWATCH_DEBUG", "VAEWATCH_CONFIG"}


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def settings_of(words: Sequence[str], env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The settings that `vaewatch WORDS` would run with, or a click error; nothing is run."""
    name, *rest = words
    group, env = cli, env or {}
    assert isinstance(group, click.Group)
    command = group.get_command(click.Context(group), name)
    assert command is not None
    known = {p.envvar for p in command.params if isinstance(p, click.Option)} | OF_ALL
    known |= {f"{p.envvar}_FILE" for p in command.params if isinstance(p, SecretOption)}
    ours = {key: value for key, value in env.items() if key.startswith("VAEWATCH_")}
    assert ours.keys() <= known, f"vaewatch {name} does not read {ours.keys() - known}"
    with patch.dict(os.environ, ours), ExitStack() as elsewhere:
        for param in command.params:
            if isinstance(param.type, click.Path):  # folders are those of another machine
                elsewhere.enter_context(patch.object(param.type, "exists", False))
        return command.make_context(name, list(rest)).params
