"""What dies or freezes in an embedded server is started again."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import maskserve.backoff
from maskserve.errors import ToolError
from maskserve_tools.embedded import Server, proof, readiness, serve, session
from maskserve_tools.embedded.canary import HttpEndpoint, send_test_image
from maskserve_tools.embedded.served_entries import Entry, read_repository
from maskserve_tools.embedded.stubs import find_stubs
from tests.tools.embedded.conftest import SEGMENTER, Repository, needs_triton, region_prefix

pytestmark = needs_triton

# Dies at its next start, or hangs at its next request, where a file is there.
WEAK = """
import os
MARK = {mark!r}
""" + SEGMENTER.replace(
    "    def execute",
    """
    def initialize(self, args):
        if os.path.exists(MARK + ".dies"):
            os._exit(3)

    def execute""",
).replace(
    "    def answer(self, image):",
    """
    def answer(self, image):
        import time
        while os.path.exists(MARK + ".hangs"):
            time.sleep(1e6)""",
)
SECONDS = 60.0  # a busy machine


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


class Watched:
    """A server, as its clients and its machine see it."""

    def __init__(self, server: Server, repository: Repository) -> None:
        self.server = server
        self._entries = {entry.name: entry for entry in read_repository(repository.path)}

    def answers(self, name: str, timeout: float = 5) -> bool:
        endpoint = HttpEndpoint("127.0.0.1", int(self.server.http_url.rpartition(":")[2]))
        try:
            send_test_image(endpoint, self._entries[name], timeout=timeout)
        except (ToolError, OSError):
            return False
        return True

    def stub(self, name: str) -> int:
        [pid] = [stub.pid for stub in find_stubs(self.server.pid) if stub.entry == name]
        return pid

    def regions(self) -> int:
        prefix = region_prefix(self.server)
        return sum(name.startswith(prefix) for name in os.listdir("/dev/shm"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_of_a_model_is_started_again_and_the_others_are_left_alone(
    repository: Repository, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    repository.segmenter("whole.core")
    repository.ensemble("whole", step="whole.core")
    repository.segmenter("other")
    with serve(repository.path) as server:
        watched = Watched(server, repository)
        triton, core, other, before = server.pid, watched.stub("whole.core"), watched.stub("other"), watched.regions()
        os.kill(core, number)
        assert wait_until(lambda: session.member(core, server.pid) is None)
        assert wait_until(lambda: watched.answers("whole"))
        assert watched.answers("other")
        assert (server.pid, watched.stub("other")) == (triton, other)
        assert watched.stub("whole.core") != core
        assert wait_until(lambda: "whole.core answers again" in caplog.text)
        assert watched.regions() == before
    assert "a process of whole.core has died; it is started again" in caplog.text


def test_one_of_two_processes(repository: Repository) -> None:
    repository.segmenter("twice", instances=2)
    with serve(repository.path) as server:
        watched = Watched(server, repository)
        killed = find_stubs(server.pid)[0].pid
        os.kill(killed, signal.SIGKILL)
        before = {stub.pid for stub in find_stubs(server.pid)}
        assert wait_until(lambda: len({stub.pid for stub in find_stubs(server.pid)} - before) == 2)
        assert wait_until(lambda: all(watched.answers("twice") for _ in range(4)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_tritonserver_is_started_again_on_its_ports(
    repository: Repository, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    repository.segmenter("a")
    with serve(repository.path) as server:
        watched, urls, killed = Watched(server, repository), (server.grpc_url, server.http_url), server.pid
        os.kill(killed, number)
        assert wait_until(lambda: server.pid != killed)
        assert wait_until(lambda: watched.answers("a"))
        assert (server.grpc_url, server.http_url, server.exit_code) == (*urls, None)
        assert server.models == ("a",)
        assert wait_until(lambda: "tritonserver answers again" in caplog.text)
        assert server.reload().loaded == ()  # whoever asks for a reload finds it


def test_a_model_that_hangs_though_its_process_lives(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "_SHORTEST_DEADLINE", 2.0)
    monkeypatch.setattr(proof, "_SHORTEST_INTERVAL", 1.0)
    monkeypatch.setattr(proof, "_SHARE", 1)
    mark = tmp_path / "weak"
    repository.segmenter("weak", WEAK.format(mark=str(mark)))
    with serve(repository.path) as server:
        watched = Watched(server, repository)
        hanging = watched.stub("weak")
        Path(f"{mark}.hangs").touch()
        assert wait_until(lambda: session.member(hanging, server.pid) is None)
        Path(f"{mark}.hangs").unlink()
        assert wait_until(lambda: watched.answers("weak"))


def test_one_that_keeps_dying_on_start_is_given_up_once_and_the_others_go_on(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(maskserve.backoff, "_FIRST_PAUSE", 0.01)
    mark = tmp_path / "weak"
    repository.segmenter("weak.core", WEAK.format(mark=str(mark)))
    repository.ensemble("weak", step="weak.core")
    repository.segmenter("other")
    with serve(repository.path) as server:
        watched = Watched(server, repository)
        other = watched.stub("other")
        Path(f"{mark}.dies").touch()
        os.kill(watched.stub("weak.core"), signal.SIGKILL)
        assert wait_until(lambda: "weak.core" in [broken.name for broken in server.broken])
        assert (server.models, watched.stub("other")) == (("other",), other)
        assert watched.answers("other")
        time.sleep(2)
        errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1
        assert "weak, weak.core cannot be started again and is given up" in errors[0]
        assert sum("a process of weak.core has died" in record.getMessage() for record in caplog.records) == 1
        assert not watched.answers("weak")
        Path(f"{mark}.dies").unlink()
        assert server.reload().loaded == ("weak",)  # as the message says
        assert watched.answers("weak")


def test_a_server_that_cannot_be_started_again_is_given_up(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(maskserve.backoff, "_FIRST_PAUSE", 0.01)
    repository.segmenter("a")
    with serve(repository.path) as server:
        server._serving.launch.command = ["/bin/false"]
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait(SECONDS) is not None
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "tritonserver cannot be started again, nothing is served any more" in errors[0]


@pytest.fixture
def killed_when_it_opens(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many servers are killed before b segments a test image, which goes down.

    A client does that who sends what tritonserver dies of, as soon as its port is open.
    """
    left = [0]
    real = readiness.StartingServer._try_out

    def try_out(self: readiness.StartingServer, entry: Entry, timeout: float) -> None:
        if left[0] and entry.name == "b":
            left[0] -= 1
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(SECONDS)
        real(self, entry, timeout)

    monkeypatch.setattr(readiness.StartingServer, "_try_out", try_out)
    monkeypatch.setattr(maskserve.backoff, "_FIRST_PAUSE", 0.01)
    return left


def test_who_kills_the_server_again_and_again_gets_no_model_given_up_nor_the_server(
    repository: Repository, caplog: pytest.LogCaptureFixture, killed_when_it_opens: list[int]
) -> None:
    repository.segmenter("a")
    repository.segmenter("b")
    with serve(repository.path) as server:
        watched = Watched(server, repository)
        killed_when_it_opens[:] = [6]  # five starts that fail are the last
        os.kill(server.pid, signal.SIGKILL)
        assert wait_until(lambda: killed_when_it_opens == [0], 2 * SECONDS)
        assert wait_until(lambda: "tritonserver answers again" in caplog.text)
        assert server.models == ("a", "b")
        assert server.broken == ()
        assert watched.answers("a")
        assert watched.answers("b")
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]


def test_who_kills_the_server_while_it_starts_gets_no_model_left_out(
    repository: Repository, killed_when_it_opens: list[int]
) -> None:
    repository.segmenter("a")
    repository.segmenter("b")
    killed_when_it_opens[:] = [1]
    with serve(repository.path) as server:
        assert (server.models, server.broken) == (("a", "b"), ())


def test_nothing_is_started_again_where_nobody_wants_it(repository: Repository) -> None:
    repository.segmenter("a")
    with serve(repository.path, restart=False) as server:
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait(SECONDS) == -signal.SIGKILL
        assert server.exit_code == -signal.SIGKILL


def test_stopping_while_it_is_started_again_leaves_nothing(repository: Repository) -> None:
    repository.segmenter("a")
    with serve(repository.path) as server:
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        assert wait_until(lambda: server.pid != killed)
        started = server.pid
    assert session.members(started) == []
