"""weights on old features -> weights on new ones, for a fit that continues another.

The new records have other means and deviations, and perhaps other categories. A feature that both
have keeps its weights, rescaled so that the network computes the same of the same record. One that
is gone is held at the value that it now always has. One that is new, or whose scale has little to
do with the old one, starts as in any fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaewatch.scoring.features.feature import MISSING_FLAG, Feature, signed_log1p
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.schema import Column, Kind, code_name, missing_code, other_code
from vaewatch.scoring.time.circles import COSINE, SINE
from vaewatch.training.vae.vae import VAE

FARTHEST = 10.0  # of a new scale from the old one: a factor, or old standard deviations

Key = tuple[str, str, str | None]  # a feature's column, what it is of the column, its category


@dataclass(frozen=True)
class Shared:
    """The K features that both have: x_old = factor * x_new + shift, (K,) each.

    old, new: their places, (K,). gone: (G,) places of old features that are no more, and `rest`,
    (G,), the values that they are held at.
    """

    old: NDArray[np.int64]
    new: NDArray[np.int64]
    factor: NDArray[np.float32]
    shift: NDArray[np.float32]
    gone: NDArray[np.int64]
    rest: NDArray[np.float32]

    @classmethod
    def of(cls, before: Vectorizer, after: Vectorizer) -> Shared:
        places = {key: i for i, key in enumerate(map_keys(after))}
        old, new, factor, shift, gone, rest = [], [], [], [], [], []
        for j, (key, feature) in enumerate(zip(map_keys(before), before.features, strict=True)):
            i = places.get(key)
            if i is None:
                gone.append(j)
                rest.append(_rest(key, feature, after))
                continue
            own = after.features[i]
            times = own.deviation / feature.deviation
            moved = (own.mean - feature.mean) / feature.deviation
            if max(times, 1 / times, abs(moved)) <= FARTHEST:
                old.append(j)
                new.append(i)
                factor.append(times)
                shift.append(moved)
        return cls(
            np.array(old, np.int64),
            np.array(new, np.int64),
            np.array(factor, np.float32),
            np.array(shift, np.float32),
            np.array(gone, np.int64),
            np.array(rest, np.float32),
        )


def map_keys(vectorizer: Vectorizer) -> list[Key]:
    """Name each of the D features by what it is, whatever the codes of its schema."""
    columns = {column.name: column for column in vectorizer.schema.columns}
    return [
        _event(columns[feature.column], feature.code)
        if feature.code is not None
        else (feature.column, "logarithm" if feature.log1p else "number", None)
        for feature in vectorizer.features
    ]


def _event(column: Column, code: int) -> Key:
    if code in (COSINE, SINE):
        return column.name, "cosine" if code == COSINE else "sine", None
    if code in (MISSING_FLAG, missing_code(column)):
        return column.name, "missing", None
    if column.kind is Kind.CATEGORICAL and code == other_code(column):
        return column.name, "other", None
    return column.name, "category", code_name(column, code)


def _rest(key: Key, feature: Feature, after: Vectorizer) -> float:
    """Return the value of a feature that no longer varies, within FARTHEST: that of the constant
    that its column has become, or of an event that always happens now, or never.
    """
    constant = after.constants.get(feature.column)
    if feature.code == MISSING_FLAG:
        raw = 0.0
    elif feature.code in (COSINE, SINE):
        raw = feature.mean
    elif feature.code is not None:
        column = next(c for c in after.schema.discrete if c.name == feature.column)
        always = constant is not None and key == _event(column, int(constant))
        raw = 1.0 if always else 0.0
    elif constant is None:
        raw = feature.mean
    else:
        raw = float(signed_log1p(np.array([constant]))[0]) if feature.log1p else constant
    value = (raw - feature.mean) / feature.deviation
    return float(np.clip(value, -FARTHEST, FARTHEST))


def carry(old: VAE, fresh: VAE, shared: Shared) -> Mapping[str, Tensor]:
    """Return the tensors of a stack that starts from the old one where features are shared, and
    from the fresh one elsewhere.
    """
    weights = {name: tensor.clone() for name, tensor in old.state_dict().items()}
    enter, leave = old.enter.weight.detach(), old.leave.weight.detach()
    factor, shift = torch.from_numpy(shared.factor), torch.from_numpy(shared.shift)
    rest = torch.from_numpy(shared.rest)

    into = fresh.enter.weight.detach().clone()
    into[:, shared.new] = factor[:, None] * enter[:, shared.old]
    held = (shift[:, None] * enter[:, shared.old]).sum(1, keepdim=True)
    held += (rest[:, None] * enter[:, shared.gone]).sum(1, keepdim=True)
    weights["enter.weight"], weights["enter.bias"] = into, weights["enter.bias"] + held

    out, bias = fresh.leave.weight.detach().clone(), fresh.leave.bias.detach().clone()
    out[:, :, shared.new] = leave[:, :, shared.old] / factor
    bias[:, :, shared.new] = (old.leave.bias.detach()[:, :, shared.old] - shift) / factor
    log_sigma = fresh.log_sigma.detach().clone()
    log_sigma[:, :, shared.new] = old.log_sigma.detach()[:, :, shared.old] - factor.log()
    weights |= {"leave.weight": out, "leave.bias": bias, "log_sigma": log_sigma}
    return weights
