"""Large images in shared memory, against a real server: the same results, and nothing left behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from maskserve import create_pipeline
from maskserve.errors import InvalidImage
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.shared_memory import FOLDER, SharedMemoryTransport
from maskserve.transport.wire import ImageRequest
from tests.end_to_end.conftest import DEMO
from tests.waiting import wait_until

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

SIZE = (2100, 2100)


def ask(server: Server, method: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(urlsplit(server.http_url).netloc)
    connection.request(method, f"/v2/systemsharedmemory/{path}")
    answer = connection.getresponse().read()
    connection.close()
    return answer


def mapped(server: Server) -> list[str]:
    """The regions that the server has mapped."""
    return [region["name"] for region in json.loads(ask(server, "GET", "status"))]


def names(process: int | None = None) -> list[Path]:
    """What a process, or this one, has left under a name."""
    return list(FOLDER.glob(f"maskserve-image-{process or os.getpid()}-*"))


@pytest.fixture(params=["grpc", "http"])
def url(request: pytest.FixtureRequest, server: Server) -> str:
    return server.grpc_url if request.param == "grpc" else server.http_url


@pytest.fixture(scope="module")
def image() -> np.ndarray[Any, Any]:
    """An image with a person, enlarged."""
    path = Path(__file__).parents[2] / "demo" / "photos" / "astronaut.jpg"
    return cv2.resize(cv2.imread(str(path)), SIZE)


def test_the_same_results_with_and_without(url: str, server: Server, image: np.ndarray[Any, Any]) -> None:
    results = []
    for shared in (False, True):
        with create_pipeline(DEMO, url=url, shared_memory=shared, threshold=0.1) as pipeline:
            results.append(list(pipeline.predict([image, image[::-1], image])))
    for sent, handed_over in zip(*results, strict=True):
        assert sent["boxes"] == handed_over["boxes"]
        assert sent.instances.masks == handed_over.instances.masks
    assert (mapped(server), names()) == ([], [])
    assert len(results[0][0].instances) > 0


def test_the_server_takes_regions(url: str) -> None:
    """The test above would pass, too, if it refused them all."""
    transport = open_transport(parse_url(url))
    assert isinstance(transport, SharedMemoryTransport)
    with pytest.raises(InvalidImage):
        transport.infer(DEMO, ImageRequest(bytes(13 << 20)))
    assert transport._accepted


def test_nothing_stays_after_an_error(url: str, server: Server) -> None:
    with create_pipeline(DEMO, url=url) as pipeline, pytest.raises(InvalidImage):
        list(pipeline.predict(bytes(13 << 20)))
    assert (mapped(server), names()) == ([], [])


ENDLESS = """
import itertools, sys
import numpy as np
from maskserve import create_pipeline
image = np.zeros((2100, 2100, 3), np.uint8)
for result in create_pipeline(sys.argv[1], url=sys.argv[2]).predict(itertools.repeat(image)):
    print("one", flush=True)
"""

KILLED = """
import os, signal, sys, threading
import numpy as np
from maskserve import create_pipeline
from maskserve.transport import grpc, http
for kind in (grpc.GrpcTransport, http.HttpTransport):
    def infer(self, model, request, region, infer=kind.infer):
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return infer(self, "nowhere" if region is None else model, request, region)
    kind.infer = infer
list(create_pipeline(sys.argv[1], url=sys.argv[2]).predict(np.zeros((2100, 2100, 3), np.uint8)))
"""


@pytest.fixture
def endless(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has its first result and goes on."""
    command = [sys.executable, "-c", ENDLESS, DEMO, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        yield process
        process.kill()


def test_nothing_stays_after_ctrl_c(endless: subprocess.Popen[str], server: Server) -> None:
    endless.send_signal(signal.SIGINT)
    _, err = endless.communicate(timeout=60)
    assert "KeyboardInterrupt" in err
    assert (mapped(server), names(endless.pid)) == ([], [])


def test_no_name_stays_after_a_kill(url: str, server: Server) -> None:
    """The server's mapping stays until it is restarted, or somebody unregisters it who knows that nobody is left."""
    with subprocess.Popen([sys.executable, "-c", KILLED, DEMO, url]) as process:
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert names(process.pid) == []
    (region,) = mapped(server)

    def unregistered() -> bool:  # refused as long as the request is under way
        ask(server, "POST", f"region/{region}/unregister")
        return not mapped(server)

    wait_until(unregistered, "the region is unregistered")
