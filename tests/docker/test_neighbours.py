"""In the container, too, one broken model leaves the others: the server starts, is ready, and counts as healthy."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskserve_tools.embedded import session
from maskserve_tools.embedded.stubs import find_stubs
from tests.docker.conftest import DOCKER, children, load, start_container
from tests.tools.embedded.conftest import Repository

START = load(DOCKER / "start.py")
HEALTH = load(DOCKER / "healthcheck.py")


@pytest.fixture
def half_broken(repository: Repository) -> Path:
    repository.segmenter("good")
    repository.segmenter("bad", "import no_such_module\n")
    (repository.segmenter("worse") / "config.pbtxt").write_text("{", encoding="utf-8")
    (repository.path / "empty").mkdir()
    (repository.path / "notes.txt").write_text("not a model", encoding="utf-8")
    return repository.path


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


def test_the_others_are_served(half_broken: Path, tmp_path: Path) -> None:
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    with start_container(half_broken, tmp_path, supervised=False) as container:
        done = container.check_health()
        assert done.returncode == 0
        for name in ("bad", "worse", "empty"):
            assert f"{name} is broken, the others answer: " in done.stderr
        assert container.check_health("--strict").returncode == 1
        for path in ("/v2/health/ready", "/v2/models/good/ready"):
            with urllib.request.urlopen(container.http_url + path, timeout=10) as answer:
                assert answer.status == 200, path
        stopping = ("--stop-after=1", f"--server-pid={container.process.pid}")
        assert container.check_health(*stopping).returncode == 0
        for process in session.members(container.process.pid):
            if "/good/" in Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8"):
                os.kill(process.pid, signal.SIGKILL)
        failed = container.check_health(*stopping)
        assert failed.returncode == 1
        assert "good" in failed.stderr
        assert "worse" not in failed.stderr, "what was broken from the start is not why"
        container.process.wait(60)


def test_the_supervisor_watches_those_that_answered(half_broken: Path, tmp_path: Path) -> None:
    """The broken ones are named once, and do not keep a good one from being started again."""
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    with start_container(half_broken, tmp_path) as container:
        said = "bad is broken, and is not watched"
        assert wait_until(lambda: said in container.log.read_text(encoding="utf-8")), container.log.read_text("utf-8")
        (server,) = children(container.process.pid)
        (stub,) = [stub for stub in find_stubs(server) if stub.entry == "good"]
        os.kill(stub.pid, signal.SIGKILL)
        again = "tritonserver answers again"
        assert wait_until(lambda: again in container.log.read_text(encoding="utf-8")), container.log.read_text("utf-8")
        assert wait_until(lambda: container.check_health().returncode == 0)
        assert container.log.read_text(encoding="utf-8").count(said) == 1


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def test_one_flag_makes_it_strict() -> None:
    assert {"--exit-on-error=false", "--strict-readiness=false"} <= set(START.command({}))
    assert {"--exit-on-error=true", "--strict-readiness=true"} <= set(START.command({"MASKSERVE_STRICT": "1"}))


@pytest.mark.parametrize(
    ("answered", "failing", "before", "strict", "healthy"),
    [
        ("a", "", "", False, True),
        ("a", "b", "", False, True),
        ("a", "b", "b", False, False),
        ("a", "b", "", True, False),
        ("", "b", "", False, False),
        ("", "", "", False, False),
    ],
)
def test_who_counts(answered: str, failing: str, before: str, strict: bool, healthy: bool) -> None:
    failures: dict[str, Any] = {name: "why" for name in failing}
    why = HEALTH.judge(frozenset(answered), failures, frozenset(before), strict=strict)
    assert (why is None) == healthy
    assert healthy or failing in (why or "")
