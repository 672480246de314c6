"""Addresses as people write them, and what of them is told to whom."""

import base64
import http.server
import socket
import threading
from typing import Any, ClassVar
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.conftest import values

from maskserve import Failure, create_pipeline
from maskserve.errors import InputError, InvalidParameter, MaskserveError, ServerUnavailable, printable
from maskserve.inputs.sources import images
from maskserve.inputs.urls import prepared, same_host, shown
from maskserve.pipeline import Pipeline

PNG = cv2.imencode(".png", np.full((6, 8, 3), 7, np.uint8))[1].tobytes()
SECRET = "geh:eim@1"
ENCODED = "geh%3Aeim%401"


class Site(http.server.BaseHTTPRequestHandler):
    """Gives an image for everything but what its table says."""

    redirects: ClassVar[dict[str, str]] = {}
    seen: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self):
        self.seen.append((self.path, self.headers["Authorization"]))
        assert "@" not in self.headers["Host"]
        if self.path in self.redirects:
            self.send_response(int(self.path.rpartition("=")[2] or 302))
            self.send_header("Location", self.redirects[self.path])
            self.end_headers()
        elif self.path.startswith("/private") and self.headers["Authorization"] != basic("user", SECRET):
            self.send_error(401, "No \x1b[31mway")
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(PNG)))
            self.end_headers()
            self.wfile.write(PNG)

    def log_message(self, *_):
        pass


def basic(user, password):
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture
def sites():
    """Two sites, as host:port; what was asked of both is in `Site.seen`."""
    Site.redirects, Site.seen = {}, []
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for thread in threads:
        thread.start()
    yield [f"127.0.0.1:{server.server_port}" for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


ADDRESSES = {
    "/two words.png": "/two%20words.png",
    "/straße/照片.png": "/stra%C3%9Fe/%E7%85%A7%E7%89%87.png",
    "/a.png?name=two words&ä=ö": "/a.png?name=two%20words&%C3%A4=%C3%B6",
    "/already%20encoded%C3%A4.png": "/already%20encoded%C3%A4.png",
    "/100%.png": "/100%25.png",
    "/50%zz.png": "/50%25zz.png",
    "/a.png#part": "/a.png",
    "/a@b:c.png": "/a@b:c.png",
    "/a[1]{2}.png": "/a[1]%7B2%7D.png",
    "/line\nbreak\t.png": "/line%0Abreak%09.png",
    "": "/",
    "?x=1": "/?x=1",
}


@pytest.mark.parametrize(("given", "asked"), ADDRESSES.items(), ids=ADDRESSES.values())
def test_paths_are_encoded_as_browsers_do_it(transport, sites, given, asked):
    url = f"http://{sites[0]}{given}"
    (result,) = Pipeline("tiny", transport).predict(url)
    assert values([result]) == [7]
    assert Site.seen == [(asked, None)]
    assert result["input_path"] == url


def test_white_space_around_an_address(transport, sites):
    assert values(Pipeline("tiny", transport).predict(f"http://{sites[0]}/a.png \n")) == [7]
    assert Site.seen == [("/a.png", None)]


def test_white_space_before_an_address(transport, sites):
    assert values(Pipeline("tiny", transport).predict(f" \thttp://{sites[0]}/a.png")) == [7]
    assert Site.seen == [("/a.png", None)]


def test_redirections_that_lead_nowhere_are_told_on_one_line_and_without_passwords(transport, sites):
    Site.redirects = {"/r=302": f"sftp://user:{SECRET}@files.example/a.png", "/s=302": "/s=302"}
    for path, words in {"/r=302": "sftp://***@files.example/a.png", "/s=302": "infinite loop"}.items():
        with pytest.raises(InputError) as caught:
            list(Pipeline("tiny", transport).predict(f"http://{sites[0]}{path}"))
        assert words in str(caught.value)
        assert SECRET not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_password_opens_and_is_not_told(transport, sites, tmp_path, capsys):
    url = f"http://user:{ENCODED}@{sites[0]}/private/a b.png"
    (result,) = Pipeline("tiny", transport).predict(url)
    assert Site.seen == [("/private/a%20b.png", basic("user", SECRET))]
    assert result["input_path"] == url  # what the caller gave
    saved = result.save_to_img(tmp_path / "out")
    assert saved.name == "a b.png"


@pytest.mark.parametrize(
    "userinfo",
    [f"user:{ENCODED}", f"us%40er:{ENCODED}", "user:wr%6Fng", "user:geh/eim", "user:geh#eim", "user:geh?eim"],
)
@pytest.mark.parametrize("place", ["{}/private.png", "127.0.0.1:9/a.png", "127.0.0.1:99999/a.png", "[::1/a.png"])
def test_errors_do_not_tell_passwords(transport, sites, userinfo, place):
    password = userinfo.partition(":")[2]
    url = f"http://{userinfo}@{place.format(sites[0])}"
    for outcome in Pipeline("tiny", transport).predict([url, f"ftp{url[4:]}"], on_error="return"):
        if isinstance(outcome, Failure):
            for secret in (password, unquote(password), password[-4:], "geh"):
                assert secret not in outcome.error.message
            assert "***@" in outcome.error.message
            assert outcome.input_path in (url, f"ftp{url[4:]}")
    text = f"http://{userinfo}@{place.format(sites[0])}"
    with pytest.raises(InvalidParameter) as caught:
        create_pipeline("m", url=text)
    assert password not in caught.value.message
    assert "geh" not in caught.value.message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_password_goes_along_to_the_same_host_only(transport, sites, status):
    here, there = sites
    Site.redirects = {f"/r={status}": f"http://{there}/b c.png", f"/s={status}": "/private/ü.png"}
    pipeline = Pipeline("tiny", transport)
    assert values(pipeline.predict(f"http://user:{ENCODED}@{here}/r={status}")) == [7]
    assert Site.seen == [(f"/r={status}", basic("user", SECRET)), ("/b%20c.png", None)]
    Site.seen.clear()
    assert values(pipeline.predict(f"http://user:{ENCODED}@{here}/s={status}")) == [7]
    assert Site.seen[1][1] == basic("user", SECRET)


def test_a_redirection_may_bring_a_password(transport, sites):
    Site.redirects = {"/r=302": f"http://user:{ENCODED}@{sites[1]}/private.png"}
    assert values(Pipeline("tiny", transport).predict(f"http://{sites[0]}/r=302")) == [7]
    assert [seen[1] for seen in Site.seen] == [None, basic("user", SECRET)]


def test_hosts_in_other_scripts():
    assert prepared("http://bücher.example/ä")[0] == "http://xn--bcher-kva.example/%C3%A4"
    assert prepared("HTTP://Straße.de:8000")[0] == "http://xn--strae-oqa.de:8000"
    assert prepared("http://例え。テスト/")[0] == "http://xn--r8jz45g.xn--zckzah/"
    assert prepared("http://u:p@[::1]:80/a") == ("http://[::1]:80/a", basic("u", "p"))
    assert prepared("http://user@host/")[1] == basic("user", "")
    assert prepared("http://host/")[1] is None
    with pytest.raises(ValueError, match="too long"):
        prepared(f"http://{'ü' * 70}.de/")


def test_the_same_host():
    assert same_host("http://a/x", "http://a:80/y")
    assert same_host("http://a/x", "https://a/y")
    assert not same_host("https://a/x", "http://a/y")
    assert not same_host("http://a/x", "http://a:81/y")
    assert not same_host("http://a/x", "http://b/x")


def test_what_has_no_password_is_shown_as_it_is():
    for text in ("a@b.jpg", "http://host/a@b.jpg", "http://host:80/a@b", "http://[::1]/a@b", "c:/a@b", "http://h?a@b"):
        assert shown(text) == text


@given(st.text(), st.text(alphabet=st.characters(codec="utf-8")))
def test_any_text_may_follow_a_host(path, query):
    try:
        address, authorization = prepared(f"http://host/{path}?{query}")
    except ValueError:
        return
    assert address.isascii()
    assert authorization is None
    assert address.isprintable()
    assert " " not in address


@pytest.fixture
def talking():
    """A port that says something whatever it is asked."""
    stop = threading.Event()
    words: list[Any] = []

    def talk():
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(words[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, daemon=True)
        thread.start()

        def say(content):
            words[:] = [content]
            return f"127.0.0.1:{listener.getsockname()[1]}"

        yield say
        stop.set()


ANSWERS = {
    "gRPC": (b"\0\0\x12\x04\0\0\0\0\0\0\x03\x7f\xff\xff\xff\0\x04\0\0\xff\xff\r\n", "speaks gRPC: write grpc://"),
    "TLS": (b"\x15\x03\x01\0\x02\x02\x46\n", "does not speak HTTP"),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP"),
    "an escape in the reason": (b"HTTP/1.1 500 \x1b[31mred\x07\r\nContent-Length: 0\r\n\r\n", "500"),
    "an escape in the words": (b"HTTP/1.1 500 x\r\nContent-Length: 6\r\n\r\n\x1b[31m\x9b", r"\\x1b\[31m"),
    "nothing": (b"", "closed"),
}


@pytest.mark.parametrize(("content", "words"), ANSWERS.values(), ids=ANSWERS)
def test_bytes_of_other_services_are_not_printed(talking, content, words):
    place = talking(content)
    pipeline = create_pipeline("m", url=f"http://{place}", retries=0)
    with pytest.raises(MaskserveError, match=words) as caught:
        next(pipeline.predict(np.zeros((4, 4, 3), np.uint8)))
    assert caught.value.message.isprintable()
    (image,) = images(f"http://{place}/a.jpg")
    with pytest.raises(InputError, match="cannot be fetched") as caught:
        image.encoded()
    assert caught.value.message.isprintable()


def test_a_real_grpc_port_is_recognised():
    grpc = pytest.importorskip("grpc")
    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(ServerUnavailable, match="speaks gRPC: write grpc:// instead of http://") as caught:
            create_pipeline("m", url=f"http://127.0.0.1:{port}", retries=0).labels  # noqa: B018
        assert caught.value.message.isprintable()
    finally:
        server.stop(None)


def test_names_that_are_no_text_are_written_as_escapes(tmp_path):
    (image,) = images(str(tmp_path / "caf\udce9\x1b[2J.jpg"))
    with pytest.raises(InputError, match="no such file") as caught:
        image.encoded()
    assert caught.value.message.isprintable()
    assert MaskserveError("a\x00b\x9b\udce9\tc\nd ü 照 \U0001f468\u200d\U0001f469").message == (
        "a\\x00b\\x9b\\xe9\tc\nd ü 照 \U0001f468\u200d\U0001f469"
    )
    assert printable("plain") == "plain"
