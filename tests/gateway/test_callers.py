"""Requests that a web page makes through a browser, and what a browser is told about answers."""

from __future__ import annotations

import logging
import socket

import httpx
import pytest

from maskserve.errors import InvalidParameter
from maskserve_gateway.access_log import ACCESS_LOG
from maskserve_gateway.callers import Callers
from maskserve_gateway.forwarding import Proxies
from tests.client.conftest import FakeTransport
from tests.gateway.conftest import PATH, Start, as_base64, encoded, envelope

IMAGE = as_base64(encoded())
EVERYWHERE, LOOPBACK = "0.0.0.0", "127.0.0.1"
HOSTS = {
    "localhost": (True, True),
    "localhost:8080": (True, True),
    "LOCALHOST": (True, True),
    "localhost.": (True, True),
    "localhost.:8080": (True, True),
    "localhost:": (True, True),  # a port may be left empty
    "a.localhost": (True, True),
    "127.0.0.1": (True, True),
    "127.0.0.9:80": (True, True),
    "[::1]:8080": (True, True),
    socket.gethostname(): (True, True),
    "192.168.1.5": (False, True),
    "[2001:db8::1]": (False, True),
    "maskserve-gateway": (False, True),
    "gateway.maskserve.svc": (False, True),
    "gateway.maskserve.svc.cluster.local:8080": (False, True),
    "evil.example": (False, False),
    "evil.example:8080": (False, False),
    "localhost.evil.example": (False, False),
    "127.0.0.1.nip.io": (False, False),
    "evil.example.": (False, False),
    "": (False, False),
    "localhost:x": (False, False),
    "localhost:80:80": (False, False),
    "user@localhost": (False, False),
    "localhost/": (False, False),
    "localhost evil": (False, False),
    "[::1": (False, False),
    "2130706433": (False, True),  # a single word to a browser is a number to nobody here: no page can have it
    "l\xf6calhost": (False, False),
}


@pytest.mark.parametrize("host", HOSTS)
def test_hosts(host: str) -> None:
    assert (Callers(LOOPBACK).knows_host(host), Callers(EVERYWHERE).knows_host(host)) == HOSTS[host]


@pytest.mark.parametrize(
    ("pattern", "host", "known"),
    [
        ("example.org", "example.org:443", True),
        ("Example.ORG.", "example.org", True),
        ("example.org", "a.example.org", False),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "evilexample.org", False),
        ("*", "whatever.example", True),
        ("*", "what ever", False),
        ("192.168.1.5", "192.168.1.5:80", True),
    ],
)
def test_further_hosts(pattern: str, host: str, known: bool) -> None:
    assert Callers(LOOPBACK, [pattern]).knows_host(host) is known


@pytest.mark.parametrize(
    ("origin", "host", "known"),
    [
        ("http://localhost:8080", "localhost:8080", True),
        ("http://localhost", "localhost:80", True),
        ("https://example.org", "example.org", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://localhost:3000", "localhost:8080", False),
        ("http://evil.example", "localhost:8080", False),
        ("null", "localhost:8080", False),
        ("file://", "localhost:8080", False),
        ("chrome-extension://abc", "localhost:8080", False),
        ("http://localhost:99999", "localhost:8080", False),
        ("http://[::1", "localhost:8080", False),
        ("", "", False),
        ("https://app.example.org", "localhost:8080", True),
        ("https://app.example.org:444", "localhost:8080", False),
    ],
)
def test_origins(origin: str, host: str, known: bool) -> None:
    assert Callers(LOOPBACK, origins=["https://app.example.org/"]).knows_origin(origin, host) is known
    assert Callers(LOOPBACK, origins=["*"]).knows_origin(origin, host)


@pytest.mark.parametrize("wrong", ["http://example.org", "a b", "", "example.org:80", "*example.org", "a.*"])
def test_what_is_no_host(wrong: str) -> None:
    with pytest.raises(InvalidParameter, match="is not a host"):
        Callers(LOOPBACK, [wrong])


@pytest.mark.parametrize("wrong", ["example.org", "https://", "https://a/b", "https://a b", ""])
def test_what_is_no_origin(wrong: str) -> None:
    with pytest.raises(InvalidParameter, match="is not an origin"):
        Callers(LOOPBACK, origins=[wrong])


def test_a_page_with_a_name_for_loopback(gateway: httpx.Client, transport: FakeTransport) -> None:
    """DNS rebinding: the page's own name leads to 127.0.0.1, so that its browser sees no other origin."""
    headers = {"Host": "evil.example", "Origin": "http://evil.example"}
    words = "this gateway does not answer for the host 'evil.example'; its option --allow-host adds a name"
    assert envelope(gateway.post(PATH, json={"image": IMAGE}, headers=headers)) == (421, words)
    for path in ("/", "/info", "/metrics", "/health", "/openapi.json", "/docs/", "/page/main.js", "/nothing"):
        assert envelope(gateway.get(path, headers={"Host": "evil.example"}))[0] == 421
    assert not transport.requests


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
def test_a_page_of_another_host(gateway: httpx.Client, transport: FakeTransport, origin: str) -> None:
    """The content type of a form needs no leave of the gateway's: the browser sends the request at once."""
    headers = {"Origin": origin, "Content-Type": "text/plain"}
    response = gateway.post(PATH, json={"image": IMAGE}, headers=headers)
    words = "pages of other hosts may not use this gateway; its option --allow-origin allows one"
    assert envelope(response) == (403, words)
    assert "access-control-allow-origin" not in response.headers
    assert not transport.requests


def test_the_gateway_s_own_page(gateway: httpx.Client) -> None:
    for headers in (
        {"Origin": str(gateway.base_url).rstrip("/")},
        {"Origin": "http://a", "Sec-Fetch-Site": "same-origin"},
    ):
        assert gateway.post(PATH, json={"image": IMAGE}, headers=headers).status_code == 200


def test_a_page_that_was_allowed(start: Start) -> None:
    gateway = start(allow_origins=["https://app.example.org"])
    page = {"Origin": "https://app.example.org"}
    response = gateway.post(PATH, json={"image": IMAGE}, headers=page)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://app.example.org"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}
    before = gateway.options(PATH, headers=page | asked)
    assert before.status_code == 200
    assert "x-api-key" in before.headers["access-control-allow-headers"]
    refused = gateway.post(PATH, json={"image": "?"}, headers=page)  # which the page may read, too
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, "https://app.example.org")
    assert gateway.options(PATH, headers=asked | {"Origin": "https://evil.example"}).status_code == 403


def test_a_host_that_was_allowed(start: Start) -> None:
    gateway = start(allow_hosts=["images.example.org"])
    assert gateway.get("/info", headers={"Host": "images.example.org"}).status_code == 200
    assert gateway.get("/info", headers={"Host": "example.org"}).status_code == 421


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /info HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /info HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b"400"),
        (b"GET /info HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nOrigin: http://localhost\r\n\r\n", b"400"),
        (b"GET /info HTTP/1.0\r\n\r\n", b"200"),  # as HAProxy's health checks have it
    ],
)
def test_one_host(gateway: httpx.Client, head: bytes, status: bytes) -> None:
    with socket.create_connection((gateway.base_url.host, gateway.base_url.port or 80), 20) as connection:
        connection.sendall(head)
        assert connection.recv(12)[9:] == status


ANSWERS: tuple[str, ...] = (
    "/",
    "/docs/",
    "/docs/start.js",
    "/page/main.js",
    "/info",
    "/health",
    "/metrics",
    "/openapi.json",
    "/page",
)
ANSWERS += ("/nothing", PATH, "/page/nothing")


@pytest.mark.parametrize("path", ANSWERS)
def test_what_a_browser_is_told(gateway: httpx.Client, path: str) -> None:
    response = gateway.get(path, headers={"Accept": "text/html"})
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]
    (policy,) = response.headers.get_list("content-security-policy")
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert response.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_fault_of_ours_has_them_too(start: Start, transport: FakeTransport) -> None:
    def fail(_: object) -> list[object]:
        raise ZeroDivisionError

    transport.respond = fail  # type: ignore[assignment]
    response = start().post(PATH, json={"image": IMAGE})
    assert (response.status_code, response.headers["x-content-type-options"]) == (500, "nosniff")


def scope(peer: str | None, *forwarded: str) -> dict[str, object]:
    headers = [(b"x-forwarded-for", text.encode("latin-1")) for text in forwarded]
    return {"client": None if peer is None else (peer, 1234), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.7",), "192.0.2.1"),  # nobody who is trusted
        ("127.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        ("127.0.0.1", ("198.51.100.7:5000",), "198.51.100.7"),
        ("127.0.0.1", ("[2001:db8::1]:5000",), "2001:db8::1"),
        ("127.0.0.1", ("8.8.8.8, 198.51.100.7",), "198.51.100.7"),  # the first was written by the client
        ("127.0.0.1", ("8.8.8.8", "198.51.100.7, 10.0.0.9"), "198.51.100.7"),
        ("127.0.0.1", ("8.8.8.8, x, 10.0.0.9",), "10.0.0.9"),
        ("127.0.0.1", ('1.2.3.4 status=200 reason="',), "127.0.0.1"),
        ("127.0.0.1", ("fe80::1%a b status=200",), "fe80::1"),
        ("127.0.0.1", ("::ffff:198.51.100.7",), "198.51.100.7"),
        ("127.0.0.1", ("",), "127.0.0.1"),
        ("127.0.0.1", ("unknown",), "127.0.0.1"),
        ("127.0.0.1", ("10.0.0.1, " * 5000,), "127.0.0.1"),
        ("unix", ("8.8.8.8",), "-"),
        (None, ("8.8.8.8",), "-"),
    ],
)
def test_where_a_request_comes_from(peer: str | None, forwarded: tuple[str, ...], client: str) -> None:
    assert Proxies(["127.0.0.0/8", "10.0.0.0/8"]).client_of(scope(peer, *forwarded)) == client


def test_what_is_no_proxy() -> None:
    with pytest.raises(InvalidParameter, match="trusted_proxies: 'nginx' does not appear to be"):
        Proxies(["nginx"])


def test_nobody_writes_into_the_log(gateway: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, ACCESS_LOG):
        for text in (' status=200 reason="fine"', "1.2.3.4\x0b2026", "\x85", "::1%\x1b[2K"):
            with socket.create_connection((gateway.base_url.host, gateway.base_url.port or 80), 20) as connection:
                head = (
                    f"GET /nothing HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {text}\r\nTracestate: {text}\r\n\r\n"
                )
                connection.sendall(head.encode("latin-1"))
                assert connection.recv(5) == b"HTTP/"
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if " client=127.0.0.1 method=GET path='/nothing' status=404" in line]) >= 2
    assert all(line.isascii() and line.isprintable() and "fine" not in line for line in lines)
