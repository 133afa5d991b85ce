"""settings -> TrainConfig: every choice of a training run, stored in the artifact that it
makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.schema import Kind


@dataclass(frozen=True)
class TrainConfig:
    """The recipe. The defaults are those that `benchmarks/RESULTS.md` measures."""

    alpha: float = 0.01  # the false-alarm rate asked for
    seed: int = 0
    model: str = "vae"  # or "ae": deterministic code, no KL
    score: str = "full"  # or "reconstruction": that part alone
    beta: float = 1.0  # weight of the KL in the objective
    device: str = "auto"
    members: int = 8  # VAEs trained side by side
    served: int = 2  # members that the exported graph averages
    width: int = 64  # hidden units a layer
    latent: int | None = None  # latent dimensions; half the features by default
    steps: int = 1600  # optimiser steps
    batch: int = 128  # records a member sees in a step
    learning_rate: float = 1e-2
    max_records: int = 250_000  # a uniform sample of more; the steps would not see the rest anyway
    contamination_robust: bool = False  # fit twice, the second time without the first's suspects
    neighbours: int = 1000  # fit records kept for the nearest-neighbour part; 0 for none
    id: str | None = None
    label: str | None = None
    ignore: tuple[str, ...] = ()
    kinds: Mapping[str, Kind] = field(
        default_factory=dict
    )  # column -> kind, where it must not be learned

    def __post_init__(self) -> None:
        _one_of("model", self.model, ("vae", "ae"))
        _one_of("score", self.score, ("full", "reconstruction"))
        _one_of("device", self.device.split(":")[0], ("auto", "cpu", "cuda"))
        for name in ("members", "served", "width", "batch", "steps", "latent", "max_records"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SchemaError(f"setting '{name}' must be at least 1, got {value}.")
        if self.members < 3:
            raise SchemaError(
                f"setting 'members' must be at least 3, got {self.members}: each record needs "
                "members that saw it and "
                "two that did not."
            )
        if self.served > self.members:
            raise SchemaError(
                f"setting 'served' must be at most members ({self.members}), got {self.served}."
            )


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SchemaError(f"setting '{name}' must be one of {', '.join(allowed)}, got '{value}'.")


def parse_kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        raise SchemaError(f"a kind must be one of {', '.join(Kind)}, got '{text}'.") from None
