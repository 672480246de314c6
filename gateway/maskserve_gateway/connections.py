"""HTTP connections within `Bounds`: uvicorn's protocol bounds neither the size of a head nor the time for it."""

from __future__ import annotations

import enum
import logging
import uuid
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from maskserve_gateway.access_log import ACCESS_LOG
from maskserve_gateway.bounds import Bounds
from maskserve_gateway.envelope import answer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

STATE = "maskserve.guard"
"""The key of the `Guard` in the state that the application hands to the server when it starts."""

_log = logging.getLogger(ACCESS_LOG)


class Guard:
    """The connections of a worker process, and the bounds that hold for each of them.

    Args:
        bounds: what holds for each connection.
        refused: told the reason when a connection is refused before the application sees a request.
    """

    def __init__(self, bounds: Bounds, refused: Callable[[str], None] = lambda reason: None) -> None:
        self.bounds = bounds
        self.refused = refused
        self._open: set[BoundedProtocol] = set()
        self._replaceable: dict[BoundedProtocol, None] = {}  # the one that has waited longest is the first

    def opened(self, connection: BoundedProtocol) -> bool:
        """Count a connection; where there are too many, end the one that has waited longest for a request.

        Returns:
            whether there is room for `connection`.
        """
        self._open.add(connection)
        if len(self._open) <= self.bounds.connections:
            return True
        oldest = next(iter(self._replaceable), None)
        if oldest is None:
            return False
        self.closed(oldest)
        self.refused("replaced")
        oldest.transport.abort()
        return True

    def closed(self, connection: BoundedProtocol) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._replaceable.pop(connection, None)

    def entered(self, connection: BoundedProtocol, phase: Phase) -> None:
        """Note what a connection waits for from now on."""
        self._replaceable.pop(connection, None)
        if phase in _REPLACEABLE and connection in self._open:
            self._replaceable[connection] = None


class Phase(enum.Enum):
    """What a connection waits for."""

    HEAD = enum.auto()  # the first byte of a request, or the rest of its head
    BODY = enum.auto()  # the rest of a body that the application reads
    REST = enum.auto()  # the rest of a body whose request has its answer already
    ANSWER = enum.auto()  # the application, which has deadlines of its own
    READER = enum.auto()  # the client, to read its answer
    END = enum.auto()  # the client, to hang up after a refusal


_GLANCE_SECONDS = 1.0  # how often a connection looks whether its answer was read; no event says so
_REPLACEABLE = (Phase.HEAD, Phase.REST, Phase.END)


class _HeadRefused(Exception):
    """Ends the parser in the middle of a head."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection that ends when its request is too large or too slow, or when its answer is not read."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        guard = self.app_state.get(STATE)
        self._guard = guard if isinstance(guard, Guard) else Guard(Bounds())
        bounds = self._bounds = self._guard.bounds
        self._seconds = {
            Phase.HEAD: bounds.head_seconds,
            Phase.BODY: bounds.body_seconds,
            Phase.REST: bounds.linger_seconds,
            Phase.READER: min(_GLANCE_SECONDS, bounds.answer_seconds),
            Phase.END: bounds.linger_seconds,
        }
        self._phase: Phase | None = None
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._answered: Any = None  # what the application is at; `cycle` is the newest one
        self._in_message = False  # between the first byte of a request and its last one
        self._in_head = False
        self._idle_bytes = 0  # since the last progress: the end of a head, of a message, or a byte of a body
        self._progress = 0
        self._wrong: tuple[int, str] | None = None

    # Events of the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and make room for it."""
        super().connection_made(transport)
        if self._guard.opened(self):
            self._settle()
        else:
            self._refuse(503, "there are too many connections; try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        self._guard.closed(self)
        self._abandon()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came in, and count it: at most so many bytes pass without a progress."""
        while data and not self._has_ended():
            if not self._in_message:
                self._begin_head()
            size = self._bounds.head_bytes - self._idle_bytes
            progress = self._progress
            super().data_received(data[:size])
            if progress == self._progress:
                self._idle_bytes += len(data[:size])
            data = data[size:]
            if self._idle_bytes >= self._bounds.head_bytes and not self._has_ended():
                self._refuse(*self._too_large())

    def pause_writing(self) -> None:
        """Note that the client does not read its answer as fast as it could come."""
        super().pause_writing()
        self._settle()

    def resume_writing(self) -> None:
        """Note that the client reads."""
        super().resume_writing()
        self._settle()

    # Events of the parser

    def on_message_begin(self) -> None:
        """Begin a head, which may stand behind the end of another request."""
        super().on_message_begin()
        if not self._in_head:
            self._begin_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, unless there are too many; those behind a body are thrown away."""
        if not self._in_head:
            return
        if len(self.headers) >= self._bounds.headers:
            self._wrong = (431, f"the request has more than {self._bounds.headers} headers")
            raise _HeadRefused
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request, unless too many wait behind the one that is being answered."""
        if len(self.pipeline) >= self._bounds.pipelined:
            self._wrong = (400, "too many requests were sent without waiting for an answer")
            raise _HeadRefused
        self._in_head = False
        self._advance()
        super().on_headers_complete()
        if self.pipeline:  # uvicorn reads no more then, and would not see the client hang up
            self.flow.resume_reading()
        self._settle()

    def on_body(self, body: bytes) -> None:
        """Take some of a body."""
        self._advance()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._in_message = False
        self._advance()
        super().on_message_complete()
        self._settle()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for what is left of this one."""
        super().on_response_complete()
        self._settle()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser does not take."""
        self._refuse(*(self._wrong or (400, "the request is not HTTP")))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    # What follows from them

    def _abandon(self) -> None:
        """Say that nobody waits for an answer any more. uvicorn says so of the newest request only."""
        waiting = [cycle for cycle, _ in self.pipeline]
        self.pipeline.clear()
        for cycle in (self._answered, self.cycle, *waiting):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def _begin_head(self) -> None:
        self._in_message = self._in_head = True
        self._advance()
        self._settle(again=True)

    def _advance(self) -> None:
        self._progress += 1
        self._idle_bytes = 0

    def _has_ended(self) -> bool:
        return self._phase is Phase.END or self.transport.is_closing()

    def _too_large(self) -> tuple[int, str]:
        if self._in_head:
            return 431, f"the head of the request has more than {self._bounds.head_bytes} bytes"
        return 400, f"more than {self._bounds.head_bytes} bytes stand around the body, as trailers or extensions"

    def _settle(self, *, again: bool = False) -> None:
        """Find out what the connection waits for now; if that is another thing, its time begins."""
        phase = self._find_phase()
        if phase is self._phase and not (again and phase in _REPLACEABLE):
            return
        self._phase = phase
        self._since = self.loop.time()
        self._guard.entered(self, phase)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        seconds = None if self._phase is None else self._seconds.get(self._phase)
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._expire)

    def _find_phase(self) -> Phase:
        if self._phase is Phase.END:
            return self._phase
        if self.transport.get_write_buffer_size():
            return Phase.READER
        in_body = self._in_message and not self._in_head
        if self.cycle is not None and not self.cycle.response_complete:
            return Phase.BODY if in_body else Phase.ANSWER
        return Phase.REST if in_body else Phase.HEAD

    def _expire(self) -> None:
        if self._phase is Phase.READER:
            if not self.transport.get_write_buffer_size():
                self._settle()
                return
            if self.loop.time() - self._since < self._bounds.answer_seconds:
                self._arm()
                return
        late = self._phase in (Phase.HEAD, Phase.BODY) and self._in_message
        if late and not self.transport.is_closing():
            self._refuse(408, "the request did not arrive in time")
        else:
            self.transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        """Answer in the application's place, then wait a moment for the client to read that."""
        answered = self._answered
        pending = answered is not None and not answered.response_complete
        answers_another = pending and (self._in_head or answered is not self.cycle or answered.response_started)
        self._abandon()
        log_id = str(uuid.uuid4())
        client = self.client[0] if self.client else "-"
        _log.info("logId=%s client=%s status=%d reason=%a", log_id, client, status, message)
        self._guard.refused(str(status))
        if answers_another:  # the client would take this refusal for that answer
            self.transport.abort()
            return
        self._phase = Phase.END
        self._settle(again=True)
        self.transport.write(_refusal(log_id, status, message))
        self.transport.write_eof()


def _refusal(log_id: str, status: int, message: str) -> bytes:
    headers = {"Connection": "close", **({"Retry-After": "1"} if status == 503 else {})}
    response = answer(log_id, status, message, headers)
    lines = [b"%s: %s\r\n" % header for header in response.raw_headers]
    return b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(response.body)])
