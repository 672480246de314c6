"""Bad requests and bad servers: the truth in the status, nothing of the house in the words."""

from __future__ import annotations

import gzip
import json

import httpx
import pytest

from maskserve import errors
from tests.client.conftest import FakeTransport, make_answer
from tests.gateway.conftest import PATH, Start, as_base64, encoded, envelope

IMAGE = as_base64(encoded())
TEXT = as_base64(b"hello")

BAD_BODIES = {
    "empty": (b"", 422, "body: Invalid JSON: EOF while parsing a value at line 1 column 0"),
    "no JSON": (b"{", 422, "body: Invalid JSON: EOF while parsing an object at line 1 column 1"),
    "an array": (b"[]", 422, "body: Input should be an object"),
    "null": (b"null", 422, "body: Input should be an object"),
    "not UTF-8": (b'{"image": "\xff"}', 422, "body: Invalid JSON: invalid unicode code point at line 1 column 12"),
    "half a letter": (b"\xff\xfe{", 422, "body: Invalid JSON: its bytes are no text in UTF-8 or UTF-16"),
    "no image": (b'{"threshold": 0.5}', 422, "body.image: Field required"),
    "an image that is a number": (b'{"image": 5}', 422, "body.image: Input should be a valid string"),
    "no number": (
        b'{"image": "", "threshold": "abc"}',
        422,
        "body.threshold: Input should be a valid number, unable to parse string as a number",
    ),
    "not a number": (b'{"image": "", "threshold": NaN}', 422, "body.threshold: Input should be a finite number"),
    "a threshold of 50": (
        b'{"image": "", "threshold": 50}',
        422,
        "body.threshold: Input should be less than or equal to 1",
    ),
    "a negative threshold": (
        b'{"image": "", "threshold": -0.1}',
        422,
        "body.threshold: Input should be greater than or equal to 0",
    ),
    "a threshold that is true": (
        b'{"image": "", "threshold": true}',
        422,
        "body.threshold: Value error, a threshold is a number between 0 and 1",
    ),
    "deep": (b'{"image": ' + b"[" * 5000, 422, None),
    "no image in it": (b'{"image": ""}', 400, "the image is empty (0 bytes)"),
    "white space": (b'{"image": " \\n"}', 400, "the image is empty (0 bytes)"),
    "not Base64": (b'{"image": "?"}', 400, "the image is not Base64: there is '?' at position 0"),
    "a path": (b'{"image": "./demo.jpg"}', 400, "the image is not Base64: there is '.' at position 0"),
    "no ASCII": ('{"image": "ä"}'.encode(), 400, "the image is not Base64: there is '\\xe4' at position 0"),
    "no padding": (b'{"image": "aGFsbG8"}', 400, "the image is not Base64: its length or its padding is wrong"),
    "URL-safe": (
        b'{"image": "_w=="}',
        400,
        "the image is not Base64: this is its URL-safe alphabet; send the standard one, with + and /",
    ),
    "not an image": (json.dumps({"image": TEXT}).encode(), 400, "not an image"),
    "a PDF file": (
        json.dumps({"image": as_base64(b"%PDF-1.7\n")}).encode(),
        415,
        "PDF files are not supported; save it as JPEG, or send one of JPEG, PNG, WEBP, BMP, TIFF",
    ),
    "a URL": (
        b'{"image": "http://127.0.0.1/x.jpg"}',
        400,
        "image URLs are switched off here; send the image's content in Base64",
    ),
    "a file's URL": (b'{"image": "file:///etc/passwd"}', 400, "the image is a URL, but neither http nor https"),
}


@pytest.mark.parametrize(("body", "status", "message"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_bodies(gateway: httpx.Client, body: bytes, status: int, message: str | None) -> None:
    found = envelope(gateway.post(PATH, content=body))
    assert found == (status, found[1] if message is None else message)


SECRET = "grpc://10.1.2.3:8001 /srv/models"
TROUBLE = {
    "unavailable": (errors.ServerUnavailable(SECRET), 503, "the model's server cannot be reached; try again later"),
    "not ready": (errors.ModelNotReady(SECRET), 503, "the model cannot answer now; try again later"),
    "no such model": (errors.ModelNotFound(SECRET), 502, "the model's server does not have the model"),
    "too late": (errors.RequestTimeout(SECRET), 504, "the model gave no answer in time"),
    "failed": (errors.InferenceFailed(SECRET), 502, "the model failed on this image"),
    "forbidden": (errors.ServerError(SECRET), 502, "the model's server refused the request"),
    "too large for the wire": (errors.ImageTooLarge(SECRET), 413, "the image is too large for the server"),
    "odd": (errors.InputError(SECRET), 400, "the image is not accepted"),
    "too many pixels": (errors.ImageTooLarge("9x9 pixels"), 413, "9x9 pixels"),
    "of another kind": (errors.UnsupportedFormat("GIF"), 415, "GIF"),
    "a threshold without sense": (errors.InvalidParameter("threshold"), 422, "threshold"),
    "a fault of ours": (ZeroDivisionError(SECRET), 500, "Internal server error"),
}


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("strict", [False, True], ids=["truthful", "strict"])
def test_trouble_behind_the_gateway(start: Start, transport: FakeTransport, trouble: str, strict: bool) -> None:
    error, status, message = TROUBLE[trouble]

    def fail(_: object) -> list[object]:
        raise error

    transport.respond = fail  # type: ignore[assignment]
    response = start(strict_paddlex=strict, page=False).post(PATH, json={"image": IMAGE})
    assert envelope(response) == ((500, "Internal server error") if strict else (status, message))
    if not strict:
        assert ("retry-after" in response.headers) == (status == 503)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_as_windows_writes_it(start: Start, encoding: str) -> None:
    """PowerShell's and editors' files begin with a byte order mark; PaddleX takes what Python's json does."""
    body = json.dumps({"image": IMAGE, "visualize": False}).encode(encoding)
    assert start().post(PATH, content=body).status_code == 200


def test_a_compressed_request_is_told_so(start: Start) -> None:
    body, gateway = gzip.compress(json.dumps({"image": IMAGE}).encode()), start()
    assert envelope(gateway.post(PATH, content=body, headers={"Content-Encoding": "GZIP"})) == (
        415,
        "the request is compressed (Content-Encoding: 'GZIP'), which is not taken; send it plain",
    )
    assert gateway.post(PATH, json={"image": IMAGE}, headers={"Content-Encoding": "identity"}).status_code == 200
    assert envelope(start(strict_paddlex=True).post(PATH, content=body, headers={"Content-Encoding": "gzip"}))[0] == 422


def test_paddlex_s_words_for_a_body_without_an_image(start: Start) -> None:
    status, message = envelope(start(strict_paddlex=True).post(PATH, json={}))
    assert status == 422
    assert json.loads(message) == [{"type": "missing", "loc": "body.image", "msg": "Field required"}]


def test_paddlex_s_status_for_what_is_not_an_image(start: Start) -> None:
    gateway = start(strict_paddlex=True)
    for image in ("?", TEXT, "", "http://127.0.0.1/", as_base64(b"%PDF-1.7")):
        assert envelope(gateway.post(PATH, json={"image": image})) == (500, "Internal server error")


def test_more_pixels_than_the_gateway_draws(start: Start, transport: FakeTransport) -> None:
    transport.respond = lambda _: make_answer([], (30, 40))
    response = start(max_pixels=1199).post(PATH, json={"image": IMAGE})
    assert envelope(response) == (413, "the image has 40x30 pixels, the limit is 1199 in all")


@pytest.mark.parametrize("strict", [False, True], ids=["truthful", "strict"])
def test_other_places_and_methods(start: Start, strict: bool) -> None:
    gateway = start(strict_paddlex=strict)
    assert envelope(gateway.get("/nothing")) == (404, "Not Found")
    assert envelope(gateway.get("/page/../../app.py")) == (404, "Not Found")
    response = gateway.get(PATH)
    assert envelope(response) == (405, "Method Not Allowed")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("strict", [False, True], ids=["truthful", "strict"])
def test_api_keys(start: Start, monkeypatch: pytest.MonkeyPatch, strict: bool) -> None:
    monkeypatch.setenv("MASKSERVE_API_KEY", "open sesame")
    gateway = start(strict_paddlex=strict)
    assert gateway.get("/info").json()["apiKeyRequired"] is True
    for headers in ({"X-API-Key": "open sesame"}, {"Authorization": "Bearer open sesame"}):
        assert gateway.post(PATH, json={"image": IMAGE}, headers=headers).status_code == 200
    for headers in ({"X-API-Key": "open"}, {"Authorization": "Basic open sesame"}, {"X-API-Key": "\xe4"}, {}):
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        response = gateway.post(PATH, json={"image": IMAGE}, headers=sent)
        assert envelope(response)[0] == 401
        assert response.headers["www-authenticate"] == "Bearer"
