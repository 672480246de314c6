"""Winograd's minimal filtering: a line filtered by 3 taps, with fewer multiplications.

`outputs` numbers filtered by 3 taps are a product of two polynomials, which is known from its values at `outputs + 2`
points. Values at points are weighted sums, so two lines cost as many multiplications as there are points, in place of
three for each output. (S. Winograd, *Arithmetic Complexity of Computations*, 1980; A. Lavin and S. Gray, *Fast
Algorithms for Convolutional Neural Networks*, 2016.)

The sums cancel, and the more so the more points there are: little in float32, too much in anything shorter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskserve_convert.onnx.builder import GraphBuilder
from maskserve_convert.onnx.nodes import constant

if TYPE_CHECKING:
    import onnx_ir as ir

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
    """Return the matrices for a line of `outputs + 2` numbers, by `outputs + 1` points and infinity."""
    data = np.linalg.inv(_values(points, outputs + TAPS - 1)).T
    size = np.abs(data).max(axis=1, keepdims=True)
    return Transforms(data / size, _values(points, TAPS) * size, _values(points, outputs).T)


def spread(line: Transforms, kernels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return kernels' [results, channels, 3, 3] values at all pairs of points: float32 [pairs, channels, results]."""
    results, channels = kernels.shape[:2]
    taps = np.ascontiguousarray(kernels.transpose(2, 3, 1, 0)).astype(np.float64)  # whole planes, for speed
    rows = np.tensordot(line.kernel, taps, axes=(1, 0)).reshape(len(line.kernel), TAPS, -1)
    values = np.empty((len(rows), len(rows), channels * results), np.float32)
    exact = np.empty(values.shape[1:])
    for row, target in zip(rows, values, strict=True):  # a row at a time: all of it in float64 is too much memory
        target[:] = np.matmul(line.kernel, row, out=exact)
    return values.reshape(-1, channels, results)


def spread_kernels(
    builder: GraphBuilder, line: Transforms, convolutions: Iterable[ir.Node]
) -> Mapping[ir.Value | None, ir.Value]:
    """Add the values of the convolutions' kernels at all pairs of points, once for each kernel."""
    found = {value: constant(value) for value in {node.inputs[1]: None for node in convolutions}}
    return {value: builder.constant(spread(line, kernel)) for value, kernel in found.items() if kernel is not None}


def _values(points: Sequence[float], coefficients: int) -> Matrix:
    """Return the matrix from a polynomial's coefficients to its values at the points; at infinity, the last one."""
    powers = np.vander(points, coefficients, increasing=True)
    return np.vstack([powers, np.eye(coefficients)[-1]])
