"""The built site holds every option, setting, metric and route, and its links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import call, make_frame
from tests.live import Live, serving, until
from vaewatch.__main__ import COMMANDS, cli
from vaewatch.service.http.problems import STATUS
from vaewatch.service.settings import Settings
from vaewatch.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
FETCHING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
OF_THE_SERVICE_ITSELF = {"artifact", "key", "workers_folder"}  # no option sets these


@dataclass
class Html(HTMLParser):
    """What a page holds: its text, ids, links, and what a browser fetches for it."""

    words: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {str(given["id"])} if given.get("id") else set()
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag in FETCHING and given.get(FETCHING[tag]):
            self.fetched.append(str(given[FETCHING[tag]]))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does: a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    words = ["-W", "--keep-going", "-n", "-E", "-q", "-b", "html", "-d", f"{out}-trees"]
    command = [sys.executable, "-m", "sphinx", *words, str(ROOT / "docs"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return out


@cache
def parsed(path: Path) -> Html:
    html = Html()
    html.feed(path.read_text())
    return html


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def commands() -> Iterator[tuple[str, click.Command]]:
    assert isinstance(cli, click.Group)
    for name in COMMANDS:
        found = cli.get_command(click.Context(cli), name)
        assert found is not None
        yield name, found


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=list(COMMANDS))
def test_each_command_has_help_with_an_example(name: str, command: click.Command):
    assert f"Example:  vaewatch {name}" in str(command.epilog)
    assert command.help


def test_each_command_and_option_is_in_the_reference(site: Path):
    page = parsed(site / "reference" / "commands.html")
    for name, command in commands():
        assert f"vaewatch-{name}" in page.ids
        for param in command.params:
            for flag in param.opts if isinstance(param, click.Option) else ():
                assert f"cmdoption-vaewatch-{name}{flag.removeprefix('-')}" in page.ids, flag
        for envvar in {p.envvar for p in command.params if isinstance(p, click.Option)} - {None}:
            assert str(envvar) in page.text


def test_each_setting_is_in_the_reference(site: Path):
    training, service = parsed(site / "reference" / "settings.html").text.split(" Service", 1)
    for one in fields(TrainConfig):
        assert re.search(rf"\b{one.name}\b", training), one.name
    for one in fields(Settings):
        assert one.name in OF_THE_SERVICE_ITSELF or re.search(rf"\b{one.name}\b", service)


@pytest.fixture(scope="module")
def live(artifact_path: Path, newer_path: Path) -> Iterator[Live]:
    with serving(artifact_path, "--shadow", str(newer_path)) as running:
        running.post("/v1/score", json={"records": make_frame(600).drop("order").to_dicts()})
        until(lambda: running.value("vaewatch_shadow_records_total") == 600)
        yield running


def test_each_metric_of_a_service_is_in_the_reference(site: Path, live: Live):
    text = parsed(site / "reference" / "metrics.html").text
    families = text_string_to_metric_families(live.get("/metrics").text)
    found = [(f.name + "_total" * (f.type == "counter"), f) for f in families]
    assert len(found) > 25
    for name, family in found:
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        shown = re.search(rf"{name}(?:\{{([a-z,]+)\}})?(?![a-z_])", text)
        assert shown is not None, name
        assert set((shown[1] or "").split(",")) - {""} == labels, name
        assert " ".join(family.documentation.split())[:40] in text.replace("’", "'"), name


def test_each_metric_of_a_job_is_in_the_reference(site: Path, artifact_path: Path, tmp_path: Path):
    make_frame(50).write_csv(tmp_path / "new.csv")
    options = ("--out", tmp_path / "out.csv", "--metrics-file", tmp_path / "m.prom", "--quiet")
    options += ("--incidents", tmp_path / "incidents.ndjson")
    assert call("score", artifact_path, tmp_path / "new.csv", *options).returncode == 0
    text = parsed(site / "reference" / "metrics.html").text
    families = list(text_string_to_metric_families((tmp_path / "m.prom").read_text()))
    assert families and all(family.name in text for family in families)


def test_each_route_is_in_the_reference_with_its_media_types(site: Path, live: Live):
    text = parsed(site / "reference" / "http.html").text
    document = live.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            entry = text.split(f"{method.upper()} {path}")
            assert len(entry) > 1, path
            for media in operation.get("requestBody", {}).get("content", {}):
                assert any(media in after[:2000] for after in entry[1:]), (path, media)
    for name in document["components"]["schemas"]:
        assert name in text
    for status in {str(status) for status, _, _ in STATUS.values()} - {"500"}:
        assert status in text


def test_each_member_of_a_manifest_is_in_the_reference(site: Path, artifact_path: Path):
    text = parsed(site / "reference" / "artifact.html").text
    manifest = json.loads((artifact_path / "manifest.json").read_text())
    assert all(name in text for name in manifest)
    assert all(name in text for name in manifest["sha256"])


def test_each_public_name_is_in_the_reference(site: Path):
    import vaewatch

    ids = parsed(site / "reference" / "python.html").ids
    for name in vaewatch.__all__:
        assert any(found.endswith(f".{name}") for found in ids), name


EXITS = {
    0: ("inspect", "{artifact}"),
    2: ("inspect", "{artifact}", "--no-such-option"),
    3: ("score", "{artifact}", "{bad}"),
    4: ("inspect", "{folder}/nothing"),
    5: ("score", "{artifact}", "{good}", "--fail-above", "0", "--alpha", "0.9", "--quiet"),
}


@pytest.mark.parametrize("code", EXITS)
def test_the_exit_codes_are_those_of_the_table(code: int, artifact_path: Path, tmp_path: Path):
    bad, good = tmp_path / "bad.csv", tmp_path / "good.csv"
    bad.write_text("amount\n1\n")
    make_frame(50).write_csv(good)
    places = {"artifact": artifact_path, "folder": tmp_path, "bad": bad, "good": good}
    assert call(*(word.format(**places) for word in EXITS[code])).returncode == code
    assert f"\n| {code} | " in (ROOT / "docs" / "reference" / "commands.md").read_text()


def test_each_link_of_the_site_leads_somewhere(site: Path):
    for page in pages(site):
        for link in parsed(page).links:
            to = urlsplit(link)
            if to.scheme in ("http", "https", "mailto") or link == "#":
                continue
            target = (page.parent / unquote(to.path)).resolve() if to.path else page
            assert target.is_file(), f"{page.relative_to(site)}: {link}"
            if to.fragment and target.suffix == ".html":
                assert unquote(to.fragment) in parsed(target).ids, f"{page.name}: {link}"


def test_the_site_fetches_nothing_from_elsewhere(site: Path):
    for page in pages(site):
        assert not [url for url in parsed(page).fetched if urlsplit(url).netloc], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheet.read_text()), sheet


def test_each_page_is_in_the_navigation(site: Path):
    reached = {urlsplit(link).path for link in parsed(site / "index.html").links}
    for source in (ROOT / "docs").rglob("*.md"):
        if "_build" not in source.parts and source.name != "index.md":
            inside = source.relative_to(ROOT / "docs").with_suffix(".html")
            assert str(inside) in reached, inside
