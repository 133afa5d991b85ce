"""An artifact is there whole or not at all, and is believed only after it was verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaewatch.scoring.artifact import (
    CALIBRATION,
    FINDINGS,
    GOLDEN,
    MARGINALS,
    NETWORK,
    PRECISION,
    REPORT,
    SEEN,
    WEIGHTS,
)
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.disk.versions import write_artifact
from vaewatch.scoring.errors import ArtifactError, OutputError
from vaewatch.scoring.manifest import MANIFEST, Manifest
from vaewatch.scoring.scorer import Scorer


@pytest.fixture
def copy(artifact_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact_path, tmp_path / "copy"))


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_the_folder_holds_what_the_contract_names(artifact_path: Path):
    names = {path.name for path in artifact_path.iterdir()}
    needed = {NETWORK, PRECISION, CALIBRATION, GOLDEN}
    assert names == {MANIFEST, *needed, WEIGHTS, MARGINALS, SEEN, FINDINGS, REPORT}
    manifest = json.loads((artifact_path / MANIFEST).read_text())
    assert set(manifest["sha256"]) == names - {MANIFEST}
    assert manifest["calibration"]["n"] == 100 and manifest["calibration"]["rule"] == "split"


def test_nothing_in_it_is_a_pickle(artifact_path: Path):
    for path in artifact_path.iterdir():
        assert not path.read_bytes().startswith((b"\x80\x04", b"PK"))


def test_it_scores_the_same_when_read_again(copy: Path, scorer: Scorer):
    golden = scorer.artifact.golden
    np.testing.assert_array_equal(
        Scorer.load(copy).score_records(golden.records).score,
        scorer.score_records(golden.records).score,
    )


@pytest.mark.parametrize(
    "name", [NETWORK, CALIBRATION, GOLDEN, WEIGHTS, MARGINALS, SEEN, FINDINGS, REPORT]
)
def test_a_truncated_file_is_refused(copy: Path, name: str):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ArtifactError, match=f"is damaged: {name} is not the file that was written"
    ):
        Scorer.load(copy)


@pytest.mark.parametrize("name", [NETWORK, CALIBRATION, GOLDEN])
def test_an_absent_file_is_refused(copy: Path, name: str):
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=f"is not whole: {name} must be readable"):
        Scorer.load(copy)


@pytest.mark.parametrize("name", [WEIGHTS, MARGINALS, SEEN, FINDINGS, REPORT])
def test_what_scoring_does_not_need_may_be_absent(copy: Path, scorer: Scorer, name: str):
    (copy / name).unlink()
    assert Scorer.load(copy).artifact.version == scorer.artifact.version


def test_a_truncated_manifest_is_refused(copy: Path):
    (copy / MANIFEST).write_text((copy / MANIFEST).read_text()[:100])
    with pytest.raises(ArtifactError, match="is damaged: manifest.json is not JSON"):
        Scorer.load(copy)


def test_an_artifact_of_the_future_is_refused(copy: Path):
    edit_manifest(copy, lambda m: m.update(format_version=99))
    with pytest.raises(
        ArtifactError, match="format_version must be 2 to 4, got 99.*Upgrade vaewatch"
    ):
        Scorer.load(copy)


@pytest.mark.parametrize("key", ["schema", "vectorizer", "score", "calibration", "alpha"])
def test_a_manifest_that_lacks_a_part_is_refused(copy: Path, key: str):
    edit_manifest(copy, lambda m: m.pop(key))
    with pytest.raises(ArtifactError, match="is damaged"):
        Scorer.load(copy)


def test_scores_that_changed_are_refused(copy: Path):
    edit_manifest(copy, lambda m: m["score"].update(kl_weight=2.0))
    with pytest.raises(ArtifactError, match="golden records must score within 0.001"):
        Scorer.load(copy)


def test_a_manifest_cannot_point_outside_the_folder(copy: Path):
    edit_manifest(copy, lambda m: m["sha256"].update({"../secret": "0"}))
    with pytest.raises(ArtifactError, match="names a file outside the folder"):
        Scorer.load(copy)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "is not an artifact: it does not exist"),
        (lambda p: p.mkdir(), "is not an artifact: it has no manifest.json"),
        (lambda p: p.write_text("x"), "is not an artifact: it must be a folder"),
        (lambda p: (p.mkdir(), (p / MANIFEST).write_text("{}")), "has no format_version"),
    ],
)
def test_what_is_no_artifact_is_refused(tmp_path: Path, make: Callable[[Path], Any], message: str):
    make(tmp_path / "it")
    with pytest.raises(ArtifactError, match=message):
        Scorer.load(tmp_path / "it")


@pytest.fixture
def manifest(artifact_path: Path) -> Manifest:
    return read_manifest(artifact_path)


def test_an_artifact_is_replaced_only_when_told(copy: Path, manifest: Manifest):
    with pytest.raises(ArtifactError, match="must not exist yet.*--overwrite"):
        write_artifact(copy, manifest, {"a": b"1"})
    write_artifact(copy, manifest, {"a": b"1"}, overwrite=True)
    assert {path.name for path in copy.iterdir()} == {"a", MANIFEST}
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path, manifest: Manifest):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1").write_text("years of work")
    with pytest.raises(ArtifactError, match="is not an artifact, so it is not overwritten"):
        write_artifact(tmp_path / "thesis", manifest, {}, overwrite=True)


def test_a_disk_that_fills_leaves_nothing(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="could not be written: No space left on device"):
        write_artifact(tmp_path / "out", manifest, {"a": b"1"})
    assert not list(tmp_path.iterdir())
