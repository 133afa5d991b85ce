"""How a training run reports how far it has come, and how well it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# called with the phase, the steps done and the steps in all (0 if unknown)
Progress = Callable[[str, int, int], None]


def silent(phase: str, done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Probed:
    """Means over the probe's records and members, in nats per record."""

    in_bag_nll: float
    in_bag_kl: float
    out_of_bag_nll: float
    out_of_bag_kl: float


@dataclass(frozen=True)
class Step(Probed):
    """One line of the training log: means over members, in nats per record, of the step's batch
    and of the probe.
    """

    step: int
    reconstruction_nll: float
    kl: float
