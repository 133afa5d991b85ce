"""data -> artifact: a training run, top to bottom."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from vaewatch.scoring.artifact import check_target, write_artifact
from vaewatch.scoring.calibration import check_alpha
from vaewatch.scoring.features import unseen_nats
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.network import Network
from vaewatch.scoring.score import ScoreRule, score_features
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.calibrate import calibrate, fit_drift
from vaewatch.training.calibration.neighbours import keep_records, neighbour_weight
from vaewatch.training.calibration.out_of_bag import OutOfBag, out_of_bag
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.graph import check_against_torch, export_graph
from vaewatch.training.export.package import Package, Parts, pack
from vaewatch.training.export.score_model import ScoreModel, served_members
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.read import fingerprint, read_sample
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.records.split import SPLIT_FROM, Split, split_records
from vaewatch.training.records.trim import trim
from vaewatch.training.report.findings import Seen, find
from vaewatch.training.report.make import with_report
from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.checkpoint import Checkpoint
from vaewatch.training.vae.fit import fit_vae, pick_device
from vaewatch.training.vae.parallel import process_group, rank, wait_for_all, world_size

PROBES = 64

Progress = Callable[[str, int, int], None]


def train(
    data: Any,
    out: Path | str,
    *,
    overwrite: bool = False,
    resume: bool = False,
    report: bool = True,
    progress: Progress | None = None,
    **settings: Any,
) -> Scorer:
    """Fit, calibrate, export, and write an artifact; gives the Scorer that it holds.

    Args:
        data: one or more CSV or Parquet paths, or a DataFrame, of normal records.
        out: the artifact's folder, which appears whole or not at all.
        resume: go on from the checkpoint that a killed run left beside `out`, if there is one.
        report: whether the artifact holds a report, and what is needed to make it anew.
        settings: fields of `TrainConfig`.
    """
    out, config = Path(out), TrainConfig(**settings)
    check_target(out, overwrite=overwrite)
    sample = read_sample(data, config.max_records, config.seed)
    frame = sample.frame
    data_fingerprint = fingerprint(frame)
    checkpoint = Checkpoint.beside(out, _run_key(data_fingerprint, config), resume=resume)
    started = time.perf_counter()
    with process_group(pick_device(config.device)):
        package = fit(frame, config, progress, checkpoint, report=report)
        about: dict[str, Any] = {
            "name": out.name,
            "data_fingerprint": data_fingerprint,
            "records_given": sample.total,
            "run": {"fit_seconds": round(time.perf_counter() - started, 3)},
        }
        if rank() == 0:
            manifest = package.manifest | about
            files = with_report(manifest, package.files) if report else package.files
            write_artifact(out, manifest, files, overwrite=overwrite)
            checkpoint.remove()
        wait_for_all()
    return Scorer.load(out)


def _run_key(data_fingerprint: str, config: TrainConfig) -> str:
    """Names all that a run's steps depend on."""
    parts = (data_fingerprint, config, torch.__version__, world_size())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def fit(
    frame: pl.DataFrame,
    config: TrainConfig,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    *,
    report: bool = False,
) -> Package:
    """The same run in memory: what `train` writes and `VAEDetector` keeps; with `report`, also
    what the report is made from.
    """
    split = split_records(len(frame), config.seed, config.members)
    check_alpha(config.alpha, split.calibrates)
    table = checked_table(infer_schema(frame, config), frame)
    told = progress or (lambda phase, done, total: None)
    if config.contamination_robust:
        split = trim(table, split, config, partial(told, "first fit"))
    parts = _fit_parts(table, split, config, told, checkpoint, report=report)
    return pack(parts, table, split, config)


def _fit_parts(
    table: Table,
    split: Split,
    config: TrainConfig,
    progress: Progress,
    checkpoint: Checkpoint | None,
    *,
    report: bool,
) -> Parts:
    fit_table = table.take(split.fit)
    vectorizer = fit_vectorizer(fit_table)
    x = vectorizer.transform(fit_table).values
    fitted = fit_vae(x, config, partial(progress, "fit"), checkpoint)
    progress("calibrating", 0, 0)
    rows = np.sort(stream(config.seed, Stream.CALIBRATION).permutation(len(x))[:SPLIT_FROM])
    oob = out_of_bag(fitted, x, rows, kl=config.model == "vae")
    bank, own = keep_records(x, config.neighbours, config.seed)
    distance = bank.nearest_distance(x[rows], own[rows]) if len(bank) > 1 else None
    rule, scores = _score_out_of_bag(oob, distance, unseen_nats(len(x)), config)
    seen = Seen(fit_table, vectorizer, fitted, x, rows, oob.residuals, scores)
    findings = find(seen, config) if report else None
    model = ScoreModel(
        vae=fitted.vae.only(served_members(config.members, config.served)),
        precision=oob.precision(),
        bank=bank,
        kl=config.model == "vae",
    )
    graph = export_graph(model)
    network = Network(graph, threads=os.cpu_count() or 1)
    difference = check_against_torch(model, network, x[:PROBES])
    unseen = split.held_out if len(split.held_out) else split.trimmed
    if len(unseen):
        served = score_features(network, rule, vectorizer.transform(table.take(unseen)))
        scores = served if len(split.held_out) else np.concatenate([scores, served])
    calibration = calibrate(scores, config.alpha, split.rule)
    drift = fit_drift(table)
    return Parts(
        vectorizer, fitted, rule, graph, model.precision, difference, calibration, drift, findings
    )


def _score_out_of_bag(
    oob: OutOfBag, distance: NDArray[np.float64] | None, novelty: float, config: TrainConfig
) -> tuple[ScoreRule, NDArray[np.float64]]:
    """The rule that adds the parts up, and each out-of-bag score under it."""
    reconstruction = oob.reconstruction()
    if config.score == "reconstruction":
        return ScoreRule(novelty, kl_weight=0.0, neighbour_weight=0.0), reconstruction
    scores = reconstruction + oob.kl
    if distance is None:
        return ScoreRule(novelty), scores
    rule = ScoreRule(novelty, neighbour_weight=neighbour_weight(scores, distance))
    return rule, scores + rule.neighbour_weight * distance
