"""The first convolutions of a head that convolves every box's pooled features (C4), moved in front of the pooling.

Pooling averages interpolated samples of each channel, so a 1x1 convolution in front of it gives the same as one behind
it, on the feature map's few thousand positions in place of hundreds of thousands. The shift of the batch normalisation
stays behind: a box at the image's edge that is narrower than a position has samples outside, which are zeros. A stride
becomes a choice of the pooled positions.
"""

from __future__ import annotations

from typing import Any

from maskserve_tools.converting.onnx_graph.converted import Converted, attribute
from maskserve_tools.converting.onnx_graph.writing import Graph, i64
from maskserve_tools.converting.rcnn.pooling import pool
from maskserve_tools.converting.rcnn.structure import Pooling

_END = 1 << 31


class Hoisting:
    """Moves convolutions.

    Args:
        converted: the converted parts; what is moved is taken out of them.
        graph: where the nodes go.
    """

    def __init__(self, converted: Converted, graph: Graph) -> None:
        self._converted, self._graph = converted, graph
        self._mapped: dict[str, str] = {}

    def applies(self, hole: str) -> bool:
        """Whether everything that reads a hole of pooled features can be moved in front of the pooling."""
        readers = self._converted.readers(hole)
        return bool(readers) and all(_pointwise(node) for node in readers)

    def fill(self, pooling: Pooling, feature: str, boxes: str, hole: str) -> None:
        """Pool the convolved features in place of the convolutions."""
        for convolution in self._converted.readers(hole):
            self._converted.remove([convolution])
            mapped = self._map(convolution.input[1], feature)
            pooled = self._pool(pooling, mapped, boxes, attribute(convolution, "strides"))
            self._graph.call(pooled, convolution.output[0])

    def _map(self, kernel: str, feature: str) -> str:
        """The convolved feature map; heads that share their weights share it."""
        if kernel not in self._mapped:
            self._mapped[kernel] = self._graph.op("Conv", feature, kernel, kernel_shape=[1, 1])
        return self._mapped[kernel]

    def _pool(self, pooling: Pooling, mapped: str, boxes: str, stride: list[int]) -> str:
        """Every n-th row and column of the pooled features."""
        pooled = pool(self._graph, pooling, [mapped], boxes)
        if stride == [1, 1]:
            return pooled
        return self._graph.op("Slice", pooled, i64(0, 0), i64(_END, _END), i64(2, 3), i64(*stride))


def _pointwise(node: Any) -> bool:
    return bool(
        node.op_type == "Conv"
        and len(node.input) == 2
        and attribute(node, "kernel_shape") == [1, 1]
        and not any(attribute(node, "pads") or ())
        and attribute(node, "group") in (None, 1)
    )
