"""PP-YOLOE_seg: a 3x3 convolution of a map that a transposed convolution has doubled, made on the map before.

Doubling (2x2, a stride of 2) and filtering with nothing in between are one linear map. A pixel of the doubled map has
one of four phases: an even or odd row, an even or odd column; and for each of them it depends on 2x2 pixels of the
small map. So four 2x2 convolutions of the small map give the same numbers, with 16 multiplications for every 40. What
follows pixel by pixel is done for each phase, and then the phases are put together.

The bias of the doubling does not reach over the edge of the doubled map, which the filter pads with zeros: it is the
weight of one more channel, of ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskserve_convert.onnx.builder import GraphBuilder, i64
from maskserve_convert.onnx.nodes import are_constant, attribute, constant, is_plain_convolution, producer, readers
from maskserve_convert.onnx.report import NearMisses

if TYPE_CHECKING:
    import onnx_ir as ir

Array = npt.NDArray[np.float32]

_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True, slots=True)
class _Doubled:
    """A doubled map that one convolution filters.

    Attributes:
        source: the map before.
        doubling: float32 [channels, doubled channels, 2, 2].
        bias: float32 [doubled channels]; None for none.
    """

    source: ir.Value | None
    doubling: Array
    bias: Array | None


def fold_upsample_conv(builder: GraphBuilder, misses: NearMisses) -> int:
    """Rewrite the 3x3 convolutions of doubled maps; returns how many there are."""
    found = 0
    for convolution in [node for node in builder.graph if is_plain_convolution(node, side=3)]:
        doubled = _doubled(convolution.inputs[0])
        if not isinstance(doubled, _Doubled):
            if doubled:
                misses.add(doubled)
            continue
        nodes = [convolution, *_followers(builder.graph, convolution)]
        results = [_phase(builder, doubled, nodes, phase) for phase in _PHASES]
        together = builder.op("DepthToSpace", builder.op("Concat", *results, axis=1), blocksize=2, mode="DCR")
        builder.replace(nodes[-1].outputs[0], together)
        found += 1
    return found


def _doubled(maps: ir.Value | None) -> _Doubled | str | None:
    """Return how a map was doubled; a sentence where it nearly was, and None where it was not."""
    node, bias = producer(maps), None
    if node is not None and node.op_type == "Add":
        addition, node = node, producer(node.inputs[0])
        bias = _constant(addition.inputs[1])
        bias_missing, shared = bias is None, _shared(addition)
    else:
        bias_missing = shared = False
    if node is None or node.op_type != "ConvTranspose":
        return None
    if bias_missing:
        return "what is added to the enlarged map is computed"
    if shared or _shared(node):
        return "something besides one convolution reads the enlarged map"
    kernel = constant(node.inputs[1])
    if kernel is None or not _doubles(node):
        return "the map is not doubled by a plain 2x2 transposed convolution with a stride of 2 and no bias of its own"
    if bias is not None and bias.shape != (1, kernel.shape[1], 1, 1):
        return "what is added to the enlarged map is not one number for each channel"
    return _Doubled(node.inputs[0], kernel, None if bias is None else bias.reshape(-1))


def _shared(node: ir.Node) -> bool:
    """Return whether several nodes read a node's result, or it leaves the model."""
    return len(readers(node.outputs[0])) != 1 or node.outputs[0].is_graph_output()


def _doubles(node: ir.Node) -> bool:
    return (
        len(node.inputs) == 2
        and attribute(node, "kernel_shape") == attribute(node, "strides") == [2, 2]
        and attribute(node, "group") in (None, 1)
        and attribute(node, "dilations") in (None, [1, 1])
        and not any((*(attribute(node, "pads") or ()), *(attribute(node, "output_padding") or ())))
    )


def _constant(value: ir.Value | None) -> Array | None:
    """Return a constant, or one that is reshaped to a constant shape; None where it is computed."""
    node = producer(value)
    if node is None or node.op_type != "Reshape":
        return constant(value)
    array, sides = map(constant, node.inputs)
    return None if array is None or sides is None else array.reshape(tuple(sides))


def _followers(graph: ir.Graph, convolution: ir.Node) -> list[ir.Node]:
    """Return the nodes behind a convolution that work pixel by pixel, as long as one result alone is read later."""
    made, chain, kept = {convolution.outputs[0]}, [convolution], 1
    for node in graph:
        if made.intersection(node.inputs) and _pixel_by_pixel(node, made):
            chain.append(node)
            made.add(node.outputs[0])
            outside = [value for value in made if _read_elsewhere(value, chain)]
            kept = len(chain) if outside == [node.outputs[0]] else kept
    return chain[1:kept]


def _pixel_by_pixel(node: ir.Node, made: Collection[ir.Value]) -> bool:
    if node.op_type in ("BatchNormalization", "Conv"):
        plain = node.op_type != "Conv" or is_plain_convolution(node, side=1)
        return plain and are_constant(node.inputs[1:])
    return node.op_type in ("Sigmoid", "Mul", "Relu") and set(made).issuperset(node.inputs)


def _read_elsewhere(value: ir.Value, nodes: Collection[ir.Node]) -> bool:
    return value.is_graph_output() or any(reader not in nodes for reader in readers(value))


def _phase(builder: GraphBuilder, doubled: _Doubled, nodes: Sequence[ir.Node], phase: tuple[int, int]) -> ir.Value:
    """Add what makes one phase of the last node's result; returns it."""
    convolution, *followers = nodes
    (down, right), source, doubling = phase, doubled.source, doubled.doubling
    if doubled.bias is not None:
        source = builder.op("Pad", source, i64(0, 0, 0, 0, 0, 1, 0, 0), np.array(1, np.float32))
        ones = np.broadcast_to(doubled.bias[None, :, None, None], (1, *doubling.shape[1:]))
        doubling = np.concatenate([doubling, ones])
    kernel = constant(convolution.inputs[1])
    assert kernel is not None  # it is a plain convolution
    pads = [1 - down, 1 - right, down, right]
    operands = source, composed(kernel, doubling, phase), *convolution.inputs[2:]
    result = builder.op("Conv", *operands, kernel_shape=[2, 2], pads=pads)
    return builder.repeat(followers, {convolution.outputs[0]: result})[nodes[-1].outputs[0]]


def composed(kernel: Array, doubling: Array, phase: tuple[int, int]) -> Array:
    """Return the kernel of one phase of a filtered doubled map.

    Args:
        kernel: the filter, float32 [results, doubled channels, 3, 3].
        doubling: the transposed convolution, float32 [channels, doubled channels, 2, 2].
        phase: 1 for odd rows, 1 for odd columns.

    Returns:
        float32 [results, channels, 2, 2]; its first row is that of the pixel above for even rows, of the pixel itself
        for odd ones, and likewise its first column.
    """
    result = np.zeros((len(kernel), len(doubling), 2, 2))
    for tap in product(range(3), repeat=2):
        # How many doubled pixels lie between the tap and the first one that the small map's window covers.
        after = [place + 1 - odd for place, odd in zip(tap, phase, strict=True)]
        row, column = (step // 2 for step in after)
        taps = doubling[:, :, after[0] % 2, after[1] % 2].astype(np.float64)
        result[:, :, row, column] += kernel[:, :, tap[0], tap[1]].astype(np.float64) @ taps.T
    return result.astype(np.float32)
