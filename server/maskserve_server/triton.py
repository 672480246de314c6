"""The glue to Triton's Python backend: requests to arrays, answers to responses, errors to typed errors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskserve.errors import InferenceFailed, InputError, MaskserveError, to_wire
from maskserve_server.metrics import Metrics
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import Stage

THREADS = "threads"  # key of the entry's `parameters`: CPU threads of one run; absent or 0 shares out all cores


def version_directory(args: Mapping[str, str]) -> Path:
    """The directory of the version that an adapter's `initialize` is called for."""
    return Path(args["model_repository"]) / args["model_version"]


def read_spec(args: Mapping[str, str]) -> ModelSpec:
    """The model's description, from beside its adapter."""
    return ModelSpec.read(version_directory(args))


def thread_count(args: Mapping[str, str]) -> int:
    """How many threads one instance may use: as configured, or the cores shared out among the instances."""
    config = json.loads(args["model_config"])
    configured = int(config.get("parameters", {}).get(THREADS, {}).get("string_value", "0"))
    instances = sum(int(group.get("count", 1)) for group in config.get("instance_group", [])) or 1
    return configured or max(1, len(os.sched_getaffinity(0)) // instances)


def respond(
    backend: Any, requests: Sequence[Any], stage: Stage, inputs: Sequence[str], metrics: Metrics | None = None
) -> list[Any]:
    """Run `stage` on each request; one request's failure is its own and never its neighbours'.

    Args:
        backend: the `triton_python_backend_utils` module.
        requests: as `execute` gets them.
        stage: what answers.
        inputs: the names of the tensors that the stage reads; one that a request leaves out is None.
        metrics: where answers and errors are counted; entries of an earlier release have none.
    """
    return [_respond(backend, request, stage, inputs, metrics) for request in requests]


def _respond(backend: Any, request: Any, stage: Stage, inputs: Sequence[str], metrics: Metrics | None) -> Any:
    try:
        tensors = {name: backend.get_input_tensor_by_name(request, name) for name in inputs}
        arrays = {name: None if tensor is None else tensor.as_numpy() for name, tensor in tensors.items()}
        columns = stage(arrays)
        response = backend.InferenceResponse([backend.Tensor(name, array) for name, array in columns.items()])
    except MaskserveError as error:
        return _failure(backend, error, metrics)
    except Exception as error:  # whatever it is, the client gets a sentence and the log gets the rest
        backend.Logger.log_error(f"{type(error).__name__}: {error}")
        return _failure(backend, InferenceFailed("the model failed on this image; the server's log says why"), metrics)
    if metrics is not None:
        metrics.answered(columns)
    return response


def _failure(backend: Any, error: MaskserveError, metrics: Metrics | None) -> Any:
    if metrics is not None:
        metrics.failed(error.code)
    kind = backend.TritonError.INVALID_ARG if isinstance(error, InputError) else backend.TritonError.INTERNAL
    return backend.InferenceResponse([], backend.TritonError(to_wire(error), kind))
