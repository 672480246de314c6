"""The transport to a model in this process: the stages that a server runs, as calls."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskserve import contract
from maskserve.decoding.decoders import OwnProcess
from maskserve.ending import computing
from maskserve.errors import InferenceFailed, MaskserveError, ModelNotFound, RequestTimeout, ServerUnavailable
from maskserve.transport.base import ServedModel, ServerStatus
from maskserve.transport.cancellation import CalledOff
from maskserve.transport.fork import fork_gate
from maskserve.transport.wire import BYTES_LENGTH, ImageRequest, OwnAnswer, Tensor
from maskserve_local.core_pool import CorePool
from maskserve_local.cpus import stream_count, thread_count
from maskserve_local.sources import Source
from maskserve_server.stages import Inputs, Postprocess, Preprocess

_DATATYPES = {np.dtype(np.float32): "FP32", np.dtype(np.int32): "INT32"}
_log = logging.getLogger("maskserve")


class InProcessTransport:
    """Answer requests for one model in the thread that asks. Threads may share it; a forked child loads it again.

    Args:
        source: the model. Its core is loaded now.
        timeout: seconds that a request may take. It is looked at between the steps: a core that runs is not stopped.

    Raises:
        ToolError: the core cannot be loaded.
    """

    def __init__(self, source: Source, *, timeout: float = 60.0) -> None:
        self._spec, self._timeout = source.spec, timeout
        cv_threads = cv2.getNumThreads()
        decoder = OwnProcess(source.spec.limits)  # the images are those of whoever calls, and so is the process
        self._preprocess, self._postprocess = Preprocess(source.spec, decoder), Postprocess(source.spec)
        cv2.setNumThreads(cv_threads)  # a server's stages take one thread; this process is the caller's own
        threads = thread_count()
        streams = stream_count(threads) if source.device == "cpu" else 1
        self._cores: CorePool | None = CorePool(source, threads=threads, streams=streams)

    @property
    def url(self) -> str:
        """Return the model's address, for messages."""
        return f"local:{self._spec.name}"

    def infer(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        """Return the output tensors for one image.

        Raises:
            InputError: the image cannot be read, or the threshold or a class makes no sense.
            RequestTimeout: it took too long.
            InferenceFailed: a step failed; the log has the traceback.
        """
        self._check(model)
        deadline = time.monotonic() + self._timeout
        try:
            # an engine's locks that a request holds would be held for ever in a child
            with computing.step(), fork_gate.request():
                outputs = self._run(_inputs(request), request, deadline)
            return OwnAnswer(_tensor(name, array) for name, array in outputs.items())
        except MaskserveError:
            raise
        except Exception as error:
            _log.exception("the model %s failed on an image", model)
            raise InferenceFailed(f"the model failed on this image ({type(error).__name__}: {error})") from error

    def model_config(self, model: str) -> Mapping[str, Any]:
        """Return what clients read of a model's configuration."""
        self._check(model)
        parameters = {key: {"string_value": text} for key, text in self._spec.parameters().items()}
        return {"name": self._spec.name, "platform": "", "backend": "", "parameters": parameters}

    def status(self) -> ServerStatus:
        """Return what there is instead of a server."""
        return ServerStatus("maskserve in this process", version("maskserve"), self._cores is not None)

    def models(self) -> Sequence[ServedModel]:
        """Return the only model."""
        return [ServedModel(self._spec.name, "READY")]

    def close(self) -> None:
        """Drop the model. Requests under way end first; later ones raise `ServerUnavailable`."""
        self._cores = None

    def _run(self, inputs: Inputs, request: ImageRequest, deadline: float) -> Inputs:
        cores = self._cores
        if cores is None:
            raise ServerUnavailable("the pipeline was closed, and its model with it: make another pipeline")
        self._go_on(request, deadline)
        prepared = {**inputs, **self._preprocess(inputs)}
        with cores.lend(deadline) as core:
            self._go_on(request, deadline)
            computed = {**prepared, **core(prepared)}
            self._go_on(request, deadline)
            return self._postprocess(computed)

    def _go_on(self, request: ImageRequest, deadline: float) -> None:
        if request.cancellation is not None and request.cancellation.called_off:
            raise CalledOff("the request was called off")
        if time.monotonic() >= deadline:
            raise RequestTimeout(f"{self.url} gave no answer within {self._timeout:g} s; raise timeout=")

    def _check(self, model: str) -> None:
        if model != self._spec.name:
            raise ModelNotFound(f"this process has no model {model!r}, it has {self._spec.name!r}")


def _inputs(request: ImageRequest) -> Inputs:
    threshold = None if request.threshold is None else np.array([request.threshold], np.float32)
    class_ids = None if request.class_ids is None else np.array(request.class_ids, np.int32)
    image = np.empty(1, np.object_)
    image[0] = request.image
    return {contract.IMAGE: image, contract.THRESHOLD: threshold, contract.CLASS_IDS: class_ids}


def _tensor(name: str, array: npt.NDArray[Any] | None) -> Tensor:
    assert array is not None
    if array.dtype == np.object_:
        data = b"".join(BYTES_LENGTH.pack(len(text)) + text for text in array.tolist())
        return Tensor(name, "BYTES", array.shape, data)
    return Tensor(name, _DATATYPES[array.dtype], array.shape, array.tobytes())
