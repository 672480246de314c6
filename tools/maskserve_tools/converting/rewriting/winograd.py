"""Winograd's minimal filtering: a line filtered by 3 taps, with fewer multiplications.

`outputs` numbers filtered by 3 taps are a product of two polynomials, which is known from its values at `outputs + 2`
points. Values at points are weighted sums, so two lines cost as many multiplications as there are points, in place of
three for each output. (S. Winograd, *Arithmetic Complexity of Computations*, 1980; A. Lavin and S. Gray, *Fast
Algorithms for Convolutional Neural Networks*, 2016.)

The sums cancel, and the more so the more points there are: little in float32, too much in anything shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

TAPS = 3


@dataclass(frozen=True, slots=True)
class Transforms:
    """One dimension's matrices: the filtered line is `row @ ((kernel @ taps) * (data @ line))`.

    Attributes:
        data: float64 [points, outputs + 2].
        kernel: float64 [points, 3].
        row: float64 [outputs, points].
    """

    data: Matrix
    kernel: Matrix
    row: Matrix


def transforms(points: Sequence[float], outputs: int) -> Transforms:
    """The matrices for a line of `outputs + 2` numbers; infinity comes on top of the points, `outputs + 1` of them."""
    data = np.linalg.inv(_values(points, outputs + TAPS - 1)).T
    size = np.abs(data).max(axis=1, keepdims=True)
    return Transforms(data / size, _values(points, TAPS) * size, _values(points, outputs).T)


def spread(line: Transforms, kernels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The values of kernels, [results, channels, 3, 3], at all pairs of points: float32 [pairs, channels, results]."""
    values = np.einsum("pi,rcij,qj->pqcr", line.kernel, kernels.astype(np.float64), line.kernel, optimize=True)
    flat: npt.NDArray[np.float32] = values.reshape(-1, *values.shape[2:]).astype(np.float32)
    return flat


def _values(points: Sequence[float], coefficients: int) -> Matrix:
    """What a polynomial's coefficients are multiplied by for its values at the points; at infinity, the last one."""
    powers = np.vander(points, coefficients, increasing=True)
    return np.vstack([powers, np.eye(coefficients)[-1]])
