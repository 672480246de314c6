"""How the first step of a model hears from the others, which are other processes, that a request is done.

A socket without a file: its name is gone with the process, however that ends.
"""

from __future__ import annotations

import secrets
import socket
import struct
import threading
from collections.abc import Callable

from maskserve_server.admission.ticket import Ticket

_MESSAGE = struct.Struct("<q?")
_SECONDS = 0.05  # for which a sender waits where the mailbox is full; a message that is lost is made up for by time


class Mailbox:
    """Takes messages on a thread of its own.

    Args:
        done: called with a request's number, and whether all of its work was done.

    Attributes:
        address: of this mailbox; 63 bits that nobody guesses.
    """

    def __init__(self, done: Callable[[int, bool], None]) -> None:
        self.address = secrets.randbits(63)
        self._done = done
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(_name(self.address))
        self._thread = threading.Thread(target=self._listen, name="mailbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take nothing more."""
        _send(self.address, b"")
        self._thread.join(1.0)
        self._socket.close()

    def _listen(self) -> None:
        while message := self._socket.recv(_MESSAGE.size):
            if len(message) == _MESSAGE.size:
                number, computed = _MESSAGE.unpack(message)
                self._done(number, computed)


def report_done(ticket: Ticket, *, computed: bool) -> None:
    """Tell the step that let a request in that it is answered.

    Args:
        ticket: the request's.
        computed: whether all of its work was done.
    """
    _send(ticket.mailbox, _MESSAGE.pack(ticket.number, computed))


def _send(address: int, message: bytes) -> None:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SECONDS)
            sender.sendto(message, _name(address))
    except OSError:
        pass  # the first step is gone, or has too much to do: it stops waiting for this request by itself


def _name(address: int) -> bytes:
    return f"\0maskserve-{address & (1 << 64) - 1:016x}".encode()
