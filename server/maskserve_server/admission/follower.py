"""The steps behind the first one: they take its requests only, and compute for nobody who is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from maskserve import contract
from maskserve.errors import InvalidParameter, RequestTimeout
from maskserve_server.admission.front import gone
from maskserve_server.admission.mailbox import report_done
from maskserve_server.admission.ticket import ADMISSION, Ticket, not_of_this_server, server_key
from maskserve_server.metrics import Metrics
from maskserve_server.stages import Arrays, Core, Postprocess
from maskserve_server.triton import answer, read_inputs

_REMEMBERED = 4096  # tickets that were used


class Follower:
    """Answers what the first step let in.

    Args:
        backend: the `triton_python_backend_utils` module.
        stage: what answers.
        model: the name that clients call.
        metrics: where answers and errors are counted.
        on_run: called after each run of the network; None for the step behind it, which is the last one.
    """

    def __init__(
        self,
        backend: Any,
        stage: Core | Postprocess,
        model: str,
        metrics: Metrics,
        *,
        on_run: Callable[[], None] | None = None,
    ) -> None:
        self._backend, self._stage, self._model, self._metrics = backend, stage, model, metrics
        self._on_run = on_run
        self._used: dict[tuple[int, int], None] = {}  # tickets, the oldest first
        self._key = server_key()

    def respond(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request on its own."""
        return [answer(self._backend, self._metrics, lambda: self._columns(request)) for request in requests]  # noqa: B023 - at once

    def _columns(self, request: Any) -> Arrays:
        arrays = read_inputs(self._backend, request, (ADMISSION, *self._stage.inputs))
        ticket = Ticket.opened(arrays.pop(ADMISSION), self._key, self._model)
        self._use(ticket)
        computed = False
        try:
            if request.is_cancelled():
                raise gone()
            if ticket.expired:
                raise RequestTimeout("the request's time passed while it waited; nothing was computed")
            _check_size(arrays.get(contract.IMAGE_SIZE), ticket)
            columns = self._stage(arrays)
            computed = True
            if self._on_run is not None:
                self._on_run()
        finally:
            if self._on_run is None or not computed:
                report_done(ticket, computed=computed)
        return columns

    def _use(self, ticket: Ticket) -> None:
        """Refuse a ticket that was used: who asks the first step directly gets one, too."""
        key = ticket.mailbox, ticket.number
        if key in self._used:
            raise not_of_this_server(self._model)
        self._used[key] = None
        if len(self._used) > _REMEMBERED:
            del self._used[next(iter(self._used))]


def _check_size(size: Any, ticket: Ticket) -> None:
    """Check that the image has the size that the first step saw."""
    if size is not None and size.tolist() != [ticket.height, ticket.width]:
        raise InvalidParameter(f"IMAGE_SIZE is {size.tolist()}, the image has {ticket.height}x{ticket.width}")
