"""data -> artifact: a training run, top to bottom."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save as save_weights

from scoring.artifact import (
    CALIBRATION,
    FORMAT_VERSION,
    GOLDEN,
    NETWORK,
    WEIGHTS,
    Golden,
    check_target,
    pack_calibration,
    pack_golden,
    write_artifact,
)
from scoring.calibration import Calibration, check_alpha
from scoring.drift import DriftReference
from scoring.errors import SchemaError
from scoring.features import Vectorizer, novelty_nats
from scoring.frames import checked_table
from scoring.network import Network
from scoring.records import Table
from scoring.schema import Schema
from scoring.score import ScoreRule
from scoring.scorer import Scorer
from training.calibrate import calibrate, describe, fit_drift
from training.config import TrainConfig
from training.data import fingerprint, read_frame
from training.export import check_against_torch, export_graph
from training.fit import Fitted, fit_vae
from training.fit_features import fit_vectorizer
from training.infer_schema import infer_schema
from training.neighbours import nearest_distance, neighbour_weight, pick_bank
from training.out_of_bag import OutOfBag, out_of_bag
from training.score_model import ScoreModel

log = logging.getLogger("vaewatch.training")

HELD_OUT = 20_000  # records that a split calibration keeps apart
SPLIT_FROM = 2 * HELD_OUT  # fewer than this: all fit, and calibrate on their out-of-bag scores
LEAST_RECORDS = 16  # two a fold of eight
GOLDEN_RECORDS = 5
PROBES = 64

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Split:
    """Which records fit, and which are held out; cross-fitted calibration holds none out."""

    fit: NDArray[np.int64]
    held_out: NDArray[np.int64]

    @property
    def rule(self) -> str:
        return "split" if len(self.held_out) else "cross-fitted"

    @property
    def calibrates(self) -> int:
        return len(self.held_out) or len(self.fit)


def split_records(n: int, seed: int) -> Split:
    """By seed alone: the same n and seed, the same split."""
    if n < LEAST_RECORDS:
        raise SchemaError(f"training takes at least {LEAST_RECORDS} normal records, got {n}.")
    held_out = HELD_OUT if n >= SPLIT_FROM else 0
    order = np.random.default_rng([seed, 2]).permutation(n)
    return Split(np.sort(order[held_out:]), np.sort(order[:held_out]))


def train(
    data: Any,
    out: Path | str,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> Scorer:
    """Fit, calibrate, export, and write an artifact; gives the Scorer that it holds.

    Args:
        data: one or more CSV or Parquet paths, or a DataFrame, of normal records.
        out: the artifact's folder, which appears whole or not at all.
        settings: fields of `TrainConfig`.
    """
    out, config = Path(out), TrainConfig(**settings)
    check_target(out, overwrite=overwrite)
    frame = read_frame(data)
    split = split_records(len(frame), config.seed)
    check_alpha(config.alpha, split.calibrates)
    table = checked_table(infer_schema(frame, config), frame)
    started = time.perf_counter()
    parts = _fit_parts(table, split, config, progress or (lambda phase, done, total: None))
    seconds = {"fit_seconds": round(time.perf_counter() - started, 3)}
    files, manifest = _package(parts, table, split, config)
    manifest |= {"name": out.name, "data_fingerprint": fingerprint(frame), "run": seconds}
    write_artifact(out, manifest, files, overwrite=overwrite)
    return Scorer.load(out)


@dataclass(frozen=True)
class Parts:
    """All that was learned."""

    vectorizer: Vectorizer
    fitted: Fitted
    model: ScoreModel
    rule: ScoreRule
    graph: bytes
    export_difference: float
    calibration: Calibration
    drift: DriftReference


def _fit_parts(table: Table, split: Split, config: TrainConfig, progress: Progress) -> Parts:
    fit_table = table.take(split.fit)
    vectorizer = fit_vectorizer(fit_table)
    features = vectorizer.transform(fit_table)
    x = np.ascontiguousarray(features[:, : len(vectorizer.features)])
    fitted = fit_vae(x, config, lambda done, total: progress("fit", done, total))
    fitted.vae.cpu()
    kept = np.random.default_rng([config.seed, 3]).permutation(len(x))[:SPLIT_FROM]
    oob = out_of_bag(fitted, x, np.sort(kept), kl=config.model == "vae")
    bank = pick_bank(len(x), config.neighbours, config.seed)
    rule, scores = _score_out_of_bag(oob, x, np.sort(kept), bank, config)
    model = ScoreModel(
        vae=fitted.vae,
        precision=oob.precision(),
        bank=x[bank],
        column_of=vectorizer.column_of,
        columns=len(table.schema.columns),
        novelty=novelty_nats(len(x)),
        served=config.served,
        kl=config.model == "vae",
    )
    graph = export_graph(model)
    network = Network(graph, threads=os.cpu_count() or 1)
    difference = check_against_torch(model, network, features[:PROBES])
    if len(split.held_out):
        held_out = vectorizer.transform(table.take(split.held_out))
        scores = rule.total(network.forward(held_out))
    calibration = calibrate(scores, config.alpha, split.rule)
    return Parts(vectorizer, fitted, model, rule, graph, difference, calibration, fit_drift(table))


def _score_out_of_bag(
    oob: OutOfBag,
    x: NDArray[np.float32],
    rows: NDArray[np.int64],
    bank: NDArray[np.int64],
    config: TrainConfig,
) -> tuple[ScoreRule, NDArray[np.float64]]:
    """The rule that adds the parts up, and each out-of-bag score under it."""
    reconstruction = oob.reconstruction()
    if config.score == "reconstruction":
        return ScoreRule(kl_weight=0.0, neighbour_weight=0.0), reconstruction
    scores = reconstruction + oob.kl
    if len(bank) < 2:
        return ScoreRule(), scores
    place = np.full(len(x), -1)
    place[bank] = np.arange(len(bank))
    distance = nearest_distance(x[rows], x[bank], place[rows])
    rule = ScoreRule(neighbour_weight=neighbour_weight(scores, distance))
    return rule, scores + rule.neighbour_weight * distance


def _package(
    parts: Parts, table: Table, split: Split, config: TrainConfig
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The artifact's files and manifest."""
    golden = _golden(parts, table, split)
    files = {
        NETWORK: parts.graph,
        CALIBRATION: pack_calibration(parts.calibration, parts.drift),
        GOLDEN: pack_golden(golden),
        WEIGHTS: save_weights(parts.fitted.vae.state_dict()),
    }
    last = parts.fitted.log[-1]
    manifest = {
        "format_version": FORMAT_VERSION,
        "version": _version(files, table.schema),
        "created_at": _now(),
        "alpha": config.alpha,
        "calibration": describe(parts.calibration),
        "schema": table.schema.to_json(),
        "vectorizer": parts.vectorizer.to_json(),
        "score": asdict(parts.rule),
        "training": asdict(config),
        "metrics": {
            "records": len(table),
            "fit_records": len(split.fit),
            "features": len(parts.vectorizer.features),
            "latent": parts.fitted.vae.latent,
            "reconstruction_nll": last.reconstruction_nll,
            "kl": last.kl,
            "export_difference": parts.export_difference,
        },
        "libraries": {
            name: version(name) for name in ("vaewatch", "torch", "numpy", "onnxruntime")
        }
        | {"python": platform.python_version()},
    }
    return files, manifest


def _golden(parts: Parts, table: Table, split: Split) -> Golden:
    """Records from the calibration's side where there is one, as JSON would carry them."""
    source = split.held_out if len(split.held_out) else split.fit
    rows = source[:GOLDEN_RECORDS]
    records = [{c.name: table.observed(int(row), c) for c in table.schema.columns} for row in rows]
    features = parts.vectorizer.transform(table.take(rows))
    scores = parts.rule.total(Network(parts.graph).forward(features))
    return Golden(records, scores, parts.calibration.p_values(scores))


def _version(files: dict[str, bytes], schema: Schema) -> str:
    """A name for what the artifact does: the same content, the same version."""
    digest = hashlib.sha256(repr(schema).encode())
    for name in sorted(files):
        digest.update(files[name])
    return digest.hexdigest()[:12]


def _now() -> str:
    """UTC; SOURCE_DATE_EPOCH fixes it for reproducible builds."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return moment.isoformat(timespec="seconds")
