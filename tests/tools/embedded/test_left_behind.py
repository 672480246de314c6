"""Whoever is killed leaves nothing behind: no process, no shared memory, no temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maskserve_tools.embedded import janitor, session
from maskserve_tools.embedded.janitor_process import MARKER
from tests.tools.embedded.conftest import Repository, needs_triton, regions

pytestmark = needs_triton

PROGRAM = """
import sys, time
from maskserve_tools.embedded import serve
server = serve(sys.argv[1])
print(server.name, server.pid, flush=True)
time.sleep(600)
"""
SERVE = [sys.executable, "-m", "maskserve_tools.cli", "serve"]


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def left_behind(name: str, folder: Path) -> list[str]:
    """What there is of a server: its processes, regions and folders."""
    return [*map(str, janitor.marked(f"{MARKER}={name}".encode())), *regions(name), *map(str, folder.iterdir())]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where temporary files go."""
    path = tmp_path / "temporary"
    path.mkdir()
    return path


@contextmanager
def program(repository: Repository, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A program with an embedded server; its process, and the server's name and process id."""
    line = [sys.executable, "-c", PROGRAM, str(repository.path)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            name, pid = process.stdout.readline().split()
            assert len(left_behind(name, folder)) >= 5  # tritonserver, a stub, its region, the lock, a folder
            yield process, name, int(pid)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_with_a_server(repository: Repository, folder: Path, number: signal.Signals) -> None:
    repository.segmenter("a")
    with program(repository, folder) as (process, name, _):
        process.send_signal(number)
        assert process.wait(10) == -number
        assert wait_until(lambda: left_behind(name, folder) == []), left_behind(name, folder)


def test_a_server_and_a_stub_that_were_frozen(repository: Repository, folder: Path) -> None:
    repository.segmenter("a")
    with program(repository, folder) as (process, name, triton):
        for member in session.members(triton):
            os.kill(member.pid, signal.SIGSTOP)
        process.kill()
        assert wait_until(lambda: left_behind(name, folder) == []), left_behind(name, folder)


def test_the_next_start_tidies_up_where_nobody_is_left_and_touches_no_living_server(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskserve import temporary
    from maskserve_tools.embedded import serve

    repository.segmenter("a")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with serve(repository.path) as living, program(repository, folder) as (process, name, triton):
        kept = [
            path for path in folder.iterdir() if path.name in Path(f"/proc/{living.pid}/cmdline").read_text("utf-8")
        ]
        assert len(kept) == 1
        janitors = [pid for pid in children(process.pid) if "janitor.py" in command_of(pid)]
        assert len(janitors) == 1
        for pid in (*janitors, process.pid, triton):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        assert wait_until(lambda: not janitor.marked(f"{MARKER}={name}".encode()))
        assert len(left_behind(name, folder)) >= 3  # nobody was left to remove it
        with serve(repository.path):
            assert regions(name) == []
            assert set(kept) < set(folder.iterdir())
            assert len(list(folder.iterdir())) == 2
        assert list(folder.iterdir()) == kept
    assert list(folder.iterdir()) == []
    temporary.remove_stale(folder)


def test_the_command_with_the_rest_service(repository: Repository, folder: Path) -> None:
    repository.segmenter("a")
    ports = [f"--{name}-port=auto" for name in ("http", "grpc", "metrics")]
    line = [*SERVE, str(repository.path), *ports, "--http-api", "auto"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert any("the gateway listens" in line for line in process.stdout)
            below = [pid for pid in children(process.pid) if "tritonserver" in command_of(pid).split("\0")[0]]
            [name] = [word.partition("=")[2] for word in command_of(below[0]).split("\0") if word.startswith("--id=")]
            marker = f"{MARKER}={name}".encode()
            workers = list[int]()

            def has_worker() -> bool:
                workers[:] = [pid for pid in janitor.marked(marker) if "spawn_main" in command_of(pid)]
                return bool(workers)

            assert wait_until(has_worker)
            os.kill(workers[0], signal.SIGSTOP)
        finally:
            process.kill()
        assert wait_until(lambda: left_behind(name, folder) == []), left_behind(name, folder)


def children(process: int) -> list[int]:
    found = [path.read_text().split() for path in Path(f"/proc/{process}/task").glob("*/children")]
    return [int(pid) for pids in found for pid in pids]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
