"""The 3x3 convolutions of a head that convolves every box's pooled features (C4), with a fifth of the multiplications.

By Winograd's minimal filtering (see `rewriting.winograd`), a 7x7 map as a whole: 81 multiplications for a pair of
channels in place of 441, and all of it is three matrix products. The result has 30 times the rounding of a convolution,
some 1e-5 of its size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskserve_tools.converting.onnx_graph.converted import Converted, is_plain_convolution
from maskserve_tools.converting.onnx_graph.shapes import Shapes, fixed_shapes
from maskserve_tools.converting.onnx_graph.writing import Graph, i64
from maskserve_tools.converting.rewriting.winograd import TAPS, Transforms, spread, transforms

Array = npt.NDArray[np.float32]

_SIDE = 7
# Of the sets of pairs of simple fractions, one with the least rounding.
_POINTS = (0.25, -0.25, 0.6, -0.6, 1.0, -1.0, 2.0, -2.0)


def of_a_line() -> Transforms:
    """The matrices for a line of 7, which has a zero on either side."""
    whole = transforms(_POINTS, _SIDE)
    return Transforms(whole.data[:, 1:-1], whole.kernel, whole.row)


def filter_pooled_maps(path: Path) -> int:
    """Rewrite the convolutions that it fits in a core's file: 3x3 ones of a fixed number of 7x7 maps.

    Args:
        path: the ONNX file.

    Returns:
        how many there were.
    """
    model, shapes, graph = Converted(path), fixed_shapes(path), Graph("winograd")
    fitting = [node for node in model.nodes if _fits(model, node, shapes)]
    kernels = {names: _spread(model, *names) for names in {tuple(node.input[1:]) for node in fitting}}
    for node in fitting:
        filtered = _filter(graph, node.input[0], shapes[node.input[0]][0], *kernels[tuple(node.input[1:])])
        graph.call(filtered, node.output[0])
    model.remove(fitting)
    if fitting:
        model.save(graph, path)
    return len(fitting)


def _fits(model: Converted, node: Any, shapes: Shapes) -> bool:
    of_this_size = shapes.get(node.input[0], ())[2:] == (_SIDE, _SIDE)
    return of_this_size and len(node.input) == 3 and is_plain_convolution(model, node, side=TAPS)


def _spread(model: Converted, kernel: str, bias: str) -> tuple[Array, Array]:
    """A kernel's values at the points, float32 [81, channels, results], and the bias, float32 [results]."""
    return spread(of_a_line(), model.array(kernel)), model.array(bias)


def _filter(graph: Graph, maps: str, number: int, kernels: Array, bias: Array) -> str:
    """Filter `maps`, [number, channels, 7, 7]; position by position, so that all of it is products of matrices."""
    (points, channels, results), positions = kernels.shape, _SIDE * _SIDE
    data, row = (np.kron(line, line).astype(np.float32) for line in (of_a_line().data, of_a_line().row))
    last = graph.op("Reshape", graph.op("Transpose", maps, perm=[0, 2, 3, 1]), i64(number, positions, channels))
    lines = graph.op("Reshape", graph.op("Transpose", last, perm=[1, 0, 2]), i64(positions, number * channels))
    values = graph.op("Reshape", graph.op("MatMul", data, lines), i64(points, number, channels))
    products = graph.op("Reshape", graph.op("MatMul", values, kernels), i64(points, number * results))
    filtered = graph.op("Reshape", graph.op("MatMul", row, products), i64(positions, number, results))
    images = graph.op("Transpose", graph.op("Add", filtered, bias), perm=[1, 0, 2])
    return graph.op("Transpose", graph.op("Reshape", images, i64(number, _SIDE, _SIDE, results)), perm=[0, 3, 1, 2])
