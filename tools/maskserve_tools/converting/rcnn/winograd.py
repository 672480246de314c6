"""The 3x3 convolutions of a head that convolves every box's pooled features (C4), with a fifth of the multiplications.

Winograd's minimal filtering: a row of 7 numbers filtered by 3 taps is a product of two polynomials, which is known from
its values at 9 points. Values at points are weighted sums, so a 7x7 map costs 81 multiplications per pair of channels
in place of 441, and all of it is three matrix products. (S. Winograd, *Arithmetic Complexity of Computations*, 1980;
A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016.)

The sums cancel, and the result has 30 times the rounding of a convolution, some 1e-5 of its size: little in float32,
too much in anything shorter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskserve_tools.converting.rcnn.converted import Converted, attribute, fixed_shapes
from maskserve_tools.converting.rcnn.graph import Graph, i64

Array = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

_SIDE, _TAPS = 7, 3
# The ninth is infinity. Of the sets of pairs of simple fractions, one with the least rounding.
_POINTS = (0.25, -0.25, 0.6, -0.6, 1.0, -1.0, 2.0, -2.0)


@dataclass(frozen=True, slots=True)
class Transforms:
    """One dimension's matrices: the filtered row is `row @ ((kernel @ taps) * (data @ line))`.

    Attributes:
        data: float64 [points, side], of a line without the zeros beside it.
        kernel: float64 [points, taps].
        row: float64 [side, points].
    """

    data: Matrix
    kernel: Matrix
    row: Matrix


def transforms() -> Transforms:
    """The matrices for a line of 7 and a kernel of 3, with a zero on either side of the line."""
    padded = _SIDE + _TAPS - 1
    data = np.linalg.inv(_values(padded)).T
    size = np.abs(data).max(axis=1, keepdims=True)
    return Transforms((data / size)[:, 1:-1], _values(_TAPS) * size, _values(_SIDE).T)


def _values(coefficients: int) -> Matrix:
    """What a polynomial's coefficients are multiplied by for its values at the points; at infinity, the last one."""
    powers = np.vander(_POINTS, coefficients, increasing=True)
    return np.vstack([powers, np.eye(coefficients)[-1]])


def speed_up(path: Path) -> int:
    """Rewrite the convolutions that it fits in a core's file: 3x3 ones of a fixed number of 7x7 maps.

    Args:
        path: the ONNX file.

    Returns:
        how many there were.
    """
    model, shapes, graph = Converted(path), fixed_shapes(path), Graph("winograd")
    fitting = [node for node in model.nodes if _fits(node, shapes) and model.constants.keys() >= set(node.input[1:])]
    spread = {names: _spread(model, *names) for names in {tuple(node.input[1:]) for node in fitting}}
    for node in fitting:
        filtered = _filter(graph, node.input[0], shapes[node.input[0]][0], *spread[tuple(node.input[1:])])
        graph.call(filtered, node.output[0])
    model.remove(fitting)
    if fitting:
        model.save(graph, path)
    return len(fitting)


def _fits(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    return bool(
        node.op_type == "Conv"
        and len(node.input) == 3
        and shapes.get(node.input[0], ())[2:] == (_SIDE, _SIDE)
        and attribute(node, "kernel_shape") == [_TAPS, _TAPS]
        and attribute(node, "pads") == [1, 1, 1, 1]
        and all(attribute(node, name) in (None, [1, 1]) for name in ("strides", "dilations"))
        and attribute(node, "group") in (None, 1)
    )


def _spread(model: Converted, kernel: str, bias: str) -> tuple[Array, Array]:
    """A kernel's values at the points, float32 [81, channels, results], and the bias, float32 [results]."""
    from onnx import numpy_helper

    taps, shift = (numpy_helper.to_array(model.constants[name]) for name in (kernel, bias))
    line = transforms().kernel
    values = np.einsum("pi,rcij,qj->pqcr", line, taps.astype(np.float64), line, optimize=True)
    return values.reshape(-1, *values.shape[2:]).astype(np.float32), shift


def _filter(graph: Graph, maps: str, number: int, spread: Array, bias: Array) -> str:
    """Filter `maps`, [number, channels, 7, 7]; position by position, so that all of it is products of matrices."""
    (points, channels, results), positions = spread.shape, _SIDE * _SIDE
    data, row = (np.kron(line, line).astype(np.float32) for line in (transforms().data, transforms().row))
    last = graph.op("Reshape", graph.op("Transpose", maps, perm=[0, 2, 3, 1]), i64(number, positions, channels))
    lines = graph.op("Reshape", graph.op("Transpose", last, perm=[1, 0, 2]), i64(positions, number * channels))
    values = graph.op("Reshape", graph.op("MatMul", data, lines), i64(points, number, channels))
    products = graph.op("Reshape", graph.op("MatMul", values, spread), i64(points, number * results))
    filtered = graph.op("Reshape", graph.op("MatMul", row, products), i64(positions, number, results))
    images = graph.op("Transpose", graph.op("Add", filtered, bias), perm=[1, 0, 2])
    return graph.op("Transpose", graph.op("Reshape", images, i64(number, _SIDE, _SIDE, results)), perm=[0, 3, 1, 2])
