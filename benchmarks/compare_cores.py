"""Compare two ONNX cores: the same computation up to names, and the same answers bit for bit.

    python benchmarks/compare_cores.py BEFORE.onnx AFTER.onnx IMAGE ...

Two graphs are the same computation when every output has the same digest: that of its operator, its attributes and the
digests of its operands, down to constants (by their elements) and inputs (by name). `Identity` nodes are not counted.
The answers are those of ONNX Runtime with its optimisations off.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

_SIDE = 320  # of an input that takes any size


class Digests:
    """The digests of a core's tensors."""

    def __init__(self, path: str) -> None:
        self.graph = onnx.load(path).graph
        self.of: dict[str, str] = {"": "left out"}
        self.of.update((tensor.name, f"input {tensor.name}") for tensor in self.graph.input)
        self.of.update((tensor.name, _constant(tensor)) for tensor in self.graph.initializer)
        self.nodes: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        for node in self.graph.node:
            self._add(node)

    @property
    def outputs(self) -> Mapping[str, str]:
        """The digests of the results by name."""
        return {tensor.name: self.of[tensor.name] for tensor in self.graph.output}

    def _add(self, node: Any) -> None:
        if node.op_type == "Identity":
            self.of[node.output[0]] = self.of[node.input[0]]
            return
        if node.op_type == "Constant":
            self.of[node.output[0]] = _constant(node.attribute[0].t)
            return
        attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
        operands = [self.of[name] for name in node.input]
        digest = hashlib.sha256(repr((node.domain, node.op_type, attributes, operands)).encode()).hexdigest()
        self.of.update((name, f"{digest}.{number}") for number, name in enumerate(node.output))
        self.nodes[digest] += 1
        self.kinds[node.op_type] += 1


def main() -> None:
    """Print what differs; exit with 1 where the computations or the answers do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("images", nargs="*", metavar="IMAGE")
    options = parser.parse_args()
    before, after = Digests(options.before), Digests(options.after)
    print(f"nodes: {before.nodes.total()} before, {after.nodes.total()} after")
    if before.kinds != after.kinds:
        print(f"  only before: {dict(before.kinds - after.kinds)}; only after: {dict(after.kinds - before.kinds)}")
    print(f"distinct nodes: {len(before.nodes)} before, {len(after.nodes)} after")
    same = before.outputs == after.outputs and set(before.nodes) == set(after.nodes)
    print(f"the same computation: {same}")
    equal = all([_equal(options, before.graph, image) for image in options.images])
    print(f"the same answers to {len(options.images)} images, bit for bit: {equal}")
    raise SystemExit(0 if same and equal else 1)


def _constant(tensor: Any) -> str:
    array = numpy_helper.to_array(tensor)
    return f"{array.dtype} {array.shape} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"


def _equal(options: argparse.Namespace, graph: Any, image: str) -> bool:
    feeds = _feeds(graph, image)
    expected, found = (_run(path, feeds) for path in (options.before, options.after))
    print("  shapes of the answers:", *(array.shape for array in found))
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(expected, found, strict=True))


def _feeds(graph: Any, image: str) -> dict[str, np.ndarray]:
    shapes = {
        tensor.name: [dim.dim_value or (_SIDE if place > 1 else 1) for place, dim in enumerate(_dims(tensor))]
        for tensor in graph.input
    }
    height, width = shapes["image"][2:]
    pixels = cv2.resize(cv2.imread(image), (width, height)).transpose(2, 0, 1)[None]
    known = {
        "image": (pixels / 255 - 0.45) / 0.225,
        "im_shape": np.array([[height, width]]),
        "scale_factor": np.array([[0.5, 0.75]]),
        "threshold": np.array([[0.05]]),
    }
    return {name: known[name].astype(np.float32) for name in shapes}


def _dims(tensor: Any) -> Any:
    return tensor.type.tensor_type.shape.dim


def _run(path: str, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, {name: feeds[name] for name in feeds})]


if __name__ == "__main__":
    main()
