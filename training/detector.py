"""normal records -> a scikit-learn estimator: the same fit, score and alarm budget, in memory.

It detects novelties: fit it to normal records, then score new ones. Signs follow scikit-learn, so
`score_samples` is minus our score: higher is more normal. `alpha` takes the place of
`contamination` in other detectors. It is the false-alarm rate on new normal records, not a share
of the fit records; on the fit records themselves, `predict` raises fewer alarms than that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from time import perf_counter
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.calibration import Calibration, slack
from vaewatch.scoring.errors import ScoringError, SettingError
from vaewatch.scoring.files.frames import checked_table, frame_of
from vaewatch.scoring.intake.contents import check_column_names
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.pack import pack
from vaewatch.training.export.package import Origin, Package
from vaewatch.training.pipeline import fit
from vaewatch.training.records.read import fingerprint
from vaewatch.training.vae.forked import warn_if_forked, watch_forks
from vaewatch.training.vae.threads import computing_on

LARGEST_SEED = 2**31 - 1


class Detector(OutlierMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """What the estimators of records and of series have in common."""

    kinds: Mapping[str, str] | None
    random_state: int | np.random.RandomState | None

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to normal records and calibrate; `y` is ignored.

        Raises:
            ValueError: a parameter or the records are not what they must be.
        """
        warn_if_forked()
        watch_forks()
        frame, config = self._frame(X, reset=True), self._config()
        origin = Origin(type(self).__name__, fingerprint(frame), len(frame), 0.0)
        with value_errors():
            check_column_names(frame.columns)  # before the work
            with computing_on(config.threads):
                package = self._fit(frame, config, origin)
        self.artifact_: Artifact = package.artifact()
        self._scorer = Scorer(self.artifact_)
        self.offset_ = offset_of(self.artifact_.calibration)
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return (N,) scores in nats with their sign changed: higher is more NORMAL. NaN for a
        record that is not judged.
        """
        return -self._verdicts(X).score

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return (N,) verdicts: -1 for an alarm, which is `p_value <= alpha`, and 1 for normal and
        for a record that is not judged.
        """
        return np.where(self._verdicts(X).is_anomaly, -1, 1)

    def p_values(self, X: Any) -> NDArray[np.float64]:
        """Return (N,) p-values: the share of normal records that score at least as high. NaN for a
        record that is not judged.
        """
        return self._verdicts(X).p_value

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _config(self) -> TrainConfig:
        names = {field.name for field in fields(TrainConfig)} - {"kinds"}
        settings = {name: v for name, v in self.get_params().items() if name in names}
        settings["kinds"] = self.kinds or {}
        seed = self.random_state
        if not isinstance(seed, int):
            seed = int(check_random_state(seed).randint(LARGEST_SEED))
        if settings.get("entity") is not None:  # an estimator of series has a window
            settings.setdefault("window", 1)
        return TrainConfig(**settings, seed=seed)

    def _verdicts(self, X: Any) -> Verdicts:
        check_is_fitted(self)
        warn_if_forked()
        frame = self._frame(X, reset=False)
        with value_errors():
            return self._judge(checked_table(self.artifact_.schema, frame))

    def _judge(self, table: Table) -> Verdicts:
        return self._scorer.score_table(table, explain=0)

    @abstractmethod
    def _fit(self, frame: pl.DataFrame, config: TrainConfig, origin: Origin) -> Package:
        """Learn from a frame; `origin` is without the time of the fit."""

    @abstractmethod
    def _frame(self, X: Any, *, reset: bool) -> pl.DataFrame:
        """Return the records as columns; `reset`: those of a fit, whose names are kept."""


class VAEDetector(Detector):
    """A stack of VAEs with a calibrated alarm budget.

    It takes arrays of numbers, and pandas or polars DataFrames of numbers, texts and booleans, all
    of them with missing values, and judges every record. Its parameters are fields of
    `TrainConfig`; `random_state` is the `seed` and `score_parts` the `score`, because `score` is a
    method in scikit-learn.

    Attributes:
        artifact_: what was learned, as `vaewatch train` would write it.
        offset_: a record whose `score_samples` is below it is an alarm; with a segment, one that
            the pooled calibration judges.
    """

    def __init__(
        self,
        *,
        alpha: float = TrainConfig.alpha,
        model: str = TrainConfig.model,
        score_parts: str = TrainConfig.score,
        beta: float = TrainConfig.beta,
        members: int = TrainConfig.members,
        served: int | None = TrainConfig.served,
        width: int = TrainConfig.width,
        latent: int | None = TrainConfig.latent,
        steps: int = TrainConfig.steps,
        batch: int = TrainConfig.batch,
        learning_rate: float = TrainConfig.learning_rate,
        neighbours: int | None = TrainConfig.neighbours,
        contamination_robust: bool = TrainConfig.contamination_robust,
        kinds: Mapping[str, str] | None = None,
        time: str | None = None,
        time_zone: str | None = TrainConfig.time_zone,
        date_order: str = TrainConfig.date_order,
        calendar: str = TrainConfig.calendar,
        calibrate: str = TrainConfig.calibrate,
        segment: str | None = None,
        entity: str | None = None,
        device: str = TrainConfig.device,
        threads: int = TrainConfig.threads,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.alpha = alpha
        self.model = model
        self.score_parts = score_parts
        self.beta = beta
        self.members = members
        self.served = served
        self.width = width
        self.latent = latent
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.neighbours = neighbours
        self.contamination_robust = contamination_robust
        self.kinds = kinds
        self.time = time
        self.time_zone = time_zone
        self.date_order = date_order
        self.calendar = calendar
        self.calibrate = calibrate
        self.segment = segment
        self.entity = entity
        self.device = device
        self.threads = threads
        self.random_state = random_state

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return `score_samples` less `offset_`, (N,) nats: below 0 is an alarm.

        With a segment it is less the offset of the calibration that judges each record.
        """
        scored = self.score_samples(X)
        if (segments := self.artifact_.segments) is None:
            return scored - self.offset_
        frame = self._frame(X, reset=False)
        codes = segments.codes(checked_table(self.artifact_.schema, frame))
        offsets = np.array([offset_of(each) for each in segments.calibrations])
        return np.asarray(scored - offsets[segments.slots(codes)])

    def _config(self) -> TrainConfig:
        return replace(super()._config(), score=self.score_parts)

    def _fit(self, frame: pl.DataFrame, config: TrainConfig, origin: Origin) -> Package:
        started = perf_counter()
        learned = fit(frame, config)
        return pack(learned, origin.since(started))

    def _frame(self, X: Any, *, reset: bool) -> pl.DataFrame:
        """Return the records as columns; scikit-learn checks arrays, the schema checks frames."""
        if isinstance(X, pl.LazyFrame):
            X = X.collect()
        if hasattr(X, "columns"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            frame = frame_from(X)
            return frame if reset else self._renamed(frame)
        if isinstance(X, np.ma.MaskedArray):  # scikit-learn would take what the mask hides
            X = np.ma.filled(X.astype(np.float64), np.nan)
        array = np.asarray(
            validate_data(
                self,
                X,
                reset=reset,
                dtype=np.float64,
                ensure_all_finite="allow-nan",
                ensure_min_samples=2 if reset else 1,
            )
        )
        frame = pl.DataFrame({f"x{i}": column for i, column in enumerate(array.T)})
        return frame if reset else self._renamed(frame)

    def _renamed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a frame's columns under the names of the fit: of an array, or against an array,
        columns go by their order. scikit-learn has warned that the names differ.
        """
        names = self.artifact_.schema.names
        named = hasattr(self, "feature_names_in_")
        if len(names) == frame.width and (not named or set(frame.columns).isdisjoint(names)):
            return frame.rename(dict(zip(frame.columns, names, strict=True)))
        return frame


def offset_of(calibration: Calibration) -> float:
    """Return minus the score from which a record is an alarm."""
    threshold = calibration.threshold(calibration.alpha)
    assert threshold is not None  # `fit` refuses an alpha that has none
    return -(threshold + float(slack(threshold)))


def frame_from(X: Any) -> pl.DataFrame:
    with value_errors():
        return frame_of(X)


@contextmanager
def value_errors() -> Iterator[None]:
    """Raise what is refused as a ValueError, as scikit-learn's callers expect."""
    try:
        yield
    except SettingError:  # a ValueError already
        raise
    except ScoringError as error:
        raise ValueError(str(error)) from error
