"""3x3 convolutions of many channels, with a quarter of the multiplications, where float32 is true float32.

By Winograd's minimal filtering (see `winograd`), in tiles of 4x4: 36 multiplications for a pair of channels in place of
144. The transforms are products with matrices, too, one for each dimension, of all of its tiles at once: that is more
than need be multiplied, but in one piece. It pays where there are many channels for each position of a side.

The result has three to four times the rounding of a convolution.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskserve_tools.converting.onnx_graph.converted import Converted, is_plain_convolution
from maskserve_tools.converting.onnx_graph.folding import fold_normalisations
from maskserve_tools.converting.onnx_graph.shapes import Shapes
from maskserve_tools.converting.onnx_graph.writing import Graph, i64
from maskserve_tools.converting.rewriting.winograd import spread, transforms

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


def filter_maps(model: Converted, shapes: Shapes, graph: Graph) -> int:
    """Rewrite the convolutions of maps of a known size where that pays; returns how many there are."""
    fitting = [node for node in model.nodes if _pays(model, node, shapes.get(node.input[0], ()))]
    positions = Counter[str]()
    for node in fitting:
        _, _, height, width = shapes[node.input[0]]
        positions[node.input[1]] += height * width
    enough = [node for node in fitting if positions[node.input[1]] >= _LEAST_POSITIONS_OF_A_KERNEL]
    chosen = fold_normalisations(model, enough)
    kernels = {name: spread(_LINE, model.array(name)) for name in {node.input[1]: None for node in chosen}}
    for node in chosen:
        _, _, height, width = shapes[node.input[0]]
        filtered = _filter(graph, node.input[0], kernels[node.input[1]], (tiled(height), tiled(width)))
        for bias in node.input[2:]:
            filtered = graph.op("Add", filtered, bias)
        graph.call(graph.op("Transpose", filtered, perm=[0, 3, 1, 2]), node.output[0])
    model.remove(chosen)
    return len(chosen)


def tiled(length: int) -> Side:
    """The matrices for a line of any length, with a zero on either side."""
    tiles = -(-length // _TILE)
    data = np.zeros((_POINTS, tiles, tiles * _TILE + 2))
    row = np.zeros((tiles * _TILE, _POINTS, tiles))
    for tile in range(tiles):
        start = tile * _TILE
        data[:, tile, start : start + _LINE.data.shape[1]] = _LINE.data
        row[start : start + _TILE, :, tile] = _LINE.row
    data, row = data[:, :, 1 : length + 1], row[:length]
    return Side(length, data.reshape(-1, length).astype(np.float32), row.reshape(length, -1).astype(np.float32))


def _pays(model: Converted, node: Any, shape: tuple[int, ...]) -> bool:
    """Whether a node is such a convolution and takes `_LEAST_GAIN` times the multiplications."""
    if not is_plain_convolution(model, node, side=3) or len(shape) != 4 or not all(shape[1:]):
        return False
    results, channels = model.constants[node.input[1]].dims[:2]
    _, _, height, width = shape
    plain = 9 * channels * results
    products = (_POINTS / _TILE) ** 2 * channels * results
    lines = _POINTS / _TILE * height + (_POINTS / _TILE) ** 2 * width
    gain = plain / (products + lines * (channels + results))
    large = channels * results >= _LEAST_PAIRS_OF_CHANNELS and height * width >= _LEAST_POSITIONS
    return large and gain >= _LEAST_GAIN


def _filter(graph: Graph, maps: str, kernels: Array, sides: tuple[Side, Side]) -> str:
    """Filter maps, [N, channels, height, width]; returns the result's name, [N, height, width, results]."""
    _, channels, results = kernels.shape
    down, across = sides
    tiles = (_POINTS, down.tiles, _POINTS, across.tiles)

    def shaped(tensor: str, *shape: int) -> str:
        return graph.op("Reshape", tensor, i64(*shape))

    last = shaped(graph.op("Transpose", maps, perm=[0, 2, 3, 1]), -1, down.length, across.length * channels)
    values = shaped(graph.op("MatMul", down.data, last), -1, across.length, channels)
    values = shaped(graph.op("MatMul", across.data, values), -1, *tiles, channels)
    values = shaped(graph.op("Transpose", values, perm=[1, 3, 0, 2, 4, 5]), _POINTS**2, -1, channels)
    products = shaped(graph.op("MatMul", values, kernels), _POINTS, _POINTS, -1, down.tiles, across.tiles, results)
    products = shaped(graph.op("Transpose", products, perm=[2, 0, 3, 1, 4, 5]), -1, len(across.data), results)
    lines = shaped(graph.op("MatMul", across.row, products), -1, len(down.data), across.length * results)
    return shaped(graph.op("MatMul", down.row, lines), -1, down.length, across.length, results)
