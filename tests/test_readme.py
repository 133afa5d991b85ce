"""The README names what exists, and all that exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from vaewatch.__main__ import COMMANDS, cli
from vaewatch.training.config import TrainConfig

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def command(name: str) -> click.Command:
    group = cli
    assert isinstance(group, click.Group)
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def options_of(name: str) -> set[str]:
    return {flag for p in command(name).params for flag in p.opts if flag.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_in_the_readme_and_has_help_with_an_example(name: str):
    assert f"| `vaewatch {name}` |" in README
    assert f"Example:  vaewatch {name}" in str(command(name).epilog)
    assert command(name).help


def test_each_command_that_the_readme_names_exists():
    assert set(re.findall(r"^\| `vaewatch (\w+)` \|", README, re.M)) == set(COMMANDS)


def test_each_option_of_an_example_exists():
    for name, words in re.findall(
        r"vaewatch (train|score|replay|report|serve|evaluate|inspect) ([^`\n]*)", README
    ):
        assert set(re.findall(r"--[a-z-]+", words)) <= options_of(name), words


def test_the_training_settings_table_is_whole():
    table = README.split("### Training settings")[1].split("\n\nA run")[0]
    named = set(re.findall(r"--[a-z][a-z-]*", table))
    assert named == options_of("train") - {
        "--out",
        "--config",
        "--overwrite",
        "--quiet",
        "--resume",
    }


def test_the_defaults_that_the_readme_gives_are_the_defaults():
    config = TrainConfig()
    table = README.split("### Training settings")[1].split("###")[0]
    assert f"| `--alpha` | {config.alpha:g} |" in table
    assert f"| {config.members}, {config.served} |" in table
    assert f"| {config.width}, half the features, {config.steps} |" in table
    assert f"| `--neighbours` | {config.neighbours} |" in table


def test_the_table_of_the_files_section_has_each_option_of_score():
    table = README.split("## Files")[1].split("## ")[0]
    named = set(re.findall(r"^\| `(--[a-z-]+)", table, re.M))
    assert named == options_of("score") - {"--out", "--config", "--quiet"}
    assert set(re.findall(r"`(--[a-z-]+)", table)) <= options_of("score") | options_of("replay")


def test_each_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets


def test_files_that_the_readme_links_to_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_project_speaks_of_itself_alone():
    for path in ROOT.glob("*.md"):
        assert "../shared" not in path.read_text() and "/work" not in path.read_text()
