"""settings -> TrainConfig: every choice of a training run, checked, and stored in the artifact."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.schema import Kind, require_columns
from vaewatch.scoring.time.parts import Part
from vaewatch.scoring.time.texts import DateOrder
from vaewatch.training.settings import checks

JUDGES = 2  # members at least that do not serve: each leaves out a fold
FEW_FEATURES = 24  # at most, of a narrow table
SERVED_NARROW, SERVED_WIDE = 4, 2
RECENT = "recent"  # the latest records calibrate
ENTITIES = "entities"  # those that the fit never saw calibrate for others like them
MOST_RECORDS = 250_000  # a uniform sample of more; the steps would not see the rest anyway
TIMED = ("time_zone", "date_order", "calendar")  # settings that take a time
NOT_OF_WINDOWS = {  # settings, and what to do instead
    "score": "all parts of its score count. Leave it out",
    "contamination_robust": "to leave records out would tear windows. Take the times of known "
    "faults out of the input",
    "segment": "its windows are too much alike to calibrate each value by itself, and one window "
    "may hold several. Leave it out, so that the column is learned like others, or train an "
    "artifact for each value on its own records",
    "neighbours": "how many windows are kept follows from their size. Leave it out",
}


@dataclass(frozen=True)
class TrainConfig:
    """The recipe. The defaults are those that `benchmarks/RESULTS.md` measures.

    Raises:
        SettingError: a setting is not what it must be.
    """

    alpha: float = 0.01  # the false-alarm rate asked for
    seed: int = 0
    model: str = "vae"  # or "ae": deterministic code, no KL
    score: str = "full"  # or "reconstruction": that part alone
    beta: float = 1.0  # weight of the KL in the objective
    device: str = "auto"
    members: int = 8  # VAEs trained side by side
    served: int | None = None  # members that the exported graph averages; None: as suits D
    width: int = 64  # hidden units a layer
    latent: int | None = None  # latent dimensions; half the features by default
    steps: int = 1600  # optimiser steps
    batch: int = 128  # records a member sees in a step
    learning_rate: float = 1e-2  # of AdamW, at its highest
    # records that are read; None: MOST_RECORDS, or all with a window
    max_records: int | None = None
    contamination_robust: bool = False  # fit twice, the second time without the first's suspects
    neighbours: int | None = None  # fit records kept for the neighbour part; None: as suits D
    id: str | None = None
    label: str | None = None
    ignore: tuple[str, ...] = ()
    kinds: Mapping[str, Kind] = field(
        default_factory=dict
    )  # column -> kind, where it must not be learned
    nulls: tuple[str, ...] = ()  # texts and numbers that mean "missing", beside the usual ones
    decimal: str | None = None  # the decimal mark of texts, where it cannot be seen: "." or ","
    threads: int = 1  # that a fit computes on: see `vaewatch.training.vae.threads`
    time: str | None = None  # says when a record was made
    # of the calendar, and of times without an offset; None: UTC, which is an assumption
    time_zone: str | None = None
    date_order: str = "auto"  # what comes first in dates such as 3/4/2026: "day" or "month"
    calendar: str = "auto"  # parts of the time that are learned: auto, none, or hour,weekday,day
    # what calibrates: all of the time, the most "recent" records, or "entities": whole ones that
    # the fit never saw, which with a window have a calibration of their own beside the other
    calibrate: str = "all"
    segment: str | None = None  # a column each of whose values has a calibration of its own
    window: int | str | None = None  # records that are judged together, the newest by the others
    entity: str | None = None  # a column that says whose history a record belongs to
    gap: str | None = None  # a longer pause, such as 90s, begins a window anew; None: as suits
    incidents_per_day: float | None = None  # false ones of an entity, by which alpha is chosen

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, continues: bool = False) -> TrainConfig:
        """Return the recipe with these settings; an unknown name is a SettingError, too. A fit
        that continues another one has its time: without one here, what takes one is left out.
        """
        names = [field.name for field in fields(cls)]
        for name in settings:
            if name not in names:
                like = difflib.get_close_matches(name, names, 1)
                hint = f"Did you mean '{like[0]}'?" if like else f"Known: {', '.join(names)}."
                raise SettingError(f"there is no setting '{name}'. {hint}")
        if continues and settings.get("time") is None:
            recent = settings.get("calibrate") == RECENT
            left_out = (*TIMED, "calibrate") if recent else TIMED
            settings = {name: own for name, own in settings.items() if name not in left_out}
        return cls(**settings)

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        if self.served is not None and self.served > self.members - JUDGES:
            raise SettingError(
                f"setting 'members' must be at least {JUDGES} more than served ({self.served}), "
                f"got {self.members}: those that do not serve judge records that they did not see."
            )
        if self.max_records is None and not self.windowed:
            object.__setattr__(self, "max_records", MOST_RECORDS)
        self._require_time()
        if self.segment is not None:
            self._require_learned(self.segment)
        self._require_series()
        self._require_calibration()

    @property
    def zone(self) -> str:
        """The zone of the calendar, and of times without an offset."""
        return "UTC" if self.time_zone is None else self.time_zone

    @property
    def order(self) -> DateOrder | None:
        """What was declared to come first in dates; None if as they tell."""
        return None if self.date_order == "auto" else DateOrder(self.date_order)

    @property
    def windowed(self) -> bool:
        """Whether a record is judged with those before it."""
        if self.window is not None:
            return self.window != 1
        has_order = self.time is not None or self.calibrate != ENTITIES
        return self.entity is not None and has_order

    @property
    def by_entity(self) -> bool:
        """Whether records that are judged by themselves calibrate in whole entities."""
        return self.calibrate == ENTITIES and not self.windowed

    def _require_series(self) -> None:
        """Refuse a window without a time, and what windows do not take."""
        for name in ("gap", "incidents_per_day"):
            if getattr(self, name) is not None and not self.windowed:
                raise SettingError(f"setting '{name}' takes a window: ask for one with --window.")
        if self.entity is not None:
            uses = {self.id: "id", self.label: "label", self.time: "time"}
            uses |= {self.segment: "segment"} | dict.fromkeys(self.ignore, "ignore")
            uses |= dict.fromkeys(self.kinds, "kinds")
            if self.entity in uses:
                raise SettingError(
                    f"setting 'entity' must be a column of its own, but '{self.entity}' is that "
                    f"of setting '{uses[self.entity]}'."
                )
        if not self.windowed:
            return
        if self.time is None:
            what, alone = "window", ""
            if self.window is None:
                what = "entity"
                alone = (
                    ", or pass --window 1 to judge each record by itself, or --calibrate entities "
                    "to do so and keep the budget for entities that the fit never saw"
                )
            raise SettingError(
                f"setting '{what}' takes a time, by which records are in order: name its column "
                f"with --time{alone}."
            )
        for name, instead in NOT_OF_WINDOWS.items():
            if getattr(self, name) != getattr(type(self), name):
                raise SettingError(f"setting '{name}' cannot be used with a window: {instead}.")

    def _require_calibration(self) -> None:
        """Refuse records to calibrate on that suit windows alone, or single records alone."""
        if self.calibrate == ENTITIES and self.entity is None:
            raise SettingError(
                "setting 'calibrate' can be entities only where records belong to some, such as "
                "patients: name their column with --entity."
            )
        if self.by_entity and self.segment is not None:
            raise SettingError(
                "setting 'segment' cannot be used where whole entities calibrate: too few of them "
                "have records of each value. Leave one of the two out."
            )
        if self.calibrate == RECENT and self.windowed:
            raise SettingError(
                "setting 'calibrate' cannot be recent with a window: all of the time calibrates, "
                "each block by what saw none of it. Leave it out, and use vaewatch recalibrate on "
                "the latest records."
            )

    def _require_time(self) -> None:
        """Refuse a time that is also something else, and settings that take a time."""
        if self.time is None:
            given = [n for n in TIMED if getattr(self, n) != getattr(type(self), n)]
            if self.calibrate == RECENT:
                given.append("calibrate")
            if given:
                raise SettingError(
                    f"setting '{given[0]}' takes a time: name its column with --time."
                )
        elif self.time in (self.id, self.label, *self.ignore, *self.kinds):
            raise SettingError(
                f"setting 'time' must be a column that is not named otherwise, got '{self.time}', "
                "which is an id, a label, ignored or declared, too."
            )

    def _require_learned(self, segment: str) -> None:
        """Refuse a segment that is not a categorical column like others."""
        uses = {self.id: "id", self.label: "label", self.time: "time"}
        uses |= dict.fromkeys(self.ignore, "ignore")
        if segment in uses:
            raise SettingError(
                f"setting 'segment' must be a column that is learned, but '{segment}' is that of "
                f"setting '{uses[segment]}'."
            )
        kind = self.kinds.get(segment, Kind.CATEGORICAL)
        if kind is not Kind.CATEGORICAL:
            raise SettingError(
                f"setting 'segment' must be a categorical column, but '{segment}' is declared "
                f"{kind}."
            )

    @property
    def parts(self) -> tuple[Part, ...] | None:
        """The parts of the time that were chosen to be learned; None for those that suit."""
        if self.calendar == "auto":
            return () if self.windowed else None
        chosen = () if self.calendar == "none" else self.calendar.split(",")
        return tuple(part for part in Part if part in chosen)

    @property
    def named(self) -> frozenset[str]:
        """The columns that the settings name."""
        one = (self.id, self.label, self.time, self.segment, self.entity)
        return frozenset(filter(None, (*one, *self.ignore, *self.kinds)))

    def require_named(self, columns: Sequence[str]) -> None:
        """Refuse a column that a setting names and the input lacks; files of normals may lack that
        of the labels.

        Raises:
            SchemaError: there is one.
        """
        require_columns(columns, [self.id] if self.id else [], "id")
        require_columns(columns, [self.time] if self.time else [], "time")
        require_columns(columns, [self.segment] if self.segment else [], "segment")
        require_columns(columns, [self.entity] if self.entity else [], "entity")
        require_columns(columns, self.ignore, "ignored")
        require_columns(columns, list(self.kinds), "declared")

    def taking_for_texts(self, names: Sequence[str]) -> TrainConfig:
        """Return the recipe with these columns as categories, unless it declares their kinds."""
        texts = [name for name in names if name not in (self.time, self.entity)]
        return replace(self, kinds={**dict.fromkeys(texts, Kind.CATEGORICAL), **self.kinds})

    def suiting(self, features: int) -> TrainConfig:
        """Return the recipe for D features: with few, members cost little, so that more serve."""
        if self.served is not None:
            return self
        suits = SERVED_NARROW if features <= FEW_FEATURES else SERVED_WIDE
        return replace(self, served=min(suits, self.members - JUDGES))


_CHECKS: dict[str, checks.Check] = {
    "alpha": checks.rate,
    "seed": checks.whole(0),
    "model": checks.one_of("vae", "ae"),
    "score": checks.one_of("full", "reconstruction"),
    "beta": checks.weight,
    "device": checks.device,
    "members": checks.whole(1 + JUDGES),
    "served": checks.whole_or_none(1),
    "width": checks.whole(1),
    "latent": checks.whole_or_none(1),
    "steps": checks.whole(1),
    "batch": checks.whole(1),
    "learning_rate": checks.positive,
    "max_records": checks.whole_or_none(1),
    "contamination_robust": checks.yes_or_no,
    "neighbours": checks.whole_or_none(0),
    "id": checks.column,
    "label": checks.column,
    "ignore": checks.list_of("columns' names"),
    "kinds": checks.kinds,
    "nulls": checks.list_of("texts"),
    "decimal": checks.mark,
    "threads": checks.whole(1),
    "time": checks.column,
    "time_zone": checks.zone,
    "date_order": checks.one_of("auto", "day", "month"),
    "calendar": checks.calendar,
    "calibrate": checks.one_of("all", RECENT, ENTITIES),
    "segment": checks.column,
    "window": checks.window,
    "entity": checks.column,
    "gap": checks.span,
    "incidents_per_day": checks.positive_or_none,
}
