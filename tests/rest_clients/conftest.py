"""A gateway in front of the real server, as a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import DEMO

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

PADDLEX_PORT = 8080  # what the seed's clients call


@pytest.fixture(scope="session")
def gateway(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway: PaddleX's port where that is free."""
    pytest.importorskip("fastapi", reason="the gateway needs maskserve[gateway]", exc_type=ImportError)
    port = _free_port()
    url = f"http://localhost:{port}"
    log = tmp_path_factory.mktemp("gateway") / "log"
    command = [sys.executable, "-m", "maskserve_tools.cli", "gateway"]
    options = ["--url", server.grpc_url, "--model", DEMO, "--port", str(port)]
    with log.open("wb") as output, subprocess.Popen(command + options, stdout=output, stderr=output) as process:
        try:
            _wait_for(f"{url}/health", process, log)
            yield url
        finally:
            process.terminate()


def _free_port() -> int:
    for wanted in (PADDLEX_PORT, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise AssertionError("no port is free")


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except OSError:  # refused, reset, or an answer that says not yet
            time.sleep(0.2)
    pytest.fail(f"the gateway does not answer at {url}:\n{log.read_text(encoding='utf-8')}")
