"""The first convolutions of a head that convolves every box's pooled features (C4), moved in front of the pooling.

Pooling averages interpolated samples of each channel, so a 1x1 convolution in front of it gives the same as one behind
it, on the feature map's few thousand positions in place of hundreds of thousands. The batch normalisation behind it
only scales and shifts: the same holds, as the weights of a sample sum to one for boxes that lie inside the image, to
which they are clipped. A stride becomes a choice of the pooled positions.
"""

from __future__ import annotations

from typing import Any

from maskserve_tools.converting.rcnn.converted import Converted
from maskserve_tools.converting.rcnn.graph import Graph, i64
from maskserve_tools.converting.rcnn.pooling import pool
from maskserve_tools.converting.rcnn.structure import Pooling

# A stride throws most of what is pooled away; the boxes are pooled in so many parts, so that it is never there at once.
_PARTS = 8
_END = 1 << 31


class Hoisting:
    """Moves convolutions.

    Args:
        converted: the converted parts; what is moved is taken out of them.
        graph: where the nodes go.
    """

    def __init__(self, converted: Converted, graph: Graph) -> None:
        self._converted, self._graph = converted, graph
        self._mapped: dict[tuple[str, str], str] = {}

    def applies(self, hole: str) -> bool:
        """Whether everything that reads a hole of pooled features can be moved in front of the pooling."""
        readers = self._converted.readers(hole)
        return bool(readers) and all(_pointwise(node) and self._normalisation(node) is not None for node in readers)

    def fill(self, pooling: Pooling, feature: str, boxes: str, hole: str, rows: int | None = None) -> None:
        """Pool the convolved features in place of the convolutions; `rows` is the number of boxes where it is fixed."""
        for convolution in self._converted.readers(hole):
            normalisation = self._normalisation(convolution)
            self._converted.remove([convolution, normalisation])
            mapped = self._map(convolution, normalisation, feature)
            pooled = self._pool(pooling, mapped, boxes, _attribute(convolution, "strides"), rows)
            self._graph.call(pooled, normalisation.output[0])

    def _normalisation(self, convolution: Any) -> Any:
        readers = self._converted.readers(convolution.output[0])
        return readers[0] if [node.op_type for node in readers] == ["BatchNormalization"] else None

    def _map(self, convolution: Any, normalisation: Any, feature: str) -> str:
        """The feature map after convolution and normalisation; heads that share their weights share it."""
        key = convolution.input[1], normalisation.input[1]
        if key not in self._mapped:
            plain = self._graph.op("Conv", feature, convolution.input[1], kernel_shape=[1, 1])
            epsilon = _attribute(normalisation, "epsilon")
            scaled = self._graph.op("BatchNormalization", plain, *normalisation.input[1:], epsilon=epsilon)
            self._mapped[key] = scaled
        return self._mapped[key]

    def _pool(self, pooling: Pooling, mapped: str, boxes: str, stride: list[int], rows: int | None) -> str:
        """Every n-th row and column of the pooled features."""
        if stride == [1, 1]:
            return pool(self._graph, pooling, [mapped], boxes)
        graph, parts = self._graph, []
        size = _END if rows is None else -(-rows // _PARTS)
        for start in range(0, rows or 1, size):
            part = graph.op("Slice", boxes, i64(start), i64(start + size), i64(0))
            pooled = pool(graph, pooling, [mapped], part)
            parts.append(graph.op("Slice", pooled, i64(0, 0), i64(_END, _END), i64(2, 3), i64(*stride)))
        return graph.op("Concat", *parts, axis=0)


def _pointwise(node: Any) -> bool:
    return bool(
        node.op_type == "Conv"
        and len(node.input) == 2
        and _attribute(node, "kernel_shape") == [1, 1]
        and not any(_attribute(node, "pads") or ())
        and _attribute(node, "group") in (None, 1)
    )


def _attribute(node: Any, name: str) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), None)
