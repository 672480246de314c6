"""From a core that has answered on this machine to its entry for a container."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskserve import contract
from maskserve.errors import ToolError
from maskserve_convert.onnx.batching import (
    Arrays,
    OnnxCore,
    Signature,
    fix_batch,
    openvino_signature,
    why_not_batched,
    write_shapes,
)
from maskserve_convert.onnx.half import write_half
from maskserve_convert.paddle.folder import sha256
from maskserve_convert.triton.backends import GPU_BATCHING, MODEL_FILE, Batching, core_config
from maskserve_convert.triton.repository import PROVENANCE, VERSION, Entry
from maskserve_convert.triton.targets import Container
from maskserve_convert.triton.warm_up import add_warm_up
from maskserve_server.engine_table import INT8, engine_called, engines_for
from maskserve_server.families import FAMILIES
from maskserve_server.preprocess import Preprocessor
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import CORE_THRESHOLD, feeds

# Of the images that warm a core up where it takes any size: an everyday image, before it is resized.
_HEIGHT, _WIDTH = 480, 640
_GPU_STEPS = 4  # a GPU is faster than one decoder


@dataclass(frozen=True, slots=True)
class ContainerCore:
    """A core as a container runs it.

    Attributes:
        entry: its entry, without provenance.
        batching: the largest batch, or why there is none, for the provenance record.
        instances: how many requests each of the other steps has to answer at the same time to keep it busy; None for a
            core on a CPU, with whose instances they grow.
    """

    entry: Entry
    batching: str
    instances: int | None

    def with_provenance(self, provenance: str) -> Entry:
        """Return the entry."""
        return Entry(self.entry.config, {PROVENANCE: provenance}, self.entry.files)


def container_core(spec: ModelSpec, container: Container, onnx_file: Path, scratch: Path) -> ContainerCore:
    """Find out what the core can do, and write its configuration.

    Args:
        spec: the model.
        container: what it is made for.
        onnx_file: the core; it is moved when the entry is written, and changed for OpenVINO.
        scratch: a directory to work in.

    Raises:
        ToolError: the backend cannot run such a core.
    """
    fixed_size = min(spec.core.image_shape) > 0
    if container.with_tensorrt and not fixed_size:
        raise ToolError(
            "this model takes images of any size, and TensorRT would compile for each new size while somebody waits: "
            "use --precision fp32, which runs it on CUDA"
        )
    batched = FAMILIES[spec.family].batched
    in_single = container.precision == INT8  # it has been made a core of single images
    if not in_single and (not container.known.batches or (batched and not container.on_gpu)):
        fix_batch(onnx_file, spec.core.outputs if batched else ())
    core, images = OnnxCore(onnx_file), _images(spec)
    signature = _in_openvino(onnx_file, container) if not container.known.batches else core.signature
    write_shapes(onnx_file, signature)
    against = _why_not(spec, container, core, images)
    batching = None if against else GPU_BATCHING
    declared = signature.without_batch() if batching else signature
    if container.with_tensorrt:
        write_half(onnx_file)
    name = contract.step_name(spec.name, contract.CORE)
    config = core_config(name, container, declared, batching, digest=sha256(onnx_file))
    files = add_warm_up(config, declared.inputs, images[0], _warm_batches(batching), scratch)
    entry = Entry(config, files={f"{VERSION}/{MODEL_FILE}": onnx_file, **files})
    how = against or f"up to {config.max_batch_size} images"
    return ContainerCore(entry, how, _GPU_STEPS if container.on_gpu else None)


def _why_not(spec: ModelSpec, container: Container, core: OnnxCore, images: Sequence[Arrays]) -> str | None:
    """Return why the core does not batch, if it does not."""
    if not FAMILIES[spec.family].batched:
        return "one by one: its outputs list instances without a batch dimension"
    if CORE_THRESHOLD in spec.core.inputs:
        return "one by one: it selects by the threshold of one request, and its images differ in size"
    if not container.known.batches:
        return f"one by one: Triton's {container.backend} backend runs batches of the largest size only"
    if not container.on_gpu:
        return "one by one: on a CPU a batch saves no time, and takes memory"
    reason = why_not_batched(core, images)
    return None if reason is None else f"one by one: {reason}"


def _in_openvino(onnx_file: Path, container: Container) -> Signature:
    signature = openvino_signature(onnx_file)
    tensors = {**signature.inputs, **signature.outputs}
    others = [row.name for row in engines_for(container.target) if row.backend and row.backend.batches]
    if unknown := [name for name, tensor in tensors.items() if -1 in tensor.dims]:
        raise ToolError(
            f"Triton's {engine_called(container.backend).title} backend refuses a core whose tensors are not all of a "
            f"fixed size ({', '.join(unknown)} here): use --engine {' or '.join(others)}"
        )
    return signature


def _images(spec: ModelSpec) -> list[Arrays]:
    """Return the core's inputs for a few different images."""
    ramp = np.linspace(0, 255, _HEIGHT * _WIDTH * 3).reshape(_HEIGHT, _WIDTH, 3).astype(np.uint8)
    prepare = Preprocessor(spec.preprocess)
    threshold = np.zeros((1, 1), np.float32)  # so that everything behind the selection has something to do
    input_images = (ramp, ramp[::-1].copy(), ramp[:, ::-1].copy())
    return [{**feeds(prepare(image)), CORE_THRESHOLD: threshold} for image in input_images]


def _warm_batches(batching: Batching | None) -> tuple[int, ...]:
    """Return the batches, the largest first: TensorRT compiles for the range that it has seen, twice in this order."""
    if batching is None:
        return (1,)
    return tuple(dict.fromkeys((batching.largest, 1, *batching.preferred)))
