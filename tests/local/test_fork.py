"""What a fork does to a model in the process, with a real engine: its threads are not in the child."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maskserve.transport.wire import ImageRequest
from maskserve_local.sources import Source
from maskserve_local.transport import InProcessTransport
from tests.local.conftest import FakeEngine
from tests.local.test_transport import image

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@pytest.mark.parametrize("what", [["use"], ["use", "exit"], ["close", "exit"], ["exit"], ["crowd"], ["crowd", "exit"]])
def test_a_child_lives_whatever_it_does_with_the_model(what: list[str], tmp_path: Path) -> None:
    """OpenVINO ends the child, or hangs in it, where the parent's network is freed."""
    pytest.importorskip("openvino")
    command = [sys.executable, "-W", "ignore", "-m", "tests.local.forking", str(tmp_path), *what]
    environment = {**os.environ, "MASKSERVE_COMPILED_CACHE": "", "MASKSERVE_STREAMS": "2"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=240, check=False
    )
    assert (done.stdout, done.returncode) == ("0 1\n", 0), done.stderr


def test_a_fork_waits_for_the_request_under_way(source: Source, engine: FakeEngine) -> None:
    transport = InProcessTransport(source)
    engine.hold.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(transport.infer, "fake", ImageRequest(image()))
        assert engine.started.wait(30)
        threading.Timer(0.3, engine.hold.set).start()
        child = os.fork()
        if child == 0:
            os._exit(len(engine.runs))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        answer.result()
