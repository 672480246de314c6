"""Pipelines without an address: a server at the usual one, or a server that is started and stopped for them."""

import asyncio
import gc
import time

import pytest

from maskserve import AsyncPipeline, create_pipeline
from maskserve.errors import InvalidParameter, ServerUnavailable, ToolError
from maskserve.transport.base import ServedModel
from maskserve.transport.local import DEFAULT_URL


def test_a_server_that_was_named_is_neither_asked_nor_replaced(starter, urls, folder, monkeypatch):
    create_pipeline(folder, url="grpc://box:1")
    create_pipeline(config={"Pipeline": {"model": "tiny"}, "url": "grpc://box:2"})
    monkeypatch.setenv("MASKSERVE_URL", "grpc://box:3")
    create_pipeline("tiny", device="gpu:0")
    assert [url for url, _ in urls] == ["grpc://box:1", "grpc://box:2", "grpc://box:3"]
    assert starter.calls == []


def test_a_server_at_the_usual_address_is_taken_when_it_has_the_model(starter, usual, grey):
    usual.answers = True
    with create_pipeline("tiny", device="gpu:0") as pipeline:
        assert len(list(pipeline.predict(grey()))) == 1
    assert [model for model, _ in usual.requests] == ["tiny"]
    assert starter.calls == []


@pytest.mark.parametrize("pipeline", ["tiny", "instance_segmentation"])
def test_a_server_that_nobody_named_is_said(pipeline, opened, usual, caplog):
    usual.answers = True
    assert create_pipeline(pipeline).url == usual.url
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert message.startswith(f"the server at {DEFAULT_URL} has a model tiny and answers for it: name that server")
    assert all(remedy in message for remedy in ("url=", "MASKSERVE_URL", "server=False", "MASKSERVE_LOCAL=process"))
    assert opened == []


@pytest.mark.parametrize("named", [True, False])
def test_nothing_is_said_where_the_server_was_named_or_has_not_the_model(named, opened, usual, caplog):
    usual.answers = True
    create_pipeline("tiny", url=DEFAULT_URL) if named else create_pipeline("other")
    assert caplog.records == []
    assert [model for model, _, _ in opened] == ([] if named else ["other"])


def test_looking_there_takes_no_longer_than_it_should(starter, usual, urls):
    usual.answers = True
    create_pipeline("tiny", timeout=600)
    assert urls == [(DEFAULT_URL, 5.0), (DEFAULT_URL, 600)]


@pytest.mark.parametrize(
    ("pipeline", "served", "started"),
    [
        ("other", ["tiny"], "other"),
        ("instance_segmentation", ["tiny", "second"], "Mask-RT-DETR-S"),
        ("instance_segmentation", [], "Mask-RT-DETR-S"),
    ],
)
def test_a_server_without_the_model_is_not_taken(pipeline, served, started, starter, usual):
    usual.answers = True
    usual.served = [ServedModel(name, "READY") for name in served]
    create_pipeline(pipeline)
    assert starter.calls == [(started, None)]


def test_the_only_model_of_the_usual_server_is_the_pipelines(starter, usual):
    usual.answers = True
    assert create_pipeline("instance_segmentation").model == "tiny"
    assert starter.calls == []


def test_a_folder_is_served_even_where_a_server_has_a_model_of_that_name(starter, usual, folder, grey, transport):
    usual.answers = True
    with create_pipeline(folder, device="cpu") as pipeline:
        (result,) = pipeline.predict(grey())
    assert starter.calls == [(str(folder), "cpu")]
    assert result["boxes"][0]["label"] == "car"
    assert (len(usual.requests), len(transport.requests)) == (0, 1)


def test_what_a_pipeline_file_says_reaches_the_starter(starter, tmp_path, folder):
    path = tmp_path / "p.yaml"
    path.write_text(f"Pipeline: {{model: {folder}, device: 'npu:0'}}")
    create_pipeline(path)
    create_pipeline(path, device="cpu")
    create_pipeline(config={"SubModules": {"InstanceSegmentation": {"model_name": "a", "model_dir": "nowhere"}}})
    assert starter.calls == [(str(folder), "npu:0"), (str(folder), "cpu"), ("nowhere", None)]


def test_closing_the_pipeline_stops_the_server_once_and_for_all(starter, grey):
    pipeline = create_pipeline("tiny", retries=0)
    (server,) = starter.servers
    assert len(list(pipeline.predict(grey()))) == 1
    assert server.stops == 0
    pipeline.close()
    pipeline.close()
    assert server.stops == 1
    with pytest.raises(ServerUnavailable, match="the pipeline was closed"):
        next(iter(pipeline.predict(grey())))


def test_an_exception_stops_the_server(starter):
    with pytest.raises(ZeroDivisionError), create_pipeline("tiny"):
        raise ZeroDivisionError
    assert starter.servers[0].stops == 1


def test_a_pipeline_that_is_not_used_any_more_has_its_server_stopped(starter, grey):
    results = create_pipeline("tiny").predict([grey(1), grey(2)])
    next(iter(results))
    gc.collect()
    assert starter.servers[0].stops == 0
    results.close()
    del results
    _collect_until(lambda: starter.servers[0].stops)
    assert starter.servers[0].stops == 1


def _collect_until(done, seconds=30.0):
    """Collect garbage until `done`: a request that was under way when the results were closed keeps the pipeline."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)


def test_an_asynchronous_pipeline_stops_its_server(starter, grey):
    async def run():
        async with AsyncPipeline(create_pipeline("tiny")) as pipeline:
            return [result async for result in pipeline.predict(grey())]

    assert len(asyncio.run(run())) == 1
    assert starter.servers[0].stops == 1


def test_arguments_are_checked_before_anything_is_started(starter):
    for wrong in ({"timeout": 0}, {"concurrency": 0}, {"retries": -1}, {"threshold": "x"}, {"generation": "x"}):
        with pytest.raises(InvalidParameter):
            create_pipeline("tiny", **wrong)
    assert starter.calls == []


def test_why_no_server_could_be_started(starter, folder):
    starter.error = ToolError("there is no room")
    with pytest.raises(ServerUnavailable, match=r"no server at \S+ has tiny, .*there is no room.*url="):
        create_pipeline("tiny")
    with pytest.raises(ServerUnavailable, match=r"^none can be started here: there is no room"):
        create_pipeline(folder)


def test_a_device_that_cannot_be_had(starter):
    starter.error = InvalidParameter("device='npu:0': cannot")
    with pytest.raises(InvalidParameter, match="device='npu:0': cannot"):
        create_pipeline("tiny", device="npu:0")
