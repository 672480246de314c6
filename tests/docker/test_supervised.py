"""In the container, what dies or freezes is started again, and nothing is left at the end."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maskserve import create_pipeline
from maskserve.errors import MaskserveError
from maskserve_tools.embedded import session
from maskserve_tools.embedded.shared_memory import DIRECTORY
from maskserve_tools.embedded.stubs import find_stubs
from tests.conftest import DEMO
from tests.docker.conftest import DOCKER, Container, children, load, start_container

pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
SECONDS = 60.0  # a busy machine
START = load(DOCKER / "start.py")


@pytest.fixture(scope="module")
def container(demo_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """One of our own: it is maltreated."""
    with start_container(demo_repository, tmp_path_factory.mktemp("supervised")) as running:
        yield running


def tritonserver(container: Container) -> int:
    (pid,) = children(container.process.pid)
    return pid


def until(condition: Callable[[], bool], container: Container) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert container.process.poll() is None, container.log.read_text(encoding="utf-8")[-3000:]
        assert time.monotonic() < deadline, container.log.read_text(encoding="utf-8")[-3000:]
        time.sleep(0.1)


def answers(container: Container, image: Path) -> bool:
    try:
        (result,) = create_pipeline(DEMO, url=container.http_url, timeout=5).predict(str(image))
    except MaskserveError:
        return False
    return len(result["boxes"]) >= 2


@pytest.mark.parametrize("victim", ["core", "tritonserver"])
def test_what_is_killed_is_started_again(container: Container, two_people: Path, victim: str) -> None:
    before = tritonserver(container)
    stubs = {stub.entry: stub.pid for stub in find_stubs(before)}
    os.kill(stubs.get(f"{DEMO}.{victim}", before), signal.SIGKILL)
    until(lambda: before not in children(container.process.pid) and answers(container, two_people), container)
    assert tritonserver(container) != before
    assert {stub.entry for stub in find_stubs(tritonserver(container))} == set(stubs)
    assert session.members(before) == []
    until(lambda: container.check_health("--stop-after=1").returncode == 0, container)


def test_what_freezes_is_started_again(container: Container, two_people: Path) -> None:
    before = tritonserver(container)
    (stub,) = [stub for stub in find_stubs(before) if stub.entry == f"{DEMO}.postprocess"]
    os.kill(stub.pid, signal.SIGSTOP)
    until(lambda: before not in children(container.process.pid) and answers(container, two_people), container)


def test_sigterm_ends_it_and_leaves_nothing(container: Container) -> None:
    server = tritonserver(container)
    prefixes = {"-".join(stub.region.split("-")[:2]) for stub in find_stubs(server)}
    container.process.send_signal(signal.SIGTERM)
    assert container.process.wait(40) == 0
    assert session.members(server) == []
    assert len(prefixes) == 1
    assert list(DIRECTORY.glob(f"{prefixes.pop()}*")) == []


def test_what_cannot_be_watched(caplog: pytest.LogCaptureFixture, tmp_path: Path, demo_repository: Path) -> None:
    line = START.command({"MASKSERVE_REPOSITORY": str(demo_repository)})
    found = START.watched({}, line)
    assert {entry.name for entry in found.entries} > {DEMO, f"{DEMO}.core"}
    assert START.watched({"MASKSERVE_NO_SUPERVISOR": "1"}, line) is None
    with caplog.at_level(logging.WARNING):
        assert START.watched({}, [*line, "--allow-http=false"]) is None
        assert START.watched({}, START.command({"MASKSERVE_REPOSITORY": str(tmp_path)})) is None
    assert "without HTTP" in caplog.text
    assert "holds no model" in caplog.text


def test_the_last_of_several_flags_counts() -> None:
    assert START.option(["--http-port=1", "--http-port=2"], "http-port", "8000") == "2"
    assert START.option(["--grpc-port=1"], "http-port", "8000") == "8000"
