"""The 3x3 convolutions of a head that convolves every box's pooled features (C4), with a fifth of the multiplications.

By Winograd's minimal filtering (see `onnx.winograd`), a 7x7 map as a whole: 81 multiplications for a pair of
channels in place of 441, and all of it is three matrix products. The result has 30 times the rounding of a convolution,
some 1e-5 of its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from maskserve_convert.onnx.builder import GraphBuilder, i64
from maskserve_convert.onnx.nodes import UNKNOWN, attribute, is_plain_convolution, shape
from maskserve_convert.onnx.report import NearMisses
from maskserve_convert.onnx.winograd import TAPS, Transforms, spread_kernels, transforms

if TYPE_CHECKING:
    import onnx_ir as ir

_SIDE = 7
# Of the sets of pairs of simple fractions, one with the least rounding.
_POINTS = (0.25, -0.25, 0.6, -0.6, 1.0, -1.0, 2.0, -2.0)


def of_a_line() -> Transforms:
    """Return the matrices for a line of 7, which has a zero on either side."""
    whole = transforms(_POINTS, _SIDE)
    return Transforms(whole.data[:, 1:-1], whole.kernel, whole.row)


def winograd_roi_head(builder: GraphBuilder, misses: NearMisses) -> int:
    """Rewrite the 3x3 convolutions of a fixed number of 7x7 maps; returns how many there are."""
    fitting = [node for node in builder.graph if _fits(node, misses)]
    kernels = spread_kernels(builder, of_a_line(), fitting)
    for node in fitting:
        maps, kernel, bias = node.inputs
        number, channels = shape(maps)[:2]
        sizes = number, channels, shape(kernel)[0]
        builder.replace(node.outputs[0], _filter(builder, (maps, kernels[kernel], bias), sizes))
    return len(fitting)


def _fits(node: ir.Node, misses: NearMisses) -> bool:
    if node.op_type != "Conv" or attribute(node, "kernel_shape") != [TAPS, TAPS]:
        return False
    sides = shape(node.inputs[0])
    if sides[2:] != (_SIDE, _SIDE):
        return False
    reason = None
    if UNKNOWN in sides:
        reason = "a 3x3 convolution of 7x7 maps is of a number of maps that is not known beforehand"
    elif not is_plain_convolution(node, side=TAPS):
        reason = "a 3x3 convolution of 7x7 maps has a stride, groups, other padding or computed weights"
    elif len(node.inputs) != 3:
        reason = "a 3x3 convolution of 7x7 maps has no bias: its normalisation was not folded into it"
    if reason:
        misses.add(reason)
    return reason is None


def _filter(builder: GraphBuilder, operands: tuple[ir.Value | None, ...], sizes: tuple[int, int, int]) -> ir.Value:
    """Add the filtering of maps, position by position, so that all of it is products of matrices.

    Args:
        builder: where to.
        operands: the maps, [number, channels, 7, 7]; the kernels' values at the points, [81, channels, results]; the
            bias, [results].
        sizes: number, channels, results.
    """
    maps, kernels, bias = operands
    (number, channels, results), points, positions = sizes, (len(_POINTS) + 1) ** 2, _SIDE * _SIDE
    data, row = (np.kron(line, line).astype(np.float32) for line in (of_a_line().data, of_a_line().row))
    last = builder.op("Reshape", builder.op("Transpose", maps, perm=[0, 2, 3, 1]), i64(number, positions, channels))
    lines = builder.op("Reshape", builder.op("Transpose", last, perm=[1, 0, 2]), i64(positions, number * channels))
    values = builder.op("Reshape", builder.op("MatMul", data, lines), i64(points, number, channels))
    products = builder.op("Reshape", builder.op("MatMul", values, kernels), i64(points, number * results))
    filtered = builder.op("Reshape", builder.op("MatMul", row, products), i64(positions, number, results))
    images = builder.op("Transpose", builder.op("Add", filtered, bias), perm=[1, 0, 2])
    return builder.op("Transpose", builder.op("Reshape", images, i64(number, _SIDE, _SIDE, results)), perm=[0, 3, 1, 2])
