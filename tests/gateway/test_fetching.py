"""Images from the web: what is fetched, and everything that is not."""

from __future__ import annotations

import asyncio
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from yarl import URL

from maskserve.errors import ImageTooLarge, InputError, InvalidParameter
from maskserve_gateway.addresses import is_public
from maskserve_gateway.remote_images import AllowedHosts, ImageFetcher
from maskserve_gateway.settings import Settings

NOT_PUBLIC = [
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1", "203.0.113.7"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "fe80::1", "fe80::1%lo", "fc00::1", "fd00::1"),
    *("fec0::1", "ff02::1", "2001:db8::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1"),
    *("", "localhost", "1.2.3"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "100.63.255.255"])
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("pattern", "url", "allowed"),
    [
        ("a.org", "http://a.org/x", True),
        ("a.org", "https://A.ORG./x", True),
        ("a.org", "http://a.org:80/x", True),
        ("a.org", "http://a.org:22/x", False),
        ("a.org", "http://b.a.org/x", False),
        ("a.org", "http://a.org.b/x", False),
        ("a.org", "http://a.org@b.org/x", False),
        ("a.org", "http://user:word@a.org/x", False),
        ("a.org", "ftp://a.org/x", False),
        ("a.org:8443", "https://a.org:8443/x", True),
        ("a.org:8443", "https://a.org/x", False),
        ("*.a.org", "http://b.a.org/x", True),
        ("*.a.org", "http://b.c.a.org/x", True),
        ("*.a.org", "http://a.org/x", False),
        ("*.a.org", "http://xa.org/x", False),
        ("*", "http://anything/x", True),
        ("*", "http://anything:6379/x", False),
        ("*", "gopher://anything/x", False),
    ],
)
def test_the_list_of_allowed_hosts(pattern: str, url: str, allowed: bool) -> None:
    assert AllowedHosts([pattern]).allow(URL(url)) == allowed


class Web(http.server.ThreadingHTTPServer):
    """A host of the web, at a loopback address."""

    daemon_threads = True
    requests: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        name, _, argument = self.path[1:].partition("?")
        match name:
            case "redirect":
                self.reply(302, b"", {"Location": argument})
            case "large":
                self.reply(200, b"x" * 1001)
            case "endless":
                self.send_response(200)
                self.end_headers()
                while True:
                    try:
                        self.wfile.write(b"x" * 100)
                    except OSError:
                        return
            case "slow":
                self.server.released.wait(20)  # type: ignore[attr-defined]
            case "missing":
                self.reply(404, b"")
            case _:
                self.reply(200, b"image")

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    with Web(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        server.released = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


@pytest.fixture
def fetch(web: Web) -> Callable[..., bytes]:
    """Fetch from the host `web`, which is allowed to be at a loopback address."""

    def fetch(url: str, permitted: Callable[[str], bool] = lambda address: address == "127.0.0.1") -> bytes:
        here = f"localhost:{web.server_port}"
        hosts = AllowedHosts([here, f"127.0.0.1:{web.server_port}", "*"])
        fetcher = ImageFetcher(hosts, max_bytes=1000, permitted=permitted, seconds=5)
        return asyncio.run(fetcher.fetch(url.replace("web/", f"{here}/")))

    return fetch


def test_one_pattern_is_one_pattern_not_its_letters() -> None:
    settings = Settings(urls="grpc://a:8001", model="m", image_hosts="*.example.org")  # type: ignore[arg-type]
    assert (settings.urls, settings.image_hosts) == (("grpc://a:8001",), ("*.example.org",))
    for hosts in (AllowedHosts(settings.image_hosts), AllowedHosts("*.example.org")):
        assert hosts.allow(URL("http://a.example.org/"))
        assert not hosts.allow(URL("http://evil.test/"))


@pytest.mark.parametrize("name", ["max_pixels", "timeout", "max_waiting"])
def test_settings_that_are_text_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match=name):
        Settings(urls=("grpc://a:8001",), model="m", **{name: "5"})  # type: ignore[arg-type]


def test_an_image(fetch: Callable[..., bytes], web: Web) -> None:
    assert fetch("http://web/a.jpg") == b"image"
    assert web.requests == ["/a.jpg"]


def test_an_address_with_blanks_and_other_letters(fetch: Callable[..., bytes], web: Web) -> None:
    assert fetch("http://web/two words/ü.jpg") == b"image"
    assert web.requests == ["/two%20words/%C3%BC.jpg"]


def test_redirects_are_followed(fetch: Callable[..., bytes], web: Web) -> None:
    assert fetch("http://web/redirect?/redirect?/a.jpg") == b"image"
    assert web.requests == ["/redirect?/redirect?/a.jpg", "/redirect?/a.jpg", "/a.jpg"]


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("missing", InputError, "answers with status 404"),
        ("large", ImageTooLarge, "more than 1000 bytes"),
        ("endless", ImageTooLarge, "more than 1000 bytes"),
        ("redirect?/redirect?/redirect?/redirect?/a.jpg", InputError, "redirected too often"),
        ("redirect?ftp://localhost/a.jpg", InputError, "not on the list"),
        ("redirect?file:///etc/passwd", InputError, "not on the list"),
        ("redirect?http://localhost:22/", InputError, "not on the list"),
        ("redirect?http://169.254.169.254/latest/meta-data", InputError, "cannot be fetched"),
        ("redirect?http://10.0.0.1/", InputError, "cannot be fetched"),
    ],
)
def test_what_is_not_an_image(fetch: Callable[..., bytes], path: str, kind: type[InputError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        fetch(f"http://web/{path}")
    assert type(caught.value) is kind


def test_a_host_that_is_slow(web: Web) -> None:
    hosts = AllowedHosts([f"localhost:{web.server_port}"])
    fetcher = ImageFetcher(hosts, max_bytes=1000, permitted=lambda _: True, seconds=0.2)
    with pytest.raises(InputError, match="cannot be fetched"):
        asyncio.run(fetcher.fetch(f"http://localhost:{web.server_port}/slow"))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "169.254.169.254", "0.0.0.0", "10.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::]"),
        *("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "①②⑦.⓪.⓪.①", "[fe80::1%25lo]", "[::127.0.0.1]"),
    ],
)
def test_addresses_inside_are_never_connected_to(web: Web, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are written: the list lets every host pass here, and the port is one that answers."""
    monkeypatch.setattr(AllowedHosts, "allow", lambda *_: True)
    fetcher = ImageFetcher(AllowedHosts(["*"]), max_bytes=1000, seconds=5)
    with pytest.raises(InputError, match=r"^the image's URL cannot be fetched$"):
        asyncio.run(fetcher.fetch(f"http://{host}:{web.server_port}/a.jpg"))
    assert web.requests == []


def test_a_name_that_means_something_else_a_moment_later(
    fetch: Callable[..., bytes], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is connected to is what was checked: the name is asked for once, and the answer is judged."""
    answers = iter(["127.0.0.1", "127.0.0.2"])
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, *rest: Any, **named: Any) -> Any:
        if host == "localhost":
            asked.append(host)
            host = next(answers)
        return real(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    seen: list[str] = []
    assert fetch("http://web/a.jpg", lambda address: not seen.append(address)) == b"image"  # type: ignore[func-returns-value]
    assert (asked, seen) == (["localhost"], ["127.0.0.1"])
    with pytest.raises(InputError, match="cannot be fetched"):
        fetch("http://web/a.jpg", lambda address: address == "127.0.0.1")


def test_urls_are_off_by_default() -> None:
    with pytest.raises(InputError, match="switched off"):
        asyncio.run(ImageFetcher(AllowedHosts([]), max_bytes=1).fetch("http://a.org/"))
