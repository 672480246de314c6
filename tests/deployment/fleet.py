"""Several embedded servers with the demo model, which can be lost and brought back on the same ports."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from maskserve_tools import serve
from maskserve_tools.serving import Server, session
from tests.conftest import DEMO

MODEL = f"{DEMO}-single"


class Fleet:
    """Servers by number. Each has one process for the model, to save memory."""

    def __init__(self, repository: Path, size: int) -> None:
        self._repository = repository
        self.servers: list[Server] = []
        try:
            for _ in range(size):
                self.servers.append(self._start())
        except BaseException:
            self.stop()
            raise
        self.grpc_ports = [port(server.grpc_url) for server in self.servers]
        self.http_ports = [port(server.http_url) for server in self.servers]

    def kill(self, number: int) -> None:
        """SIGKILL to tritonserver and its stubs: nobody closes anything in order."""
        session.kill(self.servers[number].pid)
        self.servers[number].stop()

    def freeze(self, number: int) -> None:
        """SIGSTOP: connections stay open and nothing answers any more, as when a machine is gone."""
        for process in session.members(self.servers[number].pid):
            os.kill(process.pid, signal.SIGSTOP)

    def kill_stub(self, number: int) -> None:
        """SIGKILL to the model's process only. The server stays ready and fails at every request."""
        for process in session.members(self.servers[number].pid):
            if process.pid != self.servers[number].pid:
                os.kill(process.pid, signal.SIGKILL)

    def restart(self, number: int) -> None:
        """Bring one back on its ports, and wait until it has answered a test picture."""
        self.servers[number] = self._start(self.http_ports[number], self.grpc_ports[number])

    def stop(self) -> None:
        """Stop them all."""
        for server in self.servers:
            server.stop()

    def _start(self, http_port: int | None = None, grpc_port: int | None = None) -> Server:
        return serve(self._repository, models=[MODEL], http_port=http_port, grpc_port=grpc_port)


@contextmanager
def running_fleet(repository: Path, size: int) -> Iterator[Fleet]:
    fleet = Fleet(repository, size)
    try:
        yield fleet
    finally:
        fleet.stop()


def port(url: str) -> int:
    number = urlsplit(url).port
    assert number is not None
    return number
