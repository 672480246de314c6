"""A web server that plays PaddleX's download site, as it is on its bad days too."""

from __future__ import annotations

import io
import re
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from maskserve_tools.models.download import Limits

NAME = "PP-YOLOE_seg-S"
VERSION = "paddle3.0b2"
# Incompressible and not periodic, so that a piece in the wrong place shows.
MODEL = {
    "inference.yml": b"Global: {model_name: PP-YOLOE_seg-S}\n",
    "inference.pdmodel": b"program" * 100,
    "inference.pdiparams": b"".join(i.to_bytes(4, "little") for i in range(50_000)),
}
QUICK = Limits(timeout=0.5, attempts=3, pause=0, max_bytes=1 << 20)
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


def content_of(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tar_of(files: dict[str, bytes]) -> bytes:
    """An uncompressed tar with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


OFFICIAL = tar_of({f"{NAME}_infer/{name}": content for name, content in MODEL.items()})


class Handler(BaseHTTPRequestHandler):
    """Answers with the site's next behaviour, or as the real site does when there is none left."""

    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.requests.append((self.path, self.headers.get("Range")))
        behaviour = self.server.behaviours.pop(0) if self.server.behaviours else serve
        behaviour(self)

    def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        """Send exactly this; a Content-Length is not added."""
        self.server.answers.append(status)
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Be silent."""


Behaviour = Callable[[Handler], None]


class Site(ThreadingHTTPServer):
    """One file at every address.

    Attributes:
        content: the file.
        etag: its validator.
        behaviours: what to do for the next requests, one after the other.
        requests: path and Range header of each request so far.
        answers: the status of each answer so far.
    """

    daemon_threads = False  # closing the server waits for them, so that no socket is left open

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = OFFICIAL
        self.etag = '"one"'
        self.behaviours: list[Behaviour] = []
        self.requests: list[tuple[str, str | None]] = []
        self.answers: list[int] = []

    def handle_error(self, *_: object) -> None:
        """Be silent: clients hang up on bad behaviour."""

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.server_port}/models"

    def ranges(self) -> list[str | None]:
        """The Range header of each request so far."""
        return [asked for _, asked in self.requests]


def serve(handler: Handler) -> None:
    """The file or the range asked for, where the If-Range still holds."""
    site = handler.server
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if asked is None or handler.headers.get("If-Range", site.etag) != site.etag:
        return whole(handler)
    begin, size = int(asked[1]), len(site.content)
    if begin >= size:
        return handler.answer(416, {"Content-Length": "0"}, b"")
    headers = {
        "ETag": site.etag,
        "Content-Length": str(size - begin),
        "Content-Range": f"bytes {begin}-{size - 1}/{size}",
    }
    return handler.answer(206, headers, site.content[begin:])


def whole(handler: Handler) -> None:
    """The whole file, whatever range was asked for."""
    site = handler.server
    handler.answer(200, {"ETag": site.etag, "Content-Length": str(len(site.content))}, site.content)


def cut_off(after: int, **headers: str) -> Behaviour:
    """Announce the whole file, and hang up after some bytes."""

    def behave(handler: Handler) -> None:
        site = handler.server
        announced = {"ETag": site.etag, "Content-Length": str(len(site.content)), **headers}
        handler.answer(200, announced, site.content[:after])

    return behave


def status(code: int, **headers: str) -> Behaviour:
    """An empty answer with this status."""
    return lambda handler: handler.answer(code, {"Content-Length": "0", **headers}, b"")


def silent(handler: Handler) -> None:
    """No answer for longer than the client waits."""
    time.sleep(2 * QUICK.timeout)


def drip(handler: Handler) -> None:
    """A byte now and then, each in time and all together too slow."""
    handler.answer(200, {"ETag": handler.server.etag, "Content-Length": str(len(handler.server.content))}, b"")
    for _ in range(100):
        handler.wfile.write(b"x")
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment knows nothing of the site."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def site() -> Iterator[Site]:
    """A running site."""
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, which is the default one."""
    monkeypatch.setenv("MASKSERVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
