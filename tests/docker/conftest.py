"""The server as the image starts it: docker/start.py, with the embedded tritonserver in the place of the image's."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

DOCKER = ROOT / "docker"
ADMIN_KEY = "key-of-the-tests"
# What 2.51, the release of the embedded server, does not know yet: the flag came with 25.10.
UNKNOWN_TO_EMBEDDED = ("http-max-input-size",)

_WRAPPER = """#!/bin/sh
for word; do
    shift
    case $word in
        {unknown}) ;;
        *) set -- "$@" "$word" ;;
    esac
done
exec {binary} "$@"
"""


def load(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class Container:
    """A running server."""

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    http_port: int
    grpc_port: int
    metrics_port: int
    log: Path
    memory: Path

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_url(self) -> str:
        return f"grpc://127.0.0.1:{self.grpc_port}"

    def check_health(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run docker/healthcheck.py as the image would."""
        line = [sys.executable, str(DOCKER / "healthcheck.py"), f"--port={self.http_port}", f"--memory={self.memory}"]
        return subprocess.run(
            [*line, *options], env=dict(self.environment), capture_output=True, text=True, timeout=60, check=False
        )


@contextmanager
def start_container(repository: Path, folder: Path, *, supervised: bool = True) -> Iterator[Container]:
    """Run docker/start.py until every model answers its health check."""
    from maskserve_tools.embedded.ports import choose_ports
    from maskserve_tools.embedded.process_environment import server_environment
    from maskserve_tools.embedded.shared_memory import RegionNamespace, remove_stale
    from maskserve_tools.embedded.triton_wheel import find_triton_wheel, link_backend_directory

    wheel = find_triton_wheel()
    wrapper = folder / "bin" / "tritonserver"
    wrapper.parent.mkdir()
    unknown = "|".join(f"--{flag}=*" for flag in UNKNOWN_TO_EMBEDDED)
    wrapper.write_text(_WRAPPER.format(unknown=unknown, binary=wheel.binary))
    wrapper.chmod(0o755)
    environment = server_environment(wheel)
    environment["PATH"] += os.pathsep + str(wrapper.parent)
    environment |= {"MASKSERVE_REPOSITORY": str(repository), "MASKSERVE_ADMIN_KEY": ADMIN_KEY}
    if not supervised:
        environment["MASKSERVE_NO_SUPERVISOR"] = "1"
    ports = choose_ports("127.0.0.1", http=None, grpc=None, metrics=None)
    regions = RegionNamespace.claim()
    further = [
        f"--backend-directory={link_backend_directory(wheel, folder / 'backends')}",
        *(() if supervised else (f"--backend-config=python,shm-region-prefix-name={regions.prefix}",)),
        *(f"--{service}-address=127.0.0.1" for service in ("http", "grpc", "metrics")),
        *(f"--{service}-port={getattr(ports, service)}" for service in ("http", "grpc", "metrics")),
    ]
    log = folder / "log"
    try:
        with _running([sys.executable, str(DOCKER / "start.py"), *further], environment, log) as process:
            numbers = (ports.http, ports.grpc, ports.metrics)
            container = Container(process, environment, *numbers, log=log, memory=folder / "health")
            _wait_until_healthy(container)
            yield container
    finally:
        regions.release()
        remove_stale()  # of a supervised one that was killed


@contextmanager
def _running(line: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    from maskserve_tools.embedded import session

    with log.open("wb") as output:
        process = subprocess.Popen(
            line, env=dict(environment), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield process
        finally:
            below = children(process.pid)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(40)
                except subprocess.TimeoutExpired:
                    process.kill()
            for leader in (*below, process.pid):
                session.kill(leader)
            process.wait(10)


def children(parent: int) -> list[int]:
    """The processes that a process has started and that have not ended: a supervisor's tritonserver."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def _wait_until_healthy(container: Container) -> None:
    deadline = time.monotonic() + 120
    while container.check_health().returncode != 0:
        assert container.process.poll() is None, container.log.read_text()[-3000:]
        assert time.monotonic() < deadline, container.log.read_text()[-3000:]
        time.sleep(0.5)


@pytest.fixture(scope="module")
def container(demo_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    with start_container(demo_repository, tmp_path_factory.mktemp("container")) as running:
        yield running
