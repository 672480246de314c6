"""A reload request to a grpcs:// server is encrypted: it carries the key that lets models be loaded."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from maskserve.transport.endpoint import parse_url
from maskserve_tools.embedded.reload_request import _over_grpc

TLS_HANDSHAKE = 0x16  # the first byte of a TLS connection; that of a plain one is the P of "PRI * HTTP/2.0"


@pytest.mark.parametrize(("scheme", "first"), [("grpcs", TLS_HANDSHAKE), ("grpc", ord("P"))])
def test_what_goes_over_the_wire_first(scheme: str, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_ADMIN_KEY", "word")

    def first_byte() -> int:
        connection, _ = listener.accept()
        with connection:
            return connection.recv(1)[0]

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        listener.settimeout(20)
        seen = threads.submit(first_byte)
        endpoint = parse_url(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
        assert _over_grpc(endpoint, "people", "load", 5.0), "it cannot have worked"
        assert seen.result(20) == first
