"""Opening, keeping and closing connections; TLS, forks and threads."""

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

import pytest
from tests.client.transport.conftest import Handler

from maskserve import create_pipeline
from maskserve.errors import InvalidParameter, ServerUnavailable


def test_closing_ends_what_is_under_way(service, grey):
    pipeline = create_pipeline("slow", url=service.url, timeout=20)
    closer = threading.Timer(0.3, pipeline.close)
    closer.start()
    begin = time.monotonic()
    with pytest.raises(ServerUnavailable):
        list(pipeline.predict(grey()))
    assert time.monotonic() - begin < 15
    closer.join()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_nobody_there(scheme, grey):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(
        ServerUnavailable, match=rf"no server answers at {scheme}://127\.0\.0\.1:{port}.*maskserve serve"
    ):
        list(create_pipeline("tiny", url=f"{scheme}://127.0.0.1:{port}").predict(grey()))


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_an_unknown_host(scheme, grey):
    with pytest.raises(ServerUnavailable, match="no server answers at"):
        list(create_pipeline("tiny", url=f"{scheme}://host.invalid").predict(grey()))


def test_http_to_a_grpc_port(grpc_service, grey):
    url = grpc_service.url.replace("grpc", "http")
    with pytest.raises(ServerUnavailable, match="no server answers at"):
        list(create_pipeline("tiny", url=url).predict(grey()))


def test_grpc_to_an_http_port(http_service, grey):
    url = http_service.url.replace("http", "grpc")
    with pytest.raises(ServerUnavailable, match="no server answers at"):
        list(create_pipeline("tiny", url=url).predict(grey()))


def test_http_connections_are_kept(http_service, grey):
    with create_pipeline("tiny", url=http_service.url, concurrency=1) as pipeline:
        for _ in range(3):
            list(pipeline.predict([grey(), grey()]))
    assert http_service.connections == 1


def test_an_http_connection_that_the_server_closed_is_replaced(http_service, grey, monkeypatch):
    monkeypatch.setattr(Handler, "timeout", 0.5)
    with create_pipeline("tiny", url=http_service.url, concurrency=1) as pipeline:
        list(pipeline.predict(grey()))
        before, deadline = http_service.connections, time.monotonic() + 30
        while http_service.hung_up < before and time.monotonic() < deadline:
            time.sleep(0.01)
        list(pipeline.predict(grey()))
    assert http_service.connections == before + 1


@pytest.mark.parametrize("http_service", ["tls"], indirect=True)
def test_https(http_service, certificate, grey):
    check_tls(http_service, certificate, grey)


@pytest.mark.parametrize("grpc_service", ["tls"], indirect=True)
def test_grpc_with_tls(grpc_service, certificate, grey):
    check_tls(grpc_service, certificate, grey)


def check_tls(service, certificate, grey):
    with create_pipeline("tiny", url=service.url, ca_file=str(certificate[0])) as pipeline:
        assert len(list(pipeline.predict([grey()] * 3))) == 3
    with pytest.raises(ServerUnavailable, match=r"is not trusted.*ca_file= names its authority"):
        list(create_pipeline("tiny", url=service.url).predict(grey()))


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_a_certificate_file_that_cannot_be_read(scheme, tmp_path, grey):
    with pytest.raises(InvalidParameter, match=r"certificate file .* cannot be read"):
        list(create_pipeline("tiny", url=f"{scheme}://127.0.0.1:9", ca_file=str(tmp_path / "no.pem")).predict(grey()))


FORK = """
import os, sys
import numpy as np
from maskserve import create_pipeline
pipeline = create_pipeline("tiny", url=sys.argv[1], timeout=20)
image = np.full((4, 4, 3), 255, np.uint8)
def score():
    return [round(float(result.scores[0])) for result in pipeline.predict([image] * 3)]
results = pipeline.predict([image] * 8)
next(results)  # fork while others are under way
child = os.fork()
if child == 0:
    status = 1
    try:
        status = 0 if score() == [1, 1, 1] else 2
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
assert len(list(results)) == 7
assert score() == [1, 1, 1]
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_goes_on(service):
    done = subprocess.run(
        [sys.executable, "-c", FORK, service.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_threads_share_a_pipeline(service, grey):
    with create_pipeline("tiny", url=service.url) as pipeline, futures.ThreadPoolExecutor(6) as threads:

        def four(n):
            return list(pipeline.predict([grey(n)] * 4))

        calls = [threads.submit(four, n) for n in range(12)]
        found = [{round(float(result.scores[0]) * 255) for result in call.result()} for call in calls]
    assert found == [{n} for n in range(12)]
