"""What `maskserve.transport` promises to those who use it without a pipeline."""

import inspect
from contextlib import closing
from dataclasses import replace

import cv2
import pytest
from tests.client.transport.conftest import CONFIG, INDEX

import maskserve.transport
from maskserve.errors import InvalidParameter, ServerError, ServerUnavailable
from maskserve.transport import (
    Endpoint,
    ImageRequest,
    ServedModel,
    ServerStatus,
    open_transport,
    parse_url,
    read_answer,
)


def test_the_names_are_sorted_documented_and_complete():
    face = maskserve.transport
    assert face.__all__ == sorted(face.__all__)
    for name in face.__all__:
        assert inspect.getdoc(getattr(face, name)), name
    public = {name for name in vars(face) if not name.startswith("_") and not inspect.ismodule(getattr(face, name))}
    assert public == set(face.__all__)


def test_a_server_is_asked_by_its_url(service, grey):
    with closing(open_transport(service.url)) as transport:
        assert transport.url == service.url
        assert transport.status() == ServerStatus("fake", service.version, ready=True)
        assert transport.models() == [ServedModel(*entry) for entry in INDEX]
        assert transport.model_config("tiny")["parameters"] == CONFIG["parameters"]
        image = bytes(cv2.imencode(".png", grey(51))[1])
        found = read_answer(transport.infer("tiny", ImageRequest(image, threshold=0.0)), labels=["a", "b", "c"])
    assert (found.labels, found.image_size) == (("c",), grey().shape[:2])
    assert found.scores.tolist() == pytest.approx([0.2])


def test_an_endpoint_says_more_than_a_url(service, grey):
    endpoint = replace(parse_url(service.url), headers={"x-word": "1"})
    assert isinstance(endpoint, Endpoint)
    with closing(open_transport(endpoint)) as transport:
        transport.infer("tiny", ImageRequest(bytes(cv2.imencode(".png", grey())[1])))
    assert [headers["x-word"] for headers in service.headers] == ["1"]


@pytest.mark.parametrize("readiness", [400, 503])
def test_a_server_that_is_not_ready_says_so(service, readiness):
    service.readiness = readiness
    with closing(open_transport(service.url)) as transport:
        assert not transport.status().ready


def test_readiness_that_is_kept_back_is_an_error(http_service):
    http_service.readiness = 403
    with closing(open_transport(http_service.url)) as transport, pytest.raises(ServerError, match="readiness"):
        transport.status()


def test_what_is_no_url_and_nobody_there():
    with pytest.raises(InvalidParameter, match="not the URL of a server"):
        open_transport("localhost")
    for scheme in ("http", "grpc"):
        with closing(open_transport(f"{scheme}://127.0.0.1:1")) as transport:  # noqa: SIM117
            with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:1"):
                transport.status()
