"""However a server ends, no process and no shared memory stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maskserve_tools.embedded import Server, serve, session
from maskserve_tools.embedded.canary import HttpEndpoint, send_test_image
from maskserve_tools.embedded.served_entries import read_repository
from tests.tools.embedded.conftest import SEGMENTER, Repository, needs_triton, region_prefix, regions

pytestmark = needs_triton

BUSY = SEGMENTER.replace(
    "    def answer(self, image):",
    """
    calls = 0
    def answer(self, image):
        import os, time
        self.calls += 1
        until = time.process_time() + (1.5 if self.calls > 1 else 0)
        if self.calls > 1:
            open(os.environ["BUSY_MARK"], "w").close()
        while time.process_time() < until:
            pass
""",
)


@contextmanager
def idle_connection(http_url: str) -> Iterator[None]:
    """An HTTP connection that was used once and is kept open."""
    with socket.create_connection(("127.0.0.1", int(http_url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        yield


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def marked_when_unloaded(repository: Repository, folder: Path) -> Path:
    """Write a model that makes this file when Triton unloads it, and not when it is killed."""
    mark = folder / "finalized"
    repository.segmenter("a", SEGMENTER + f"    def finalize(self):\n        open({str(mark)!r}, 'w').close()\n")
    return mark


def test_stop_leaves_nothing_even_with_an_idle_connection(repository: Repository, tmp_path: Path) -> None:
    repository.segmenter("a")
    log = tmp_path / "triton.log"
    with serve(repository.path, log=log) as server:
        prefix, pid = region_prefix(server), server.pid
        assert regions(prefix)
        with idle_connection(server.http_url):
            server.stop()
    assert regions(prefix) == []
    assert session.members(pid) == []
    said = log.read_text()
    assert "HTTP service connections" in said
    assert "Exit timeout expired" not in said


def test_stop_unloads_the_models_in_order(repository: Repository, tmp_path: Path) -> None:
    mark = marked_when_unloaded(repository, tmp_path)
    server = serve(repository.path)
    server.stop()
    server.stop()
    assert mark.exists()


def test_a_connection_that_closes_late_does_not_keep_the_models_from_being_unloaded(
    repository: Repository, tmp_path: Path
) -> None:
    mark, log = marked_when_unloaded(repository, tmp_path), tmp_path / "triton.log"
    server = serve(repository.path, log=log)
    with idle_connection(server.http_url):
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert wait_until(lambda: "HTTP service connections" in log.read_text())
    stopping.join(timeout=30)
    assert mark.exists()


def test_a_request_in_flight_is_still_answered(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "computing"
    monkeypatch.setenv("BUSY_MARK", str(mark))
    repository.segmenter("busy", BUSY)
    [entry] = read_repository(repository.path)
    answered = threading.Event()
    with serve(repository.path) as server:
        endpoint = HttpEndpoint("127.0.0.1", int(server.http_url.rpartition(":")[2]))

        def ask() -> None:
            send_test_image(endpoint, entry, timeout=30)
            answered.set()

        asking = threading.Thread(target=ask)
        asking.start()
        assert wait_until(mark.exists)
    asking.join(timeout=10)
    assert answered.is_set()


@contextmanager
def serve_command(repository: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A running `maskserve serve`, killed at the end whatever happened."""
    ports = [f"--{name}-port=auto" for name in ("http", "grpc", "metrics")]
    command = [sys.executable, "-m", "maskserve_tools.cli", "serve", str(repository), *ports, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(said)


def server_below(process: subprocess.Popen[str]) -> int:
    children = [path.read_text().split() for path in Path(f"/proc/{process.pid}/task").glob("*/children")]
    [server] = [int(pid) for pids in children for pid in pids if _is_triton(pid)]
    return server


def _is_triton(pid: str) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")[0].endswith("/tritonserver")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stops_at_a_signal(repository: Repository, number: signal.Signals) -> None:
    repository.segmenter("Seg-S")
    with serve_command(repository.path) as command:
        said = read_until(command, "Ctrl-C")
        server = server_below(command)
        http_url = next(word for word in said.split() if word.startswith("http://") and "metrics" not in word)
        with idle_connection(http_url):
            command.send_signal(number)
            rest, _ = command.communicate(timeout=30)
    assert command.returncode == 0, rest
    assert "Seg-S" in said and "grpc://127.0.0.1:" in said and "vulnerabilities" in said
    assert session.members(server) == []


def test_no_server_survives_a_killed_parent(repository: Repository) -> None:
    repository.segmenter("a")
    with serve_command(repository.path) as command:
        read_until(command, "Ctrl-C")
        server = server_below(command)
        assert len(session.members(server)) == 2
        command.kill()
        assert wait_until(lambda: session.members(server) == [])


def test_the_command_fails_when_the_server_dies_and_nobody_restarts_it(repository: Repository) -> None:
    repository.segmenter("a")
    with serve_command(repository.path, "--no-restart") as command:
        read_until(command, "Ctrl-C")
        os.kill(server_below(command), signal.SIGKILL)
        rest, _ = command.communicate(timeout=30)
    assert command.returncode == 1
    assert "ended by itself" in rest


def test_the_exit_of_the_interpreter_stops_the_server(repository: Repository) -> None:
    repository.segmenter("a")
    program = f"from maskserve_tools.embedded import serve; print(serve({str(repository.path)!r}).pid)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert session.members(int(done.stdout)) == []


def test_a_forked_child_does_not_stop_the_server_of_its_parent(repository: Repository) -> None:
    repository.segmenter("a")
    with serve(repository.path) as server:
        assert stop_elsewhere(server) is None


def stop_elsewhere(server: Server) -> int | None:
    server._owner += 1  # as in a process that is not the one that started it
    server.stop()
    code = server.exit_code
    server._owner -= 1
    return code
