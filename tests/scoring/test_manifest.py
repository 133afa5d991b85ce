"""The manifest: its bytes, what it takes from other releases, and what it refuses by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from tests.conftest import call, make_frame
from vaewatch.scoring.artifact import DIRECTIONS, FILES
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.manifest import MANIFEST, Manifest
from vaewatch.scoring.scorer import Scorer

OLD = Path(__file__).parent / "artifacts" / "format-2"


@pytest.mark.parametrize("where", ["old", "new"])
def test_it_is_written_as_it_was_read(artifact_path: Path, where: str):
    content = ((OLD if where == "old" else artifact_path) / MANIFEST).read_bytes()
    assert Manifest.from_bytes(content, "it").to_bytes() == content


def test_a_recalibrated_one_ends_with_what_names_its_parent(tmp_path: Path):
    make_frame(300, seed=5).write_csv(tmp_path / "recent.csv")
    assert (
        call("recalibrate", OLD, tmp_path / "recent.csv", "--out", tmp_path / "a").returncode == 0
    )
    keys = list(json.loads((tmp_path / "a" / MANIFEST).read_bytes()))
    before = list(json.loads((OLD / MANIFEST).read_bytes()))
    assert keys == [*before, "parent", "calibration_fingerprint"]


def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    data = json.loads((OLD / MANIFEST).read_bytes())
    change(data)
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("alpha"), "manifest.json lacks the key 'alpha'."),
        (lambda m: m["calibration"].pop("n"), "lacks the key 'calibration.n'."),
        (lambda m: m["score"].pop("novelty"), "lacks the key 'score.novelty'."),
        (lambda m: m.update(alpha="1 %"), "must hold a number in the key 'alpha', got a text."),
        (lambda m: m["run"].update(fit_seconds=None), "in the key 'run.fit_seconds', got null."),
        (lambda m: m["vectorizer"]["features"][0].append(1), "'vectorizer.features[0]'"),
        (lambda m: m["schema"]["columns"][1].update(kind="x"), "'schema.columns[1].kind'"),
    ],
)
def test_a_key_that_is_missing_or_wrong_is_named(
    change: Callable[[dict[str, Any]], Any], message: str
):
    with pytest.raises(ArtifactError) as caught:
        Manifest.from_bytes(changed(change), "it")
    assert message in str(caught.value) and str(caught.value).startswith("'it' is damaged: ")


def test_keys_of_a_later_release_are_ignored(tmp_path: Path):
    def add(manifest: dict[str, Any]) -> None:
        for part in (manifest, manifest["metrics"], manifest["schema"]["columns"][0]):
            part["of_a_later_release"] = [1]

    for path in OLD.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / MANIFEST).write_bytes(changed(add))
    assert Scorer.load(tmp_path).artifact.manifest == read_manifest(OLD)
    assert "of_a_later_release" in json.loads(call("inspect", tmp_path, "--json").stdout)


def structs(kind: type = Manifest) -> Iterator[type]:
    """The manifest and all structs in it."""
    yield kind
    for hint in get_type_hints(kind).values():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from structs(hint)


def test_every_field_says_what_it_means():
    found = list(structs())
    assert len(found) == 7
    for kind in found:
        for name, hint in get_type_hints(kind, include_extras=True).items():
            metas = [extra for extra in get_args(hint)[1:] if isinstance(extra, msgspec.Meta)]
            assert metas and metas[0].description, f"{kind.__name__}.{name}"


def test_every_file_of_an_artifact_says_what_it_holds(artifact_path: Path):
    assert {path.name for path in artifact_path.iterdir()} == set(FILES) - {DIRECTIONS}
