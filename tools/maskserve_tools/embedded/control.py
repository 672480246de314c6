"""How another program on this machine asks an embedded server to reload: a socket that only its user may open.

Triton's own control of models is closed, because a caller that may load a model may run any code. The socket is beside
the server's regions in /dev/shm and has their prefix, which is the name that the server gives itself in `/v2`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskserve.errors import MaskserveError, ToolError
from maskserve_tools.embedded.reloading import Reloaded
from maskserve_tools.embedded.shared_memory import DIRECTORY, RegionNamespace
from maskserve_tools.embedded.survey import BrokenEntry

_NAME = "control"
_RELOAD, _WHERE = b"reload\n", b"where\n"
_PATIENCE = 2.0
_MAX_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """A running embedded server.

    Attributes:
        repository: what it serves.
        url: where.
    """

    repository: str
    url: str


class ControlSocket:
    """The server's side.

    Args:
        listener: a listening socket.
        reload: what to do when asked to.
        place: what the server serves, and where.
    """

    def __init__(self, listener: socket.socket, reload: Callable[[], Reloaded], place: Place) -> None:
        self._listener = listener
        self._reload = reload
        self._place = place
        self._thread = threading.Thread(target=self._listen, name="maskserve-control", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, regions: RegionNamespace, reload: Callable[[], Reloaded], place: Place) -> ControlSocket:
        """Listen beside the regions of a server.

        Raises:
            ToolError: the socket cannot be made.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(listener.fileno(), 0o600)  # before it has a name
            listener.bind(str(regions.directory / f"{regions.prefix}{_NAME}"))
            listener.listen(4)
        except OSError as error:
            listener.close()
            raise ToolError(f"no control socket can be made in {regions.directory}: {error.strerror}") from error
        return cls(listener, reload, place)

    def close(self) -> None:
        """Listen no longer. The file goes with the regions."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the thread's wait
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                asked = connection.recv(64)
                if asked in (_RELOAD, _WHERE):
                    answer = self._answer() if asked == _RELOAD else asdict(self._place)
                    connection.sendall(json.dumps(answer).encode())

    def _answer(self) -> dict[str, Any]:
        try:
            return asdict(self._reload())
        except MaskserveError as error:
            return {"error": error.message}
        except Exception as error:  # the thread goes on, and the caller gets the error
            return {"error": f"{type(error).__name__}: {error}"}


def socket_of(identity: str) -> Path | None:
    """Return the socket of the server called `identity`; None if it is not on this machine, or not ours."""
    path = DIRECTORY / f"{identity}{_NAME}"
    ours = identity.startswith("maskserve-") and "/" not in identity
    return path if ours and path.is_socket() else None


def servers_of(repository: Path) -> list[str]:
    """Return the URLs of the embedded servers on this machine that serve a repository."""
    found = []
    for path in sorted(DIRECTORY.glob(f"maskserve-*-{_NAME}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # it has ended, or is another user's
            place = Place(**_ask(path, _WHERE, timeout=_PATIENCE))
            if repository.samefile(place.repository):
                found.append(place.url)
    return found


def ask_to_reload(path: Path, *, timeout: float) -> Reloaded:
    """Let a server reload, and wait until it has.

    Raises:
        ToolError: it cannot be asked, did not answer within `timeout` seconds, or the reload failed.
    """
    try:
        told = _ask(path, _RELOAD, timeout=timeout)
    except (OSError, ValueError) as error:
        raise ToolError(f"the server could not be asked to reload: {error}") from error
    if "error" in told:
        raise ToolError(f"the server could not reload: {told['error']}")
    broken = tuple(BrokenEntry(**entry) for entry in told["broken"])
    return Reloaded(tuple(told["loaded"]), tuple(told["removed"]), broken, tuple(told["kept"]))


def _ask(path: Path, question: bytes, *, timeout: float) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(question)
        with connection.makefile("rb") as answer:
            told: dict[str, Any] = json.loads(answer.read(_MAX_ANSWER))
    return told
