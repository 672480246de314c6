"""The core's configuration for a C++ backend of Triton's containers, through Triton's schema.

On CPUs these configurations were run: in the backends of the releases 24.10 and 26.06 to 26.08, though in another
tritonserver. Nothing was run on a GPU: what is said of that was read in the backends' sources.
"""

from __future__ import annotations

from dataclasses import dataclass

from tritonclient.grpc import model_config_pb2 as schema

from maskserve_convert.onnx.batching import Signature
from maskserve_convert.triton.entries import declare
from maskserve_convert.triton.targets import Container
from maskserve_server.engine_table import BF16, ONNXRUNTIME, OPENVINO

MODEL_FILE = "model.onnx"
ENGINE_CACHE = "/var/cache/maskserve"  # has to be there, and writable: ONNX Runtime makes a directory in it

_WORKSPACE_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Batching:
    """How requests are put together.

    Attributes:
        largest: how many images at most.
        preferred: the batches that are started at once.
        delay: microseconds for which the first image waits for others.
    """

    largest: int
    preferred: tuple[int, ...]
    delay: int


# On a GPU a batch costs little more than one image. On a CPU it saves nothing and takes memory: Mask-RT-DETR-S on two
# cores answered 2.67 images a second with batches of up to 4 and without, and took 1.3 GB more for each instance.
GPU_BATCHING = Batching(8, (4, 8), 2000)


def core_config(
    name: str, container: Container, signature: Signature, batching: Batching | None, *, digest: str
) -> schema.ModelConfig:
    """Return the configuration of a core's entry, without its warm-up.

    Args:
        name: the entry's name.
        container: what runs it.
        signature: the tensors of the ONNX file; those of one image where requests are put together.
        batching: how requests are put together; None for a core that takes them one by one.
        digest: the SHA-256 of the ONNX file.
    """
    config = schema.ModelConfig(name=name, backend=container.backend, default_model_filename=MODEL_FILE)
    if batching is not None:
        config.max_batch_size = batching.largest
        config.dynamic_batching.preferred_batch_size.extend(batching.preferred)
        config.dynamic_batching.max_queue_delay_microseconds = batching.delay
    declare(config, signature.inputs, signature.outputs)
    if container.on_gpu:
        _on_gpu(config, container, digest)
    else:
        config.instance_group.add(kind=schema.ModelInstanceGroup.KIND_CPU)  # as many as fit, see `sizing`
        _set(config, _cpu_parameters(container))
    return config


def _cpu_parameters(container: Container) -> dict[str, str]:
    if container.backend == ONNXRUNTIME.name:
        # Each instance has a session. An arena keeps what the largest image took, and never gives it back.
        return {"inter_op_thread_count": "1", "enable_mem_arena": "0"}
    return {"HINT_BF16": "YES"} if container.backend == OPENVINO.name and container.precision == BF16 else {}


def _on_gpu(config: schema.ModelConfig, container: Container, digest: str) -> None:
    config.instance_group.add(count=1, kind=schema.ModelInstanceGroup.KIND_GPU)
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    if container.with_tensorrt:
        accelerators.add(name="tensorrt", parameters=_tensorrt_parameters(config.name, digest))
    # Else convolutions and products are computed with 10 bits of mantissa, which is not what fp32 says.
    accelerators.add(name="cuda", parameters={"use_tf32": "0"})
    # The exhaustive search, the default, takes seconds in the first request of every size and batch. It is asked for
    # here because the backend overwrites what the accelerator says of it wherever a model has parameters.
    _set(config, {"cudnn_conv_algo_search": "1"})


def _tensorrt_parameters(name: str, digest: str) -> dict[str, str]:
    """Return TensorRT's options.

    There is no `precision_mode`: TensorRT 11, in containers from 26.06 on, has no such setting. The graph itself is in
    float16, which every TensorRT takes.

    No shapes are given: ONNX Runtime demands them of every input of every part of the graph that TensorRT gets, and
    which parts these are differs from release to release. It takes the range of the shapes it has seen instead, so the
    warm-up shows it the largest batch and the smallest.

    An engine is known by the graph's structure, not by its weights: the directory is one of this file's own.
    """
    return {
        "max_workspace_size_bytes": str(_WORKSPACE_BYTES),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": f"{ENGINE_CACHE}/{name}-{digest[:16]}",
    }


def _set(config: schema.ModelConfig, parameters: dict[str, str]) -> None:
    for key, value in parameters.items():
        config.parameters[key].string_value = value
