"""The training report: what it says is what was learned, and nothing from data can break it."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import betabinom
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.conftest import ODD_NAME, ODD_VALUE, SMALL, Done, call, make_frame, run
from vaewatch.scoring.artifact import FINDINGS, REPORT
from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.manifest import MANIFEST
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.config import TrainConfig
from vaewatch.training.report.findings import Findings
from vaewatch.training.split.split import split_records
from vaewatch.training.train import train

SECTIONS = [
    "data", "odd", "budget", "labelled",
    "fit", "latent", "reconstruction", "scores", "alphas", "card",
]  # fmt: skip
LIMIT = 2_000_000


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(word for word in self.words if word)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def facts(self) -> dict[str, str]:
        """Of each list of facts: name -> what it is."""
        found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", self.rawdata_kept)
        return {html.unescape(name): html.unescape(value) for name, value in found}

    rawdata_kept = ""


def page_at(path: Path) -> Page:
    content = path.read_text()
    page = Page(content)
    page.rawdata_kept = content
    return page


@pytest.fixture(scope="module")
def page(artifact_path: Path) -> Page:
    return page_at(artifact_path / REPORT)


def labelled_frame() -> pl.DataFrame:
    good, bad = make_frame(150, seed=21), make_frame(50, seed=22)
    bad = bad.with_columns(
        pl.col("amount").reverse(), pl.col("items") * 2
    )  # no longer go with age
    both = pl.concat([good, bad])
    return both.with_columns(label=pl.Series([0] * 150 + [1] * 50))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labelled") / "labelled.csv"
    labelled_frame().write_csv(path)
    return path


def test_each_artifact_holds_one_file_that_needs_no_other(artifact_path: Path, page: Page):
    assert (artifact_path / REPORT).stat().st_size < LIMIT
    assert [section["id"] for section in page.all("section")[1:]] == SECTIONS
    assert not page.all("script") and not page.all("link") and not page.all("img")
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), attributes
    style = (artifact_path / REPORT).read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_each_plot_has_a_name_a_description_and_a_sentence_on_how_to_read_it(page: Page):
    plots = [svg for svg in page.all("svg")]
    assert len(plots) >= 11
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for svg in plots:
        assert svg["role"] == "img"
        assert set((svg["aria-labelledby"] or "").split()) <= ids
    assert len(page.all("figcaption")) == len(page.all("figure")) == len(plots)


def test_no_id_is_there_twice(page: Page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_its_numbers_are_the_manifest_s(artifact_path: Path, page: Page):
    manifest, facts = read_manifest(artifact_path), page.facts()
    low, high = manifest.calibration.rate_interval_95
    assert facts["true rate, 95%"] == f"{low:.2g} to {high:.2g}"
    assert facts["calibration records"] == f"{manifest.calibration.n:,}"
    assert facts["records fitted to"] == f"{manifest.metrics.fit_records:,}"
    assert facts["version"] == manifest.version
    assert facts["fingerprint of the fit data"] == manifest.data_fingerprint
    assert facts["seed"] == str(manifest.training.seed)
    for key in ("assumes", "contamination"):
        assert getattr(manifest.calibration, key) in page.text


def test_the_budget_table_is_the_calibration_s(scorer: Scorer, page: Page):
    calibration = scorer.artifact.calibration
    for alpha in (0.1, 0.05, 0.01):
        low, high = RateLaw.of(alpha, calibration.n).interval()
        threshold = calibration.threshold(alpha)
        assert f"{alpha:g} {threshold:.4g} " in page.text
        assert f"{low:.2g} to {high:.2g}" in page.text


def test_the_bound_out_of_bag_is_that_of_the_members_that_did_not_see_a_record(
    artifact_path: Path, page: Page
):
    found = Findings.from_bytes((artifact_path / FINDINGS).read_bytes())
    last = found.log[-1]
    bound = -(last.out_of_bag_nll + last.out_of_bag_kl)
    assert page.facts()["ELBO out of bag"] == f"{bound:.4g}"
    assert [line.step for line in found.log] == [1, 20, 40, 60]
    assert found.log[-1].in_bag_nll < found.log[0].in_bag_nll


def test_the_report_command_gives_the_same_bytes(artifact_path: Path, tmp_path: Path):
    done = call("report", artifact_path, "--out", tmp_path / "again.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.html").read_bytes() == (artifact_path / REPORT).read_bytes()
    assert str(tmp_path / "again.html") in done.stdout


@pytest.fixture(scope="module")
def beside_peers(
    artifact_path: Path,
    mixed_frame: pl.DataFrame,
    labelled: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Done, Path]:
    folder = tmp_path_factory.mktemp("peers")
    mixed_frame.write_parquet(folder / "normal.parquet")
    words = [
        "report",
        artifact_path,
        "--labelled",
        labelled,
        "--normal",
        folder / "normal.parquet",
    ]
    return call(*words, "--out", folder / "it.html"), folder / "it.html"


def test_labelled_numbers_are_those_of_evaluate(
    beside_peers: tuple[Done, Path], artifact_path: Path, labelled: Path
):
    done, path = beside_peers
    assert done.returncode == 0, done.stderr
    facts = page_at(path).facts()
    said = json.loads(call("evaluate", artifact_path, labelled, "--json").stdout)
    assert facts["AUROC"] == f"{said['auroc']:.4f}"
    assert facts["AUPRC"] == f"{said['auprc']:.4f}"
    assert facts["recall at alpha 0.05"] == f"{said['recall']:.4f}"
    assert facts["false-alarm rate"] == f"{said['false_alarm_rate']:.4f}"
    assert facts["false alarms"].startswith(f"{said['false_alarms']:,}, expected")
    assert path.stat().st_size < LIMIT


def test_labelled_normals_of_another_period_break_the_budget_in_words(
    artifact_path: Path, tmp_path: Path
):
    later = make_frame(300, seed=31).with_columns(pl.col("amount") + 60, label=pl.lit("ok"))
    later.write_csv(tmp_path / "later.csv")
    words = ["--labelled", tmp_path / "later.csv", "--out", tmp_path / "it.html"]
    done = call("report", artifact_path, *words)
    assert done.returncode == 0, done.stderr
    text = page_at(tmp_path / "it.html").text
    assert "The alarm budget is BROKEN on the labelled normals." in text
    assert "They are not exchangeable with the calibration records: recalibrate" in text
    broken = [a for a in (0.1, 0.02, 0.01) if _breaks(artifact_path, later, a)]
    assert broken
    assert f"At alpha {', '.join(f'{a:g}' for a in broken)} it would not hold there." in text


def _breaks(artifact: Path, normal: pl.DataFrame, alpha: float) -> bool:
    """Whether chance gives so many alarms less than once in 100, by the law's own sums."""
    scorer = Scorer.load(artifact)
    n, m = scorer.artifact.calibration.n, len(normal)
    k = int(alpha * (n + 1) + 1e-9)
    alarms = int(scorer.score(normal.drop("label"), alpha=alpha).is_anomaly.sum())
    law = betabinom(m, k, n + 1 - k).pmf(np.arange(m + 1))
    return bool(2 * min(law[: alarms + 1].sum(), law[alarms:].sum()) < 0.01)


def test_peers_are_measured_on_the_same_records(
    beside_peers: tuple[Done, Path], scorer: Scorer, mixed_frame: pl.DataFrame
):
    text = page_at(beside_peers[1]).text
    frame = labelled_frame()
    score = scorer.score(frame, explain=0).score
    own = roc_auc_score(frame["label"], score), average_precision_score(frame["label"], score)
    assert f"vaewatch {own[0]:.4f} {own[1]:.4f}" in text
    assert re.search(r"plain autoencoder 0\.[5-9]\d{3} 0\.\d{4}", text)
    assert re.search(r"isolation forest 0\.[4-9]\d{3} 0\.\d{4}", text)
    fitted = mixed_frame[split_records(*mixed_frame.shape, TrainConfig(alpha=0.05, **SMALL)).fit]
    assert f"PCA {_pca_by_hand(scorer, fitted, frame):.4f}" in text
    assert "fingerprints differ" not in text


def _pca_by_hand(scorer: Scorer, normal: pl.DataFrame, frame: pl.DataFrame) -> float:
    """AUROC of the squared distance to the subspace of 90% of the variance, by an SVD."""
    from vaewatch.scoring.files.frames import checked_table

    artifact = scorer.artifact
    known, new = (
        artifact.vectorizer.transform(checked_table(artifact.schema, f)).values.astype(float)
        for f in (normal, frame)
    )
    middle = known.mean(0)
    _, s, v = np.linalg.svd(known - middle, full_matrices=False)
    kept = int(np.searchsorted(np.cumsum(s**2) / np.sum(s**2), 0.9, side="right")) + 1
    centred = new - middle
    error = (centred**2).sum(1) - ((centred @ v[:kept].T) ** 2).sum(1)
    return float(roc_auc_score(frame["label"], error))


def test_peers_of_other_records_are_said_to_be_so(
    artifact_path: Path, labelled: Path, tmp_path: Path
):
    make_frame(300, seed=9).write_csv(tmp_path / "other.csv")
    words = ["--labelled", labelled, "--normal", tmp_path / "other.csv"]
    done = call("report", artifact_path, *words, "--out", tmp_path / "it.html")
    assert done.returncode == 0, done.stderr
    assert "fingerprints differ" in page_at(tmp_path / "it.html").text


@pytest.mark.long
def test_where_matplotlib_has_no_folder_of_its_own_nothing_is_said_of_it(
    artifact_path: Path, tmp_path: Path
):
    env = {**os.environ, "HOME": "/proc/none", "MPLCONFIGDIR": "/proc/none"}
    done = run("report", artifact_path, "--out", tmp_path / "it.html", "--quiet", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_names_from_data_cannot_become_markup(odd_artifact: Path):
    page = page_at(odd_artifact / REPORT)
    assert not page.all("script") and not page.all("img")
    assert ODD_NAME in page.text and f"{ODD_VALUE}NL" in page.text
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_columns_that_mislead_are_named(tmp_path: Path):
    rng, n = np.random.default_rng(0), 300
    frame = pl.DataFrame(
        {
            "x": rng.normal(size=n),
            "number": np.arange(n) + 5000,
            "key": [f"k{i}" for i in range(n)],
            "same": ["A"] * n,
            "mostly": ["B"] * (n - 2) + ["C"] * 2,
            "gone": [None] * (n - 60) + [1.5, 2.5] * 30,
            "long": ["letter " * 1000 + end for end in "AB"] * (n // 2),
        }
    )
    train(frame, tmp_path / "it", alpha=0.05, **SMALL)
    found = Findings.from_bytes((tmp_path / "it" / FINDINGS).read_bytes())
    said = {column.name: " ".join(column.warnings) for column in found.columns}
    assert said["x"] == ""
    assert said["number"].startswith("id-like: whole numbers, all different")
    assert "id-like: 100% of the values are rare or unique" in said["key"]
    assert said["same"].startswith("constant: always A")
    assert re.match(r"near-constant: 99\.\d+% are B", said["mostly"])
    assert re.match(r"8\d\.\d% missing", said["gone"])
    assert "letter letter letter letter letter lett… 50.4%" in found.columns[6].values
    assert len(found.columns[6].values) < 120
    assert "Columns to check before you trust the rest" in page_at(tmp_path / "it" / REPORT).text


def test_the_odd_fit_records_are_named_with_their_place_and_what_is_odd(tmp_path: Path):
    rng, n = np.random.default_rng(0), 400
    frame = pl.DataFrame({"key": [f"k{i}" for i in range(n)], "x": rng.normal(size=n)})
    frame = frame.with_columns(
        y=2 * pl.col("x") + rng.normal(size=n) / 10,
        word=pl.Series(rng.choice(["a", "b", "letter " * 100], n)),
    )
    row = int(split_records(n, 4, TrainConfig(alpha=0.05, **SMALL)).fit[7])
    x = pl.when(pl.int_range(n) == row).then(60.0).otherwise(pl.col("x")).alias("x")
    frame.with_columns(x).write_csv(tmp_path / "normal.csv")
    train(tmp_path / "normal.csv", tmp_path / "it", alpha=0.05, id="key", **SMALL)
    content = (tmp_path / "it" / FINDINGS).read_bytes()
    odd = Findings.from_bytes(content).odd
    assert [r.score for r in odd] == sorted((r.score for r in odd), reverse=True)
    assert (len(odd), odd[0].place, odd[0].id) == (10, f"line {row + 2}", f"k{row}")
    assert "x is 60, expected " in " ".join(odd[0].reasons)
    assert "letter letter letter letter letter letter " not in str(odd)
    page = page_at(tmp_path / "it" / REPORT).text
    assert f"line {row + 2} k{row}" in page and "--contamination-robust" in page
    assert "Not learned: key, which names the records." in page
    older = json.loads(content)
    del older["odd"]
    assert Findings.from_bytes(json.dumps(older).encode()).odd == ()


def test_the_second_part_begins_with_the_fit(page: Page):
    first, second = page.text.split("For those who know variational autoencoders")
    assert "What was read as what" in first and "What to do: expect between" in first
    for word in ("nats", "ELBO", "PIT", "latent unit"):
        assert word in second and word not in first
    assert second.index("The fit") < second.index("Model card")


def test_an_autoencoder_has_no_prior(tmp_path: Path, mixed_frame: pl.DataFrame):
    train(mixed_frame, tmp_path / "it", alpha=0.05, id="order", model="ae", **SMALL)
    text = page_at(tmp_path / "it" / REPORT).text
    assert "An autoencoder has no prior to compare with" in text
    assert "prior at 1, 2 and 3 deviations" not in text


def test_without_a_report_the_version_is_the_same(
    artifact_path: Path, mixed_frame: pl.DataFrame, tmp_path: Path
):
    scorer = train(mixed_frame, tmp_path / "it", report=False, alpha=0.05, id="order", **SMALL)
    assert scorer.artifact.version == read_manifest(artifact_path).version
    assert not (tmp_path / "it" / REPORT).exists() and not (tmp_path / "it" / FINDINGS).exists()
    done = call("report", tmp_path / "it", "--out", tmp_path / "it.html")
    assert done.returncode == 0, done.stderr
    page = page_at(tmp_path / "it.html")
    assert "This artifact holds no report.json" in page.text
    assert [section["id"] for section in page.all("section")[1:]] == [
        "budget",
        "labelled",
        "scores",
        "alphas",
        "card",
    ]


def test_an_artifact_without_its_report_scores_all_the_same(artifact_path: Path, tmp_path: Path):
    copy = Path(shutil.copytree(artifact_path, tmp_path / "copy"))
    (copy / REPORT).unlink()
    (copy / FINDINGS).unlink()
    assert call("inspect", copy, "--verify").returncode == 0


def test_a_recalibrated_artifact_has_a_report_of_its_own_budget(
    artifact_path: Path, tmp_path: Path
):
    make_frame(300, seed=5).write_csv(tmp_path / "recent.csv")
    done = call("recalibrate", artifact_path, tmp_path / "recent.csv", "--out", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    page, old = page_at(tmp_path / "new" / REPORT), read_manifest(artifact_path)
    assert page.facts()["calibration records"] == "300"
    assert page.facts()["records fitted to"] == "700"
    assert f"are those of version {old.version}" in page.text
    assert page.facts()["parent, whose weights these are"] == old.version


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--normal", "normal.csv"], 2, "--normal must come with --labelled"),
        (["--labelled", "nope.csv"], 3, "nope.csv' must be readable"),
        (["--out", "ARTIFACT/report.html"], 2, "--out must be outside the artifact"),
        (
            ["--labelled", "LABELLED", "--out", "LABELLED"],
            2,
            "must be a file other than the input",
        ),
        (["--labelled", "LABELLED", "--label", "kind"], 3, "label column 'kind' must be in"),
        (["--out", "nowhere/it.html"], 1, "'nowhere/it.html' must be writable, but its folder"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(
    artifact_path: Path, labelled: Path, words: list[str], code: int, message: str
):
    named = [
        w.replace("ARTIFACT", str(artifact_path)).replace("LABELLED", str(labelled)) for w in words
    ]
    before = {path.name: path.read_bytes() for path in artifact_path.iterdir()}
    done = call("report", artifact_path, *named)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert before == {path.name: path.read_bytes() for path in artifact_path.iterdir()}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_peers_of_an_artifact_that_a_gpu_fitted_are_fitted_here(
    artifact_path: Path, mixed_frame: pl.DataFrame, labelled: Path, tmp_path: Path
):
    made = Path(shutil.copytree(artifact_path, tmp_path / "made"))
    manifest = json.loads((made / MANIFEST).read_text())
    manifest["training"]["device"] = "cuda"
    (made / MANIFEST).write_text(json.dumps(manifest))
    mixed_frame.write_csv(tmp_path / "normal.csv")
    words = ("--labelled", labelled, "--normal", tmp_path / "normal.csv", "--quiet")
    done = call("report", made, *words, "--out", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    assert "plain autoencoder" in (tmp_path / "report.html").read_text()
