"""What a pass asks of a single ONNX node or value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    import onnx_ir as ir

UNKNOWN = 0  # a side of a shape


def producer(value: ir.Value | None) -> ir.Node | None:
    """Return the node that makes a value; None for an input, for a constant and for what is left out."""
    return None if value is None else value.producer()


def readers(value: ir.Value) -> list[ir.Node]:
    """Return the nodes that read a value, each once."""
    return list(value.consumers())


def shape(value: ir.Value | None) -> tuple[int, ...]:
    """Return a value's shape, with `UNKNOWN` for a side that is not known; () also where nothing is known of it.

    Shapes are inferred before each pass: what the pass itself adds has none.
    """
    if value is None or value.shape is None:
        return ()
    return tuple(side if isinstance(side, int) else UNKNOWN for side in value.shape)


def is_fixed(sides: tuple[int, ...]) -> bool:
    """Return whether all sides of a shape are known."""
    return bool(sides) and all(sides)


def are_constant(values: Iterable[ir.Value | None]) -> bool:
    """Return whether all of these values are constants."""
    return all(value is not None and value.is_initializer() for value in values)


def constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """Return a constant's elements; None for what is computed, or left out."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    array: npt.NDArray[Any] = value.const_value.numpy()
    return array


def attribute(node: ir.Node, name: str) -> Any:
    """Return a node's attribute, several numbers as a list; None where there is none of that name."""
    if name not in node.attributes:
        return None
    value = node.attributes[name].value
    return list(value) if isinstance(value, tuple) else value


def reduced_axes(node: ir.Node) -> list[int] | None:
    """Return the axes of a reduction in any operator set; None where they are computed or left out."""
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        known = constant(node.inputs[1])
        return None if known is None else [int(axis) for axis in known]
    axes: list[int] | None = attribute(node, "axes")
    return axes


def is_plain_convolution(node: ir.Node, *, side: int) -> bool:
    """Return whether a node convolves all channels with constant kernels [side, side] and keeps the maps' size."""
    return (
        node.op_type == "Conv"
        and are_constant(node.inputs[1:])
        and attribute(node, "kernel_shape") == [side, side]
        and (attribute(node, "pads") or [0, 0, 0, 0]) == [side // 2] * 4
        and attribute(node, "group") in (None, 1)
        and all(attribute(node, name) in (None, [1, 1]) for name in ("strides", "dilations"))
    )
