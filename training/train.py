"""data -> artifact: read, fit, report and write. The composition: nothing in the house imports it
but the two doors, `vaewatch.train` and the command.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from vaewatch.scoring.artifact import FINDINGS
from vaewatch.scoring.budget.described import words_of_passing
from vaewatch.scoring.disk.lock import made_folder, sole_writer
from vaewatch.scoring.disk.versions import KEEP, check_target, write_artifact
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.ahead import check_continued
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.pack import pack
from vaewatch.training.export.package import Origin, Package
from vaewatch.training.feedback.given import Feedback, leave_out
from vaewatch.training.feedback.marks import read_marks
from vaewatch.training.feedback.matched import Keys
from vaewatch.training.learned import Learned
from vaewatch.training.parent import Parent
from vaewatch.training.pipeline import fit
from vaewatch.training.progress import Progress, silent
from vaewatch.training.records.entities import entities_of
from vaewatch.training.records.kinds import ColumnError
from vaewatch.training.records.profile import ColumnProfile, profile_columns
from vaewatch.training.records.read import fingerprint, read_sample
from vaewatch.training.records.sample import Reading, Sample
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.report.find.odd import Input, odd_records
from vaewatch.training.report.find.single import find
from vaewatch.training.report.find.windows import find_series
from vaewatch.training.report.findings import PROFILED, Findings
from vaewatch.training.report.make import with_report
from vaewatch.training.series.checks import check_series, newest
from vaewatch.training.series.package import pack_series
from vaewatch.training.series.pipeline import fit_series
from vaewatch.training.tail import tail_of
from vaewatch.training.vae.checkpoint import Checkpoint
from vaewatch.training.vae.fit import pick_device
from vaewatch.training.vae.parallel import process_group, rank, wait_for_all, world_size
from vaewatch.training.vae.threads import computing_on

log = logging.getLogger("vaewatch.training")


ShowColumns = Callable[[Sequence[ColumnProfile]], None]


@dataclass(frozen=True)
class Run:
    """How a run reads, goes on and writes: what is no setting of the fit.

    `vaewatch.train` describes the fields; `show_columns` is called with the columns' profiles
    before the fit.
    """

    overwrite: bool = False
    resume: bool = False
    report: bool = True
    continue_from: Path | str | None = None
    keep: int = KEEP
    progress: Progress | None = None
    delimiter: str | None = None
    rejects: Path | str | None = None
    feedback: Path | str | None = None
    show_columns: ShowColumns | None = None

    @classmethod
    def among(cls, options: dict[str, Any]) -> Run:
        """Take the fields of a run out of `options`, and leave the settings of the fit."""
        names = [field.name for field in fields(cls) if field.name in options]
        return cls(**{name: options.pop(name) for name in names})

    def reading(self, config: TrainConfig) -> Reading:
        """Return how the files are read."""
        rejects = Path(self.rejects) if self.rejects else None
        return Reading(self.delimiter, config.nulls, config.named, rejects)


@dataclass(frozen=True)
class _Input:
    """The records of a run, and its settings once the records are known.

    schema: None if the records cannot be learned; the fit says why. feedback: what people said of
    alarms, if it was given; the records of confirmed incidents are not in the sample.
    """

    sample: Sample
    schema: Schema | None
    config: TrainConfig
    fingerprint: str
    feedback: Feedback | None = None

    def show(self, show_columns: ShowColumns | None) -> None:
        """Show the columns' profiles, on a sample of the records."""
        if show_columns is None or self.schema is None:
            return
        frame = self.sample.frame
        some = frame.sample(min(PROFILED, len(frame)), seed=self.config.seed)
        show_columns(profile_columns(checked_table(self.schema, some)))


def train(data: Any, out: Path | str, **options: Any) -> Scorer:
    """Fit, calibrate, export, and write an artifact; `vaewatch.train` describes the arguments."""
    run, out = Run.among(options), Path(out)
    parent = None if run.continue_from is None else Parent.load(run.continue_from)
    config = TrainConfig.of(parent.settings(options) if parent else options)
    if parent is not None:
        check_continued(parent.artifact.manifest, config)
    device = pick_device(config.device)
    check_target(out, overwrite=run.overwrite)
    with _alone(out):
        pass  # refuse a second run before anything is read
    given = _read(data, config, run, parent)
    given.show(run.show_columns)
    version = parent.artifact.version if parent else None
    key = _run_key(given.fingerprint, given.config, device, version)
    checkpoint = Checkpoint.beside(out, key, resume=run.resume)
    with _alone(out), computing_on(config.threads), process_group(device):
        origin = Origin(out.name, given.fingerprint, given.sample.total, 0.0)
        pack = _windows if config.windowed else _records
        package = pack(given, run, checkpoint, parent, origin)
        if rank() == 0:
            write_artifact(
                out, package.manifest, package.files, overwrite=run.overwrite, keep=run.keep
            )
            checkpoint.remove()
        wait_for_all()
    return Scorer.load(out)


def _read(data: Any, config: TrainConfig, run: Run, parent: Parent | None) -> _Input:
    reading, feedback = run.reading(config), None
    marks = None if run.feedback is None else read_marks(run.feedback)
    most = None if config.windowed else config.max_records  # a sample would tear windows
    sample = read_sample(data, most, config.seed, reading)
    config = config.taking_for_texts(sample.texts)
    if marks is not None:
        known = None if parent is None else parent.artifact.schema
        feedback, rows = leave_out(marks, sample.frame, Keys.of(config, known))
        sample = sample.take(rows)
    sample, schema = _sound(sample, config, reading)
    if schema is not None and config.windowed and config.max_records is not None:
        sample = newest(sample, schema, config.max_records)
    return _Input(sample, schema, config, fingerprint(sample.frame), feedback)


def _records(
    given: _Input, run: Run, checkpoint: Checkpoint, parent: Parent | None, origin: Origin
) -> Package:
    """Fit and pack a model that judges each record by itself."""
    frame, progress, started = given.sample.frame, run.progress or silent, perf_counter()
    learned = fit(frame, given.config, progress, checkpoint, parent, given.schema, given.feedback)
    found = find(learned) if run.report else None
    return _packed(learned, origin.since(started), found, given.sample)


def _windows(
    given: _Input, run: Run, checkpoint: Checkpoint, parent: Parent | None, origin: Origin
) -> Package:
    """Fit and pack a model that judges each record with those before it; it has no parent."""
    frame, progress, started = given.sample.frame, run.progress or silent, perf_counter()
    learned = fit_series(frame, given.config, progress, checkpoint, given.schema)
    package = pack_series(learned, origin.since(started))
    if given.feedback is not None:
        package = package.taking_feedback(given.feedback.summary())
    if not run.report or rank() > 0:
        return package
    return with_report(package.holding(FINDINGS, find_series(learned).to_bytes()))


def _packed(learned: Learned, origin: Origin, found: Findings | None, sample: Sample) -> Package:
    """Return the artifact of a fit, with a report if there are findings for one."""
    package = pack(learned, origin)
    package = package.with_tail(tail_of(learned, package))
    manifest = package.manifest
    if passing := words_of_passing(manifest.calibration, manifest.alpha):
        log.warning("%s", passing)
    if found is None:
        return package
    odd = odd_records(learned, package, Input(sample.frame, sample.place))
    found = replace(found, odd=odd)
    return with_report(package.holding(FINDINGS, found.to_bytes()))


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the lock of an artifact; of processes that train together, the first one does."""
    if rank() > 0:
        yield
        return
    with made_folder(out.absolute().parent), sole_writer(out):
        yield


def _sound(sample: Sample, config: TrainConfig, reading: Reading) -> tuple[Sample, Schema | None]:
    """Return the sample without records that break the rule of a column, which go to the rejects,
    and its schema.

    Raises:
        SchemaError: there is such a record, and no file for it.
    """
    while True:
        try:
            schema = infer_schema(sample.frame, config)
            if config.windowed:
                check_series(sample.frame, schema)
            elif config.by_entity and config.entity is not None:
                entities_of(sample.frame, config.entity)
        except ColumnError as error:
            if reading.rejects is None or not error.problems:
                raise SchemaError(error.at(sample.place(error.row))) from error
            sample = sample.without(error.problems)
        except SchemaError:  # not for single records: the fit says what is wrong
            return sample, None
        else:
            sample.write_rejects(reading.rejects)
            return sample, schema


def _run_key(
    data_fingerprint: str, config: TrainConfig, device: torch.device, parent: str | None = None
) -> str:
    """Return a hash of all that a run's steps depend on; `parent` is an artifact's version."""
    parts: tuple[Any, ...] = (data_fingerprint, config, device.type, torch.__version__)
    parts += (world_size(), parent)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
