"""`maskserve serve --http-api`: the REST service starts and stops together with the server."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tools.serving.conftest import Repository, needs_triton

pytestmark = needs_triton


@contextmanager
def serving(repository: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    ports = [option for name in ("http", "grpc", "metrics") for option in (f"--{name}-port", "auto")]
    line = [sys.executable, "-m", "maskserve_tools.cli", "serve", str(repository), *ports, *arguments]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def url_of_the_gateway(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"the gateway listens on http://([\d.]+):(\d+)", line):
            return found[1], int(found[2])
    raise AssertionError("the gateway did not start")


def status(host: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def gone(process: int) -> bool:
    path = Path(f"/proc/{process}/stat")
    try:
        return path.read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_both(repository: Repository, number: signal.Signals) -> None:
    repository.segmenter("a")
    with serving(repository.path, "--http-api", "auto") as process:
        host, port = url_of_the_gateway(process)
        assert host == "127.0.0.1"
        assert status(host, port, "/openapi.json") == 200
        (gateway,) = children(process.pid)  # Triton is another thread's child
        process.send_signal(number)
        assert process.wait(30) == 0
        assert gone(gateway)
        with pytest.raises(OSError):
            status(host, port, "/health")


def test_a_gateway_that_dies_is_reported(repository: Repository) -> None:
    repository.segmenter("a")
    with serving(repository.path, "--http-api", "127.0.0.1:auto") as process:
        url_of_the_gateway(process)
        os.kill(children(process.pid)[0], signal.SIGKILL)
        assert process.wait(30) == 1
        assert process.stdout is not None
        assert "the REST service ended by itself (exit code -9)" in process.stdout.read()


def test_the_gateway_does_not_outlive_a_server_that_was_killed(repository: Repository) -> None:
    repository.segmenter("a")
    with serving(repository.path, "--http-api", "auto") as process:
        url_of_the_gateway(process)
        (gateway,) = children(process.pid)
        process.kill()
        process.wait(30)
        deadline = time.monotonic() + 30
        while not gone(gateway) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert gone(gateway)


def test_several_models_need_a_choice(repository: Repository) -> None:
    repository.segmenter("a")
    repository.segmenter("b")
    with serving(repository.path, "--http-api", "auto") as process:
        assert process.wait(60) == 1
        assert process.stdout is not None
        assert "--http-api is for one model: name one of a, b with --model" in process.stdout.read()
