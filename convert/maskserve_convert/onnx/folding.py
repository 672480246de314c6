"""Batch normalisations, folded into convolutions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from maskserve_convert.onnx.builder import GraphBuilder
from maskserve_convert.onnx.nodes import are_constant, attribute, constant, readers

if TYPE_CHECKING:
    import onnx_ir as ir


def fold_normalisations(builder: GraphBuilder, convolutions: Iterable[ir.Node]) -> None:
    """Fold the batch normalisation that alone reads a convolution's result into it, as engines do, too.

    The convolutions stay the same nodes, with other weights and a bias.

    Args:
        builder: of the graph.
        convolutions: those to look behind.
    """
    folded: dict[tuple[ir.Value | None, ...], tuple[ir.Value, ir.Value]] = {}
    for convolution in convolutions:
        follower = _normalisation(convolution)
        if follower is None or len(convolution.inputs) != 2 or convolution.outputs[0].is_graph_output():
            continue
        if not are_constant((*convolution.inputs[1:], *follower.inputs[1:])):
            continue
        key = (convolution.inputs[1], *follower.inputs[1:])
        if key not in folded:  # heads that share weights go on to
            folded[key] = _folded(builder, convolution, follower)
        kernel, bias = folded[key]
        convolution.replace_input_with(1, kernel)
        convolution.resize_inputs(3)
        convolution.replace_input_with(2, bias)
        builder.replace(follower.outputs[0], convolution.outputs[0])
        builder.graph.remove(follower, safe=True)


def _normalisation(convolution: ir.Node) -> ir.Node | None:
    """Return the batch normalisation that alone reads a convolution's result, or None."""
    followers = readers(convolution.outputs[0])
    return followers[0] if [node.op_type for node in followers] == ["BatchNormalization"] else None


def _folded(builder: GraphBuilder, convolution: ir.Node, normalisation: ir.Node) -> tuple[ir.Value, ir.Value]:
    """Return the kernel and the bias of both together."""
    values = (convolution.inputs[1], *normalisation.inputs[1:])
    kernel, scale, shift, mean, variance = (np.asarray(constant(value), np.float64) for value in values)
    factor = scale / np.sqrt(variance + attribute(normalisation, "epsilon"))
    weights = kernel * factor[:, None, None, None], shift - mean * factor
    folded_kernel, bias = (builder.constant(array.astype(np.float32)) for array in weights)
    return folded_kernel, bias
