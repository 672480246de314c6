"""Add ONNX nodes to a graph one after another: an operand is a value, a constant's array, or None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx_ir as ir

    Operand = ir.Value | npt.NDArray[Any] | None

# From these operator sets on a reduction's axes are an operand; up to them they are an attribute.
_AXES_OPERAND = {"ReduceSum": 13}
_OTHERS_AXES_OPERAND = 18
# Bytes. Smaller constants are compared with those that are there.
_LARGE = 1 << 22


def f32(*values: float) -> npt.NDArray[np.float32]:
    """Return a constant: float32 [len(values)]."""
    return np.array(values, np.float32)


def i64(*values: int) -> npt.NDArray[np.int64]:
    """Return a constant: int64 [len(values)]."""
    return np.array(values, np.int64)


def scalar(value: int) -> npt.NDArray[np.int64]:
    """Return a constant: int64 []."""
    return np.array(value, np.int64)


class GraphBuilder:
    """Adds nodes at the end of a graph; `model.tidy` sorts them in.

    Args:
        graph: the graph.
        prefix: begins the name of every value made here, so that none collides with another.
    """

    def __init__(self, graph: ir.Graph, prefix: str) -> None:
        self.graph = graph
        self._prefix = prefix
        self._made = self._constants = 0
        self._known: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}  # by type, shape and digest

    @property
    def opset(self) -> int:
        """The version of the standard operators; Paddle2ONNX raises it where a program needs a newer one."""
        return self.graph.opset_imports[""]

    def op(self, kind: str, *operands: Operand, **attributes: Any) -> ir.Value:
        """Add a node with one result; returns the result."""
        return self.ops(kind, *operands, results=1, **attributes)[0]

    def ops(self, kind: str, *operands: Operand, results: int, **attributes: Any) -> tuple[ir.Value, ...]:
        """Add a node with several results; returns them."""
        import onnx_ir as ir

        name = f"{self._prefix}.{self._made}"
        self._made += 1
        made = [ir.Value(name=f"{name}.{number}") for number in range(results)]
        inputs = [self.constant(item) if isinstance(item, np.ndarray) else item for item in operands]
        self.graph.append(ir.node(kind, inputs, attributes, outputs=made, name=name))
        return tuple(made)

    def reduce(self, kind: str, operand: Operand, axis: int, *, keepdims: bool) -> ir.Value:
        """Add a reduction along one axis, "ReduceMax" for one, as the operator set writes it."""
        keep = int(keepdims)
        if self.opset >= _AXES_OPERAND.get(kind, _OTHERS_AXES_OPERAND):
            return self.op(kind, operand, i64(axis), keepdims=keep)
        return self.op(kind, operand, axes=[axis], keepdims=keep)

    def repeat(self, nodes: Iterable[ir.Node], known: Mapping[ir.Value, ir.Value]) -> dict[ir.Value, ir.Value]:
        """Add copies of nodes, each of which reads what the copies before it made.

        Args:
            nodes: the nodes, in an order in which they can run.
            known: what the copies read in place of some values.

        Returns:
            `known`, and for each value that the nodes make the copies' value.
        """
        values = dict(known)
        for node in nodes:
            operands = [None if value is None else values.get(value, value) for value in node.inputs]
            copies = self.ops(node.op_type, *operands, results=len(node.outputs), **node.attributes)
            values.update(zip(node.outputs, copies, strict=True))
        return values

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Let everything that reads a value read another one, which holds the same. An output keeps its name."""
        if old.is_graph_output():
            name, old.name = old.name, f"{old.name}.replaced"
            new = self.op("Identity", new)
            new.name = name
        if new.producer() is not None:
            new.shape, new.type = old.shape, old.type
        old.replace_all_uses_with(new, replace_graph_outputs=True)

    def constant(self, array: npt.NDArray[Any]) -> ir.Value:
        """Add a constant; equal arrays become one, unless they are large."""
        array = np.asarray(array, order="C")
        if array.nbytes > _LARGE:
            return self._register(array)
        key = (array.dtype.str, array.shape, sha256(array.reshape(-1).view(np.uint8).data).digest())
        if key not in self._known:
            self._known[key] = self._register(array)
        return self._known[key]

    def _register(self, array: npt.NDArray[Any]) -> ir.Value:
        import onnx_ir as ir

        name = f"{self._prefix}.constant.{self._constants}"
        self._constants += 1
        tensor = ir.tensor(array, name=name)
        kind, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
        constant = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
        self.graph.register_initializer(constant)
        return constant
