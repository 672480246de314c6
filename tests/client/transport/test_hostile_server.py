"""However a server speaks HTTP, a client gets a result or a `MaskserveError`: in time, and without much memory."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from tests.client.transport.hostile import IMAGE, as_http, dripping, endless, good_answer, http, server

from maskserve import contract
from maskserve.async_pipeline import AsyncPipeline
from maskserve.errors import InferenceFailed, InputError, MaskserveError, RequestTimeout, ServerUnavailable
from maskserve.inputs import download
from maskserve.pipeline import Pipeline
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import Endpoint, parse_url

SECONDS = 0.5
LONGEST = 6.0  # on a busy machine; without a deadline it would be for ever


def pipeline_at(url: str) -> Pipeline:
    where = parse_url(url)
    endpoint = Endpoint(where.scheme, where.host, where.port, timeout=SECONDS)
    return Pipeline("tiny", open_transport(endpoint), retries=0)


def ask(url: str) -> Any:
    """Ask for an image, by a pipeline that knows its labels already: all that comes is the answer to that."""
    with pipeline_at(url) as pipeline:
        pipeline._segmenter.model._labels = ("a", "b")
        return next(iter(pipeline.predict(IMAGE)))


def ask_labels(url: str) -> Any:
    with pipeline_at(url) as pipeline:
        return pipeline.labels


HEAD = b"HTTP/1.1 200 OK\r\n"


SLOW: dict[str, Callable[[], Iterable[bytes]]] = {
    "status line": lambda: dripping(b"HTTP/1.1 200 OK " + b"x" * 200),
    "headers": lambda: dripping(b"X-A: b\r\n", HEAD),
    "interim answers": lambda: dripping(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": lambda: dripping(b" ", HEAD + b"Content-Length: 1000000\r\n\r\n"),
    "body without an end": lambda: dripping(b" ", HEAD + b"\r\n"),
    "chunks": lambda: dripping(b"1\r\n \r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    "trailers": lambda: dripping(b"X: y\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"),
}


def silent() -> Iterator[bytes]:
    while True:
        time.sleep(SECONDS / 5)
        yield b""


SLOW["nothing"] = silent


@pytest.mark.parametrize("speak", SLOW.values(), ids=SLOW)
def test_a_deadline_for_the_whole_answer(speak: Callable[[], Iterable[bytes]]) -> None:
    with server(speak) as (url, _):
        begun = time.monotonic()
        with pytest.raises((RequestTimeout, ServerUnavailable)) as caught:
            ask(url)
        assert SECONDS * 0.9 < time.monotonic() - begun < LONGEST
    assert isinstance(caught.value, RequestTimeout)


def test_a_deadline_for_who_waits_asynchronously() -> None:
    async def wait(url: str) -> None:
        async with AsyncPipeline(pipeline_at(url)) as pipeline:
            await pipeline.segment(IMAGE)

    with server(SLOW["body"]) as (url, _):
        begun = time.monotonic()
        with pytest.raises(RequestTimeout):
            asyncio.run(wait(url))
        assert time.monotonic() - begun < LONGEST


LONG: dict[str, tuple[bytes, bytes]] = {
    "headers": (b"X-A: b\r\n", HEAD),
    "one header": (b"a", HEAD + b"X: "),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n", b""),
    "interim headers": (b"X-A: b\r\n", b"HTTP/1.1 100 Continue\r\n"),
    "status line": (b"a", b"HTTP/1.1 200 "),
    "trailers": (b"X: y\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"),
}


@pytest.mark.parametrize(("text", "after"), LONG.values(), ids=LONG)
def test_what_never_ends_is_not_taken_in(text: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskserve.transport.http_exchange._MAX_ANSWER", 1 << 20)
    with server(lambda: endless(text, after)) as (url, taken):
        tracemalloc.start()
        with pytest.raises((ServerUnavailable, RequestTimeout, InferenceFailed)):
            ask(url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20 << 20
    assert max(taken) < 30 << 20  # with what the sockets held


ODD = {
    "empty": b"",
    "a length of many digits": HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n{}",
    "a length that is a lie": HEAD + b"Content-Length: 99999999999\r\n\r\n{}",
    "JSON of no length": HEAD + b"Content-Length: 2\r\nInference-Header-Content-Length: 99\r\n\r\n{}",
    "JSON of strange digits": HEAD + "Content-Length: 2\r\nInference-Header-Content-Length: ²\r\n\r\n{}".encode(),
    "JSON of many digits": HEAD
    + b"Content-Length: 2\r\nInference-Header-Content-Length: "
    + b"9" * 5000
    + b"\r\n\r\n{}",
    "a negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc",
    "a chunk of no end": HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFFFF\r\nabc",
    "a chunk that is no number": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc",
    "a status of six digits": b"HTTP/1.1 200000 OK\r\n\r\n",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    "gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "deep JSON": http(b"[" * 100_000),
    "deep JSON of an error": http(b'{"error":' * 50_000, status="500 Oops"),
    "JSON of ten megabytes": http(b'{"outputs":[' + b"[]," * 3_500_000 + b"0]}"),
    "a long error": http(json.dumps({"error": "x" * 3_000_000}).encode(), status="500 Oops"),
    "an error with control characters": http(b'{"error":"\\u001b[2K\\u0007"}', status="400 Bad"),
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
@pytest.mark.parametrize("question", [ask, ask_labels])
def test_odd_answers(answer: bytes, question: Callable[[str], Any]) -> None:
    with server(lambda: [answer]) as (url, _), pytest.raises(MaskserveError) as caught:
        question(url)
    assert len(caught.value.message) < 5000
    assert caught.value.message.isprintable()


def changed(tensor: str, **fields: Any) -> bytes:
    """A good answer, with other claims about one tensor."""
    document, data = good_answer()
    for output in document["outputs"]:
        if output["name"] == tensor:
            output.update(fields)
    return as_http(document, data)


LIES = {
    "a dimension of infinity": changed(contract.BOXES, shape=[float("inf"), 4]),
    "a dimension that is no number": changed(contract.BOXES, shape=[float("nan"), 4]),
    "a negative dimension": changed(contract.SCORES, shape=[-3]),
    "a dimension beyond all integers": changed(contract.MASKS, shape=[10**30]),
    "a dimension of many digits": changed(contract.MASKS, shape=["9" * 5000]),
    "a gigabyte of masks": changed(contract.MASKS, shape=[2**30]),
    "a size of infinity": changed(contract.BOXES, parameters={"binary_data_size": float("inf")}),
    "a size of 1e400": as_http(good_answer()[0], good_answer()[1]).replace(
        b'"binary_data_size": 48', b'"binary_data_size": 1e400'
    ),
    "a negative size": changed(contract.BOXES, parameters={"binary_data_size": -48}),
    "another type": changed(contract.SCORES, datatype="FP64"),
    "a type that is no text": changed(contract.SCORES, datatype=["FP32"]),
    "a name that is no text": changed(contract.SCORES, name={"a": 1}),
    "no shape": changed(contract.SCORES, shape=None),
}


@pytest.mark.parametrize("answer", LIES.values(), ids=LIES)
def test_lies_about_tensors(answer: bytes) -> None:
    with server(lambda: [answer]) as (url, _), pytest.raises(InferenceFailed):
        ask(url)


def test_an_honest_one() -> None:
    with server(lambda: [as_http(*good_answer())]) as (url, _):
        result = ask(url)
    assert [instance.label for instance in result.instances] == ["a", "b", "2"]


def test_a_redirect_with_an_endless_body() -> None:
    """Its body is not read: the client goes where it leads."""
    with server(lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nimage"]) as (target, _):
        head = f"HTTP/1.1 302 Found\r\nLocation: {target}/\r\n\r\n".encode()
        with server(lambda: endless(b"x", head)) as (url, taken):
            assert download.fetch(f"{url}/a.jpg") == b"image"
        assert max(taken) < 20 << 20


@pytest.mark.parametrize("what", ["status line", "headers", "interim answers", "body", "chunks", "trailers"])
def test_a_deadline_for_a_download(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_MAX_SECONDS", SECONDS)
    with server(SLOW[what]) as (url, _):
        begun = time.monotonic()
        with pytest.raises(InputError, match="cannot be fetched"):
            download.fetch(f"{url}/a.jpg")
        assert time.monotonic() - begun < LONGEST


def test_a_download_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_MAX_BYTES", 1 << 20)
    with (
        server(lambda: endless(b"x", HEAD + b"\r\n")) as (url, _),
        pytest.raises(InputError, match="larger than 1 MiB"),
    ):
        download.fetch(f"{url}/a.jpg")
    with server(lambda: endless(b"X: y\r\n", HEAD)) as (url, _), pytest.raises(InputError, match="cannot be fetched"):
        download.fetch(f"{url}/a.jpg")
