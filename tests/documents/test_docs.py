"""Every command and snippet of the README and the docs is run, and prints what the page shows."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import vaewatch
from tests.conftest import SMALL
from tests.deploy.deployed import settings_of
from tests.documents.pages import PAGES, ROOT, Page, Shell, missing, run_python, vaewatch_commands
from tests.pumps import trained
from vaewatch.__main__ import COMMANDS

READ = [Page.read(path) for path in PAGES]
RUN = [page for page in READ if page.to_run]
FAST = {"VAEWATCH_STEPS": "60", "VAEWATCH_MEMBERS": "4", "VAEWATCH_DRAIN_SECONDS": "0"}
NO_REPORT = {"VAEWATCH_NO_REPORT": "1"}  # where no page shows it: it takes half of a small fit
FEWER = {"normal.csv": 8_000, "new.csv": 5_000}  # records that are enough for the pages


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pages start from: orders of a shop, a detector of them, and a newer one."""
    folder = tmp_path_factory.mktemp("given")
    traffic = ROOT / "deploy" / "traffic.py"
    words = [sys.executable, str(traffic), "records", str(folder)]
    subprocess.run(words, check=True, capture_output=True)
    for name, rows in FEWER.items():
        pl.read_csv(folder / name, infer_schema=False)[:rows].write_csv(folder / name)
    for name, data, seed in (("artifact", "normal.csv", 0), ("newer", "recent.csv", 1)):
        vaewatch.train(folder / data, folder / name, id="order", seed=seed, report=False, **SMALL)
    trained(folder, name="pumps")
    return folder


@pytest.fixture
def shell(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    monkeypatch.chdir(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in (FAST if shows_where_a_report_is(page) else FAST | NO_REPORT).items():
        monkeypatch.setenv(name, value)
    with Shell(tmp_path, port) as started:
        yield started


def shows_where_a_report_is(page: Page) -> bool:
    """Whether it has the line by which `train` ends, where it writes one."""
    lines = [line for block in page.to_run for _, shown in block.commands() for line in shown]
    return any(line.startswith("report ") for line in lines)


def lay_out(page: Page, given: Path, folder: Path) -> None:
    for name in page.given:
        source = given / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / name)


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_what_a_page_shows_is_what_happens(page: Page, given: Path, shell: Shell):
    lay_out(page, given, shell.folder)
    names, ran = dict[str, object](), 0
    for block in page.to_run:
        if block.language == "python":
            run_python(block.text, names, shell.port)
        for command, shown in block.commands() if block.language != "python" else ():
            code, output = shell.run(command)
            refused = any(line.startswith("error: ") for line in shown)
            assert refused == (code != 0), f"{command}\nexits {code}:\n{output}"
            assert not missing(shown, output), f"{command}\nprints:\n{output}"
        ran += 1
    assert ran == len(page.to_run) > 0


def test_each_page_says_where_its_files_come_from():
    given = [page for page in READ if {name for name in page.given if name.endswith(".csv")}]
    assert len(given) > 10
    for page in given:
        assert "`python deploy/traffic.py records .`" in page.path.read_text(), page.name


def test_the_readme_the_tutorial_and_each_guide_have_something_to_run():
    names = {page.name for page in RUN}
    assert {"README.md", "docs/tutorial.md"} <= names
    for guide in (
        "data",
        "train",
        "alpha",
        "time",
        "windows",
        "score",
        "score-windows",
        "serve",
        "history",
        "watch",
        "recalibrate",
        "follow",
        "python",
        "ray",
    ):
        assert f"docs/guides/{guide}.md" in names


@pytest.mark.parametrize("page", READ, ids=lambda page: page.name)
def test_commands_that_are_not_run_here_are_commands_that_exist(page: Page):
    for block in page.blocks:
        if block.reason is not None and block.language != "python":
            for words in vaewatch_commands(block.text):
                if words and words[0] in COMMANDS:
                    settings_of(words)


@pytest.mark.parametrize("page", READ, ids=lambda page: page.name)
def test_a_block_that_is_not_run_says_why(page: Page):
    text = page.path.read_text()
    assert text.count("<!-- not run here: ") == sum(b.reason is not None for b in page.blocks)
