"""Clips that a quantisation behind them does anyway.

An engine merges a convolution, its activation and the quantisation behind it only where nothing else is between.
Quantising saturates: where the smallest and the largest number that 8 bits stand for lie inside of a clip's bounds, the
clip changes nothing. NNCF measures a range up to the bound itself, which in float32 may come out a rounding above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve_convert.onnx.model import tidy
from maskserve_convert.onnx.nodes import constant, readers

if TYPE_CHECKING:
    import onnx_ir as ir

_ROUNDING = 0.01  # of a step


def remove_clips(model: ir.Model) -> int:
    """Remove the clips whose results are only quantised, into numbers inside of their bounds.

    Returns:
        how many there were.
    """
    found = [node for node in model.graph if node.op_type == "Clip" and _is_done_by_quantising(node)]
    for node in found:
        source = node.inputs[0]
        assert source is not None
        node.outputs[0].replace_all_uses_with(source)
    tidy(model)
    return len(found)


def _is_done_by_quantising(clip: ir.Node) -> bool:
    followers = readers(clip.outputs[0])
    if not followers or clip.outputs[0].is_graph_output():
        return False
    if any(node.op_type != "QuantizeLinear" for node in followers):
        return False
    low, high = _bound(clip, 1, -np.inf), _bound(clip, 2, np.inf)
    return low is not None and high is not None and all(_inside(node, low, high) for node in followers)


def _bound(clip: ir.Node, position: int, missing: float) -> float | None:
    """Return a bound of a clip; None where it is computed."""
    value = clip.inputs[position] if len(clip.inputs) > position else None
    if value is None:
        return missing
    found = constant(value)
    return None if found is None else float(np.asarray(found).reshape(-1)[0])


def _inside(quantisation: ir.Node, low: float, high: float) -> bool:
    scale, zero = (constant(value) for value in quantisation.inputs[1:3])
    if scale is None or zero is None:
        return False
    steps: Any = np.asarray(scale, np.float64)
    shift, limits = np.asarray(zero, np.int64), np.iinfo(np.asarray(zero).dtype)
    smallest, largest = (limits.min - shift) * steps, (limits.max - shift) * steps
    slack = _ROUNDING * steps
    return bool((smallest >= low - slack).all() and (largest <= high + slack).all())
