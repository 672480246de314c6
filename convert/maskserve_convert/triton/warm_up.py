"""Requests that Triton sends to a core before it is ready, so that nobody's first request compiles anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as schema

from maskserve_convert.onnx.batching import Arrays
from maskserve_convert.triton.entries import Tensors, TensorType, dtype
from maskserve_server.stages import IMAGE_TENSOR

_FOLDER = "warmup"  # where Triton looks for the files that a configuration names


def add_warm_up(
    config: schema.ModelConfig, inputs: Tensors, feeds: Arrays, batches: Sequence[int], scratch: Path
) -> Mapping[str, Path]:
    """Add the warm-up to a core's configuration.

    Args:
        config: the configuration.
        inputs: the core's inputs, as the configuration declares them.
        feeds: its inputs for a representative image, with a batch dimension of 1.
        batches: how many images the requests carry, in their order; nothing but 1 for a core that does not batch.
        scratch: a directory for the files.

    Returns:
        Files of the entry, by their path in it.
    """
    files = {}
    for name in inputs:
        if name != IMAGE_TENSOR:  # of zeros the image's size and scale would divide by zero; a black image is fine
            path = scratch / f"{_FOLDER}.{name}"
            path.write_bytes(feeds[name].tobytes())
            files[f"{_FOLDER}/{name}"] = path
    for batch in batches:
        sample = config.model_warmup.add(name=f"{batch} image{'s' * (batch > 1)}", batch_size=batch)
        for name, tensor in inputs.items():
            _fill(sample.inputs[name], name, tensor, feeds[name].shape)
    return files


def _fill(tensor: schema.ModelWarmup.Input, name: str, declared: TensorType, shape: tuple[int, ...]) -> None:
    tensor.data_type = dtype(declared)
    tensor.dims.extend(shape[len(shape) - len(declared.dims) :])  # without the batch where none is declared
    if name == IMAGE_TENSOR:
        tensor.zero_data = True
    else:
        tensor.input_data_file = name
