"""Small ONNX graphs, written node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskserve_convert.onnx.builder import GraphBuilder

onnx = pytest.importorskip("onnx", reason="writing a graph needs the convert extra", exc_type=ImportError)
ir = pytest.importorskip("onnx_ir", reason="writing a graph needs the convert extra", exc_type=ImportError)

Shape = Sequence[int | str | None]


class Graph(GraphBuilder):
    """A graph of its own; a name stands for an input."""

    def __init__(self, prefix: str, opset: int = 17) -> None:
        super().__init__(ir.Graph([], [], nodes=[], opset_imports={"": opset}, name=prefix), prefix)
        self._inputs: dict[str, Any] = {}

    def input(self, name: str) -> Any:
        """The input of a name."""
        return self._inputs.setdefault(name, ir.Value(name=name))

    def op(self, kind: str, *operands: Any, **attributes: Any) -> Any:
        return self.ops(kind, *operands, results=1, **attributes)[0]

    def ops(self, kind: str, *operands: Any, results: int, **attributes: Any) -> Any:
        values = [self.input(operand) if isinstance(operand, str) else operand for operand in operands]
        return super().ops(kind, *values, results=results, **attributes)

    def proto(self, inputs: Mapping[str, tuple[Any, Shape | None]], outputs: Mapping[str, Any]) -> Any:
        """The model: inputs with a numpy type and a shape each, and the results by name."""
        for name, (dtype, shape) in inputs.items():
            value = self.input(name)
            value.type = ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype)))
            value.shape = None if shape is None else ir.Shape(shape)
            self.graph.inputs.append(value)
        for name, result in outputs.items():
            (output,) = super().ops("Identity", result, results=1)
            output.name = name
            self.graph.outputs.append(output)
        proto = ir.to_proto(ir.Model(self.graph, ir_version=8))
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)

    def write(self, path: Path, inputs: Mapping[str, Shape], outputs: Mapping[str, Any]) -> Path:
        """Write the model; its inputs are float32."""
        onnx.save(self.proto({name: (np.float32, shape) for name, shape in inputs.items()}, outputs), str(path))
        return path
