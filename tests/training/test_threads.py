"""A fit computes on one thread unless more are asked for, and leaves the process as it was."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest
import torch
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_info

import vaewatch
from tests.conftest import make_frame
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.imports import without_garbage
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.bounds import Bounds
from vaewatch.training.evaluate import evaluate
from vaewatch.training.vae.threads import computing_on

FAST = {"steps": 10, "members": 4, "served": 2, "alpha": 0.1, "id": "order", "report": False}


def pools() -> set[int]:
    """The threads of torch, of its MKL, of OpenMP and of each BLAS."""
    mkl = re.findall(r"mkl_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())
    others = (pool["num_threads"] for pool in threadpool_info())
    return {torch.get_num_threads(), *map(int, mkl), *others}


@pytest.fixture
def two_threads():
    """A process that computes on two, as torch does by default on two cores."""
    with computing_on(2):
        yield


@pytest.mark.parametrize("asked", [1, 2])
def test_a_fit_computes_on_as_many_threads_as_asked(asked: int, two_threads: None, tmp_path: Path):
    seen: set[int] = set()

    def progress(phase: str, done: int, total: int) -> None:
        seen.update(pools())

    vaewatch.train(make_frame(200), tmp_path / "a", progress=progress, threads=asked, **FAST)
    assert seen == {asked}
    assert pools() == {2}
    assert read_manifest(tmp_path / "a").training.threads == asked


def test_the_process_is_as_before_after_a_fit_that_failed(two_threads: None):
    with pytest.raises(RuntimeError, match="on purpose"), computing_on(1):
        raise RuntimeError("on purpose")
    assert pools() == {2}


def test_the_estimator_takes_threads(two_threads: None):
    detector = vaewatch.VAEDetector(alpha=0.1, steps=10, members=4, served=2, threads=2)
    detector.fit(make_frame(200).drop("order").to_pandas())
    check_is_fitted(detector)
    assert pools() == {2}


def test_imports_leave_the_collector_as_it_was():
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    with pytest.raises(ImportError), without_garbage():
        assert not gc.isenabled()
        raise ImportError
    try:
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()


def test_an_evaluation_computes_on_one_thread(two_threads: None, artifact_path: Path):
    frame = make_frame(40, seed=2).with_columns(label=0)
    seen: set[int] = set()

    def bounds(x: object) -> Bounds:
        seen.update(pools())
        return Bounds(0.0, 0.0, 1, 1)

    found = evaluate(Scorer.load(artifact_path), frame, "label", bounds=bounds)
    assert found.bounds is not None
    assert seen == {1}
    assert pools() == {2}


@pytest.mark.parametrize("threads", [0, -1, "two", 1.5])
def test_what_is_no_number_of_threads_is_refused(threads: object, tmp_path: Path):
    with pytest.raises(SettingError, match="'threads' must be"):
        vaewatch.train(make_frame(100), tmp_path / "a", threads=threads)
