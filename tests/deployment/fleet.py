"""Several embedded servers with the demo model, which can be lost and brought back on the same ports."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from maskserve_tools import serve
from maskserve_tools.embedded import Server, session
from tests.conftest import DEMO

MODEL = f"{DEMO}-single"  # one process, to save memory


class Fleet:
    """Servers by number.

    Args:
        repository: holds their models.
        models: those of each server.
    """

    def __init__(self, repository: Path, models: Sequence[Sequence[str]]) -> None:
        self._repository = repository
        self._models = models
        self.servers: list[Server] = []
        try:
            for number in range(len(models)):
                self.servers.append(self._start(number))
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
        """Bring one back on its ports, and wait until it has answered a test image."""
        self.servers[number] = self._start(number, self.http_ports[number], self.grpc_ports[number])

    def stop(self) -> None:
        """Stop them all."""
        for server in self.servers:
            server.stop()

    def _start(self, number: int, http_port: int | None = None, grpc_port: int | None = None) -> Server:
        models = self._models[number]
        return serve(self._repository, models=models, http_port=http_port, grpc_port=grpc_port, restart=False)


@contextmanager
def running_fleet(repository: Path, *models: Sequence[str]) -> Iterator[Fleet]:
    """A server for each of `models`."""
    fleet = Fleet(repository, models)
    try:
        yield fleet
    finally:
        fleet.stop()


def port(url: str) -> int:
    number = urlsplit(url).port
    assert number is not None
    return number
