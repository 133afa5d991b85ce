"""normal series -> a scikit-learn estimator that judges a record with those before it, in memory.

It takes frames: each record has a time, and may have an entity whose history it belongs to.
Records are put in order of their times, whatever their order in the frame, and scores come in the
frame's order. Each call stands by itself: the first W - 1 records of an entity have no full
window, so that they are not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.series.entity import in_order
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.training.config import TrainConfig
from vaewatch.training.detector import Detector, frame_from
from vaewatch.training.export.package import Origin, Package
from vaewatch.training.series.package import pack_series
from vaewatch.training.series.pipeline import fit_series


class SeriesDetector(Detector):
    """A model of windows with a calibrated alarm budget.

    It takes pandas and polars DataFrames with a column of times and, unless `entity` is None, one
    that says whose a record is. A record without a full window, or of a time that its entity
    already had, is not judged. Its parameters are fields of `TrainConfig`; `random_state` is the
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
        calibrate: str = TrainConfig.calibrate,
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
        time_zone: str | None = TrainConfig.time_zone,
        date_order: str = TrainConfig.date_order,
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
        self.calibrate = calibrate
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
        self.date_order = date_order
        self.calendar = calendar
        self.device = device
        self.threads = threads
        self.random_state = random_state

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return `score_samples` less `offset_`, (N,) nats: below 0 is an alarm, unless it repeats
        what lasts, or another calibration judges a new entity.
        """
        return self.score_samples(X) - self.offset_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.no_validation = True  # records of a series are frames, not arrays
        return tags

    def _config(self) -> TrainConfig:
        config = super()._config()
        if not config.windowed:
            raise SettingError(
                "parameter 'window' must be auto or at least 2; VAEDetector takes 1."
            )
        return config

    def _fit(self, frame: pl.DataFrame, config: TrainConfig, origin: Origin) -> Package:
        started = perf_counter()
        learned = fit_series(frame, config)
        self.window_ = learned.series.window.size
        return pack_series(learned, origin.since(started))

    def _judge(self, table: Table) -> Verdicts:
        """Return the verdicts in the frame's order, of records that are put in order of time."""
        assert table.times is not None  # the schema of a window has a time
        order = in_order(table.entities, table.times)
        return super()._judge(table.take(order))[np.argsort(order)]

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
