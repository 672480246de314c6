"""The shapes of the tensors inside an ONNX model, as far as they can be known without running it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]

UNKNOWN = 0


def partial_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's tensors by name, with `UNKNOWN` for a side that is not known."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    return {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values}


def fixed_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of those of a model's tensors whose sides are all known."""
    return {name: shape for name, shape in partial_shapes(path).items() if shape and all(shape)}
