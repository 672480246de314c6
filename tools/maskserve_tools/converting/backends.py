"""The core's configuration for a C++ backend of Triton's containers, through Triton's schema.

Neither a container nor a GPU was at hand when this was written: nothing here was run in those backends. What is said of
them was read in their sources; what could be proved without them is in `tests/tools/test_targets.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tritonclient.grpc import model_config_pb2 as schema

from maskserve_tools.converting.batching import Signature
from maskserve_tools.converting.entries import declare
from maskserve_tools.converting.targets import Container

MODEL_FILE = "model.onnx"
CPU_THREADS = "cpu_threads"  # the rate limiter's resource: what the cores of all models share
ENGINE_CACHE = "/var/cache/maskserve"  # has to be there, and writable: ONNX Runtime makes a directory in it

_CPU_INSTANCES, _THREADS_PER_INSTANCE = 2, 2
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


# On a GPU a batch costs little more than one image. On a CPU it saves nothing (Mask-RT-DETR-S on two cores: four photos
# took 7.0 s together and 5.7 s one by one), so there no image waits for others; what is in the queue goes together.
GPU_BATCHING = Batching(8, (4, 8), 2000)
CPU_BATCHING = Batching(4, (4,), 0)


def core_config(
    name: str, container: Container, signature: Signature, batching: Batching | None, *, fixed_size: bool, digest: str
) -> schema.ModelConfig:
    """The configuration of a core's entry, without its warm-up.

    Args:
        name: the entry's name.
        container: what runs it.
        signature: the tensors of the ONNX file; those of one image where requests are put together.
        batching: how requests are put together; None for a core that takes them one by one.
        fixed_size: whether every image has the same size.
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
    elif container.backend == "openvino":
        _on_cpu(config, _openvino_parameters(container))
    else:
        _on_cpu(config, _onnxruntime_parameters(fixed_size))
    return config


def _on_cpu(config: schema.ModelConfig, parameters: dict[str, str]) -> None:
    """Two instances of two threads: more instances of fewer threads answer more requests, each of them later.

    The rate limiter does nothing unless the server is started with `--rate-limit=execution_count`; then, with
    `--rate-limit-resource=cpu_threads:CORES`, the cores of all models never use more threads than that together.
    """
    group = config.instance_group.add(count=_CPU_INSTANCES, kind=schema.ModelInstanceGroup.KIND_CPU)
    group.rate_limiter.resources.add(name=CPU_THREADS, count=_THREADS_PER_INSTANCE, **{"global": True})
    _set(config, parameters)


def _onnxruntime_parameters(fixed_size: bool) -> dict[str, str]:
    # Each instance has a session, and each session its threads. An arena keeps what the largest image took.
    return {
        "intra_op_thread_count": str(_THREADS_PER_INSTANCE),
        "inter_op_thread_count": "1",
        "enable_mem_arena": str(int(fixed_size)),
    }


def _openvino_parameters(container: Container) -> dict[str, str]:
    # The instances share one compiled model, whose threads are divided among its streams.
    parameters = {
        "INFERENCE_NUM_THREADS": str(_CPU_INSTANCES * _THREADS_PER_INSTANCE),
        "NUM_STREAMS": str(_CPU_INSTANCES),
    }
    return {**parameters, "HINT_BF16": "YES"} if container.precision == "bf16" else parameters


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
    """TensorRT's options.

    No shapes are given: ONNX Runtime demands them of every input of every part of the graph that TensorRT gets, and
    which parts these are differs from release to release. It takes the range of the shapes it has seen instead, so the
    warm-up shows it the largest batch and the smallest.

    An engine is known by the graph's structure, not by its weights: the directory is one of this file's own.
    """
    return {
        "precision_mode": "FP16",
        "max_workspace_size_bytes": str(_WORKSPACE_BYTES),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": f"{ENGINE_CACHE}/{name}-{digest[:16]}",
    }


def _set(config: schema.ModelConfig, parameters: dict[str, str]) -> None:
    for key, value in parameters.items():
        config.parameters[key].string_value = value
