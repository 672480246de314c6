"""Images at addresses: fetched once, when it is their turn, and refused when they are none."""

import http.server
import threading

import cv2
import numpy as np
import pytest

from maskserve.errors import ImageTooLarge, InputError
from maskserve.inputs.sources import images

BGR = np.random.default_rng(5).integers(0, 256, (7, 5, 3), np.uint8)
PNG = cv2.imencode(".png", BGR)[1].tobytes()


class Site(http.server.BaseHTTPRequestHandler):
    visits = 0

    def do_GET(self):
        Site.visits += 1
        if self.path == "/moved":
            self.reply(302, b"", Location="/photo.png")
        elif self.path == "/escape":
            self.reply(302, b"", Location="file:///etc/hostname")
        elif self.path.startswith("/photo.png"):
            self.reply(200, PNG)
        elif self.path == "/clip.mp4":
            self.reply(200, b"\0\0\0\x18ftypisom" + bytes(100))
        else:
            self.reply(404, b"no")

    def reply(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    Site.visits = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_is_fetched_once_when_its_turn_comes(site):
    (input_image,) = images(f"{site}/photo.png?size=5")
    assert Site.visits == 0
    assert input_image.encoded() == PNG
    assert np.array_equal(input_image.bgr(), BGR)
    assert input_image.input_path == f"{site}/photo.png?size=5"
    assert Site.visits == 1


def test_a_redirection_is_followed(site):
    (input_image,) = images(f"{site}/moved")
    assert input_image.encoded() == PNG


@pytest.mark.parametrize(("path", "message"), [("/nothing", "404"), ("/escape", "cannot be fetched")])
def test_a_url_without_a_picture(site, path, message):
    (input_image,) = images(site + path)
    with pytest.raises(InputError, match=message):
        input_image.encoded()


def test_a_video_at_an_address_is_to_be_saved_first(site):
    (image,) = images(f"{site}/clip.mp4")
    with pytest.raises(InputError, match=r"clip\.mp4' is a video: save it to a file"):
        image.load()


def test_a_url_where_nobody_answers():
    (input_image,) = images("http://127.0.0.1:9/a.png")
    with pytest.raises(InputError, match=r"cannot be fetched.*refused"):
        input_image.encoded()


def test_a_download_has_a_limit(site, monkeypatch):
    monkeypatch.setattr("maskserve.inputs.download._MAX_BYTES", 10)
    (input_image,) = images(f"{site}/photo.png")
    with pytest.raises(ImageTooLarge, match="larger than"):
        input_image.encoded()
