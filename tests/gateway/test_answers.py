"""Good requests, in all the forms that clients send them in."""

from __future__ import annotations

import base64
import io
import json
import uuid

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from maskserve import __version__
from maskserve.inputs.tiff import count_pages
from maskserve.pipeline import Pipeline
from tests.client.conftest import FakeTransport, make_answer
from tests.client.tiffs import Page, tiff
from tests.gateway.conftest import PATH, Start, as_base64, encoded

IMAGE = as_base64(encoded())


def test_the_envelope_is_paddlex_s(gateway: httpx.Client) -> None:
    response = gateway.post(PATH, json={"image": IMAGE})
    document = json.loads(response.content)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert list(document) == ["logId", "errorCode", "errorMsg", "result"]
    assert (document["errorCode"], document["errorMsg"]) == (0, "Success")
    assert uuid.UUID(document["logId"]).version == 4
    assert list(document["result"]) == ["instances", "image"]
    (instance,) = document["result"]["instances"]
    assert instance | {"mask": None} == {
        "bbox": [0.0, 0.0, 40.0, 30.0],
        "categoryId": 2,
        "categoryName": "car",
        "score": 1.0,
        "mask": None,
    }


def test_masks_are_run_lengths_of_the_crop(start: Start, transport: FakeTransport) -> None:
    transport.respond = lambda _: make_answer([(0, 0.9, (10.4, 5.5, 20.6, 25.5))], (30, 40))
    document = start().post(PATH, json={"image": IMAGE}).json()
    mask = document["result"]["instances"][0]["mask"]
    assert mask["size"] == [20, 11]
    crop = coco.decode({"size": mask["size"], "counts": mask["rleResult"].encode()})
    assert np.array_equal(crop, np.arange(11) < 5 * np.ones((20, 1)))


def test_every_logid_is_another(gateway: httpx.Client) -> None:
    assert len({gateway.post(PATH, json={"image": IMAGE}).json()["logId"] for _ in range(3)}) == 3


def test_the_image_is_the_one_sent_with_its_instances(gateway: httpx.Client) -> None:
    content = base64.b64decode(gateway.post(PATH, json={"image": IMAGE}).json()["result"]["image"])
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("JPEG", (40, 30))
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.min() < 200  # it was white


@pytest.mark.parametrize(
    ("default", "asked", "drawn"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True), (True, "null", True)],
)
def test_whether_there_is_an_image(start: Start, default: bool, asked: object, drawn: bool) -> None:
    fields = {} if asked is None else {"visualize": None if asked == "null" else asked}
    document = start(visualize=default).post(PATH, json={"image": IMAGE, **fields}).json()
    assert ("image" in document["result"]) == drawn


def test_a_threshold_goes_along(gateway: httpx.Client, transport: FakeTransport) -> None:
    for threshold in (0.25, "0.5", None):
        gateway.post(PATH, json={"image": IMAGE, "threshold": threshold})
    assert [request.threshold for _, request in transport.requests] == [0.25, 0.5, None]


def test_unknown_fields_are_ignored(gateway: httpx.Client) -> None:
    fields = {"fileType": 1, "logId": "mine", "nested": {"a": [1]}}
    assert gateway.post(PATH, json={"image": IMAGE, **fields}).status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_the_content_type_does_not_matter(gateway: httpx.Client, content_type: str | None) -> None:
    """The documented client for Node.js sends a form's."""
    headers = {"Content-Type": content_type} if content_type else {}
    assert gateway.post(PATH, content=json.dumps({"image": IMAGE}), headers=headers).status_code == 200


@pytest.mark.parametrize(
    "write",
    [
        lambda content: "\r\n".join(as_base64(content)[i : i + 76] for i in range(0, 2000, 76)),
        lambda content: "data:image/png;base64," + as_base64(content),
        lambda content: "data:;base64," + as_base64(content),
        lambda content: f"  {as_base64(content)}\n",
    ],
    ids=["MIME lines", "data URI", "data URI without a type", "white space"],
)
def test_base64_as_clients_write_it(gateway: httpx.Client, transport: FakeTransport, write: object) -> None:
    content = encoded()
    assert gateway.post(PATH, json={"image": write(content)}).status_code == 200  # type: ignore[operator]
    assert transport.requests[0][1].image == content


def test_a_tiff_of_several_pages_is_its_first_one(gateway: httpx.Client, transport: FakeTransport) -> None:
    file = io.BytesIO()
    pages = [Image.new("RGB", (40, 30), (0, 0, blue)) for blue in (51, 255)]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    document = gateway.post(PATH, json={"image": as_base64(file.getvalue())}).json()
    assert [instance["score"] for instance in document["result"]["instances"]] == [pytest.approx(0.2)]
    sent = transport.requests[0][1].image
    assert count_pages(sent) == 1
    assert np.array_equal(
        cv2.imdecode(np.frombuffer(sent, np.uint8), cv2.IMREAD_COLOR), np.asarray(pages[0])[:, :, ::-1]
    )


def test_nothing_found(start: Start, transport: FakeTransport) -> None:
    transport.respond = lambda _: make_answer([], (30, 40))
    assert start(visualize=False).post(PATH, json={"image": IMAGE}).json()["result"] == {"instances": []}


def test_what_the_service_says_of_itself(start: Start) -> None:
    assert start(max_body_bytes=1000, max_pixels=99, visualize=False).get("/info").json() == {
        "model": "tiny",
        "labels": ["person", "bicycle", "car"],
        "threshold": None,
        "maxBodyBytes": 1000,
        "maxPixels": 99,
        "visualizeDefault": False,
        "apiKeyRequired": False,
        "version": __version__,
    }


@pytest.mark.parametrize("big", [False, True])
def test_a_smaller_copy_is_not_the_first_page(gateway: httpx.Client, transport: FakeTransport, big: bool) -> None:
    pixels = np.full((30, 40, 3), 51, np.uint8)
    file = tiff([Page(pixels[::2, ::2].copy(), tags={254: 1}), Page(pixels)], big=big)
    document = gateway.post(PATH, json={"image": as_base64(file)}).json()
    assert document["errorCode"] == 0
    sent = cv2.imdecode(np.frombuffer(transport.requests[0][1].image, np.uint8), cv2.IMREAD_COLOR)
    assert sent.shape == pixels.shape


def test_heic_is_refused_by_its_name(gateway: httpx.Client) -> None:
    file = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    response = gateway.post(PATH, json={"image": as_base64(file)})
    assert (response.status_code, response.json()["errorMsg"][:28]) == (415, "HEIC images are not supporte")


def test_the_image_looks_as_the_client_draws_it(gateway: httpx.Client, transport: FakeTransport) -> None:
    """Two of a class have two colours, as in a saved image."""
    found = [(0, 0.9, (4.0, 4.0, 100.0, 90.0)), (0, 0.8, (104.0, 4.0, 196.0, 90.0))]
    transport.respond = lambda _: make_answer(found, (100, 200))
    pixels = np.full((100, 200, 3), 90, np.uint8)
    file = cv2.imencode(".png", pixels)[1].tobytes()
    answer = gateway.post(PATH, json={"image": as_base64(file), "visualize": True}).json()["result"]["image"]
    (result,) = Pipeline("tiny", transport).predict(pixels)
    with Image.open(io.BytesIO(base64.b64decode(answer))) as image:
        shown = np.asarray(image).astype(int)
    wanted = np.asarray(result.draw()).astype(int)
    assert np.abs(shown - wanted).mean() < 4
    assert np.abs(shown[20, 15] - wanted[20, 15]).max() < 8
    assert np.abs(shown[20, 15] - shown[20, 115]).max() > 40
