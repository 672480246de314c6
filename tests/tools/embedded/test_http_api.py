"""`maskserve serve --http-api`: the REST service starts and stops together with the server."""

from __future__ import annotations

import http.client
import json
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

from maskserve import contract
from tests.tools.embedded.conftest import Repository, needs_triton

pytestmark = needs_triton


@contextmanager
def serving(repository: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    ports = [option for name in ("http", "grpc", "metrics") for option in (f"--{name}-port", "auto")]
    line = [sys.executable, "-m", "maskserve_tools.cli", "serve", str(repository), *ports, *arguments]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as process:
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
    """The children, but for the process that tidies up."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    return [int(child) for child in found if "janitor.py" not in command_of(int(child))]


def command_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8")


def gone(process: int) -> bool:
    path = Path(f"/proc/{process}/stat")
    try:
        return path.read_text(encoding="utf-8").rpartition(")")[2].split()[0] in "ZX"
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


def test_a_gateway_that_dies_is_started_again_on_its_port(repository: Repository) -> None:
    repository.segmenter("a")
    with serving(repository.path, "--http-api", "auto") as process:
        host, port = url_of_the_gateway(process)
        assert status(host, port, "/openapi.json") == 200  # its worker is there
        (gateway,) = children(process.pid)
        (worker,) = [child for child in children(gateway) if "spawn_main" in command_of(child)]
        os.kill(worker, signal.SIGSTOP)  # it would keep the port
        os.kill(gateway, signal.SIGKILL)
        assert url_of_the_gateway(process) == (host, port)
        assert status(host, port, "/openapi.json") == 200
        assert gone(worker)


def test_a_gateway_that_dies_is_reported_where_nobody_restarts_it(repository: Repository) -> None:
    repository.segmenter("a")
    with serving(repository.path, "--http-api", "127.0.0.1:auto", "--no-restart") as process:
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


@pytest.mark.parametrize(("options", "default"), [((), "a"), (("--model", "b", "--model", "a"), "b")])
def test_several_models_have_one_gateway(repository: Repository, options: tuple[str, ...], default: str) -> None:
    """The first by name is the default, or else the first that was named."""
    labels = {contract.PARAMETER_LABELS: {"string_value": '["person"]'}}
    repository.segmenter("b", parameters=labels)
    repository.segmenter("a", parameters=labels)
    with serving(repository.path, *options, "--http-api", "auto", "--allow-host", "box.example.org") as process:
        host, port = url_of_the_gateway(process)
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.request("GET", "/models", headers={"Host": "box.example.org"})
        document = json.loads(connection.getresponse().read())
        connection.close()
        assert {model["name"]: model["default"] for model in document["models"]} == {
            "a": default == "a",
            "b": default == "b",
        }


def test_an_option_of_the_rest_service_needs_it(repository: Repository) -> None:
    repository.segmenter("a")
    with serving(repository.path, "--allow-host", "box.example.org") as process:
        assert process.wait(60) == 1
        assert process.stdout is not None
        assert "--allow-host is for the REST service: name its port with --http-api" in process.stdout.read()
