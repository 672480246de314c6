"""A core in float16 with float32 at its ends, as TensorRT 11 wants it: that has no setting which makes fp16 of fp32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from maskserve_convert.int8.tail import find_tail, name_nodes
from maskserve_convert.onnx.model import load, save

if TYPE_CHECKING:
    import onnx

_MADE = "_cast_to_fp16"  # what the converter adds to the name of a result that an operator makes in float32


def write_half(path: Path) -> None:
    """Make a core, in its file, one that computes in float16 up to and including the last convolutions.

    What is behind them stays in float32: in float16 a coordinate of 640 pixels is known to half a pixel. So do the
    inputs and the outputs, and the operators that ONNX Runtime's converter keeps from float16.

    Args:
        path: the ONNX file of a core in float32.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(str(path))
    name_nodes(model.graph)
    tail = find_tail(model.graph)
    made = convert_float_to_float16(model, keep_io_types=True, node_block_list=tail)
    _stay_in_float(made.graph)
    onnx.save(made, str(path))
    save(load(path), path)  # in order: the converter writes its casts behind those that read them


def _stay_in_float(graph: onnx.GraphProto) -> None:
    """Let operators that stay in float32 hand each other float32: the converter rounds to float16 between any two."""
    from onnx import TensorProto, helper

    def target(node: onnx.NodeProto) -> int | None:
        found = [helper.get_attribute_value(one) for one in node.attribute if one.name == "to"]
        return found[0] if node.op_type == "Cast" else None

    rounded = {
        node.output[0]: node.input[0]
        for node in graph.node
        if target(node) == TensorProto.FLOAT16 and node.input[0] == node.output[0] + _MADE
    }
    exact = {
        node.output[0]: rounded[node.input[0]]
        for node in graph.node
        if target(node) == TensorProto.FLOAT and node.input[0] in rounded
    }
    for node in graph.node:
        for place, value in enumerate(node.input):
            node.input[place] = exact.get(value, value)
