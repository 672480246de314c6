"""3x3 convolutions of many channels, with a quarter of the multiplications, where float32 is true float32.

By Winograd's minimal filtering (see `winograd`), in tiles of 4x4: 36 multiplications for a pair of channels in place of
144. The transforms are products with matrices, too, one for each dimension, of all of its tiles at once: that is more
than need be multiplied, but in one piece. It pays where there are many channels for each position of a side.

The result has three to four times the rounding of a convolution.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from maskserve_convert.onnx.builder import GraphBuilder, i64
from maskserve_convert.onnx.folding import fold_normalisations
from maskserve_convert.onnx.nodes import is_plain_convolution, shape
from maskserve_convert.onnx.report import NearMisses
from maskserve_convert.onnx.winograd import spread_kernels, transforms

if TYPE_CHECKING:
    import onnx_ir as ir

Array = npt.NDArray[np.float32]

_TILE = 4
# Infinity is the sixth. Of the sets of simple fractions, one with the least rounding.
_LINE = transforms((0, 1, -1, 0.5, -2), _TILE)
_POINTS = len(_LINE.data)
# Measured on OpenVINO, layer by layer: from here on it takes less than two thirds of the time, with 256 channels about
# three quarters, with 128 or on maps that are larger still no less.
_LEAST_PAIRS_OF_CHANNELS = 1 << 17
_LEAST_GAIN = 1.9
_LEAST_POSITIONS = 256
# A kernel takes four times its memory, which is worth it where it filters this much, over all the maps it is used for.
_LEAST_POSITIONS_OF_A_KERNEL = 3000


@dataclass(frozen=True, slots=True)
class Side:
    """One dimension of a map, in tiles.

    Attributes:
        length: the positions.
        data: float32 [6 * tiles, length]: the values at the first point of all tiles, and so on.
        row: float32 [length, 6 * tiles].
    """

    length: int
    data: Array
    row: Array

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        return len(self.data) // _POINTS


class _Channels(NamedTuple):
    """How many maps a convolution reads, and how many it makes."""

    read: int
    made: int


def winograd_conv(builder: GraphBuilder, misses: NearMisses) -> int:
    """Rewrite the convolutions of maps of a known size where that pays; returns how many there are."""
    chosen = _worth_it(builder.graph, misses)
    fold_normalisations(builder, chosen)
    kernels = spread_kernels(builder, _LINE, chosen)
    for node in chosen:
        maps, kernel, *biases = node.inputs
        _, _, height, width = shape(maps)
        results, channels, *_ = shape(kernel)
        sizes = _Channels(channels, results)
        filtered = _filter(builder, maps, kernels[kernel], sizes, (tiled(height), tiled(width)))
        for bias in biases:
            filtered = builder.op("Add", filtered, bias)
        builder.replace(node.outputs[0], builder.op("Transpose", filtered, perm=[0, 3, 1, 2]))
    return len(chosen)


def _worth_it(graph: ir.Graph, misses: NearMisses) -> list[ir.Node]:
    """Return the convolutions that pay, whose kernels are used often enough."""
    fitting = []
    for node in [node for node in graph if is_plain_convolution(node, side=3)]:
        if reason := _why_not(node):
            misses.add(reason)
        else:
            fitting.append(node)
    positions = Counter["ir.Value | None"]()
    for node in fitting:
        _, _, height, width = shape(node.inputs[0])
        positions[node.inputs[1]] += height * width
    enough = [node for node in fitting if positions[node.inputs[1]] >= _LEAST_POSITIONS_OF_A_KERNEL]
    for _ in range(len(fitting) - len(enough)):
        misses.add(
            f"the kernel of a 3x3 convolution is used for fewer than {_LEAST_POSITIONS_OF_A_KERNEL} positions, "
            "too few for four times its memory"
        )
    return enough


def tiled(length: int) -> Side:
    """Return the matrices for a line of any length, with a zero on either side."""
    tiles = -(-length // _TILE)
    data = np.zeros((_POINTS, tiles, tiles * _TILE + 2))
    row = np.zeros((tiles * _TILE, _POINTS, tiles))
    for tile in range(tiles):
        start = tile * _TILE
        data[:, tile, start : start + _LINE.data.shape[1]] = _LINE.data
        row[start : start + _TILE, :, tile] = _LINE.row
    data, row = data[:, :, 1 : length + 1], row[:length]
    return Side(length, data.reshape(-1, length).astype(np.float32), row.reshape(length, -1).astype(np.float32))


def _why_not(node: ir.Node) -> str | None:
    """Return why a 3x3 convolution does not take `_LEAST_GAIN` times the multiplications; None where it does."""
    maps, kernel = shape(node.inputs[0]), shape(node.inputs[1])
    if len(maps) != 4 or not all(maps[1:]):
        return "the size of the maps of a 3x3 convolution is not known beforehand"
    results, channels = kernel[:2]
    _, _, height, width = maps
    if channels * results < _LEAST_PAIRS_OF_CHANNELS:
        return f"a 3x3 convolution has fewer than {_LEAST_PAIRS_OF_CHANNELS} pairs of channels, too few to pay"
    if height * width < _LEAST_POSITIONS:
        return f"the maps of a 3x3 convolution have fewer than {_LEAST_POSITIONS} positions, too few to pay"
    plain = 9 * channels * results
    products = (_POINTS / _TILE) ** 2 * channels * results
    lines = _POINTS / _TILE * height + (_POINTS / _TILE) ** 2 * width
    if plain / (products + lines * (channels + results)) < _LEAST_GAIN:
        return (
            f"the maps of a 3x3 convolution are so large for its channels that it saves less than {_LEAST_GAIN} times"
        )
    return None


def _filter(
    builder: GraphBuilder, maps: ir.Value | None, kernels: ir.Value, sizes: _Channels, sides: tuple[Side, Side]
) -> ir.Value:
    """Add the filtering of maps [N, channels, height, width]; returns the result, [N, height, width, results]."""
    channels, results = sizes
    down, across = sides
    tiles = (_POINTS, down.tiles, _POINTS, across.tiles)

    def shaped(value: ir.Value, *sides: int) -> ir.Value:
        return builder.op("Reshape", value, i64(*sides))

    last = shaped(builder.op("Transpose", maps, perm=[0, 2, 3, 1]), -1, down.length, across.length * channels)
    values = shaped(builder.op("MatMul", down.data, last), -1, across.length, channels)
    values = shaped(builder.op("MatMul", across.data, values), -1, *tiles, channels)
    values = shaped(builder.op("Transpose", values, perm=[1, 3, 0, 2, 4, 5]), _POINTS**2, -1, channels)
    products = shaped(builder.op("MatMul", values, kernels), _POINTS, _POINTS, -1, down.tiles, across.tiles, results)
    products = shaped(builder.op("Transpose", products, perm=[2, 0, 3, 1, 4, 5]), -1, len(across.data), results)
    lines = shaped(builder.op("MatMul", across.row, products), -1, len(down.data), across.length * results)
    return shaped(builder.op("MatMul", down.row, lines), -1, down.length, across.length, results)
