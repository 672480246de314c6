"""An ONNX model, tidied: nodes and constants that can be taken out and put elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from maskserve_tools.converting.onnx_graph.writing import Graph


class Converted:
    """The nodes and constants of a converted program, without `Constant` and `Identity` nodes.

    Attributes:
        inputs: the tensors that it takes.
        outputs: the tensors that it makes.
        nodes: the nodes, in an order in which they can run.
        constants: the constant tensors by name.
        types: the element types of the inputs by name.
        opset: the operator sets it uses.
        ir_version: the version of the file format.
    """

    def __init__(self, path: Path) -> None:
        import onnx

        model = onnx.load(path)
        self.opset, self.ir_version = model.opset_import, model.ir_version
        self.inputs: list[Any] = list(model.graph.input)
        self.outputs: list[Any] = list(model.graph.output)
        self.types = {tensor.name: tensor.type.tensor_type.elem_type for tensor in model.graph.input}
        self.constants: dict[str, Any] = {tensor.name: tensor for tensor in model.graph.initializer}
        self.nodes: list[Any] = []
        kept = {tensor.name for tensor in model.graph.output}
        same: dict[str, str] = {}
        for node in model.graph.node:
            node.input[:] = [same.get(name, name) for name in node.input]
            if node.op_type == "Constant":
                self.constants[node.output[0]] = node.attribute[0].t
                self.constants[node.output[0]].name = node.output[0]
            elif node.op_type == "Identity" and node.output[0] not in kept:
                same[node.output[0]] = node.input[0]
            else:
                self.nodes.append(node)

    def readers(self, name: str) -> list[Any]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if name in node.input]

    def normalisation(self, convolution: Any) -> Any:
        """The batch normalisation that alone reads a convolution's result, or None."""
        readers = self.readers(convolution.output[0])
        return readers[0] if [node.op_type for node in readers] == ["BatchNormalization"] else None

    def array(self, name: str) -> npt.NDArray[Any]:
        """A constant's elements."""
        from onnx import numpy_helper

        array: npt.NDArray[Any] = numpy_helper.to_array(self.constants[name])
        return array

    def producers(self) -> dict[str, Any]:
        """The nodes by what they make."""
        return {name: node for node in self.nodes for name in node.output}

    def remove(self, nodes: Collection[Any]) -> None:
        """Take nodes out."""
        gone = {id(node) for node in nodes}
        self.nodes = [node for node in self.nodes if id(node) not in gone]

    def save(self, graph: Graph, target: Path) -> None:
        """Write the nodes here and those of the graph, as far as the outputs need them, as one ONNX model."""
        import onnx

        nodes = _needed([*self.nodes, *graph.nodes], [tensor.name for tensor in self.outputs])
        constants = [*constants_of(nodes, self.constants), *graph.constants]
        nodes = ordered(nodes, {tensor.name for tensor in (*self.inputs, *constants)})
        joined = onnx.helper.make_graph(nodes, "core", self.inputs, self.outputs, constants)
        result = onnx.helper.make_model(joined, opset_imports=self.opset, ir_version=self.ir_version)
        onnx.checker.check_model(result)
        onnx.save(result, str(target))


def attribute(node: Any, name: str) -> Any:
    """A node's attribute, or None where it has none of that name."""
    from onnx import helper

    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), None)


def is_plain_convolution(model: Converted, node: Any, *, side: int) -> bool:
    """Whether a node convolves all channels with constant kernels [side, side], and keeps the size of the maps."""
    return (
        node.op_type == "Conv"
        and model.constants.keys() >= set(node.input[1:])
        and attribute(node, "kernel_shape") == [side, side]
        and (attribute(node, "pads") or [0, 0, 0, 0]) == [side // 2] * 4
        and attribute(node, "group") in (None, 1)
        and all(attribute(node, name) in (None, [1, 1]) for name in ("strides", "dilations"))
    )


def copied(nodes: Iterable[Any], names: Mapping[str, str]) -> list[Any]:
    """Copies of nodes that read and make other tensors: those in `names`, by what they are called for the copies."""
    from onnx import NodeProto

    result = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        copy.name = copy.output[0]
        result.append(copy)
    return result


def constants_of(nodes: Iterable[Any], constants: dict[str, Any]) -> list[Any]:
    """The constants that nodes read."""
    return [constants[name] for name in {name: None for node in nodes for name in node.input} if name in constants]


def _needed(nodes: Sequence[Any], results: Iterable[str]) -> list[Any]:
    """The nodes that the results depend on, in the order given."""
    producers = {name: node for node in nodes for name in node.output}
    left, kept = list(results), set[int]()
    while left:
        node = producers.get(left.pop())
        if node is not None and id(node) not in kept:
            kept.add(id(node))
            left += node.input
    return [node for node in nodes if id(node) in kept]


def ordered(nodes: Iterable[Any], known: Iterable[str]) -> list[Any]:
    """The nodes in an order in which each reads only what was made before."""
    made, left, result = {"", *known}, list(nodes), []
    while left:
        ready = [node for node in left if made.issuperset(node.input)]
        if not ready:
            raise ValueError(f"nodes that wait for each other: {[node.name for node in left][:5]}")
        made.update(name for node in ready for name in node.output)
        result += ready
        left = [node for node in left if not made.issuperset(node.output)]
    return result
