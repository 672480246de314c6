"""Open HTTP connections between requests."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPConnection


class Connections:
    """Idle connections, for whichever thread is next. A forked process forgets them: they are its parent's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._idle: list[HTTPConnection] = []
        self._busy: set[HTTPConnection] = set()
        self._closed: set[HTTPConnection] = set()

    def take(self) -> HTTPConnection | None:
        """An idle connection, if there is one."""
        with self._lock:
            self._leave_to_parent()
            return self._idle.pop() if self._idle else None

    @contextmanager
    def using(self, connection: HTTPConnection) -> Iterator[None]:
        """A request goes over `connection`; when it went well, the next one may."""
        with self._lock:
            self._busy.add(connection)
        try:
            yield
        except BaseException:
            connection.close()
            with self._lock:
                self._busy.discard(connection)
            raise
        with self._lock:
            if connection in self._busy:
                self._busy.remove(connection)
                self._idle.append(connection)

    def closed(self, connection: HTTPConnection) -> bool:
        """Whether `close` ended the request on this connection."""
        with self._lock:
            return connection in self._closed

    def close(self) -> None:
        """Close them all; who waits for an answer on one gets an error at once."""
        with self._lock:
            self._leave_to_parent()
            idle, busy = self._idle, self._busy
            self._idle, self._busy, self._closed = [], set(), busy
        for connection in idle:
            connection.close()
        for connection in busy:
            with suppress(OSError, AttributeError):  # its own thread may be closing it right now
                connection.sock.shutdown(socket.SHUT_RDWR)

    __del__ = close

    def _leave_to_parent(self) -> None:
        if self._process != os.getpid():
            for connection in (*self._idle, *self._busy):
                connection.close()  # this process's copy of it; the parent's stays open
            self._process, self._idle, self._busy = os.getpid(), [], set()
