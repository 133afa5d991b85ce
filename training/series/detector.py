"""normal series -> a scikit-learn estimator that judges a record with those before it, in memory.

It takes frames: each record has a time, and may have an entity whose history it belongs to.
Records are put in order of their times, whatever their order in the frame, and scores come in the
frame's order. Each call stands by itself: the first W - 1 records of an entity have no full
window, so that they are not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from time import perf_counter
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.errors import ScoringError, SettingError
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.intake.contents import check_column_names
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.training.config import TrainConfig
from vaewatch.training.detector import LARGEST_SEED, frame_from, offset_of
from vaewatch.training.export.package import Origin
from vaewatch.training.records.read import fingerprint
from vaewatch.training.series.package import pack_series
from vaewatch.training.series.pipeline import fit_series
from vaewatch.training.vae.forked import warn_if_forked, watch_forks
from vaewatch.training.vae.threads import computing_on


class SeriesDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """A model of windows with a calibrated alarm budget.

    It takes pandas and polars DataFrames with a column of times and, unless `entity` is None, one
    that says whose a record is. Its parameters are fields of `TrainConfig`; `random_state` is the
    `seed`.

    Attributes:
        artifact_: what was learned, as `vaewatch train` would write it.
        window_: W, the records that are judged together.
        offset_: a record whose `score_samples` is below it is an alarm.
    """

    def __init__(
        self,
        *,
        time: str = "time",
        entity: str | None = "entity",
        window: int | str = "auto",
        gap: str | None = None,
        alpha: float = TrainConfig.alpha,
        incidents_per_day: float | None = None,
        model: str = TrainConfig.model,
        beta: float = TrainConfig.beta,
        members: int = TrainConfig.members,
        served: int | None = TrainConfig.served,
        width: int = TrainConfig.width,
        latent: int | None = TrainConfig.latent,
        steps: int = TrainConfig.steps,
        batch: int = TrainConfig.batch,
        learning_rate: float = TrainConfig.learning_rate,
        kinds: Mapping[str, str] | None = None,
        time_zone: str = TrainConfig.time_zone,
        calendar: str = TrainConfig.calendar,
        device: str = TrainConfig.device,
        threads: int = TrainConfig.threads,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.time = time
        self.entity = entity
        self.window = window
        self.gap = gap
        self.alpha = alpha
        self.incidents_per_day = incidents_per_day
        self.model = model
        self.beta = beta
        self.members = members
        self.served = served
        self.width = width
        self.latent = latent
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.kinds = kinds
        self.time_zone = time_zone
        self.calendar = calendar
        self.device = device
        self.threads = threads
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to normal records and calibrate; `y` is ignored.

        Raises:
            ValueError: a parameter or the records are not what they must be.
        """
        warn_if_forked()
        watch_forks()
        frame, config = self._frame(X, reset=True), self._config()
        started = perf_counter()
        try:
            check_column_names(frame.columns)  # before the work
            with computing_on(config.threads):
                learned = fit_series(frame, config)
        except SettingError:  # a ValueError already
            raise
        except ScoringError as error:
            raise ValueError(str(error)) from error
        seconds = round(perf_counter() - started, 3)
        origin = Origin(type(self).__name__, fingerprint(frame), len(frame), seconds)
        self.artifact_: Artifact = pack_series(learned, origin).artifact()
        self._scorer = Scorer(self.artifact_)
        self.window_ = learned.series.window.size
        self.offset_ = offset_of(self.artifact_.calibration)
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return (N,) scores with their sign changed: higher is more NORMAL. NaN for a record
        without a full window, or of a time that its entity already had.
        """
        return -self._verdicts(X).score

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return `score_samples` less `offset_`, (N,): below 0 is an alarm."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return (N,) verdicts: -1 for an alarm, which is `p_value <= alpha`, and 1 for normal and
        for a record that is not judged.
        """
        return np.where(self._verdicts(X).is_anomaly, -1, 1)

    def p_values(self, X: Any) -> NDArray[np.float64]:
        """Return (N,) p-values: the share of normal records that score at least as high, each with
        those before it. NaN for a record that is not judged.
        """
        return self._verdicts(X).p_value

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.no_validation = True  # records of a series are frames, not arrays
        return tags

    def _config(self) -> TrainConfig:
        names = {field.name for field in fields(TrainConfig)} - {"kinds"}
        settings = {name: v for name, v in self.get_params().items() if name in names}
        settings["kinds"] = self.kinds or {}
        seed = self.random_state
        if not isinstance(seed, int):
            seed = int(check_random_state(seed).randint(LARGEST_SEED))
        config = TrainConfig(**settings, seed=seed)
        if not config.windowed:
            raise SettingError(
                "parameter 'window' must be auto or at least 2; VAEDetector takes 1."
            )
        return config

    def _verdicts(self, X: Any) -> Verdicts:
        """Return the verdicts in the frame's order, of records that are put in order of time."""
        check_is_fitted(self)
        warn_if_forked()
        frame = self._frame(X, reset=False)
        try:
            table = checked_table(self.artifact_.schema, frame)
            order = _by_entity(table)
            verdicts = self._scorer.score_table(table.take(order), explain=0)
        except ScoringError as error:
            raise ValueError(str(error)) from error
        return verdicts[np.argsort(order)]

    def _frame(self, X: Any, *, reset: bool) -> pl.DataFrame:
        if isinstance(X, pl.LazyFrame):
            X = X.collect()
        if not hasattr(X, "columns"):
            raise ValueError(
                "SeriesDetector takes a DataFrame with a column of times, got "
                f"{type(X).__name__}. Records without a time are for VAEDetector."
            )
        for name in ("time", "entity"):
            column = getattr(self, name)
            if column is not None and column not in X.columns:
                other = " For one series, pass entity=None." if name == "entity" else ""
                raise ValueError(
                    f"the frame must have the column '{column}' of parameter '{name}', but has "
                    f"{', '.join(map(repr, map(str, X.columns[:10])))}.{other}"
                )
        validate_data(self, X, reset=reset, skip_check_array=True)
        return frame_from(X)


def _by_entity(table: Table) -> NDArray[np.int64]:
    """Return the rows of a table, an entity after another, in order of time."""
    assert table.times is not None  # the schema of a window has a time
    if table.entities is None:
        return np.argsort(table.times, kind="stable")
    names = np.unique(np.asarray(table.entities, object), return_inverse=True)[1]
    return np.lexsort((table.times, names))
