"""The first step of a model: one queue with a bound, however many requests it answers at the same time."""

from __future__ import annotations

import threading
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from maskserve import contract
from maskserve.errors import ServerOverloaded
from maskserve_server.admission.front import Front
from maskserve_server.admission.ticket import ADMISSION, Ticket, server_key
from maskserve_server.spec import Queue
from maskserve_server.stages import Arrays, Inputs

_PATIENCE = 20.0


class Stage:
    """A stage that computes until it is let go."""

    inputs = (contract.IMAGE,)

    def __init__(self) -> None:
        self.begun, self.go = threading.Semaphore(0), threading.Event()

    def check(self, inputs: Inputs) -> None:
        """Refuse nothing."""

    def __call__(self, inputs: Inputs) -> Arrays:
        self.begun.release()
        assert self.go.wait(_PATIENCE)
        return {contract.LABELS: np.zeros(1, np.int32)}


class Request:
    """A request as Triton hands it over; `answered` is set when its response has been sent."""

    def __init__(self, timeout: int = 0) -> None:
        self._timeout = timeout
        self.answered, self.response = threading.Event(), MagicMock()
        self.sender = MagicMock()
        self.sender.is_cancelled.return_value = False
        self.sender.send.side_effect = self._sent

    def _sent(self, response: Any, flags: Any) -> None:
        self.response = response
        self.answered.set()

    def get_response_sender(self) -> MagicMock:
        return self.sender

    def timeout(self) -> int:
        return self._timeout

    def parameters(self) -> str:
        return "{}"


@pytest.fixture
def backend() -> MagicMock:
    """Stands in for `triton_python_backend_utils`; a response is the error that it carries, or None."""
    backend = MagicMock()
    tensor = MagicMock()
    tensor.as_numpy.return_value = np.array([b"image"], np.object_)
    backend.get_input_tensor_by_name.return_value = tensor
    backend.TritonError.side_effect = lambda text, kind: text
    backend.InferenceResponse.side_effect = lambda outputs, error=None: error
    return backend


def test_as_many_are_computed_at_the_same_time_as_there_are_twins(backend: MagicMock) -> None:
    stages = [Stage() for _ in range(3)]
    front = Front(backend, stages[0], Queue(size=4, seconds=60), MagicMock(), twins=stages[1:])
    requests = [Request() for _ in range(5)]
    try:
        front.take_in(requests)
        for stage in stages:  # each has one
            assert stage.begun.acquire(timeout=_PATIENCE)
        assert requests[4].answered.wait(_PATIENCE)  # three are computed, one waits, and the last is refused at once
        assert ServerOverloaded.code in str(requests[4].response)
        assert not any(request.answered.is_set() for request in requests[:4])
        assert not any(stage.begun.acquire(blocking=False) for stage in stages)
        stages[1].go.set()  # whoever is ready takes the next one
        assert requests[3].answered.wait(_PATIENCE)
        assert sum(request.answered.is_set() for request in requests[:4]) == 2
    finally:
        for stage in stages:
            stage.go.set()
        front.close()
    for request in requests[:4]:
        assert request.answered.wait(_PATIENCE)
        assert request.response is None


def test_one_alone_computes_one_after_the_other(backend: MagicMock) -> None:
    stage = Stage()
    front = Front(backend, stage, Queue(size=2, seconds=60), MagicMock())
    requests = [Request() for _ in range(3)]
    front.take_in(requests)
    assert stage.begun.acquire(timeout=_PATIENCE)
    assert requests[2].answered.wait(_PATIENCE)
    assert not stage.begun.acquire(blocking=False)
    stage.go.set()
    for request in requests:
        assert request.answered.wait(_PATIENCE)
    front.close()


@pytest.mark.parametrize("microseconds", [2**63, 2**64 - 1])
def test_a_timeout_of_a_million_years_is_a_long_one(backend: MagicMock, microseconds: int) -> None:
    """Triton takes any 64 bits. They did not fit into a ticket, and the client was told that the model failed."""
    backend.Tensor.side_effect = lambda name, array: (name, array)
    backend.InferenceResponse.side_effect = lambda outputs, error=None: error or dict(outputs)

    class Sized(Stage):
        def __call__(self, inputs: Inputs) -> Arrays:
            return {contract.IMAGE_SIZE: np.array([4, 6], np.int32)}

    front = Front(backend, Sized(), Queue(size=2, seconds=60), MagicMock(), ahead=3)
    request = Request(microseconds)
    front.take_in([request])
    assert request.answered.wait(_PATIENCE)
    front.close()
    assert isinstance(request.response, dict), request.response
    ticket = Ticket.opened(request.response[ADMISSION], server_key(), "model")
    assert not ticket.expired
