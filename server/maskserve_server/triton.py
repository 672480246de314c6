"""The glue to Triton's Python backend: requests to arrays, answers to responses, errors to typed errors."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt

from maskserve import contract
from maskserve.errors import InferenceFailed, InputError, MaskserveError, RequestTimeout, ServerOverloaded, to_wire
from maskserve_server.cpus import usable_cpus
from maskserve_server.entry_parameters import BY_THE_CORES, INSTANCES, THREADS
from maskserve_server.metrics import Metrics
from maskserve_server.one_conversion import OpenedVersion, check_entries
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import Arrays, Stage


def version_directory(args: Mapping[str, str]) -> Path:
    """Return the directory of the version that an adapter's `initialize` is called for."""
    return Path(args["model_repository"]) / args["model_version"]


def repository_of(args: Mapping[str, str]) -> Path:
    """Return the repository that the entry of an adapter is in."""
    return Path(args["model_repository"]).parent


def read_spec(args: Mapping[str, str]) -> ModelSpec:
    """Return the model's description, from beside its adapter.

    Raises:
        ToolError: it cannot be read, or the model's steps are not of one conversion.
    """
    _check_steps(args)
    return ModelSpec.read(version_directory(args))


@contextmanager
def reading_spec(args: Mapping[str, str]) -> Iterator[ModelSpec]:
    """Give the model's description, as `read_spec`, to who loads the core beside it.

    Raises:
        ToolError: likewise, or the core that was loaded in this context is that of another conversion.
    """
    _check_steps(args)
    opened = OpenedVersion.read(version_directory(args))
    with opened.unchanged():
        yield opened.spec


def _check_steps(args: Mapping[str, str]) -> None:
    """Make sure that a step is of the same conversion as the others of its model."""
    model = contract.model_of(Path(args["model_repository"]).name)
    if model is not None:
        check_entries(repository_of(args), contract.entries_of(model))


def thread_count(args: Mapping[str, str]) -> int:
    """Return how many threads one run may use: as configured, or the cores shared out among the instances."""
    return _configured(args, THREADS) or max(1, usable_cpus() // (instance_count(args) * runs_at_once(args)))


def runs_at_once(args: Mapping[str, str]) -> int:
    """Return how many requests one process of the entry answers at the same time."""
    return _configured(args, INSTANCES) or 1


def _configured(args: Mapping[str, str], key: str) -> int:
    parameters = json.loads(args["model_config"]).get("parameters", {})
    text = parameters.get(key, {}).get("string_value", "")
    return 0 if text in ("", BY_THE_CORES) else int(text)


def instance_count(args: Mapping[str, str]) -> int:
    """Return how many processes the entry has."""
    config = json.loads(args["model_config"])
    return sum(int(group.get("count", 1)) for group in config.get("instance_group", [])) or 1


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
    return answer(backend, metrics, lambda: stage(read_inputs(backend, request, inputs)))


def read_inputs(backend: Any, request: Any, names: Sequence[str]) -> dict[str, npt.NDArray[Any] | None]:
    """Return the tensors of a request; None for one that it leaves out."""
    tensors = {name: backend.get_input_tensor_by_name(request, name) for name in names}
    return {name: None if tensor is None else tensor.as_numpy() for name, tensor in tensors.items()}


def answer(backend: Any, metrics: Metrics | None, work: Callable[[], Arrays | None]) -> Any:
    """Return the response that carries what `work` returns, or its error; None where it returns None.

    Args:
        backend: the `triton_python_backend_utils` module.
        metrics: where answers and errors are counted; None counts nothing.
        work: what makes the output tensors.
    """
    try:
        columns = work()
        if columns is None:
            return None
        response = backend.InferenceResponse([backend.Tensor(name, array) for name, array in columns.items()])
    except MaskserveError as error:
        return failure(backend, error, metrics)
    except Exception as error:  # whatever it is, the client gets a sentence and the log gets the rest
        backend.Logger.log_error("".join(traceback.format_exception(error)))
        return failure(backend, InferenceFailed("the model failed on this image; the server's log says why"), metrics)
    if metrics is not None:
        metrics.answered(columns)
    return response


def failure(backend: Any, error: MaskserveError, metrics: Metrics | None) -> Any:
    """Return the response that carries an error."""
    if metrics is not None:
        metrics.failed(error.code)
    return backend.InferenceResponse([], backend.TritonError(to_wire(error), _kind(backend.TritonError, error)))


def _kind(kinds: Any, error: MaskserveError) -> Any:
    """Return Triton's word for an error. Proxies send to another server what is unavailable, and only that."""
    if isinstance(error, InputError):
        return kinds.INVALID_ARG
    if isinstance(error, ServerOverloaded):
        return kinds.UNAVAILABLE
    return kinds.CANCELLED if isinstance(error, RequestTimeout) else kinds.INTERNAL
