"""Write ONNX nodes one after another: an operator's result is a name, a constant operand is an array."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Operand = str | npt.NDArray[Any]


def f32(*values: float) -> npt.NDArray[np.float32]:
    """A constant: float32 [len(values)]."""
    return np.array(values, np.float32)


def i64(*values: int) -> npt.NDArray[np.int64]:
    """A constant: int64 [len(values)]."""
    return np.array(values, np.int64)


def scalar(value: int) -> npt.NDArray[np.int64]:
    """A constant: int64 []."""
    return np.array(value, np.int64)


class Graph:
    """The nodes and constants added so far.

    Args:
        prefix: begins the name of every tensor made here, so that none collides with another graph's.
    """

    def __init__(self, prefix: str) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._prefix = prefix
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def op(self, kind: str, *operands: Operand, **attributes: Any) -> str:
        """Add a node with one result; returns the result's name. "" stands for an operand that is left out."""
        return self.ops(kind, *operands, results=1, **attributes)[0]

    def ops(self, kind: str, *operands: Operand, results: int, **attributes: Any) -> tuple[str, ...]:
        """Add a node with several results; returns their names."""
        from onnx import helper

        names = tuple(f"{self._prefix}.{len(self.nodes)}.{number}" for number in range(results))
        inputs = [operand if isinstance(operand, str) else self._constant(operand) for operand in operands]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"{self._prefix}.{len(self.nodes)}", **attributes))
        return names

    def call(self, tensor: str, name: str) -> None:
        """Give a tensor a second name."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [tensor], [name], name=f"{self._prefix}.{len(self.nodes)}"))

    def _constant(self, array: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"{self._prefix}.constant.{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]
