"""What is asked and answered, over both protocols."""

import pytest
from tests.client.transport.conftest import INDEX

from maskserve import create_pipeline
from maskserve.errors import (
    ImageTooLarge,
    InferenceFailed,
    InvalidImage,
    ModelNotFound,
    ModelNotReady,
    RequestTimeout,
    ServerError,
    ServerOverloaded,
)
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url


def test_a_pipeline_over_the_wire(service, grey):
    with create_pipeline("tiny", url=service.url, headers={"Authorization": "Bearer word"}) as pipeline:
        results = list(pipeline.predict([grey(n, 5 + n, 9) for n in range(12)], threshold=0.0))
    assert [round(float(result.scores[0]) * 255) for result in results] == list(range(12))
    assert [result["boxes"][0]["coordinate"] for result in results] == [[0, 0, 9, 5 + n] for n in range(12)]
    assert {headers.get("authorization") or headers.get("Authorization") for headers in service.headers} == {
        "Bearer word"
    }


def test_nothing_found(service, answer, grey):
    service.answer = lambda _: answer([], (6, 8))
    (result,) = create_pipeline("tiny", url=service.url).predict(grey())
    assert (result["boxes"], len(result["masks"])) == ([], 0)


def test_a_frame_too_large_for_http_travels_as_png(service, answer, grey, monkeypatch):
    monkeypatch.setattr("maskserve.transport.http._MAX_RAW", 1000)
    seen = []

    def respond(request):
        seen.append(request.image)
        return answer([], (60, 80))

    service.answer = respond
    with create_pipeline("tiny", url=service.url, shared_memory=False) as pipeline:
        list(pipeline.predict([grey(7, 60, 80)]))
    assert [image[:2] for image in seen] == [b"\x89P" if service.url.startswith("http") else b"BM"]


ERRORS = {
    "hostile": (InvalidImage, "^the file is damaged$"),
    "crowded": (ServerOverloaded, "its queue is full"),
    "late": (RequestTimeout, "waited too long"),
    "dead": (ModelNotReady, "its process has died"),
    "odd": (InferenceFailed, "something else"),
    "large": (ImageTooLarge, "too large"),
    "full": (ImageTooLarge, "over grpc://.*exceeds the maximum allowed value"),
    "secret": (ServerError, "not for you"),
    "broken": (ModelNotReady, "broken at .* is UNAVAILABLE: no such file: weights"),
    "nope": (ModelNotFound, "no model 'nope'; it has broken, tiny$"),
    "strange": (InferenceFailed, "no BOXES"),
}


@pytest.mark.parametrize(("model", "error", "message"), [(name, *rest) for name, rest in ERRORS.items()], ids=ERRORS)
def test_refusals_have_their_errors(service, grey, model, error, message):
    with create_pipeline(model, url=service.url) as pipeline, pytest.raises(error, match=message) as caught:
        list(pipeline.predict(grey()))
    assert type(caught.value) is error


def test_the_models_of_the_server(service):
    transport = open_transport(parse_url(service.url))
    assert [(model.name, model.state) for model in transport.models()] == [m[:2] for m in INDEX]
    transport.close()


def test_no_answer_in_time(service, grey):
    with pytest.raises(RequestTimeout, match="timeout= allows more"):
        list(create_pipeline("slow", url=service.url, timeout=0.1).predict(grey()))
