"""The first step of a model as Triton calls it: requests leave Triton's queue at once and are answered later.

It is one process, whatever it answers at the same time: several would have a queue each, and Triton, which cannot see
how long these are, would send requests to one while another is idle.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from maskserve import contract
from maskserve.errors import MaskserveError, RequestTimeout, ServerOverloaded
from maskserve_server.admission.bounded_queue import BoundedQueue, Turn, Waiting
from maskserve_server.admission.mailbox import Mailbox
from maskserve_server.admission.ticket import ADMISSION, Ticket, server_key
from maskserve_server.metrics import Metrics
from maskserve_server.spec import Queue
from maskserve_server.stages import Arrays, Inputs
from maskserve_server.triton import answer, failure

_MICROSECONDS = 1_000_000
_LONGEST_SECONDS = 86_400.0  # for which an answer may be wanted; a client may say anything up to 584,000 years


class FirstStage(Protocol):
    """A stage that reads what clients send."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the tensors that it reads."""

    def check(self, inputs: Inputs) -> None:
        """Refuse what is wrong and cheap to find, before the request waits for its turn."""

    def __call__(self, inputs: Inputs, /) -> Arrays:
        """See `maskserve_server.stages.Stage`."""


@dataclass(frozen=True, slots=True)
class _Request:
    sender: Any
    arrays: Mapping[str, npt.NDArray[Any] | None]


class Front:
    """Refuses requests, or answers them on threads of its own.

    Args:
        backend: the `triton_python_backend_utils` module.
        stage: what answers.
        queue: how many requests are taken in.
        metrics: where answers and errors are counted.
        ahead: how many requests may be under way in this step and those behind it; None where there is none behind it.
        twins: stages that answer at the same time as the first one, each on a thread of its own.
    """

    def __init__(
        self,
        backend: Any,
        stage: FirstStage,
        queue: Queue,
        metrics: Metrics,
        *,
        ahead: int | None = None,
        twins: Sequence[FirstStage] = (),
    ) -> None:
        self._backend, self._stage, self._metrics = backend, stage, metrics
        stages = (stage, *twins)
        self._queue: BoundedQueue[_Request] = BoundedQueue(queue, ahead or len(stages))
        self._mailbox = None if ahead is None else Mailbox(self._done_elsewhere)
        self._key = server_key()
        self._threads = [threading.Thread(target=self._work, args=(one,), name="front", daemon=True) for one in stages]
        for thread in self._threads:
            thread.start()

    def take_in(self, requests: Sequence[Any]) -> None:
        """Take requests in, or refuse them; one request's failure is its own and never its neighbours'."""
        for request in requests:
            sender = request.get_response_sender()
            refused = answer(self._backend, self._metrics, lambda: self._offer(request, sender))  # noqa: B023 - at once
            if refused is not None:
                self._send(sender, refused)

    def close(self) -> None:
        """End the threads. Triton calls for it when all requests are answered."""
        self._queue.close()
        for thread in self._threads:
            thread.join(10.0)
        if self._mailbox is not None:
            self._mailbox.close()

    def _offer(self, request: Any, sender: Any) -> None:
        tensors = {name: self._backend.get_input_tensor_by_name(request, name) for name in self._stage.inputs}
        shown = {name: None if tensor is None else tensor.as_numpy() for name, tensor in tensors.items()}
        self._stage.check(shown)
        arrays = {name: None if array is None else _kept(array) for name, array in shown.items()}
        image = arrays[contract.IMAGE]
        size = 0 if image is None else sum(len(file) for file in image.reshape(-1).tolist())
        timeout = min(request.timeout() / _MICROSECONDS, _LONGEST_SECONDS) or None
        probe = contract.PARAMETER_PROBE in request.parameters()
        self._queue.offer(_Request(sender, arrays), size=size, timeout=timeout, probe=probe)

    def _work(self, stage: FirstStage) -> None:
        while (turn := self._queue.take()) is not None:
            self._metrics.waited(time.monotonic() - turn.waiting.arrived)
            self._metrics.queued(self._queue.waiting)
            self._serve(stage, turn)
            del turn  # its image shall not stay until the next one comes

    def _serve(self, stage: FirstStage, turn: Turn[_Request]) -> None:
        sender, number = turn.waiting.item.sender, turn.number
        if number is None:
            self._send(sender, failure(self._backend, _too_late(turn.waiting), self._metrics))
            return
        done = _Done()
        response = answer(self._backend, self._metrics, lambda: done.note(self._compute(stage, turn.waiting, number)))
        if self._mailbox is None or not done.computed:
            self._queue.done(number, computed=done.computed)
        self._send(sender, response)

    def _compute(self, stage: FirstStage, waiting: Waiting[_Request], number: int) -> Arrays:
        if waiting.item.sender.is_cancelled():
            raise gone()
        columns = stage(waiting.item.arrays)
        if self._mailbox is None:
            return columns
        height, width = columns[contract.IMAGE_SIZE].tolist()
        deadline = 0 if waiting.deadline is None else int(waiting.deadline * 1e9)
        ticket = Ticket(self._mailbox.address, number, deadline, height, width)
        return {**columns, ADMISSION: ticket.sealed(self._key)}

    def _done_elsewhere(self, number: int, computed: bool) -> None:
        self._queue.done(number, computed=computed)

    def _send(self, sender: Any, response: Any) -> None:
        try:
            sender.send(response, flags=self._backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception as error:  # this thread has others to answer
            self._backend.Logger.log_error(f"an answer could not be sent: {error}")


class _Done:
    """Whether the work was done, beside its result."""

    computed = False

    def note(self, columns: Arrays) -> Arrays:
        self.computed = True
        return columns


def gone() -> MaskserveError:
    """Return the error for a request whose answer nobody waits for; nobody reads it."""
    return RequestTimeout("nobody waits for the answer any more; nothing was computed")


def _too_late(waiting: Waiting[_Request]) -> MaskserveError:
    if waiting.deadline is None:
        return ServerOverloaded(
            f"the request waited for {waiting.start_by - waiting.arrived:.3g} s and its turn did not come; send fewer "
            "at once, or try again in 1 s"
        )
    return RequestTimeout(
        f"the answer would not have come within the {waiting.deadline - waiting.arrived:.3g} s that the request had; "
        "send fewer requests at once, or allow more time"
    )


def _kept(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array that outlives its request: numbers lie in Triton's memory, strings do not."""
    return array if array.dtype == np.object_ else array.copy()


def ahead_of_core(repository: Path, model: str) -> int:
    """Return how many requests keep a core busy: one for each place in its batches, one before it and one behind it.

    Args:
        repository: where the model's entries are.
        model: the model's name.
    """
    try:
        text = (repository / contract.step_name(model, contract.CORE) / "config.pbtxt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    groups = re.findall(r"instance_group\s*:?\s*[{\[].*?\bcount\s*:\s*(\d+)", text, re.DOTALL)
    batch = re.search(r"^\s*max_batch_size\s*:\s*(\d+)", text, re.MULTILINE)
    places = sum(map(int, groups)) or 1
    return places * max(int(batch[1]) if batch else 1, 1) + 2
