"""What ONNX Runtime says of a core: its tensors, and whether it runs batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskserve_convert.triton.entries import Tensors, TensorType

if TYPE_CHECKING:
    import onnx_ir as ir

Arrays = Mapping[str, npt.NDArray[Any]]

# Of the largest value of a tensor. A batch goes through other kernels, whose sums have another order.
_TOLERANCE = 1e-4
_DTYPES = {"tensor(float)": "FP32", "tensor(int32)": "INT32", "tensor(int64)": "INT64"}
_OPENVINO_DTYPES = {"f32": "FP32", "i32": "INT32", "i64": "INT64"}


@dataclass(frozen=True, slots=True)
class Signature:
    """A core's tensors with all of their dimensions, -1 where a dimension is open."""

    inputs: Tensors
    outputs: Tensors

    @property
    def open_batch(self) -> bool:
        """Whether the first dimension of every tensor is open."""
        return all(tensor.dims[:1] == (-1,) for tensor in (*self.inputs.values(), *self.outputs.values()))

    def without_batch(self) -> Signature:
        """Return the signature without the first dimensions, as Triton declares the tensors of a model that batches."""
        return Signature(_drop_first(self.inputs), _drop_first(self.outputs))


class OnnxCore:
    """A core on ONNX Runtime.

    Args:
        path: the ONNX file.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.signature = Signature(_types(self._session.get_inputs()), _types(self._session.get_outputs()))

    def __call__(self, feeds: Arrays) -> dict[str, npt.NDArray[Any]]:
        """Run it; what it does not read is passed over."""
        names = list(self.signature.outputs)
        results = self._session.run(names, {name: feeds[name] for name in self.signature.inputs})
        return dict(zip(names, results, strict=True))


def why_not_batched(core: OnnxCore, images: Sequence[Arrays]) -> str | None:
    """Run images as one batch and one by one.

    Args:
        core: the core.
        images: the inputs for each of several different images, each with a batch dimension of 1.

    Returns:
        None where both give the same; otherwise what is in the way of batching, in words.
    """
    if not core.signature.open_batch:
        return "its tensors have no batch dimension"
    single = [core(feeds) for feeds in images]
    try:
        batch = core({name: np.concatenate([feeds[name] for feeds in images]) for name in core.signature.inputs})
    except Exception as error:  # ONNX Runtime's errors have no common class of their own
        return f"it does not run a batch of {len(images)}: {str(error).splitlines()[0]}"
    for name, together in batch.items():
        apart = np.concatenate([answer[name] for answer in single])
        if apart.shape != together.shape or not _alike(apart, together):
            return f"{name} of a batch of {len(images)} is not that of the images one by one"
    return None


def fix_batch(path: Path, batched: Iterable[str]) -> None:
    """Make a core, in its file, one of single images: set the open first dimensions, and compute what follows from it.

    With a batch of any size OpenVINO does not find the shapes of some outputs, and Triton's backend for it refuses a
    core whose outputs have not exactly the shapes of the configuration.

    Args:
        path: the ONNX file.
        batched: the outputs that begin with a batch dimension; every input does.
    """
    import onnx_ir as ir

    model = ir.load(path)
    names = {value.name for value in model.graph.inputs} | set(batched)
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.name in names and value.shape is not None:
            value.shape = ir.Shape([1, *value.shape[1:]])
    _fold(model, path)


def _fold(model: ir.Model, target: Path) -> None:
    """Write a core with what can be computed beforehand replaced by its result; the operators stay standard ones."""
    import onnx_ir as ir
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    content = ir.to_proto(model).SerializeToString()
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def write_shapes(path: Path, signature: Signature) -> None:
    """Write the dimensions that a runtime found by itself into a core's file, where they are open.

    Triton's backends compare the outputs with the configuration exactly, by what *their* runtime finds: the more the
    file says, the less is left to its release. The operator sets that the core does not use are taken out: folding
    leaves those of ONNX Runtime.
    """
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedOpsetsPass

    model, known = ir.load(path), {**signature.inputs, **signature.outputs}
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape is not None and value.name is not None:
            found = zip(value.shape, known[value.name].dims, strict=True)
            value.shape = ir.Shape([side if number < 0 else number for side, number in found])
    RemoveUnusedOpsetsPass()(model)
    ir.save(model, path)


def openvino_signature(path: Path) -> Signature:
    """Return a core's tensors as OpenVINO sees them."""
    import openvino

    model = openvino.Core().read_model(path)
    return Signature(_ports(model.inputs), _ports(model.outputs))


def _ports(ports: Iterable[Any]) -> dict[str, TensorType]:
    return {
        port.any_name: TensorType(
            _OPENVINO_DTYPES[port.element_type.get_type_name()],
            tuple(dim.get_length() if dim.is_static else -1 for dim in port.partial_shape),
        )
        for port in ports
    }


def _types(nodes: Iterable[Any]) -> dict[str, TensorType]:
    return {
        node.name: TensorType(_DTYPES[node.type], tuple(n if isinstance(n, int) else -1 for n in node.shape))
        for node in nodes
    }


def _drop_first(tensors: Tensors) -> dict[str, TensorType]:
    return {name: TensorType(tensor.dtype, tensor.dims[1:]) for name, tensor in tensors.items()}


def _alike(expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> bool:
    scale = float(np.abs(expected).max(initial=0))
    return bool(np.abs(expected - found).max(initial=0) <= _TOLERANCE * scale)
