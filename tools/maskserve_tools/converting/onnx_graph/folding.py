"""Batch normalisations, folded into convolutions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from maskserve_tools.converting.onnx_graph.converted import Converted, attribute


def fold_normalisations(model: Converted, convolutions: Iterable[Any]) -> list[Any]:
    """Fold the batch normalisation that alone reads a convolution's result into it, as engines do, too.

    Args:
        model: the model.
        convolutions: those to look behind.

    Returns:
        the convolutions, those that took one in and those that had none to take in.
    """
    replaced: dict[int, Any] = {}
    gone: list[Any] = []
    result = []
    for convolution in convolutions:
        follower = model.normalisation(convolution) if len(convolution.input) == 2 else None
        if follower is None or not _constant(model, convolution, follower):
            result.append(convolution)
            continue
        replaced[id(convolution)] = _with_normalisation(model, convolution, follower)
        result.append(replaced[id(convolution)])
        gone.append(follower)
    model.nodes = [replaced.get(id(node), node) for node in model.nodes]
    model.remove(gone)
    return result


def _constant(model: Converted, *nodes: Any) -> bool:
    """Whether all that the nodes read beside their maps is constant."""
    return all(model.constants.keys() >= set(node.input[1:]) for node in nodes)


def _with_normalisation(model: Converted, convolution: Any, normalisation: Any) -> Any:
    from onnx import NodeProto, numpy_helper

    names = (convolution.input[1], *normalisation.input[1:])
    kernel, scale, shift, mean, variance = (model.array(name).astype(np.float64) for name in names)
    factor = scale / np.sqrt(variance + attribute(normalisation, "epsilon"))
    weights = {"kernel": kernel * factor[:, None, None, None], "bias": shift - mean * factor}
    result = NodeProto()
    result.CopyFrom(convolution)
    result.output[0] = normalisation.output[0]
    result.input[1:] = [f"{names[0]}.{names[1]}.{kind}" for kind in weights]  # heads that share weights go on to
    for name, array in zip(result.input[1:], weights.values(), strict=True):
        model.constants[name] = numpy_helper.from_array(array.astype(np.float32), name)
    return result
