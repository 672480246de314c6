"""Open HTTP connections between requests."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPConnection

_MOST_IDLE_SECONDS = 15.0


def interrupt(connection: HTTPConnection) -> None:
    """End the request on `connection`; the thread that waits for the answer gets an error at once."""
    with suppress(OSError, AttributeError):  # that thread may be closing it right now
        connection.sock.shutdown(socket.SHUT_RDWR)


def _closed_by_server(connection: HTTPConnection) -> bool:
    """Return whether there is something to read where nothing was asked: the end, as a rule."""
    try:
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([connection.sock], [], [], 0)[0])
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError, TypeError):  # closed here
        return True


class Connections:
    """Idle connections, for whichever thread is next. A forked process forgets them: they are its parent's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._busy: set[HTTPConnection] = set()

    def take(self) -> HTTPConnection | None:
        """Return an idle connection that the server has not closed, if there is one.

        One that has been idle for long is closed, not used: a server or a proxy may be closing it right now, and
        whether a request on it was seen could not be told.
        """
        with self._lock:
            self._leave_to_parent()
            while self._idle:
                connection, since = self._idle.pop()
                if time.monotonic() - since < _MOST_IDLE_SECONDS and not _closed_by_server(connection):
                    return connection
                connection.close()
            return None

    @contextmanager
    def using(self, connection: HTTPConnection) -> Iterator[None]:
        """Send a request over `connection` in the body; if it went well, the next one may use it."""
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
                if connection.sock is not None:  # it is where the answer was the last one on this connection
                    self._idle.append((connection, time.monotonic()))

    def close(self) -> None:
        """Close them all; who waits for an answer on one gets an error at once."""
        with self._lock:
            self._leave_to_parent()
            idle, busy = self._idle, self._busy
            self._idle, self._busy = [], set()
        for connection, _ in idle:
            connection.close()
        for connection in busy:
            interrupt(connection)

    __del__ = close

    def _leave_to_parent(self) -> None:
        if self._process != os.getpid():
            for connection in (*(connection for connection, _ in self._idle), *self._busy):
                connection.close()  # this process's copy of it; the parent's stays open
            self._process, self._idle, self._busy = os.getpid(), [], set()
