"""PP-YOLOE_seg: a 3x3 convolution of a map that a transposed convolution has doubled, made on the map before.

Doubling (2x2, a stride of 2) and filtering with nothing in between are one linear map. A pixel of the doubled map has
one of four phases: an even or odd row, an even or odd column; and for each of them it depends on 2x2 pixels of the
small map. So four 2x2 convolutions of the small map give the same numbers, with 16 multiplications for every 40. What
follows pixel by pixel is done for each phase, and then the phases are put together.

The bias of the doubling does not reach over the edge of the doubled map, which the filter pads with zeros: it is the
weight of one more channel, of ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from maskserve_tools.converting.onnx_graph.converted import Converted, attribute, copied, is_plain_convolution
from maskserve_tools.converting.onnx_graph.writing import Graph, i64

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

    source: str
    doubling: Array
    bias: Array | None


def filter_before_upsampling(model: Converted, graph: Graph) -> int:
    """Rewrite the 3x3 convolutions of doubled maps; returns how many there are."""
    producers, found = model.producers(), 0
    for convolution in [node for node in model.nodes if is_plain_convolution(model, node, side=3)]:
        doubled = _doubled(model, producers, convolution.input[0])
        if doubled is None:
            continue
        followers = _followers(model, convolution)
        results = [_phase(model, graph, doubled, [convolution, *followers], phase) for phase in _PHASES]
        together = graph.op("DepthToSpace", graph.op("Concat", *results, axis=1), blocksize=2, mode="DCR")
        graph.call(together, [convolution, *followers][-1].output[0])
        model.remove([convolution, *followers])
        found += 1
    return found


def _doubled(model: Converted, producers: Mapping[str, Any], name: str) -> _Doubled | None:
    """How a map was doubled; None where it was not, or where something else reads it too."""
    bias = None
    node = producers.get(name)
    if node is not None and node.op_type == "Add":
        bias, alone = _constant(model, producers, node.input[1]), len(model.readers(name)) == 1
        node = producers.get(node.input[0]) if alone and bias is not None else None
    if node is None or not _doubles(model, node) or len(model.readers(node.output[0])) != 1:
        return None
    kernel = model.array(node.input[1])
    if bias is not None and bias.shape != (1, kernel.shape[1], 1, 1):
        return None
    return _Doubled(node.input[0], kernel, None if bias is None else bias.reshape(-1))


def _doubles(model: Converted, node: Any) -> bool:
    return (
        node.op_type == "ConvTranspose"
        and len(node.input) == 2
        and node.input[1] in model.constants
        and attribute(node, "kernel_shape") == attribute(node, "strides") == [2, 2]
        and attribute(node, "group") in (None, 1)
        and attribute(node, "dilations") in (None, [1, 1])
        and not any((*(attribute(node, "pads") or ()), *(attribute(node, "output_padding") or ())))
    )


def _constant(model: Converted, producers: Mapping[str, Any], name: str) -> Array | None:
    """A constant, or one that is reshaped to a constant shape; None where it is computed."""
    if name in model.constants:
        return model.array(name)
    node = producers.get(name)
    if node is None or node.op_type != "Reshape" or not model.constants.keys() >= set(node.input):
        return None
    constant, shape = map(model.array, node.input)
    return constant.reshape(tuple(shape))


def _followers(model: Converted, convolution: Any) -> list[Any]:
    """The nodes behind a convolution that work pixel by pixel, as far as one result goes on from them."""
    made, chain, kept = {convolution.output[0]}, list[Any](), 0
    for node in model.nodes:
        if made.intersection(node.input) and _pixel_by_pixel(model, node, made):
            chain.append(node)
            made.add(node.output[0])
            outside = [name for name in made if _read_elsewhere(model, name, [convolution, *chain])]
            kept = len(chain) if outside == [node.output[0]] else kept
    return chain[:kept]


def _pixel_by_pixel(model: Converted, node: Any, made: Collection[str]) -> bool:
    if node.op_type in ("BatchNormalization", "Conv"):
        plain = node.op_type != "Conv" or is_plain_convolution(model, node, side=1)
        return plain and model.constants.keys() >= set(node.input[1:])
    return node.op_type in ("Sigmoid", "Mul", "Relu") and set(made).issuperset(node.input)


def _read_elsewhere(model: Converted, name: str, nodes: Collection[Any]) -> bool:
    inside = {id(node) for node in nodes}
    named = any(tensor.name == name for tensor in model.outputs)
    return named or any(id(reader) not in inside for reader in model.readers(name))


def _phase(model: Converted, graph: Graph, doubled: _Doubled, nodes: Sequence[Any], phase: tuple[int, int]) -> str:
    """Add what makes one phase of the last node's result; returns its name."""
    convolution, *followers = nodes
    (down, right), source, doubling = phase, doubled.source, doubled.doubling
    if doubled.bias is not None:
        source = graph.op("Pad", source, i64(0, 0, 0, 0, 0, 1, 0, 0), np.array(1, np.float32))
        ones = np.broadcast_to(doubled.bias[None, :, None, None], (1, *doubling.shape[1:]))
        doubling = np.concatenate([doubling, ones])
    kernel = composed(model.array(convolution.input[1]), doubling, phase)
    pads = [1 - down, 1 - right, down, right]
    result = graph.op("Conv", source, kernel, *convolution.input[2:], kernel_shape=[2, 2], pads=pads)
    names = {node.output[0]: f"{node.output[0]}.{down}{right}" for node in followers}
    graph.nodes += copied(followers, {**names, convolution.output[0]: result})
    return names[followers[-1].output[0]] if followers else result


def composed(kernel: Array, doubling: Array, phase: tuple[int, int]) -> Array:
    """The kernel of one phase of a filtered doubled map.

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
