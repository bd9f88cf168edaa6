"""Means over seeds and their confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scipy.special import stdtrit

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Mean:
    """A mean over runs; it lies within ``half`` of the true one with 95 % confidence."""

    value: float
    half: float
    count: int


def means(groups: Mapping[Key, Sequence[float]]) -> dict[Key, Mean]:
    """The mean of every group, with a 95 % interval from a variance that all groups share.

    Few seeds say little about the spread of one setting; the pooled variance of an analysis of
    variance, with Student's t of its degrees of freedom, uses those of all settings. Where no
    group has two runs there is no estimate, and ``half`` is not a number.

    Examples
    --------
    >>> of = means({"a": [1.0, 3.0], "b": [10.0, 12.0, 14.0]})
    >>> of["b"].value, of["b"].count, round(of["b"].half, 2)
    (12.0, 3, 3.35)
    >>> means({"a": [1.0]})
    {'a': Mean(value=1.0, half=nan, count=1)}
    """
    values = {key: sum(group) / len(group) for key, group in groups.items()}
    squares = sum(sum((x - values[key]) ** 2 for x in group) for key, group in groups.items())
    freedom = sum(len(group) - 1 for group in groups.values())
    quantile = float(stdtrit(freedom, 0.975)) if freedom else math.nan
    spread = quantile * math.sqrt(squares / freedom) if freedom else math.nan
    return {
        key: Mean(values[key], spread / math.sqrt(len(group)), len(group))
        for key, group in groups.items()
    }
