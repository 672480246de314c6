"""The first convolutions of a head that convolves every box's pooled features (C4), moved in front of the pooling.

Pooling averages interpolated samples of each channel, so a 1x1 convolution in front of it gives the same as one behind
it, on the feature map's few thousand positions in place of hundreds of thousands. The shift of the batch normalisation
stays behind: a box at the image's edge that is narrower than a position has samples outside, which are zeros. A stride
becomes a choice of the pooled positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskserve_convert.onnx.builder import GraphBuilder, i64
from maskserve_convert.onnx.nodes import are_constant, attribute, readers
from maskserve_convert.onnx.report import NearMisses

if TYPE_CHECKING:
    import onnx_ir as ir

_END = 1 << 31


def hoist_pointwise(builder: GraphBuilder, misses: NearMisses) -> int:
    """Move the convolutions that alone read pooled features in front of the pooling; returns how many there are."""
    mapped: dict[tuple[ir.Value | None, ...], ir.Value] = {}  # heads that share their weights share the convolved map
    found = 0
    for pooling in [node for node in builder.graph if node.op_type == "RoiAlign"]:
        convolutions = readers(pooling.outputs[0])
        if reason := _why_not(pooling, convolutions):
            misses.add(reason)
            continue
        for convolution in convolutions if _convolves(convolutions) else ():
            key = (pooling.inputs[0], convolution.inputs[1])
            if key not in mapped:
                mapped[key] = builder.op("Conv", *key, kernel_shape=[1, 1])
            builder.replace(convolution.outputs[0], _pool(builder, pooling, mapped[key], convolution))
            found += 1
    return found


def _convolves(nodes: list[ir.Node]) -> bool:
    return any(node.op_type == "Conv" for node in nodes)


def _why_not(pooling: ir.Node, convolutions: list[ir.Node]) -> str | None:
    """Return why convolutions of pooled features cannot be moved; None where they can, and where there are none."""
    if not _convolves(convolutions):
        return None
    if attribute(pooling, "mode") not in (None, "avg"):
        return "the pooling takes the greatest of its samples, not their average"
    if pooling.outputs[0].is_graph_output():
        return "the pooled features leave the model"
    return next((reason for node in convolutions if (reason := _why_not_pointwise(node))), None)


def _why_not_pointwise(node: ir.Node) -> str | None:
    if node.op_type != "Conv":
        return f"{node.op_type} reads the pooled features, too, which only convolutions may read"
    if (side := attribute(node, "kernel_shape")) != [1, 1]:
        return f"a {'x'.join(map(str, side or ()))} convolution reads the pooled features, which only 1x1 ones may read"
    if len(node.inputs) != 2:
        return "a convolution of the pooled features has a bias, which must not reach samples outside the map"
    if any(attribute(node, "pads") or ()) or attribute(node, "group") not in (None, 1):
        return "a convolution of the pooled features pads them, or has groups"
    if not are_constant(node.inputs[1:]):
        return "a convolution of the pooled features has computed weights"
    return None


def _pool(builder: GraphBuilder, pooling: ir.Node, mapped: ir.Value, convolution: ir.Node) -> ir.Value:
    """Add the pooling of the convolved map in place of the features; of its rows and columns every n-th is kept."""
    pooled = builder.op("RoiAlign", mapped, *pooling.inputs[1:], **pooling.attributes)
    stride = attribute(convolution, "strides") or [1, 1]
    if stride == [1, 1]:
        return pooled
    return builder.op("Slice", pooled, i64(0, 0), i64(_END, _END), i64(2, 3), i64(*stride))
