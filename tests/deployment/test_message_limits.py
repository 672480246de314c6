"""What a proxy lets through to a server: no message that is too large, and none that becomes so when it is unpacked."""

from __future__ import annotations

import gzip
import http.client
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from tests.deployment.conftest import installed
from tests.deployment.fleet import Fleet
from tests.deployment.proxies import RUNNING, Proxy

INFER = "/inference.GRPCInferenceService/ModelInfer"
HEALTH = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
MIB = 1 << 20
NO_LIMITS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@dataclass
class Backend(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Takes any message over gRPC and any body over HTTP, and remembers how large they were."""

    messages: list[int] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)

    def service(self, handler_call_details: Any) -> Any:
        healthy = handler_call_details.method == HEALTH

        def answer(message: bytes, context: Any) -> bytes:
            if not healthy:
                self.messages.append(len(message))
            return SERVING

        return grpc.unary_unary_rpc_method_handler(answer)


def _handler(backend: Backend) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            backend.bodies.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer()

        def _answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture(scope="module")
def backend() -> Backend:
    return Backend()


@pytest.fixture(scope="module", params=RUNNING)
def proxy(
    request: pytest.FixtureRequest, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Each proxy that is here, in front of the backend."""
    installed(request.param)
    server = grpc.server(ThreadPoolExecutor(4), handlers=[backend], options=NO_LIMITS)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(backend))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    fleet = SimpleNamespace(grpc_ports=[port], http_ports=[web.server_port], servers=[None])
    try:
        with RUNNING[request.param](cast(Fleet, fleet), tmp_path_factory.mktemp(request.param)) as running:
            yield running
    finally:
        web.shutdown()
        web.server_close()
        server.stop(0).wait(10)


def send(proxy: Proxy, size: int, compression: Any = None) -> grpc.StatusCode:
    """How a message of zeros is answered."""
    with grpc.insecure_channel(proxy.grpc_url.removeprefix("grpc://"), options=NO_LIMITS) as channel:
        try:
            channel.unary_unary(INFER)(b"\0\0" + bytes(size), timeout=60, compression=compression)
        except grpc.RpcError as error:
            code = error.code()
            assert isinstance(code, grpc.StatusCode)
            return code
        return grpc.StatusCode.OK


def test_a_message_of_a_usual_size_arrives(proxy: Proxy, backend: Backend) -> None:
    backend.messages.clear()
    for size in (10, 9 * MIB, 64 * MIB):  # the second is larger than a buffer of HAProxy
        assert send(proxy, size) == grpc.StatusCode.OK
    assert backend.messages == [12, 9 * MIB + 2, 64 * MIB + 2]


def test_a_large_message_does_not_arrive(proxy: Proxy, backend: Backend) -> None:
    backend.messages.clear()
    code = send(proxy, 130 * MIB)
    # Envoy says UNKNOWN. HAProxy says RESOURCE_EXHAUSTED, and ends the stream at once, which may be read first.
    assert code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN), code
    assert backend.messages == []


def test_a_compressed_message_does_not_arrive(proxy: Proxy, backend: Backend) -> None:
    """100 KB that are 100 MiB when they are unpacked."""
    backend.messages.clear()
    code = send(proxy, 100 * MIB, grpc.Compression.Gzip)
    assert code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN), code
    assert backend.messages == []
    assert send(proxy, 10, grpc.Compression.NoCompression) == grpc.StatusCode.OK


@pytest.mark.parametrize(("encoding", "status"), [(None, 200), ("identity", 200), ("gzip", 415), ("deflate", 415)])
def test_a_compressed_body_does_not_arrive(proxy: Proxy, backend: Backend, encoding: str | None, status: int) -> None:
    backend.bodies.clear()
    body = gzip.compress(bytes(MIB))
    headers = {} if encoding is None else {"Content-Encoding": encoding}
    with closing(http.client.HTTPConnection(proxy.http_url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("POST", "/v2/models/m/infer", body, headers)
        assert connection.getresponse().status == status
    assert backend.bodies == ([len(body)] if status == 200 else [])
