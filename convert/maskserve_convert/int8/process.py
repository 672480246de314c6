"""What quantises a core, as a process: NNCF prints, measures who uses it, and takes memory that it does not give back.

The command line is `python -m maskserve_convert.int8.process VERSION_DIRECTORY batched|one IMAGE...`. It prints a line
for each run of the core and a last one with the result, and changes the core's file.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.decoding.decode import decode
from maskserve.errors import ToolError
from maskserve_convert.int8.agreement import compare_cores
from maskserve_convert.int8.clips import remove_clips
from maskserve_convert.int8.joins import find_joins
from maskserve_convert.int8.quantising import IMAGE_LINE, RESULT_LINE
from maskserve_convert.int8.tail import find_tail, name_nodes
from maskserve_convert.onnx.batching import fix_batch
from maskserve_convert.onnx.model import load, save
from maskserve_server.cpus import DOT_PRODUCTS, cpu_flags
from maskserve_server.engine_table import ONNXRUNTIME
from maskserve_server.preprocess import Preprocessor
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import CORE_THRESHOLD, feeds

if TYPE_CHECKING:
    import onnx

_NEVER_RAN = "Statistics were not collected"
_COMPARED = 16  # of the images: each is answered by both cores


def _main(directory: str, batches: str, *names: str) -> None:
    folder = Path(directory)
    spec, images = ModelSpec.read(folder), [Path(name) for name in names]
    file = folder / spec.core.file
    fix_batch(file, spec.core.outputs if batches == "batched" else ())
    as_float = folder / f"float.{file.name}"
    shutil.copy(file, as_float)
    try:
        tail, quantised = _quantise(spec, file, images)
    except ToolError as error:
        print(RESULT_LINE + json.dumps({"why": str(error)}))
        return
    model = load(file)
    remove_clips(model)
    save(model, file)
    agreement = compare_cores(spec, as_float, file, images[:_COMPARED])
    as_float.unlink()
    result = {"tail": tail, "quantised": quantised, "narrow": is_narrow(), "agreement": asdict(agreement)}
    print(RESULT_LINE + json.dumps(result))


def _quantise(spec: ModelSpec, file: Path, images: Sequence[Path]) -> tuple[int, int]:
    """Write the quantised core; return how many operations stay in float, and how many are computed in 8 bits."""
    import nncf
    import onnx

    model, wanted = onnx.load(str(file)), set(spec.core.inputs)
    feeding = partial(_feeds, spec, Preprocessor(spec.preprocess), wanted.__contains__)
    name_nodes(model.graph)
    made = quantise_model(model, nncf.Dataset(list(images), feeding), len(images), _parameters(spec))
    onnx.save(made, str(file))
    return len(find_tail(model.graph)), _count_quantised(made.graph)


def quantise_model(model: onnx.ModelProto, images: Any, count: int, parameters: Any = None) -> onnx.ModelProto:
    """Return a model of 8-bit integers, with a tail in float.

    Args:
        model: nodes that have names of their own.
        images: NNCF's data set.
        count: how many of them there are.
        parameters: NNCF's advanced ones.

    Raises:
        ToolError: a part of the model never ran, so that its ranges are not known.
    """
    import nncf

    nncf.set_log_level(logging.ERROR)
    ignored = [*find_tail(model.graph), *find_joins(model.graph)]
    try:
        quantized: onnx.ModelProto = nncf.quantize(
            model,
            images,
            subset_size=count,
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            ignored_scope=nncf.IgnoredScope(names=ignored, validate=False),
            advanced_parameters=parameters,
        )
        return quantized
    except nncf.InternalError as error:
        if _NEVER_RAN not in str(error):
            raise
        raise ToolError(
            "with these images a part of the network never runs, so that its ranges cannot be measured "
            f"({str(error).rpartition(' ')[2]}): an R-CNN makes masks only of what it finds above the threshold; "
            "calibrate on images that show what the model looks for"
        ) from error


def is_narrow() -> bool:
    """Tell whether weights get 7 bits: where the processor does not tell that it sums 8-bit products in 32 bits."""
    return not DOT_PRODUCTS & cpu_flags()


def _parameters(spec: ModelSpec) -> Any:
    """Return what the engine and the processor need.

    ONNX Runtime's integer convolution reads all channels of its input at one scale.
    """
    from nncf.quantization import advanced_parameters as advanced

    chosen: dict[str, Any] = {}
    if spec.core.engine == ONNXRUNTIME.name:
        chosen["activations_quantization_params"] = advanced.QuantizationParameters(per_channel=False)
    if is_narrow():
        chosen["overflow_fix"] = advanced.OverflowFix.ENABLE
    return advanced.AdvancedQuantizationParameters(**chosen) if chosen else None


def _feeds(spec: ModelSpec, prepare: Preprocessor, is_wanted: Callable[[str], bool], image: Path) -> dict[str, Any]:
    """Return the core's inputs for an image, and say that it runs."""
    print(f"{IMAGE_LINE}{image}", flush=True)
    threshold = np.full((1, 1), spec.draw_threshold, np.float32)
    inputs = {**feeds(prepare(decode(image.read_bytes()))), CORE_THRESHOLD: threshold}
    return {name: array for name, array in inputs.items() if is_wanted(name)}


def _count_quantised(graph: onnx.GraphProto) -> int:
    """Return how many operations read a value that was 8 bits wide."""
    made = {value for node in graph.node if node.op_type == "DequantizeLinear" for value in node.output}
    computing = ("Conv", "ConvTranspose", "MatMul", "Gemm")
    return sum(node.op_type in computing and not made.isdisjoint(node.input) for node in graph.node)


if __name__ == "__main__":
    _main(*sys.argv[1:])
