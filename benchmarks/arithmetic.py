"""How near the cores are to what the machine can compute: their arithmetic and time against a product of matrices.

Example: `python benchmarks/arithmetic.py PADDLE_DIR ... --photo street.jpg`

Counts the multiplications and additions of every convolution and matrix product with weights, for an image of 640x480,
and times the core on OpenVINO in fp32. In between, NumPy multiplies two large matrices on as many threads. What a ratio
to the uncut model could be at most follows from the last column.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from maskserve_server.preprocess import Preprocessor
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import CORE_THRESHOLD, Core, feeds
from maskserve_tools import convert

_THREADS = 2
_SIDE = 4096  # of the matrices


def operations(core: Path, inputs: Mapping[str, Any]) -> float:
    """Return the operations of one run of an ONNX model: two for each multiplication by a weight.

    Args:
        core: the file.
        inputs: arrays by name; counts of boxes, and with them of operations, depend on them.
    """
    import onnx
    import onnxruntime

    model = onnx.load(core)
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    constants = [node for node in model.graph.node if node.op_type == "Constant"]
    weights |= {node.output[0]: tuple(node.attribute[0].t.dims) for node in constants}
    counted = [node for node in model.graph.node if _factors(node, weights)]
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(node.output[0]) for node in counted)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # fusing loses outputs
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, {item.name: inputs[item.name] for item in session.get_inputs()})
    return sum(2.0 * _factors(node, weights) * result.size for node, result in zip(counted, results, strict=True))


def _factors(node: Any, weights: Mapping[str, tuple[int, ...]]) -> float:
    """Return the multiplications behind each number of a node's result; 0 where none is by a weight."""
    shape = weights.get(node.input[1]) if len(node.input) > 1 else None
    if shape is None:
        return 0
    if node.op_type == "Conv":
        return float(np.prod(shape[1:]))
    if node.op_type == "ConvTranspose":  # every input pixel reaches a kernel of the (larger) result
        strides = next((item.ints for item in node.attribute if item.name == "strides"), [1, 1])
        return float(shape[0] * np.prod(shape[2:]) / np.prod(strides))
    return float(shape[-2]) if node.op_type in ("MatMul", "Gemm") else 0


def _rates(run: Callable[[], object], rounds: int) -> Iterator[tuple[float, float]]:
    """Yield seconds of a run, and operations a second of a product of matrices, round by round."""
    left, right = np.random.default_rng(0).normal(size=(2, _SIDE, _SIDE)).astype(np.float32)
    for number in range(rounds + 1):
        start = time.perf_counter()
        run()
        middle = time.perf_counter()
        left @ right
        end = time.perf_counter()
        if number:  # the first one warms up
            yield middle - start, 2.0 * _SIDE**3 / (end - middle)


def main() -> None:
    """Print the table."""
    import cv2

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="PADDLE_DIR")
    parser.add_argument("--photo", type=Path, required=True, help="stretched to 640x480")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    image = cv2.resize(cv2.imread(str(arguments.photo)), (640, 480))
    print("| | GFLOP | ms | GFLOP/s | matrices, GFLOP/s | share |\n|---|---:|---:|---:|---:|---:|", flush=True)
    for folder in arguments.folders:
        with TemporaryDirectory() as target:
            convert(folder, repository=Path(target), name="model", engine="openvino", layout="single")
            directory = Path(target, "model", "1")
            spec = ModelSpec.read(directory)
            inputs = feeds(Preprocessor(spec.preprocess)(image))
            threshold = np.array([[spec.draw_threshold]], np.float32)
            count = operations(directory / spec.core.file, {**inputs, CORE_THRESHOLD: threshold})
            core = Core(spec, directory, threads=_THREADS)
            rounds = list(_rates(partial(core, inputs), arguments.rounds))
        seconds = statistics.median(second for second, _ in rounds)
        rate, machine = count / seconds / 1e9, statistics.median(rate for _, rate in rounds) / 1e9
        cells = f"{count / 1e9:,.0f} | {seconds * 1000:,.0f} | {rate:,.0f} | {machine:,.0f} | {rate / machine:.0%}"
        print(f"| {folder.name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
