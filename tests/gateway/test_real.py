"""The gateway in front of a real tritonserver with the demo model, started by the command."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from PIL import Image

from maskserve import create_pipeline
from maskserve.masks import decode_crop
from maskserve_server.metrics import RUNS
from tests.conftest import DEMO, ROOT
from tests.docker.scraping import scrape
from tests.gateway.big_images import png
from tests.gateway.conftest import PATH, as_base64, encoded, envelope
from tests.waiting import wait_until

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

PHOTO = sorted((ROOT / "demo" / "photos").glob("*.jpg"))[0]


@contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """`maskserve gateway` as people start it; gives the process and a client of it."""
    line = [sys.executable, "-m", "maskserve_tools.cli", "gateway", "--port", "auto", *arguments]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        log = threading.Thread(target=process.stderr.read)  # lest it waits for somebody to read
        log.start()
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found
            with httpx.Client(base_url=found[0], timeout=60, trust_env=False) as client:
                yield process, client
        finally:
            process.terminate()
            process.wait(30)
            log.join()


@pytest.fixture(scope="module")
def gateway(server: Server) -> Iterator[httpx.Client]:
    """One gateway with one worker for the whole module."""
    with command("--url", server.grpc_url, "--model", DEMO) as (_, client):
        yield client


def test_it_says_what_the_client_says(gateway: httpx.Client, server: Server) -> None:
    with create_pipeline(DEMO, url=server.grpc_url) as pipeline:
        (expected,) = pipeline.predict(PHOTO)
    document = gateway.post(PATH, json={"image": as_base64(PHOTO.read_bytes())}).json()["result"]
    assert len(document["instances"]) == len(expected.instances) > 0
    for found, instance in zip(document["instances"], expected.instances, strict=True):
        assert (found["categoryId"], found["categoryName"], found["score"]) == (0, "person", instance.score)
        assert found["bbox"] == list(instance.box)
        height, width = found["mask"]["size"]
        crop = decode_crop(found["mask"]["rleResult"].encode(), height, width)
        assert np.array_equal(crop, instance.mask.crop())
        assert instance.mask.box[:2] == (round(found["bbox"][0]), round(found["bbox"][1]))


def _file(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (10, 200, 90)).save(file, kind)
    return file.getvalue()


JPEG = _file("JPEG")
TABLE = {
    "JPEG": ({"image": as_base64(JPEG)}, 200, "Success"),
    "PNG": ({"image": as_base64(_file("PNG"))}, 200, "Success"),
    "WebP": ({"image": as_base64(_file("WEBP"))}, 200, "Success"),
    "BMP": ({"image": as_base64(_file("BMP"))}, 200, "Success"),
    "TIFF": ({"image": as_base64(_file("TIFF"))}, 200, "Success"),
    "one pixel": ({"image": as_base64(encoded(1, 1))}, 200, "Success"),
    "the lowest threshold": ({"image": as_base64(JPEG), "threshold": 0}, 200, "Success"),
    "a threshold of 50": (
        {"image": as_base64(JPEG), "threshold": 50},
        422,
        "body.threshold: Input should be less than or equal to 1",
    ),
    "GIF": (
        {"image": as_base64(_file("GIF"))},
        415,
        "GIF images are not supported; save it as JPEG, or send one of JPEG, PNG, WEBP, BMP, TIFF",
    ),
    "text": ({"image": as_base64(b"hello")}, 400, "the bytes are not an image that can be read"),
    "most of a JPEG": (
        {"image": as_base64(JPEG[:-20])},
        400,
        "the JPEG is truncated: pixels are missing (Corrupt JPEG data: premature end of data segment)",
    ),
    "nothing": ({"image": ""}, 400, "the image is empty (0 bytes)"),
    "too many pixels": (
        {"image": as_base64(png(20_000, 6_000))},
        413,
        "the image has 20000x6000 pixels, the limit is 100000000 in all",
    ),
}


@pytest.mark.parametrize(("document", "status", "message"), TABLE.values(), ids=TABLE)
def test_good_and_bad_requests(gateway: httpx.Client, document: dict[str, object], status: int, message: str) -> None:
    response = gateway.post(PATH, json=document)
    if status == 200:
        assert (response.status_code, response.json()["errorMsg"]) == (200, message)
    else:
        assert envelope(response) == (status, message)


def test_health_and_info(gateway: httpx.Client) -> None:
    assert gateway.get("/health").json()["errorMsg"] == "Healthy"
    info = gateway.get("/info").json()
    assert (info["model"], info["labels"], info["threshold"]) == (DEMO, ["person"], 0.5)


def test_a_model_that_is_not_there(server: Server) -> None:
    with command("--url", server.grpc_url, "--model", "nothing") as (_, gateway):
        words = "the model's server does not have the model"
        assert envelope(gateway.post(PATH, json={"image": as_base64(JPEG)})) == (502, words)
        assert envelope(gateway.get("/health")) == (502, words)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_several_workers_in_front_of_several_servers(server: Server, protocol: str) -> None:
    """One of the servers is down."""
    up, down = server.grpc_url if protocol == "grpc" else server.http_url, f"{protocol}://127.0.0.1:9"
    arguments = ["--url", down, "--url", up, "--model", DEMO, "--workers", "2", "--no-image"]
    body = json.dumps({"image": as_base64(JPEG)})
    with command(*arguments) as (process, gateway), ThreadPoolExecutor(4) as pool:
        url = str(gateway.base_url.join(PATH))
        answers = list(pool.map(lambda _: httpx.post(url, content=body, timeout=60, trust_env=False), range(12)))
        assert [answer.status_code for answer in answers] == [200] * 12
        assert "image" not in answers[0].json()["result"]
        assert f'requests_total{{route="{PATH}",status="200"}} 12.0' in gateway.get("/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number: signal.Signals) -> None:
    with command("--url", "grpc://127.0.0.1:9", "--model", "x") as (process, gateway):
        assert envelope(gateway.get("/health")) == (503, "the model's server cannot be reached; try again later")
        process.send_signal(number)
        assert process.wait(30) == 0


def test_workers_do_not_outlive_a_parent_that_was_killed() -> None:
    with command("--url", "grpc://127.0.0.1:9", "--model", "x", "--workers", "2") as (process, gateway):
        assert gateway.get("/openapi.json").status_code == 200
        process.kill()
        process.wait(30)
        wait_until(lambda: _refuses(gateway), "the last of them closes the socket", 30)


def _refuses(gateway: httpx.Client) -> bool:
    try:
        httpx.get(str(gateway.base_url.join("/openapi.json")), trust_env=False)
    except httpx.ConnectError:
        return True
    except httpx.TransportError:  # it was just stopping
        pass
    return False


def _fails(*arguments: str, **environment: str) -> str:
    line = [sys.executable, "-m", "maskserve_tools.cli", "gateway", "--model", "x", *arguments]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert ended.returncode in (1, 2)
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_command_lines_without_sense(tmp_path: Path) -> None:
    cases: Sequence[tuple[Sequence[str], str]] = [
        (["--url", "localhost:8001"], "is not the URL of a server"),
        (["--url", "grpc://a", "--workers", "0"], "is not a number from 1"),
        (["--url", "grpc://a", "--timeout", "-1"], "timeout must be more than 0"),
        (["--url", "grpc://a", "--api-key-file", str(tmp_path / "none")], "cannot be read: No such file"),
        (["--url", "grpc://a", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1 port 8080"),
        ([], "--url"),
    ]
    for arguments, message in cases:
        assert message in _fails(*arguments)


def test_a_client_that_hangs_up_is_computed_nothing(server: Server, gateway: httpx.Client) -> None:
    """16 of 16 such requests were computed: now those that run already, are next, or are being prepared."""
    body = json.dumps({"image": as_base64(PHOTO.read_bytes()), "visualize": False}).encode()
    assert gateway.post(PATH, content=body).status_code == 200
    before = _core_runs(server)
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body))
    host, port = gateway.base_url.host, gateway.base_url.port
    assert port is not None
    with ExitStack() as stack:
        for _ in range(16):
            connection = stack.enter_context(socket.create_connection((host, port), timeout=60))
            connection.sendall(head + body)
        wait_until(lambda: _core_runs(server) > before, "the first one is under way")
    hung_up = _core_runs(server)
    assert gateway.post(PATH, content=body).status_code == 200  # behind those that were not called off
    assert _core_runs(server) - hung_up - 1 <= 6


def _core_runs(server: Server) -> float:
    found = scrape(server.metrics_url).items()
    return sum(value for (name, labels), value in found if name == RUNS and dict(labels)["model"] == DEMO)
